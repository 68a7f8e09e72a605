//! Multicast groups of a protocol.

use super::FREE_PROTOCOL;
use crate::bus::{Bus, Socket};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::target::provider::{Call, Handle, KernelSend, Protocol, Verb};
use crate::wire::address::Address;

cases! {
    group_out_of_range_is_refused(NO_GROUPS) => "NL-GRP-002";
    mask_joins_the_first_32 => "NL-GRP-004";
    high_group_is_joined_by_number => "NL-GRP-004";
    high_group_is_delivered => "NL-GRP-004";
    second_join_changes_nothing => "NL-GRP-005";
}

/// A protocol with 40 groups, and a bound socket of it.
fn forty_groups(bus: &Bus<'_>) -> Result<(Handle, Socket), Failure> {
    let protocol = Protocol::with_groups(FREE_PROTOCOL, 40);
    let (handle, returned) = bus.provider()?.create_protocol(&protocol, &Call::default())?;
    expect_ok("netlink_kernel_create()", returned)?;
    Ok((handle, bus.bound(FREE_PROTOCOL)?))
}

fn multicast(bus: &Bus<'_>, protocol: Handle, group: u32) -> Result<i64, Failure> {
    let send = KernelSend { group, cmd: 0x20, ..KernelSend::new(Verb::Multicast) };
    Ok(bus.provider()?.send(protocol, &send, &Call::default())?)
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
