//! What waits while a bind() that failed is being undone: changes of memberships.

use std::thread;

use nix::errno::Errno;
use nix::libc;

use super::many::heard;
use crate::cases::cases;
use crate::outcome::{Outcome, broken, expect_eq, expect_errno};
use crate::port::capability::Capability;
use crate::port::provider::{Action, Family, On, Protocol, Step};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::threads::{ended_by, joined};
use crate::wire::address::Address;

cases! {
    change_waits_for_a_bind_that_is_undone(CHANGES) [parallel] => "NL-GRP-034";
    registration_for_the_initial_namespace_waits_for_a_bind_that_is_undone [parallel] => "NL-GRP-034";
    join_calls_bind_after_a_bind_that_is_undone [parallel] => "NL-GRP-034";
}

/// What somebody does who has two members of group 3.
type Change = fn(&Bus<'_>, &mut Vec<Socket>) -> Outcome;

const CHANGES: &[(&str, Change)] = &[
    ("two_joins", |_, members| two_joins(members)),
    ("bind_to_no_group", |_, members| {
        let name = members[0].name()?;
        Ok(members[0].bind(Address { groups: 0, ..name })?)
    }),
    ("close", |_, members| {
        drop(members.pop());
        Ok(())
    }),
    ("kernel_socket", |bus, _| {
        let another = Protocol::with_groups(FREE_PROTOCOL - 1, 1);
        bus.create_protocol(&another).map(drop)
    }),
    ("registration", |bus, _| bus.register(waiting()).map(drop)),
];

/// One of them wakes the other.
fn two_joins(members: &[Socket]) -> Outcome {
    thread::scope(|scope| {
        let other = scope.spawn(|| members[1].join(4));
        members[0].join(4)?;
        Ok(joined(other)?)
    })
}

fn waiting() -> Family {
    Family::named("nlc_waiting").group("events")
}

/// A protocol whose first call of unbind() does not return.
fn protocol(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let script = vec![Step::new(On::Unbind, Action::Block).call(1)];
    let protocol = Protocol { bind: true, script, ..Protocol::with_groups(FREE_PROTOCOL, 32) };
    bus.create_protocol(&protocol).map(drop)
}

/// Makes this change while a bind() to a port in use is being undone, which must wait for that.
fn while_undone(bus: &Bus<'_>, change: impl FnOnce() -> Outcome + Send) -> Outcome {
    let provider = bus.provider()?;
    let (owner, late) = (bus.bound(FREE_PROTOCOL)?, bus.open(FREE_PROTOCOL)?);
    let taken = Address { groups: 1, ..owner.name()? };
    thread::scope(|scope| {
        let bound = scope.spawn(|| late.bind(taken));
        if provider.blocked(WAIT.as_millis() as u64)? == 0 {
            return broken("no callback blocks");
        }
        let changed = ended_by(change, || Ok(provider.release()?));
        expect_errno("bind() to the port of another socket", joined(bound), Errno::EADDRINUSE)?;
        changed?
    })
}

fn change_waits_for_a_bind_that_is_undone(bus: &Bus<'_>, change: &Change) -> Outcome {
    protocol(bus)?;
    let mut members = vec![bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?];
    members.iter().try_for_each(|member| member.join(3))?;
    while_undone(bus, || change(bus, &mut members))
}

fn registration_for_the_initial_namespace_waits_for_a_bind_that_is_undone(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetNamespaces)?;
    protocol(bus)?;
    while_undone(bus, || bus.register(Family { netnsok: false, ..waiting() }).map(drop))
}

fn join_calls_bind_after_a_bind_that_is_undone(bus: &Bus<'_>) -> Outcome {
    protocol(bus)?;
    let member = bus.bound(FREE_PROTOCOL)?;
    while_undone(bus, || Ok(member.join(3)?))?;
    expect_eq("callbacks", heard(bus)?, [(On::Bind, 1), (On::Unbind, 1), (On::Bind, 3)])
}
