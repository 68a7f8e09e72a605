//! The callbacks of a family for sockets that join and leave its groups.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{Outcome, broken, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::port::Who;
use crate::port::provider::{Action, Family, Group, On, Step};
use crate::scene::bus::{Bus, WAIT};
use crate::scene::threads::ended_by;
use crate::wire::address::Address;

cases! {
    join_and_leave_call_bind_and_unbind(COUNTS) => "GENL-MC-019";
    join_by_bind_calls_bind => "GENL-MC-019";
    only_the_family_of_the_group_is_called => "GENL-MC-019";
    error_of_the_familys_bind_is_ignored => "GENL-MC-025";
    refused_join_does_not_call_bind => "GENL-MC-026";
    close_calls_unbind_for_each_group => "GENL-MC-020";
    unregistration_does_not_call_unbind => "GENL-MC-020";
    smaller_mask_does_not_call_unbind => "GENL-MC-020";
    leave_without_membership_calls_unbind => "GENL-MC-021";
    second_join_calls_bind_again => "GENL-MC-021";
    unregistration_waits_for_a_member_that_closes [parallel] => "GENL-MC-029";
}

/// A family with two groups, bind and unbind.
fn observed() -> Family {
    Family { bind: true, ..Family::named("nlc_told").group("one").group("two") }
}

/// The callbacks called since the last look, and for which group.
fn calls_until_now(bus: &Bus<'_>) -> Result<Vec<(On, u32)>, crate::outcome::Failure> {
    Ok(bus.calls_so_far()?.iter().map(|call| (call.on, call.subject)).collect())
}

/// How many groups the family has. The socket joins the last.
const COUNTS: &[(&str, usize)] = &[("only_one", 1), ("last_of_two", 2)];

fn join_and_leave_call_bind_and_unbind(bus: &Bus<'_>, count: &usize) -> Outcome {
    let mut family = observed();
    family.groups.truncate(*count);
    let family = bus.register(family)?;
    let (socket, index) = (bus.generic()?, *count - 1);
    socket.join(family.groups[index])?;
    expect_eq("calls when a socket joins", calls_until_now(bus)?, [(On::Bind, index as u32)])?;
    socket.leave(family.groups[index])?;
    expect_eq("calls when it leaves", calls_until_now(bus)?, [(On::Unbind, index as u32)])
}

fn join_by_bind_calls_bind(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(observed())?;
    let socket = bus.open(nix::libc::NETLINK_GENERIC)?;
    socket.bind(Address::groups(mask(&family.groups)))?;
    expect_eq("calls", calls_until_now(bus)?, [(On::Bind, 0), (On::Bind, 1)])
}

fn only_the_family_of_the_group_is_called(bus: &Bus<'_>) -> Outcome {
    let other = |name| Family { bind: true, ..Family::named(name) };
    bus.register(other("nlc_no_groups"))?;
    bus.register(other("nlc_before").group("one"))?;
    let family = bus.register(observed())?;
    bus.register(other("nlc_after").group("one"))?;
    let socket = bus.generic()?;
    for group in &family.groups {
        socket.join(*group)?;
        socket.leave(*group)?;
    }
    let calls: Vec<_> = bus.calls_so_far()?.iter().map(|call| (call.handle, call.on, call.subject)).collect();
    let of = |on, group| (family.handle, on, group);
    expect_eq("calls", calls, [of(On::Bind, 0), of(On::Unbind, 0), of(On::Bind, 1), of(On::Unbind, 1)])
}

/// These groups as `nl_groups`.
fn mask(groups: &[u32]) -> u32 {
    groups.iter().map(|group| 1 << (group - 1)).sum()
}

fn error_of_the_familys_bind_is_ignored(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(observed().on(On::Bind, Action::Return(-(Errno::EPERM as i64))))?;
    let socket = bus.generic()?;
    expect_ok("joining", socket.join(family.groups[0]))?;
    expect_eq("memberships", socket.memberships()?, [family.groups[0]])
}

fn refused_join_does_not_call_bind(bus: &Bus<'_>) -> Outcome {
    let guarded = Group { name: "guarded".into(), net_admin: true, ..Group::default() };
    let family = bus.register(Family { groups: vec![guarded], ..observed() })?;
    bus.run_as(Who::Nobody, || {
        expect_errno("joining", bus.generic()?.join(family.groups[0]), bus.expected("refused")?)
    })?;
    expect_empty("calls", calls_until_now(bus)?)
}

fn close_calls_unbind_for_each_group(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(observed())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    socket.join(family.groups[1])?;
    calls_until_now(bus)?;
    drop(socket);
    expect_eq("calls when the socket is closed", calls_until_now(bus)?, [(On::Unbind, 0), (On::Unbind, 1)])
}

fn unregistration_does_not_call_unbind(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(observed())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    calls_until_now(bus)?;
    family.unregister()?;
    drop(socket);
    expect_empty("calls when the family goes, and then the socket", calls_until_now(bus)?)
}

fn smaller_mask_does_not_call_unbind(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(observed())?;
    let socket = bus.open(nix::libc::NETLINK_GENERIC)?;
    socket.bind(Address::groups(mask(&family.groups)))?;
    calls_until_now(bus)?;
    let again = Address { groups: mask(&family.groups[..1]), ..socket.name()? };
    socket.bind(again)?;
    expect_eq("memberships", socket.memberships()?, [family.groups[0]])?;
    expect_eq("calls when the second group is no longer in the mask", calls_until_now(bus)?, [(On::Bind, 0)])
}

fn leave_without_membership_calls_unbind(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(observed())?;
    let socket = bus.generic()?;
    expect_ok("leaving", socket.leave(family.groups[0]))?;
    expect_eq("calls", calls_until_now(bus)?, [(On::Unbind, 0)])
}

fn second_join_calls_bind_again(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(observed())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    socket.join(family.groups[0])?;
    expect_eq("calls", calls_until_now(bus)?, [(On::Bind, 0), (On::Bind, 0)])
}

/// Time for who was woken to go on.
const TURN: Duration = Duration::from_millis(1);

/// The callbacks of the first two groups do not return at once. Once it has missed its turn twice, the
/// unregistration goes on before the close gets to the third.
fn unregistration_waits_for_a_member_that_closes(bus: &Bus<'_>) -> Outcome {
    let provider = bus.provider()?;
    let blocking = |call| Step::new(On::Unbind, Action::Block).call(call);
    let family = bus.register(observed().group("three").step(blocking(1)).step(blocking(2)))?;
    let member = bus.generic()?;
    family.groups.iter().try_for_each(|group| member.join(*group))?;
    let closed = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            drop(member);
            closed.store(true, Ordering::Release);
        });
        if provider.blocked(WAIT.as_millis() as u64)? == 0 {
            return broken("no callback blocks");
        }
        let let_it_close = || {
            while !closed.load(Ordering::Acquire) {
                provider.release()?;
                provider.blocked(5)?;
                thread::sleep(TURN);
            }
            Ok(())
        };
        expect_ok("genl_unregister_family()", ended_by(|| family.unregister(), let_it_close)??)
    })
}
