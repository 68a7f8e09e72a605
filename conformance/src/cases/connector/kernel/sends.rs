//! Sends of kernel code through the connector.

use std::thread;

use nix::errno::Errno;
use nix::libc::{NETLINK_BROADCAST_ERROR, NETLINK_CONNECTOR, SO_RCVBUF, SO_RCVBUFFORCE, SOL_SOCKET};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno, expect_ok};
use crate::port::capability::Capability;
use crate::port::provider::{Call, Callback, CbId, ConnectorSend, Context, Returned};
use crate::scene::bus::{Bus, Socket};
use crate::scene::threads::joined;
use crate::wire::connector::{CnMsg, HEADER};
use crate::wire::message::{self, NLMSG_DONE};

cases! {
    send_for_an_unknown_id_fails [initial_net] => "CN-SND-001";
    group_of_an_id_is_its_idx [initial_net] => "CN-SND-002";
    given_group_overrides_the_id [initial_net] => "CN-SND-003";
    send_to_a_group_without_members_fails(NOBODY) [initial_net] => "CN-SND-004";
    send_to_the_group_of_idx_0_fails [initial_net] => "CN-SND-004";
    unicast_returns_the_aligned_length [initial_net] => "CN-SND-005";
    unicast_to_a_missing_port_fails [initial_net] => "CN-SND-005";
    atomic_unicast_to_a_full_socket_fails [initial_net] => "CN-SND-013";
    unicast_to_a_full_socket_waits_for_room [initial_net, parallel] => "CN-SND-013";
    port_given_with_a_group_is_excluded [initial_net] => "CN-SND-006";
    send_to_a_group_of_only_the_excluded_port_fails [initial_net] => "CN-SND-007";
    send_to_a_group_without_room_fails(BROADCAST_ERRORS) [initial_net] => "CN-SND-007";
    message_is_nlmsg_done_without_flags(LENGTHS) [initial_net] => "CN-SND-008";
    several_cn_msgs_may_share_a_message [initial_net] => "CN-SND-009";
    message_may_exceed_the_receive_limit [initial_net] => "CN-SND-010";
    send_from_a_softirq_arrives [initial_net] => "CN-SND-011";
    send_by_id_from_a_softirq_arrives [initial_net] => "CN-SND-011";
    filter_skips_a_member [initial_net] => "CN-SND-012";
    filter_that_skips_all_members_fails_the_send [initial_net] => "CN-SND-012";
    send_without_memory_is_delivered_or_fails(TO) [initial_net] => "CN-SND-014";
}

const ID: CbId = CbId { idx: 20, val: 0x456 };
const GROUP: u32 = 21;

fn send(bus: &Bus<'_>, send: ConnectorSend) -> Result<Returned, Failure> {
    bus.connector_send(&send, &Call::default())
}

fn send_atomic(bus: &Bus<'_>, send: ConnectorSend) -> Result<Returned, Failure> {
    let how = Call { context: Context::Softirq, ..Call::default() };
    bus.connector_send(&send, &how)
}

/// A message of 5 bytes to this group.
fn to_group(group: u32) -> ConnectorSend {
    ConnectorSend { id: ID, group, payload: b"group".to_vec(), ..ConnectorSend::default() }
}

/// A message of 5 bytes to this port.
fn to_port(portid: u32) -> ConnectorSend {
    ConnectorSend { id: ID, portid, payload: b"alone".to_vec(), ..ConnectorSend::default() }
}

/// A bound socket in this connector group.
fn member(bus: &Bus<'_>, group: u32) -> Result<Socket, Failure> {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    socket.join(group)?;
    Ok(socket)
}

/// Sends until a send fails, 100 times at most; returns the last result.
fn fill(mut send: impl FnMut() -> Result<Returned, Failure>) -> Result<Returned, Failure> {
    for _ in 0..100 {
        let returned = send()?;
        if returned < 0 {
            return Ok(returned);
        }
    }
    Ok(0)
}

fn send_for_an_unknown_id_fails(bus: &Bus<'_>) -> Outcome {
    let returned = send(bus, ConnectorSend { id: CbId { idx: 99, val: 99 }, ..ConnectorSend::default() })?;
    expect_errno("cn_netlink_send_mult()", returned, bus.expected("errno")?)
}

fn group_of_an_id_is_its_idx(bus: &Bus<'_>) -> Outcome {
    bus.add_callback(&Callback::named("nlc_group", ID), &Call::default())?;
    let (inside, outside) = (member(bus, ID.idx)?, member(bus, ID.idx + 1)?);
    expect_ok("cn_netlink_send_mult()", send(bus, ConnectorSend { id: ID, ..ConnectorSend::default() })?)?;
    inside.receive_one()?;
    outside.expect_nothing("message in the next group")
}

fn given_group_overrides_the_id(bus: &Bus<'_>) -> Outcome {
    bus.add_callback(&Callback::named("nlc_group", ID), &Call::default())?;
    let (own, given) = (member(bus, ID.idx)?, member(bus, GROUP)?);
    expect_ok("cn_netlink_send_mult()", send(bus, to_group(GROUP))?)?;
    given.receive_one()?;
    own.expect_nothing("message in the group of the ID")
}

const NOBODY: &[(&str, u32)] = &[("empty", GROUP), ("beyond_the_last", 33)];

fn send_to_a_group_without_members_fails(bus: &Bus<'_>, group: &u32) -> Outcome {
    expect_errno("cn_netlink_send_mult()", send(bus, to_group(*group))?, bus.expected("errno")?)
}

fn send_to_the_group_of_idx_0_fails(bus: &Bus<'_>) -> Outcome {
    let id = CbId { idx: 0, val: 1 };
    bus.add_callback(&Callback::named("nlc_zero", id), &Call::default())?;
    let returned = send(bus, ConnectorSend { id, ..ConnectorSend::default() })?;
    expect_errno("cn_netlink_send_mult()", returned, bus.expected("errno")?)
}

fn unicast_returns_the_aligned_length(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    let returned = send(bus, to_port(socket.portid()?))?;
    // 16 + 20 + 5, to the next multiple of 4.
    expect_eq("cn_netlink_send_mult()", returned, 44)?;
    let received = CnMsg::decode(&socket.receive_one()?.payload).unwrap_or_default();
    expect_eq("data received", received.data, b"alone")
}

fn unicast_to_a_missing_port_fails(bus: &Bus<'_>) -> Outcome {
    let gone = bus.bound(NETLINK_CONNECTOR)?.portid()?;
    expect_errno("cn_netlink_send_mult()", send(bus, to_port(gone))?, bus.expected("nobody")?)
}

fn atomic_unicast_to_a_full_socket_fails(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    socket.set_at(SOL_SOCKET, SO_RCVBUF, 0)?;
    let port = socket.portid()?;
    let last = fill(|| send_atomic(bus, to_port(port)))?;
    expect_errno("cn_netlink_send_mult() in a softirq", last, bus.expected("atomic")?)?;
    expect_errno("receiving after it", socket.receive_now(1024, 0).map(drop), Errno::ENOBUFS)
}

fn unicast_to_a_full_socket_waits_for_room(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::Probe)?;
    const COUNT: usize = 30;
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    socket.set_at(SOL_SOCKET, SO_RCVBUF, 0)?;
    let port = socket.portid()?;
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let results: Result<Vec<_>, _> = (0..COUNT).map(|_| send(bus, to_port(port))).collect();
            results
        });
        for _ in 0..COUNT {
            socket.receive_one()?;
        }
        let returned = joined(sender)?;
        expect_eq("what the sends returned", returned, [44; COUNT])
    })
}

fn port_given_with_a_group_is_excluded(bus: &Bus<'_>) -> Outcome {
    let (left_out, other) = (member(bus, GROUP)?, member(bus, GROUP)?);
    let returned = send(bus, ConnectorSend { portid: left_out.portid()?, ..to_group(GROUP) })?;
    expect_ok("cn_netlink_send_mult()", returned)?;
    other.receive_one()?;
    left_out.expect_nothing("message for the port that was given")
}

fn send_to_a_group_of_only_the_excluded_port_fails(bus: &Bus<'_>) -> Outcome {
    let member = member(bus, GROUP)?;
    let returned = send(bus, ConnectorSend { portid: member.portid()?, ..to_group(GROUP) })?;
    expect_errno("cn_netlink_send_mult()", returned, bus.expected("nobody")?)
}

const BROADCAST_ERRORS: &[(&str, bool)] = &[("by_default", false), ("with_broadcast_error", true)];

fn send_to_a_group_without_room_fails(bus: &Bus<'_>, broadcast_error: &bool) -> Outcome {
    let member = member(bus, GROUP)?;
    member.set_at(SOL_SOCKET, SO_RCVBUF, 0)?;
    member.set(NETLINK_BROADCAST_ERROR, (*broadcast_error).into())?;
    let last = fill(|| send(bus, to_group(GROUP)))?;
    let errno = bus.expected(if *broadcast_error { "overrun" } else { "nobody" })?;
    expect_errno("cn_netlink_send_mult()", last, errno)
}

const LENGTHS: &[(&str, usize)] = &[("0", 0), ("1", 1), ("40", 40)];

fn message_is_nlmsg_done_without_flags(bus: &Bus<'_>, len: &usize) -> Outcome {
    let socket = member(bus, GROUP)?;
    let payload: Vec<u8> = (0..*len as u8).collect();
    let sent = ConnectorSend { id: ID, seq: 71, ack: 72, group: GROUP, payload, ..ConnectorSend::default() };
    expect_ok("cn_netlink_send_mult()", send(bus, sent.clone())?)?;
    let message = socket.receive_one()?;
    expect_eq(
        "type, flags, seq, pid",
        (message.kind, message.flags, message.seq, message.portid),
        (NLMSG_DONE, 0, 71, 0),
    )?;
    expect_eq("nlmsg_len", message.len() as usize, message::NLMSG_HDRLEN + HEADER + len)?;
    let expected = CnMsg { seq: 71, ack: 72, data: sent.payload, ..CnMsg::to(ID.idx, ID.val) };
    expect_eq("cn_msg", CnMsg::decode(&message.payload), Some(expected))
}

fn several_cn_msgs_may_share_a_message(bus: &Bus<'_>) -> Outcome {
    let socket = member(bus, GROUP)?;
    let first = CnMsg { data: b"first".to_vec(), ..CnMsg::to(ID.idx, ID.val) };
    let second = CnMsg { seq: 9, data: b"second".to_vec(), ..CnMsg::to(ID.idx, ID.val + 1) };
    let payload = [&first.data[..], &second.encode()].concat();
    expect_ok(
        "cn_netlink_send_mult()",
        send(bus, ConnectorSend { len: Some(5), payload, ..to_group(GROUP) })?,
    )?;
    let message = socket.receive_one()?;
    let (head, tail) = message.payload.split_at_checked(HEADER + 5).unwrap_or_default();
    expect_eq("first cn_msg", CnMsg::decode(head), Some(first))?;
    expect_eq("second cn_msg", CnMsg::decode(tail), Some(second))
}

fn message_may_exceed_the_receive_limit(bus: &Bus<'_>) -> Outcome {
    let socket = member(bus, GROUP)?;
    socket.set_at(SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)?;
    let most: usize = bus.expected("most")?;
    let returned = send(bus, ConnectorSend { payload: vec![0x4e; most], ..to_group(GROUP) })?;
    expect_ok("cn_netlink_send_mult()", returned)?;
    let message = socket.receive_into(1 << 17)?.only()?;
    expect_eq("bytes received", message.len() as usize, message::NLMSG_HDRLEN + HEADER + most)
}

fn send_from_a_softirq_arrives(bus: &Bus<'_>) -> Outcome {
    let socket = member(bus, GROUP)?;
    expect_ok("cn_netlink_send_mult() in a softirq", send_atomic(bus, to_group(GROUP))?)?;
    socket.receive_one().map(drop)
}

/// The ID is looked up in the list of callbacks.
fn send_by_id_from_a_softirq_arrives(bus: &Bus<'_>) -> Outcome {
    bus.add_callback(&Callback::named("nlc_group", ID), &Call::default())?;
    let socket = member(bus, ID.idx)?;
    let by_id = ConnectorSend { id: ID, ..ConnectorSend::default() };
    expect_ok("cn_netlink_send_mult() in a softirq", send_atomic(bus, by_id)?)?;
    socket.receive_one().map(drop)
}

fn filter_skips_a_member(bus: &Bus<'_>) -> Outcome {
    let (skipped, other) = (member(bus, GROUP)?, member(bus, GROUP)?);
    let returned = send(bus, ConnectorSend { skip: Some(skipped.portid()?), ..to_group(GROUP) })?;
    expect_ok("cn_netlink_send_mult()", returned)?;
    other.receive_one()?;
    skipped.expect_nothing("message for the member that the filter skips")
}

fn filter_that_skips_all_members_fails_the_send(bus: &Bus<'_>) -> Outcome {
    let member = member(bus, GROUP)?;
    let returned = send(bus, ConnectorSend { skip: Some(0), ..to_group(GROUP) })?;
    expect_errno("cn_netlink_send_mult()", returned, bus.expected("nobody")?)?;
    member.expect_nothing("message")
}

/// Whether it goes to the group.
const TO: &[(&str, bool)] = &[("group", true), ("port", false)];

fn send_without_memory_is_delivered_or_fails(bus: &Bus<'_>, group: &bool) -> Outcome {
    let members = [member(bus, GROUP)?, member(bus, GROUP)?];
    let (message, receivers) = match group {
        true => (to_group(GROUP), &members[..]),
        false => (to_port(members[0].portid()?), &members[..1]),
    };
    bus.fail_each_of_call(|how| {
        let returned = bus.connector_send(&message, how)?;
        for receiver in receivers {
            match receiver.receive_now(1024, 0) {
                Ok(_) => {
                    expect("return value with the message delivered", returned >= 0, "no error", returned)?
                }
                Err(Errno::EAGAIN) => {
                    expect_errno("cn_netlink_send_mult()", returned, bus.expected("errno")?)?
                }
                lost => expect_errno("receive", lost.map(drop), bus.expected("lost")?)?,
            }
        }
        let next = send(bus, message.clone())?;
        expect("return value of the next send", next >= 0, "no error", next)?;
        receivers.iter().try_for_each(|receiver| receiver.receive_one().map(drop))
    })
}
