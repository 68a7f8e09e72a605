//! recv(2): what fits, what is left, what is told.

use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, MSG_PEEK, MSG_TRUNC, POLLERR, POLLIN, POLLOUT};

use crate::bus::{Bus, Socket, WAIT};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno};
use crate::wire::message::{ACK, Message, NOOP};

cases! {
    datagram_is_cut_to_the_room(CUTS) => "NL-RCV-001";
    datagram_that_fits_is_whole(WHOLE) => "NL-RCV-001";
    rest_of_a_cut_datagram_is_lost => "NL-RCV-001";
    full_length_is_told_on_request(ANY_ROOM) => "NL-RCV-002";
    length_is_asked_for_without_receiving => "NL-RCV-002";
    peek_leaves_the_datagram => "NL-RCV-003";
    cut_peek_leaves_the_whole_datagram => "NL-RCV-003";
    poll_tells_of_a_datagram => "NL-RCV-006";
    poll_tells_until_the_last_datagram => "NL-RCV-006";
}

/// Bytes of the datagram that [`with_ack`] leaves in the queue.
const LEN: usize = 36;

/// A socket with an acknowledgement of 36 bytes in its queue.
fn with_ack(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.send(&Message::request(NOOP).with(ACK).seq(7))?;
    socket.wait(WAIT)?;
    Ok(socket)
}

const CUTS: &[(&str, usize)] =
    &[("0_bytes", 0), ("1_byte", 1), ("10_bytes", 10), ("one_byte_short", LEN - 1)];

fn datagram_is_cut_to_the_room(bus: &Bus<'_>, room: &usize) -> Outcome {
    let cut = with_ack(bus)?.receive_now(*room, 0)?.incoming;
    expect_eq("bytes received", (cut.returned, cut.bytes.len()), (*room, *room))?;
    expect("msg_flags", cut.flags & MSG_TRUNC != 0, "MSG_TRUNC", cut.flags)
}

const WHOLE: &[(&str, usize)] = &[("exactly", LEN), ("with_room_to_spare", LEN + 1)];

fn datagram_that_fits_is_whole(bus: &Bus<'_>, room: &usize) -> Outcome {
    let whole = with_ack(bus)?.receive_now(*room, 0)?.incoming;
    expect_eq("bytes received", whole.returned, LEN)?;
    expect("msg_flags", whole.flags & MSG_TRUNC == 0, "no MSG_TRUNC", whole.flags)
}

fn rest_of_a_cut_datagram_is_lost(bus: &Bus<'_>) -> Outcome {
    let socket = with_ack(bus)?;
    socket.receive_now(10, 0)?;
    expect_errno("next receive", socket.receive_now(100, 0), Errno::EAGAIN)
}

const ANY_ROOM: &[(&str, usize)] = &[("no_room", 0), ("10_bytes", 10), ("100_bytes", 100)];

fn full_length_is_told_on_request(bus: &Bus<'_>, room: &usize) -> Outcome {
    let socket = with_ack(bus)?;
    let incoming = socket.receive_now(*room, MSG_TRUNC)?.incoming;
    expect_eq("length returned", incoming.returned, LEN)?;
    expect_eq("MSG_TRUNC in msg_flags", incoming.flags & MSG_TRUNC != 0, *room < LEN)?;
    expect_errno("next receive", socket.receive_now(100, 0), Errno::EAGAIN)
}

fn length_is_asked_for_without_receiving(bus: &Bus<'_>) -> Outcome {
    let socket = with_ack(bus)?;
    let asked = socket.receive_now(0, MSG_PEEK | MSG_TRUNC)?.incoming.returned;
    expect_eq("length asked for", asked, LEN)?;
    let incoming = socket.receive_now(asked, 0)?.incoming;
    expect_eq("bytes received into a buffer of that length", incoming.bytes.len(), LEN)?;
    expect("msg_flags", incoming.flags & MSG_TRUNC == 0, "no MSG_TRUNC", incoming.flags)
}

fn peek_leaves_the_datagram(bus: &Bus<'_>) -> Outcome {
    let socket = with_ack(bus)?;
    let peeked = [socket.receive_now(100, MSG_PEEK)?, socket.receive_now(100, MSG_PEEK)?];
    let taken = socket.receive_now(100, 0)?;
    for peeked in peeked {
        expect_eq("bytes peeked at", peeked.incoming.bytes, &taken.incoming.bytes[..])?;
    }
    expect_errno("next receive", socket.receive_now(100, 0), Errno::EAGAIN)
}

fn cut_peek_leaves_the_whole_datagram(bus: &Bus<'_>) -> Outcome {
    let socket = with_ack(bus)?;
    let cut = socket.receive_now(10, MSG_PEEK)?.incoming;
    expect("msg_flags of the peek", cut.flags & MSG_TRUNC != 0, "MSG_TRUNC", cut.flags)?;
    expect_eq("bytes received behind it", socket.receive_now(100, 0)?.incoming.returned, LEN)
}

fn events(socket: &Socket) -> Result<i16, Errno> {
    socket.raw().poll(POLLIN | POLLOUT | POLLERR, Duration::ZERO)
}

fn poll_tells_of_a_datagram(bus: &Bus<'_>) -> Outcome {
    let idle = bus.bound(libc::NETLINK_ROUTE)?;
    expect_eq("events of a new socket", events(&idle)?, POLLOUT)?;
    let socket = with_ack(bus)?;
    expect_eq("events with a datagram in the queue", events(&socket)?, POLLIN | POLLOUT)?;
    socket.receive_now(100, MSG_PEEK)?;
    expect_eq("events behind a peek", events(&socket)?, POLLIN | POLLOUT)
}

fn poll_tells_until_the_last_datagram(bus: &Bus<'_>) -> Outcome {
    let socket = with_ack(bus)?;
    socket.send(&Message::request(NOOP).with(ACK).seq(8))?;
    for (seq, left) in [(7, POLLIN | POLLOUT), (8, POLLOUT)] {
        expect_eq("sequence number", socket.receive_one()?.seq, seq)?;
        expect_eq("events behind it", events(&socket)?, left)?;
    }
    Ok(())
}
