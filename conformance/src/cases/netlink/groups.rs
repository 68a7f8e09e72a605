//! Multicast groups of a protocol: who may join, which groups there are, who receives.

mod callbacks;
mod kept;
mod large_families;
mod many;
mod meanwhile;
mod options;
mod undone;
mod words;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::port::capability::Capability;
use crate::port::provider::{Call, Family, Handle, KernelSend, Protocol, Verb};
use crate::port::{UNWRITTEN, Who};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Socket};
use crate::wire::address::Address;

cases! {
    unprivileged_use_of_groups_is_refused(WAYS) => "NL-GRP-001";
    any_user_may_join_groups_of_route(WAYS) => "NL-GRP-022";
    group_out_of_range_is_refused(NO_GROUPS) => "NL-GRP-002";
    mask_joins_the_first_32 => "NL-GRP-004";
    high_group_is_joined_by_number => "NL-GRP-004";
    high_group_is_delivered => "NL-GRP-004";
    second_join_changes_nothing => "NL-GRP-005";
    leave_without_membership_succeeds => "NL-GRP-006";
    unbound_socket_can_join => "NL-GRP-007";
    member_without_a_port_misses_multicasts => "NL-GRP-008";
    buffer_limits_the_list_of_groups(ROOMS) => "NL-GRP-009";
    failed_join_allocates_the_list_of_groups => "NL-GRP-010";
    socket_can_join_groups_added_later => "NL-GRP-011";
    listeners_count_in_all_namespaces => "NL-GRP-020";
    group_out_of_range_has_no_listeners(NO_GROUPS) => "NL-GRP-020";
    + callbacks;
    + kept;
    + many;
    + large_families;
    + meanwhile;
    + options;
    + undone;
    + words;
}

/// A protocol with this many groups.
fn with_groups(bus: &Bus<'_>, groups: u32) -> Result<Handle, Failure> {
    let protocol = Protocol::with_groups(FREE_PROTOCOL, groups);
    bus.create_protocol(&protocol)
}

/// A protocol with 40 groups, and a bound socket of it.
fn forty_groups(bus: &Bus<'_>) -> Result<(Handle, Socket), Failure> {
    bus.need(Capability::NetAdmin)?;
    Ok((with_groups(bus, 40)?, bus.bound(FREE_PROTOCOL)?))
}

fn multicast(bus: &Bus<'_>, protocol: Handle, group: u32) -> Result<i64, Failure> {
    let send = KernelSend { group, cmd: 0x20, ..KernelSend::new(Verb::Multicast) };
    bus.send_from(protocol, &send, &Call::default())
}

fn has_listeners(bus: &Bus<'_>, protocol: Handle, group: u32) -> Result<i64, Failure> {
    let send = KernelSend { group, ..KernelSend::new(Verb::HasListeners) };
    bus.send_from(protocol, &send, &Call::default())
}

/// A way to change the groups, and the resulting mask.
type Way = (fn(&Socket) -> Result<(), Errno>, u32);

const WAYS: &[(&str, Way)] = &[
    ("bind", (|socket| socket.bind(Address::groups(0b10)), 0b10)),
    ("join", (|socket| socket.join(1), 0b1)),
    ("leave", (|socket| socket.leave(1), 0)),
];

fn unprivileged_use_of_groups_is_refused(bus: &Bus<'_>, (way, _): &Way) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let socket = bus.open(libc::NETLINK_USERSOCK)?;
        expect_errno("change of the groups", way(&socket), bus.expected("errno")?)?;
        let beyond = socket.join(4000);
        expect_errno("joining a group that does not exist", beyond, bus.expected("errno")?)
    })
}

fn any_user_may_join_groups_of_route(bus: &Bus<'_>, (way, groups): &Way) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let socket = bus.open(libc::NETLINK_ROUTE)?;
        expect_ok("change of the groups", way(&socket))?;
        expect_eq("groups in getsockname()", socket.name()?.groups, *groups)
    })
}

const NO_GROUPS: &[(&str, u32)] = &[("zero", 0), ("one_beyond", 41), ("highest", u32::MAX)];

fn group_out_of_range_is_refused(bus: &Bus<'_>, group: &u32) -> Outcome {
    let (_, socket) = forty_groups(bus)?;
    expect_errno("joining", socket.join(*group), bus.expected("errno")?)?;
    expect_errno("leaving", socket.leave(*group), bus.expected("errno")?)?;
    expect_empty("memberships", socket.memberships()?)
}

fn mask_joins_the_first_32(bus: &Bus<'_>) -> Outcome {
    forty_groups(bus)?;
    let socket = bus.open(FREE_PROTOCOL)?;
    socket.bind(Address::groups(1 << 31 | 1))?;
    expect_eq("memberships", socket.memberships()?, [1, 32])
}

fn high_group_is_joined_by_number(bus: &Bus<'_>) -> Outcome {
    let (_, socket) = forty_groups(bus)?;
    expect_ok("joining group 40", socket.join(40))?;
    expect_eq("memberships", socket.memberships()?, [40])?;
    expect_eq("groups in getsockname()", socket.name()?.groups, 0)
}

fn high_group_is_delivered(bus: &Bus<'_>) -> Outcome {
    let (protocol, socket) = forty_groups(bus)?;
    socket.join(40)?;
    expect_ok("nlmsg_multicast()", multicast(bus, protocol, 40)?)?;
    let datagram = socket.receive()?;
    expect_eq("groups in the sender's address, which has room for 32", datagram.from.groups, 0)?;
    expect_eq("type of the message", datagram.only()?.kind, 0x20)
}

fn second_join_changes_nothing(bus: &Bus<'_>) -> Outcome {
    let (protocol, socket) = forty_groups(bus)?;
    socket.join(5)?;
    expect_ok("second join", socket.join(5))?;
    multicast(bus, protocol, 5)?;
    socket.receive_one()?;
    socket.expect_nothing("second copy of the message")?;
    socket.leave(5)?;
    expect_empty("memberships after leaving once", socket.memberships()?)
}

fn leave_without_membership_succeeds(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    expect_ok("leaving", socket.leave(5))?;
    expect_empty("memberships", socket.memberships()?)
}

fn unbound_socket_can_join(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    expect_ok("joining", socket.join(5))?;
    expect_eq("name", socket.name()?, Address::groups(1 << 4))
}

/// A user's multicast excludes the port that it is also addressed to.
fn member_without_a_port_misses_multicasts(bus: &Bus<'_>) -> Outcome {
    let (member, sender) = (bus.open(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    member.join(1)?;
    sender.multicast(b"missed")?;
    expect_errno("receive before the bind", member.receive_now(100, 0), Errno::EAGAIN)?;
    member.bind(Address { groups: 1, ..Address::KERNEL })?;
    sender.multicast(b"heard")?;
    expect_eq("what arrived after it", &member.receive()?.incoming.bytes[..], b"heard")
}

const ROOMS: &[(&str, (usize, usize))] = &[
    ("none", (0, 0)),
    ("3", (3, 0)),
    ("4", (4, 4)),
    ("7", (7, 4)),
    ("exactly", (16, 16)),
    ("more", (64, 16)),
];

/// Groups 1 to 32 and 97 to 100 are joined, so that each word that is written is seen.
fn buffer_limits_the_list_of_groups(bus: &Bus<'_>, (room, written): &(usize, usize)) -> Outcome {
    with_groups(bus, 100)?;
    let socket = bus.open(FREE_PROTOCOL)?;
    socket.bind(Address::groups(u32::MAX))?;
    for group in [33, 65, 97, 100] {
        socket.join(group)?;
    }
    let (bytes, reported) = socket.get_bytes(libc::NETLINK_LIST_MEMBERSHIPS, *room)?;
    expect_eq("length reported", reported, bus.expected::<usize>("length")?)?;
    let mut expected = [u32::MAX, 1, 1, 0b1001].map(u32::to_ne_bytes).concat();
    expected[*written..].fill(UNWRITTEN);
    expected.resize(bytes.len(), UNWRITTEN);
    expect_eq("bytes of the buffer", bytes, expected)
}

fn failed_join_allocates_the_list_of_groups(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    let length = || Ok::<_, Failure>(socket.get_bytes(libc::NETLINK_LIST_MEMBERSHIPS, 64)?.1);
    expect_eq("length at first", length()?, 0)?;
    expect_errno("joining group 0", socket.join(0), Errno::EINVAL)?;
    expect_eq("length afterwards", length()?, bus.expected::<usize>("length")?)
}

fn socket_can_join_groups_added_later(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let first = bus.register(Family::named("nlc_first").group("only"))?.groups[0];
    socket.join(first)?;
    let groups = 8 * socket.get_bytes(libc::NETLINK_LIST_MEMBERSHIPS, 0)?.1;
    // A kernel keeps the room for the groups of families that have gone: some families fill it first.
    let many = |n: usize| {
        let family = Family::named(&format!("nlc_many{n}"));
        bus.register((0..250).fold(family, |family, group| family.group(&format!("g{group}"))))
    };
    let mut last = 0;
    for n in 0.. {
        last = many(n)?.groups.last().copied().unwrap_or(0);
        if last as usize > groups {
            break;
        }
    }
    expect_ok("joining the last group", socket.join(last))?;
    expect_eq("memberships", socket.memberships()?, [first, last])
}

fn listeners_count_in_all_namespaces(bus: &Bus<'_>) -> Outcome {
    let protocol = with_groups(bus, 40)?;
    expect_eq("netlink_has_listeners() before", has_listeners(bus, protocol, 3)?, 0)?;
    bus.run_as(Who::OtherNet, || {
        let socket = bus.bound(FREE_PROTOCOL)?;
        socket.join(3)?;
        expect_eq("netlink_has_listeners() with a member elsewhere", has_listeners(bus, protocol, 3)?, 1)
    })?;
    expect_eq("netlink_has_listeners() afterwards", has_listeners(bus, protocol, 3)?, 0)
}

fn group_out_of_range_has_no_listeners(bus: &Bus<'_>, group: &u32) -> Outcome {
    let (protocol, socket) = forty_groups(bus)?;
    socket.bind(Address { groups: u32::MAX, ..socket.name()? })?;
    expect_eq("netlink_has_listeners() of group 1", has_listeners(bus, protocol, 1)?, 1)?;
    expect_eq("netlink_has_listeners()", has_listeners(bus, protocol, *group)?, 0)
}
