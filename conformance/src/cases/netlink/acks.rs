//! NLMSG_ERROR, byte by byte.

mod batches;
mod extended;
mod room;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_bytes, expect_eq, expect_errno, expect_ok};
use crate::scene::PORT;
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::requests;
use crate::scene::threads::ended_by;
use crate::wire::address::Address;
use crate::wire::message::{Message, NLM_F_ACK, NLMSG_NOOP, UNKNOWN};
use crate::wire::route;
use crate::wire::{ack, align};

cases! {
    success_is_36_bytes(PAYLOADS) => "NL-ACK-001";
    success_after_a_reply_is_36_bytes [initial_net] => "NL-ACK-001";
    refusal_holds_the_whole_request(PAYLOADS) => "NL-ACK-002";
    capped_refusal_holds_the_header(PAYLOADS) => "NL-ACK-003";
    acknowledgement_without_room_becomes_a_socket_error => "NL-ACK-011";
    acknowledgement_without_memory_becomes_a_socket_error => "NL-ACK-011";
    lost_acknowledgement_wakes_who_polls_for_errors [parallel] => "NL-RCV-007";
    acknowledgement_carries_port_and_sequence_number(PORTS) [initial_net] => "NL-ACK-012";
    refusal_carries_port_and_sequence_number(PORTS) => "NL-ACK-012";
    + extended;
    + room;
    + batches;
}

const PAYLOADS: &[(&str, usize)] =
    &[("no_payload", 0), ("12_bytes", 12), ("9_bytes", 9), ("1000_bytes", 1000)];

fn success_is_36_bytes(bus: &Bus<'_>, payload: &usize) -> Outcome {
    bus.need_noop()?;
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let request = Message::request(NLMSG_NOOP).with(NLM_F_ACK).seq(7).bytes(&vec![0xa5; *payload]);
    socket.send(&request)?;
    expect_acknowledgement(bus, &request, &socket.receive_one()?)
}

/// Asks for the loopback interface, which every system has in its initial network namespace.
fn success_after_a_reply_is_36_bytes(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let request = requests::get(libc::NETLINK_ROUTE).with(NLM_F_ACK).seq(7);
    let (reply, ack) = socket.reply_and_acknowledgement(&request)?;
    expect_eq("type of the reply", reply.kind, route::RTM_NEWLINK)?;
    expect_acknowledgement(bus, &request, &ack)
}

fn expect_acknowledgement(bus: &Bus<'_>, request: &Message, answer: &Message) -> Outcome {
    expect_eq("nlmsg_len", answer.len(), 36)?;
    expect_eq("status", answer.status(), Some(0))?;
    expect_bytes("copy of the request's header", ack::copy(answer), request.header())?;
    expect_eq("flags", answer.flags, bus.expected::<u16>("flags")?)
}

/// Sends a request that fails because its type is unknown; returns it and the answer.
fn refused(socket: &Socket, payload: usize) -> Result<(Message, Message), Failure> {
    let request = Message::request(UNKNOWN).seq(7).bytes(&vec![0xa5; payload]);
    socket.send(&request)?;
    let refusal = socket.receive_one()?;
    expect("status", refusal.status() < Some(0), "a negative errno", refusal.status())?;
    Ok((request, refusal))
}

fn refusal_holds_the_whole_request(bus: &Bus<'_>, payload: &usize) -> Outcome {
    let (request, refusal) = refused(&bus.bound(libc::NETLINK_ROUTE)?, *payload)?;
    let mut copy = request.encode();
    copy.resize(align(copy.len()), 0);
    expect_bytes("copy of the request", ack::copy(&refusal), copy)?;
    expect_eq("flags", refusal.flags, bus.expected::<u16>("flags")?)
}

fn capped_refusal_holds_the_header(bus: &Bus<'_>, payload: &usize) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.set(libc::NETLINK_CAP_ACK, 1)?;
    let (request, refusal) = refused(&socket, *payload)?;
    expect_bytes("copy of the request", ack::copy(&refusal), request.header())?;
    expect_eq("flags", refusal.flags, bus.expected::<u16>("flags")?)
}

fn acknowledgement_without_room_becomes_a_socket_error(bus: &Bus<'_>) -> Outcome {
    bus.need_prompt_answers()?;
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?; // the minimum
    let refused = Message::request(UNKNOWN).seq(7).bytes(&[0; 1000]);
    for seq in 0..20 {
        expect_ok("send()", socket.send(&refused.clone().seq(seq)))?;
    }
    expect_errno("first receive", socket.receive_now(8192, 0), bus.expected("errno")?)?;
    let mut queued = 0;
    let end = loop {
        match socket.receive_now(8192, 0) {
            Ok(datagram) => expect_eq("sequence number", datagram.only()?.seq, queued)?,
            Err(errno) => break errno,
        }
        queued += 1;
    };
    expect("refusals that had room", (1..20).contains(&queued), "some of 20", queued)?;
    expect_eq("end of the queue", end, Errno::EAGAIN)?;
    socket.expect_nothing("refusal that had no room")
}

fn lost_acknowledgement_wakes_who_polls_for_errors(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let request = unanswerable(&socket, LARGEST_BLOCK)?;
    let sends = || expect_ok("send()", socket.send(&request));
    let events = ended_by(|| socket.raw().poll(libc::POLLERR, 2 * WAIT), sends)?;
    expect_eq("events", events, Ok(libc::POLLERR))
}

/// Bytes that the kernel cannot allocate in one piece.
const LARGEST_BLOCK: u32 = 4 << 20;

/// A request with so many bytes that its refusal has no memory, and the room to send it.
fn unanswerable(socket: &Socket, size: u32) -> Result<Message, Failure> {
    socket.set_at(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, size)?; // the kernel doubles it
    Ok(Message::request(UNKNOWN).seq(7).bytes(&vec![0; size as usize]))
}

/// The copy of the request does not fit into the largest block that the kernel can allocate.
fn acknowledgement_without_memory_becomes_a_socket_error(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let refused = unanswerable(&socket, bus.expected("size")?)?;
    expect_ok("send()", socket.send(&refused))?;
    socket.wait(WAIT)?;
    expect_errno("receive", socket.receive_now(8192, 0), bus.expected("errno")?)?;
    socket.expect_nothing("refusal without memory")?;
    socket.set(libc::NETLINK_CAP_ACK, 1)?;
    socket.send(&refused)?;
    let status = socket.receive_one()?.status();
    expect("status without the copy", status < Some(0), "a negative errno", status)
}

const PORTS: &[(&str, u32)] = &[("chosen", 0), ("asked_for", PORT)];

fn acknowledgement_carries_port_and_sequence_number(bus: &Bus<'_>, port: &u32) -> Outcome {
    answer_carries_port_and_sequence_number(bus, *port, &bus.acknowledged()?.seq(99))
}

fn refusal_carries_port_and_sequence_number(bus: &Bus<'_>, port: &u32) -> Outcome {
    answer_carries_port_and_sequence_number(bus, *port, &route::refused(99))
}

fn answer_carries_port_and_sequence_number(bus: &Bus<'_>, port: u32, request: &Message) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    socket.bind(Address::port(port))?;
    let answer = socket.acknowledgement(request)?;
    expect_eq("port ID and sequence number", (answer.portid, answer.seq), (socket.portid()?, request.seq))
}
