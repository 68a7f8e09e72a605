//! NLMSG_ERROR, byte by byte.

use nix::libc;

use crate::bus::{Bus, Socket};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq};
use crate::wire::align;
use crate::wire::message::{self, ACK, Message, NOOP};

cases! {
    success_is_36_bytes => "NL-ACK-001";
    refusal_holds_the_whole_request(PAYLOADS) => "NL-ACK-002";
    capped_refusal_holds_the_header(PAYLOADS) => "NL-ACK-003";
    answer_carries_port_and_sequence_number(PORTS) => "NL-ACK-012";
}

fn success_is_36_bytes(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let request = Message::request(NOOP).with(ACK).seq(7);
    socket.send(&request)?;
    let ack = socket.receive_one()?;
    expect_eq("nlmsg_len", ack.len(), 36)?;
    expect_eq("status", ack.status(), Some(0))?;
    expect_eq("copy of the request's header", &ack.payload[4..], &request.header()[..])?;
    expect_eq("flags", ack.flags, bus.expected::<u16>("flags")?)
}

const PAYLOADS: &[(&str, usize)] =
    &[("no_payload", 0), ("12_bytes", 12), ("9_bytes", 9), ("1000_bytes", 1000)];

/// Sends a request that is refused because its type is unknown; gives both.
fn refused(socket: &Socket, payload: usize) -> Result<(Message, Message), Failure> {
    let request = Message::request(0xfff0).seq(7).bytes(&vec![0xa5; payload]);
    socket.send(&request)?;
    let refusal = socket.receive_one()?;
    expect("status", refusal.status() < Some(0), "a negative errno", refusal.status())?;
    Ok((request, refusal))
}

fn refusal_holds_the_whole_request(bus: &Bus<'_>, payload: &usize) -> Outcome {
    let (request, refusal) = refused(&bus.bound(libc::NETLINK_ROUTE)?, *payload)?;
    let mut copy = request.encode();
    copy.resize(align(copy.len()), 0);
    expect_eq("copy of the request", &refusal.payload[4..], &copy[..])?;
    expect_eq("flags", refusal.flags, bus.expected::<u16>("flags")?)
}

fn capped_refusal_holds_the_header(bus: &Bus<'_>, payload: &usize) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.set(libc::NETLINK_CAP_ACK, 1)?;
    let (request, refusal) = refused(&socket, *payload)?;
    expect_eq("copy of the request", &refusal.payload[4..], &request.header()[..])?;
    expect_eq("flags", refusal.flags, bus.expected::<u16>("flags")?)
}

const PORTS: &[(&str, u32)] = &[("chosen", 0), ("asked_for", 777)];

fn answer_carries_port_and_sequence_number(bus: &Bus<'_>, port: &u32) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    socket.bind(crate::wire::address::Address::port(*port))?;
    let portid = socket.portid()?;
    for kind in [NOOP, 0xfff0] {
        socket.send(&Message::request(kind).with(ACK).seq(99))?;
        let answer = socket.receive_one()?;
        expect_eq("type", answer.kind, message::ERROR)?;
        expect_eq("port ID and sequence number", (answer.portid, answer.seq), (portid, 99))?;
    }
    Ok(())
}
