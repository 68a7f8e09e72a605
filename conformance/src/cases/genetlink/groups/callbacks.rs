//! What families are told of who joins and leaves their groups.

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{Outcome, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::port::Who;
use crate::port::provider::{Action, Family, Group, On};
use crate::scene::bus::Bus;
use crate::wire::address::Address;

cases! {
    joining_and_leaving_is_told => "GENL-MC-019";
    joining_by_bind_is_told => "GENL-MC-019";
    refusal_by_the_family_is_ignored => "GENL-MC-025";
    joining_that_is_refused_is_not_told => "GENL-MC-026";
    closing_is_told_for_each_group => "GENL-MC-020";
    end_of_the_family_is_not_told => "GENL-MC-020";
    smaller_mask_is_not_told => "GENL-MC-020";
    leaving_what_was_not_joined_is_told => "GENL-MC-021";
    joining_twice_is_told_twice => "GENL-MC-021";
}

/// A family with two groups that is told.
fn told() -> Family {
    Family { bind: true, ..Family::named("nlc_told").group("one").group("two") }
}

/// What the family has been told until now: which callback, and of which group.
fn told_until_now(bus: &Bus<'_>) -> Result<Vec<(On, u32)>, crate::outcome::Failure> {
    Ok(bus.calls_so_far()?.iter().map(|call| (call.on, call.subject)).collect())
}

fn joining_and_leaving_is_told(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(told())?;
    let socket = bus.generic()?;
    socket.join(family.groups[1])?;
    expect_eq("calls when a socket joins", told_until_now(bus)?, [(On::Bind, 1)])?;
    socket.leave(family.groups[1])?;
    expect_eq("calls when it leaves", told_until_now(bus)?, [(On::Unbind, 1)])
}

fn joining_by_bind_is_told(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(told())?;
    let socket = bus.open(nix::libc::NETLINK_GENERIC)?;
    socket.bind(Address::groups(mask(&family.groups)))?;
    expect_eq("calls", told_until_now(bus)?, [(On::Bind, 0), (On::Bind, 1)])
}

/// These groups as `nl_groups`.
fn mask(groups: &[u32]) -> u32 {
    groups.iter().map(|group| 1 << (group - 1)).sum()
}

fn refusal_by_the_family_is_ignored(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(told().on(On::Bind, Action::Return(-(Errno::EPERM as i64))))?;
    let socket = bus.generic()?;
    expect_ok("joining", socket.join(family.groups[0]))?;
    expect_eq("memberships", socket.memberships()?, [family.groups[0]])
}

fn joining_that_is_refused_is_not_told(bus: &Bus<'_>) -> Outcome {
    let guarded = Group { name: "guarded".into(), net_admin: true, ..Group::default() };
    let family = bus.register(Family { groups: vec![guarded], ..told() })?;
    bus.run_as(Who::Nobody, || {
        expect_errno("joining", bus.generic()?.join(family.groups[0]), bus.expected("refused")?)
    })?;
    expect_empty("calls", told_until_now(bus)?)
}

fn closing_is_told_for_each_group(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(told())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    socket.join(family.groups[1])?;
    told_until_now(bus)?;
    drop(socket);
    expect_eq("calls when the socket is closed", told_until_now(bus)?, [(On::Unbind, 0), (On::Unbind, 1)])
}

fn end_of_the_family_is_not_told(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(told())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    told_until_now(bus)?;
    family.unregister()?;
    drop(socket);
    expect_empty("calls when the family goes, and then the socket", told_until_now(bus)?)
}

fn smaller_mask_is_not_told(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(told())?;
    let socket = bus.open(nix::libc::NETLINK_GENERIC)?;
    socket.bind(Address::groups(mask(&family.groups)))?;
    told_until_now(bus)?;
    let again = Address { groups: mask(&family.groups[..1]), ..socket.name()? };
    socket.bind(again)?;
    expect_eq("memberships", socket.memberships()?, [family.groups[0]])?;
    expect_eq("calls when the second group is no longer in the mask", told_until_now(bus)?, [(On::Bind, 0)])
}

fn leaving_what_was_not_joined_is_told(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(told())?;
    let socket = bus.generic()?;
    expect_ok("leaving", socket.leave(family.groups[0]))?;
    expect_eq("calls", told_until_now(bus)?, [(On::Unbind, 0)])
}

fn joining_twice_is_told_twice(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(told())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    socket.join(family.groups[0])?;
    expect_eq("calls", told_until_now(bus)?, [(On::Bind, 0), (On::Bind, 0)])
}
