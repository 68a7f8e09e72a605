//! Groups beyond the 32 of an address and the 64 of a word: each way that a group has.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::port::capability::Capability;
use crate::port::provider::{Action, Call, Handle, KernelSend, On, Protocol, Step, Verb};
use crate::scene::FREE_PROTOCOL;
use crate::scene::PORT;
use crate::scene::bus::{Bus, Socket};
use crate::wire::address::Address;

cases! {
    group_is_joined_and_left(GROUPS) => "NL-GRP-028";
    message_reaches_its_group_only(GROUPS) => "NL-GRP-028";
    error_reaches_its_group_only(GROUPS) => "NL-GRP-028";
    listener_is_counted_until_it_leaves(GROUPS) => "NL-GRP-028";
    listener_is_counted_until_it_is_closed(GROUPS) => "NL-GRP-028";
    bind_is_called_for_the_groups_of_the_mask_only => "NL-GRP-028";
    refused_bind_undoes_those_of_the_mask_only => "NL-GRP-028";
    port_in_use_undoes_those_of_the_mask_only => "NL-GRP-028";
    bind_leaves_the_groups_beyond_the_mask => "NL-GRP-028";
    bind_without_groups_leaves_those_of_the_mask => "NL-GRP-028";
    close_calls_unbind_for_each => "NL-GRP-028";
    close_of_the_last_of_two_members_ends_the_listening => "NL-GRP-028";
    groups_are_listed => "NL-GRP-028";
    sizes_of_protocols_do_not_matter(SIZES) => "NL-GRP-028";
}

/// Groups of the protocol.
const MANY: u32 = 300;
/// On both sides of the ends of words, and the last.
const GROUPS: &[(&str, u32)] =
    &[("32", 32), ("33", 33), ("64", 64), ("65", 65), ("128", 128), ("129", 129), ("300", MANY)];

/// A protocol with many groups that hears of memberships and does these steps.
fn protocol(bus: &Bus<'_>, groups: u32, script: impl Into<Vec<Step>>) -> Result<Handle, Failure> {
    bus.need(Capability::NetAdmin)?;
    let protocol =
        Protocol { bind: true, script: script.into(), ..Protocol::with_groups(FREE_PROTOCOL, groups) };
    bus.create_protocol(&protocol)
}

fn send(bus: &Bus<'_>, protocol: Handle, verb: Verb, group: u32) -> Result<i64, Failure> {
    let send = KernelSend { group, cmd: 0x20, ..KernelSend::new(verb) };
    bus.send_from(protocol, &send, &Call::default())
}

/// The callbacks so far, and the group of each.
pub(super) fn heard(bus: &Bus<'_>) -> Result<Vec<(On, u32)>, Failure> {
    let entries = bus.provider()?.log(0)?;
    Ok(entries.into_iter().map(|entry| (entry.on, entry.subject)).collect())
}

fn member(bus: &Bus<'_>, group: u32) -> Result<Socket, Failure> {
    let socket = bus.bound(FREE_PROTOCOL)?;
    socket.join(group)?;
    Ok(socket)
}

fn group_is_joined_and_left(bus: &Bus<'_>, group: &u32) -> Outcome {
    protocol(bus, MANY, [])?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    expect_ok("joining", socket.join(*group))?;
    expect_eq("memberships", socket.memberships()?, [*group])?;
    expect_ok("leaving", socket.leave(*group))?;
    expect_empty("memberships afterwards", socket.memberships()?)?;
    expect_eq("callbacks", heard(bus)?, [(On::Bind, *group), (On::Unbind, *group)])
}

/// The group's own members, and those of the groups beside it and one word away.
fn neighbours(bus: &Bus<'_>, group: u32) -> Result<(Socket, Vec<Socket>), Failure> {
    let others =
        [group - 1, group + 1, group.saturating_sub(32), group + 32, group.saturating_sub(64), group + 64];
    let others = others.into_iter().filter(|other| (1..=MANY).contains(other));
    let others: Result<_, Failure> = others.map(|other| member(bus, other)).collect();
    Ok((member(bus, group)?, others?))
}

fn message_reaches_its_group_only(bus: &Bus<'_>, group: &u32) -> Outcome {
    let protocol = protocol(bus, MANY, [])?;
    let (member, others) = neighbours(bus, *group)?;
    member.set(libc::NETLINK_PKTINFO, 1)?;
    expect_ok("nlmsg_multicast()", send(bus, protocol, Verb::Multicast, *group)?)?;
    let datagram = member.receive()?;
    let info = datagram.control(libc::NETLINK_PKTINFO);
    expect_eq("struct nl_pktinfo", info, Some(&group.to_ne_bytes()[..]))?;
    let mask = if *group > 32 { 0 } else { 1 << (group - 1) };
    expect_eq("groups in the sender's address", datagram.from.groups, mask)?;
    for other in &others {
        expect_errno("receive of another group's member", other.receive_now(100, 0), Errno::EAGAIN)?;
    }
    Ok(())
}

fn error_reaches_its_group_only(bus: &Bus<'_>, group: &u32) -> Outcome {
    let protocol = protocol(bus, MANY, [])?;
    let (member, others) = neighbours(bus, *group)?;
    let set = send(bus, protocol, Verb::SetErr(Errno::EOVERFLOW as i32), *group)?;
    expect_eq("netlink_set_err()", set, 0)?;
    expect_errno("receive of the member", member.receive_now(100, 0), Errno::EOVERFLOW)?;
    for other in &others {
        expect_errno("receive of another group's member", other.receive_now(100, 0), Errno::EAGAIN)?;
    }
    Ok(())
}

/// Which of all groups have listeners.
fn listened_to(bus: &Bus<'_>, protocol: Handle) -> Result<Vec<u32>, Failure> {
    let mut groups = Vec::new();
    for group in
        [1, 31, 32, 33, 63, 64, 65, 96, 97, 127, 128, 129, 192, 193, 256, 257, MANY - 1, MANY, MANY + 1]
    {
        if send(bus, protocol, Verb::HasListeners, group)? != 0 {
            groups.push(group);
        }
    }
    Ok(groups)
}

fn listener_is_counted_until_it_leaves(bus: &Bus<'_>, group: &u32) -> Outcome {
    let protocol = protocol(bus, MANY, [])?;
    let socket = member(bus, *group)?;
    expect_eq("groups with listeners", listened_to(bus, protocol)?, [*group])?;
    socket.leave(*group)?;
    expect_empty("groups with listeners afterwards", listened_to(bus, protocol)?)
}

fn listener_is_counted_until_it_is_closed(bus: &Bus<'_>, group: &u32) -> Outcome {
    let protocol = protocol(bus, MANY, [])?;
    let stays = member(bus, 1)?;
    drop(member(bus, *group)?);
    expect_eq("groups with listeners", listened_to(bus, protocol)?, [1])?;
    drop(stays);
    expect_empty("groups with listeners in the end", listened_to(bus, protocol)?)
}

fn bind_is_called_for_the_groups_of_the_mask_only(bus: &Bus<'_>) -> Outcome {
    protocol(bus, MANY, [])?;
    let socket = bus.open(FREE_PROTOCOL)?;
    expect_ok("bind()", socket.bind(Address::groups(1 << 31 | 0b101)))?;
    expect_eq("callbacks", heard(bus)?, [(On::Bind, 1), (On::Bind, 3), (On::Bind, 32)])?;
    expect_eq("memberships", socket.memberships()?, [1, 3, 32])
}

fn refused_bind_undoes_those_of_the_mask_only(bus: &Bus<'_>) -> Outcome {
    let refusal = Step::new(On::Bind, Action::Return(-(Errno::EOVERFLOW as i64)));
    protocol(bus, MANY, [refusal.call(4)])?;
    let socket = member(bus, 200)?;
    heard(bus)?;
    let bound = socket.bind(Address { groups: 1 << 31 | 0b101, ..socket.name()? });
    expect_errno("bind() to groups 1, 3 and 32", bound, Errno::EOVERFLOW)?;
    let expected = [(On::Bind, 1), (On::Bind, 3), (On::Bind, 32), (On::Unbind, 1), (On::Unbind, 3)];
    expect_eq("callbacks", heard(bus)?, expected)?;
    expect_eq("memberships", socket.memberships()?, [200])
}

fn port_in_use_undoes_those_of_the_mask_only(bus: &Bus<'_>) -> Outcome {
    protocol(bus, MANY, [])?;
    let (owner, socket) = (bus.open(FREE_PROTOCOL)?, bus.open(FREE_PROTOCOL)?);
    owner.bind(Address::port(PORT))?;
    socket.join(200)?;
    heard(bus)?;
    let bound = socket.bind(Address { groups: 1 << 31 | 1, ..Address::port(PORT) });
    expect_errno("bind() to the port of another socket", bound, Errno::EADDRINUSE)?;
    expect_eq("callbacks", heard(bus)?, [(On::Bind, 1), (On::Bind, 32), (On::Unbind, 1), (On::Unbind, 32)])?;
    expect_eq("memberships", socket.memberships()?, [200])
}

fn bind_leaves_the_groups_beyond_the_mask(bus: &Bus<'_>) -> Outcome {
    protocol(bus, MANY, [])?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    for group in [2, 33, 64, 65, MANY] {
        socket.join(group)?;
    }
    heard(bus)?;
    socket.bind(Address { groups: 1, ..socket.name()? })?;
    expect_eq("memberships", socket.memberships()?, [1, 33, 64, 65, MANY])?;
    expect_eq("callbacks", heard(bus)?, [(On::Bind, 1)])
}

fn bind_without_groups_leaves_those_of_the_mask(bus: &Bus<'_>) -> Outcome {
    protocol(bus, MANY, [])?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    [1, 32, 33, MANY].into_iter().try_for_each(|group| socket.join(group))?;
    socket.bind(Address::port(socket.portid()?))?;
    expect_eq("memberships", socket.memberships()?, [33, MANY])
}

fn close_calls_unbind_for_each(bus: &Bus<'_>) -> Outcome {
    protocol(bus, MANY, [])?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    let groups = [1, 32, 33, 64, 65, 128, 129, MANY];
    groups.into_iter().try_for_each(|group| socket.join(group))?;
    heard(bus)?;
    drop(socket);
    expect_eq("callbacks", heard(bus)?, groups.map(|group| (On::Unbind, group)))
}

fn close_of_the_last_of_two_members_ends_the_listening(bus: &Bus<'_>) -> Outcome {
    let protocol = protocol(bus, MANY, [])?;
    let (first, second) = (member(bus, 65)?, member(bus, 65)?);
    second.join(MANY)?;
    drop(first);
    expect_eq("groups with listeners when one is closed", listened_to(bus, protocol)?, [65, MANY])?;
    drop(second);
    expect_empty("groups with listeners when both are", listened_to(bus, protocol)?)
}

fn groups_are_listed(bus: &Bus<'_>) -> Outcome {
    protocol(bus, MANY, [])?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    let all: Vec<u32> = (1..=MANY).collect();
    all.iter().try_for_each(|group| socket.join(*group))?;
    expect_eq("memberships", socket.memberships()?, all)?;
    let length = (MANY as usize).div_ceil(32) * 4;
    expect_eq("length of the list", socket.get_bytes(libc::NETLINK_LIST_MEMBERSHIPS, 0)?.1, length)
}

const SIZES: &[(&str, u32)] =
    &[("32", 32), ("33", 33), ("63", 63), ("64", 64), ("65", 65), ("96", 96), ("128", 128), ("192", 192)];

fn sizes_of_protocols_do_not_matter(bus: &Bus<'_>, groups: &u32) -> Outcome {
    let protocol = protocol(bus, *groups, [])?;
    let socket = bus.open(FREE_PROTOCOL)?;
    expect_ok("bind()", socket.bind(Address::groups(1 << 31 | 1)))?;
    expect_ok("joining the last group", socket.join(*groups))?;
    expect_errno("joining one beyond it", socket.join(groups + 1), Errno::EINVAL)?;
    let mut expected = vec![1, 32, *groups];
    expected.dedup();
    expect_eq("memberships", socket.memberships()?, expected)?;
    for group in [1, 32, *groups] {
        expect_ok("nlmsg_multicast()", send(bus, protocol, Verb::Multicast, group)?)?;
    }
    Ok(())
}
