//! Groups of the connector.

use nix::errno::Errno;
use nix::libc::NETLINK_CONNECTOR;

use crate::cases::cases;
use crate::outcome::{Outcome, expect_empty, expect_eq, expect_errno, expect_ok, expect_result};
use crate::port::Who;
use crate::port::capability::Capability;
use crate::scene::bus::Bus;
use crate::wire::address::Address;
use crate::wire::connector::CnMsg;

cases! {
    last_group_can_be_joined => "CN-BIND-001";
    group_beyond_the_nominal_can_be_joined => "CN-BIND-001";
    group_out_of_range_is_refused(NO_GROUPS) => "CN-BIND-001";
    unprivileged_join_is_refused(GROUPS) => "CN-BIND-002";
    unprivileged_user_may_join_odd_groups_only(GROUPS) => "CN-BIND-003";
    admin_may_join_any_group => "CN-BIND-003";
    mask_with_an_even_group_is_refused => "CN-BIND-004";
    odd_groups_of_a_mask_are_joined => "CN-BIND-004";
    documented_number_in_bind_is_a_mask => "CN-BIND-005";
    documented_number_is_not_a_group => "CN-BIND-005";
    option_0_is_unknown => "CN-BIND-006";
    option_2_leaves_a_group => "CN-BIND-006";
    option_1_of_level_270_joins_a_group => "CN-BIND-007";
    unprivileged_multicast_is_refused => "CN-BIND-008";
    admin_may_multicast [initial_net] => "CN-BIND-008";
}

fn last_group_can_be_joined(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let last: u32 = bus.expected("groups")?;
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    expect_ok("joining the last group", socket.join(last))?;
    expect_errno("joining the group after it", socket.join(last + 1), bus.expected("errno")?)
}

fn group_beyond_the_nominal_can_be_joined(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let nominal: u32 = bus.expected("nominal")?;
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    expect_ok("joining the last requested group", socket.join(nominal))?;
    expect_ok("joining the group after it", socket.join(nominal + 1))
}

const NO_GROUPS: &[(&str, u32)] = &[("zero", 0), ("documented_12345", 12345), ("highest", u32::MAX)];

fn group_out_of_range_is_refused(bus: &Bus<'_>, group: &u32) -> Outcome {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    expect_errno("joining", socket.join(*group), bus.expected("errno")?)
}

const GROUPS: &[(&str, u32)] =
    &[("1", 1), ("2", 2), ("3", 3), ("4", 4), ("14", 14), ("15", 15), ("31", 31), ("32", 32)];

fn unprivileged_join_is_refused(bus: &Bus<'_>, group: &u32) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let errno = bus.expected("errno")?;
        expect_errno("joining", bus.bound(NETLINK_CONNECTOR)?.join(*group), errno)?;
        let mask = Address::groups(1 << (group - 1));
        expect_errno("bind()", bus.open(NETLINK_CONNECTOR)?.bind(mask), errno)
    })
}

fn unprivileged_user_may_join_odd_groups_only(bus: &Bus<'_>, group: &u32) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let expected = if group % 2 == 1 { Ok(()) } else { Err(bus.expected::<Errno>("errno")?) };
        expect_result("joining", bus.bound(NETLINK_CONNECTOR)?.join(*group), expected)?;
        let mask = Address::groups(1 << (group - 1));
        expect_result("bind()", bus.open(NETLINK_CONNECTOR)?.bind(mask), expected)
    })
}

fn admin_may_join_any_group(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let socket = bus.open(NETLINK_CONNECTOR)?;
    expect_ok("bind()", socket.bind(Address::groups(u32::MAX)))?;
    expect_eq("groups", socket.name()?.groups, u32::MAX)
}

fn mask_with_an_even_group_is_refused(bus: &Bus<'_>) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let socket = bus.open(NETLINK_CONNECTOR)?;
        expect_errno("bind()", socket.bind(Address::groups(0b11)), bus.expected("errno")?)?;
        expect_empty("memberships", socket.memberships()?)
    })
}

fn odd_groups_of_a_mask_are_joined(bus: &Bus<'_>) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let socket = bus.open(NETLINK_CONNECTOR)?;
        expect_ok("bind()", socket.bind(Address::groups(0b101)))?;
        expect_eq("memberships", socket.memberships()?, [1, 3])
    })
}

fn documented_number_in_bind_is_a_mask(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let socket = bus.open(NETLINK_CONNECTOR)?;
    expect_ok("bind()", socket.bind(Address::groups(12345)))?;
    expect_eq("memberships", socket.memberships()?, [1, 4, 5, 6, 13, 14])
}

fn documented_number_is_not_a_group(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    expect_errno("setsockopt(s, 270, 1, 12345)", socket.set_at(270, 1, 12345), bus.expected("errno")?)
}

fn option_0_is_unknown(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    socket.join(5)?;
    expect_errno("setsockopt(s, 270, 0, 5)", socket.set_at(270, 0, 5), bus.expected("errno")?)?;
    expect_eq("memberships", socket.memberships()?, [5])
}

fn option_2_leaves_a_group(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    socket.join(5)?;
    expect_ok("setsockopt(s, 270, 2, 5)", socket.set_at(270, 2, 5))?;
    expect_empty("memberships", socket.memberships()?)
}

fn option_1_of_level_270_joins_a_group(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    expect_ok("setsockopt(s, 270, 1, 5)", socket.set_at(270, 1, 5))?;
    expect_eq("memberships", socket.memberships()?, [5])
}

/// A message that no callback receives, and the mask of the group that it is sent to.
fn multicast() -> (CnMsg, Address) {
    (CnMsg { seq: 71, data: b"all".to_vec(), ..CnMsg::to(0x4e4c, 1) }, Address::groups(1 << 4))
}

fn unprivileged_multicast_is_refused(bus: &Bus<'_>) -> Outcome {
    let member = bus.bound(NETLINK_CONNECTOR)?;
    member.join(5)?;
    let (msg, group) = multicast();
    bus.run_as(Who::Nobody, || {
        let sent = bus.bound(NETLINK_CONNECTOR)?.send_to(group, &msg.in_message().encode());
        expect_errno("sendto()", sent, bus.expected("errno")?)
    })?;
    member.expect_nothing("message in the group")
}

fn admin_may_multicast(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let member = bus.bound(NETLINK_CONNECTOR)?;
    member.join(5)?;
    let (msg, group) = multicast();
    expect_ok("sendto()", bus.bound(NETLINK_CONNECTOR)?.send_to(group, &msg.in_message().encode()))?;
    expect_eq("cn_msg received", CnMsg::decode(&member.receive_one()?.payload), Some(msg))
}
