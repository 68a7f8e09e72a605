//! Who may join the groups of families, and how.

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{Outcome, expect_empty, expect_eq, expect_errno, expect_ok, expect_result};
use crate::port::Who;
use crate::port::provider::{Family, Group};
use crate::scene::bus::{Bus, Socket};
use crate::wire::address::Address;
use crate::wire::genl;

cases! {
    any_user_may_join_a_group_without_family => "GENL-MC-008";
    any_user_may_join_a_group_without_flags => "GENL-MC-008";
    join_needs_cap_net_admin(NETWORK) => "GENL-MC-009";
    bind_needs_cap_net_admin(NETWORK) => "GENL-MC-009";
    capability_is_asked_for_in_the_namespace_of_the_socket(JOINS) => "GENL-MC-009";
    join_needs_cap_sys_admin(SYSTEM) => "GENL-MC-010";
    membership_outlives_the_capability => "GENL-MC-011";
    one_forbidden_group_fails_the_whole_mask => "GENL-MC-012";
    low_groups_can_be_joined_by_bind => "GENL-MC-023";
    high_groups_can_be_joined_by_number => "GENL-MC-023";
}

fn any_user_may_join_a_group_without_family(bus: &Bus<'_>) -> Outcome {
    let gone = bus.register(Family::named("nlc_gone").group("events"))?;
    gone.unregister()?;
    bus.run_as(Who::Nobody, || expect_ok("joining", bus.generic()?.join(gone.groups[0])))
}

fn any_user_may_join_a_group_without_flags(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_open").group("events"))?;
    bus.run_as(Who::Nobody, || expect_ok("joining", bus.generic()?.join(family.groups[0])))
}

/// Who tries to join, and whether that is allowed.
type Attempt = (Who, bool);

const NETWORK: &[(&str, Attempt)] = &[
    ("root", (Who::Process, true)),
    ("network_administrator", (Who::NetworkAdministrator, true)),
    ("nobody", (Who::Nobody, false)),
    ("root_of_another_user_namespace", (Who::UserNamespaceRoot, false)),
    ("root_of_the_namespaces", (Who::OwnNamespacesRoot, true)),
];

fn network_only() -> Family {
    let group = Group { name: "guarded".into(), net_admin: true, ..Group::default() };
    Family { groups: vec![group], ..Family::named("nlc_guarded") }
}

fn join_needs_cap_net_admin(bus: &Bus<'_>, attempt: &Attempt) -> Outcome {
    join(bus, network_only(), attempt)
}

const SYSTEM: &[(&str, Attempt)] = &[
    ("root", (Who::Process, true)),
    ("network_administrator", (Who::NetworkAdministrator, false)),
    ("nobody", (Who::Nobody, false)),
    ("root_of_another_user_namespace", (Who::UserNamespaceRoot, false)),
    ("root_of_the_namespaces", (Who::OwnNamespacesRoot, true)),
];

fn join_needs_cap_sys_admin(bus: &Bus<'_>, attempt: &Attempt) -> Outcome {
    let group = Group { name: "guarded".into(), sys_admin: true, ..Group::default() };
    join(bus, Family { groups: vec![group], ..Family::named("nlc_guarded") }, attempt)
}

fn join(bus: &Bus<'_>, family: Family, (who, may): &Attempt) -> Outcome {
    let family = bus.register(family)?;
    let expected = if *may { Ok(()) } else { Err(bus.expected("errno")?) };
    let members = if *may { &family.groups[..] } else { &[] };
    bus.run_as(*who, || {
        let socket = bus.generic()?;
        expect_result("joining", socket.join(family.groups[0]), expected)?;
        expect_eq("memberships", socket.memberships()?, members)
    })
}

/// A mask in which this group is the only one.
fn mask(group: u32) -> u32 {
    1 << (group - 1)
}

fn bind_needs_cap_net_admin(bus: &Bus<'_>, (who, may): &Attempt) -> Outcome {
    let family = bus.register(network_only())?;
    let expected = if *may { Ok(()) } else { Err(bus.expected("errno")?) };
    bus.run_as(*who, || {
        let socket = bus.open(nix::libc::NETLINK_GENERIC)?;
        expect_result("bind", socket.bind(Address::groups(mask(family.groups[0]))), expected)
    })
}

type Join = fn(&Socket, u32) -> Result<(), Errno>;

const JOINS: &[(&str, Join)] = &[
    ("join", |socket, group| socket.join(group)),
    ("bind", |socket, group| socket.bind(Address::groups(mask(group)))),
];

fn capability_is_asked_for_in_the_namespace_of_the_socket(bus: &Bus<'_>, join: &Join) -> Outcome {
    let family = bus.register(network_only())?;
    let socket = bus.open(nix::libc::NETLINK_GENERIC)?;
    bus.run_as(Who::OwnNamespacesRoot, || {
        let joined = join(&socket, family.groups[0]);
        expect_errno("joining with a socket of another network namespace", joined, bus.expected("errno")?)?;
        expect_empty("memberships", socket.memberships()?)
    })
}

fn membership_outlives_the_capability(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(network_only())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    bus.run_as(Who::Nobody, || {
        expect_ok("multicast", family.multicast(0, &[])?)?;
        expect_eq("command of the message", genl::cmd(&socket.receive_one()?), Some(1))
    })
}

fn one_forbidden_group_fails_the_whole_mask(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(network_only().group("open"))?;
    let groups = family.groups.iter().map(|group| mask(*group)).sum();
    bus.run_as(Who::Nobody, || {
        let socket = bus.open(nix::libc::NETLINK_GENERIC)?;
        expect_errno("bind", socket.bind(Address::groups(groups)), bus.expected("errno")?)?;
        expect_empty("memberships", socket.memberships()?)
    })
}

fn low_groups_can_be_joined_by_bind(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_low").group("events"))?;
    let socket = bus.open(nix::libc::NETLINK_GENERIC)?;
    expect_ok("bind", socket.bind(Address::groups(mask(family.groups[0]))))?;
    expect_eq("memberships", socket.memberships()?, &family.groups[..])?;
    expect_ok("multicast", family.multicast(0, &[])?)?;
    expect_eq("type of the message", socket.receive_one()?.kind, family.id)
}

fn high_groups_can_be_joined_by_number(bus: &Bus<'_>) -> Outcome {
    let family = (0..40).fold(Family::named("nlc_high"), |family, n| family.group(&format!("group{n}")));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    expect_ok("joining", socket.join(family.groups[39]))?;
    expect_eq("groups in the socket's name", socket.name()?.groups, 0)?;
    expect_ok("multicast", family.multicast(39, &[])?)?;
    expect_eq("type of the message", socket.receive_one()?.kind, family.id)
}
