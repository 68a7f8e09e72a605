//! recv(2): buffers, truncation, peeking and polling.

mod broadcast;
mod copies;
mod edges;
mod limit;
mod notifications;
mod overrun;
mod waiting;

use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, MSG_PEEK, MSG_TRUNC, POLLERR, POLLIN, POLLOUT};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno};
use crate::port::Refused;
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::wire::route;

cases! {
    datagram_is_truncated_to_the_buffer(CUTS) => "NL-RCV-001";
    datagram_that_fits_is_whole(WHOLE) => "NL-RCV-001";
    rest_of_a_truncated_datagram_is_lost => "NL-RCV-001";
    full_length_is_returned_on_request(ANY_ROOM) => "NL-RCV-002";
    peek_with_an_empty_buffer_returns_the_length => "NL-RCV-002";
    datagram_is_lost_in_an_unwritable_buffer => "NL-RCV-008";
    peek_leaves_the_datagram => "NL-RCV-003";
    truncated_peek_leaves_the_whole_datagram => "NL-RCV-003";
    poll_reports_a_datagram => "NL-RCV-006";
    poll_reports_until_the_last_datagram => "NL-RCV-006";
    + broadcast;
    + overrun;
    + limit;
    + copies;
    + waiting;
    + edges;
    + notifications;
}

/// A socket with a reply in its queue, and the bytes of that reply.
fn with_answer(bus: &Bus<'_>) -> Result<(Socket, usize), Failure> {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    // The reply to the same request has the same length.
    socket.send(&route::refused(7))?;
    let len = socket.receive()?.incoming.returned;
    socket.send(&route::refused(7))?;
    socket.wait(WAIT)?;
    Ok((socket, len))
}

/// The buffer to offer, given the length of the datagram.
type Room = fn(usize) -> usize;

const CUTS: &[(&str, Room)] =
    &[("0_bytes", |_| 0), ("1_byte", |_| 1), ("10_bytes", |_| 10), ("one_byte_short", |len| len - 1)];

fn datagram_is_truncated_to_the_buffer(bus: &Bus<'_>, room: &Room) -> Outcome {
    let (socket, len) = with_answer(bus)?;
    let room = room(len);
    let cut = socket.receive_now(room, 0)?.incoming;
    expect_eq("bytes received", (cut.returned, cut.bytes.len()), (room, room))?;
    expect("msg_flags", cut.flags & MSG_TRUNC != 0, "MSG_TRUNC", cut.flags)
}

const WHOLE: &[(&str, Room)] = &[("exactly", |len| len), ("with_room_to_spare", |len| len + 1)];

fn datagram_that_fits_is_whole(bus: &Bus<'_>, room: &Room) -> Outcome {
    let (socket, len) = with_answer(bus)?;
    let whole = socket.receive_now(room(len), 0)?.incoming;
    expect_eq("bytes received", whole.returned, len)?;
    expect("msg_flags", whole.flags & MSG_TRUNC == 0, "no MSG_TRUNC", whole.flags)
}

fn rest_of_a_truncated_datagram_is_lost(bus: &Bus<'_>) -> Outcome {
    let (socket, _) = with_answer(bus)?;
    socket.receive_now(10, 0)?;
    expect_errno("next receive", socket.receive_now(100, 0), Errno::EAGAIN)
}

const ANY_ROOM: &[(&str, usize)] = &[("no_room", 0), ("10_bytes", 10), ("100_bytes", 100)];

fn full_length_is_returned_on_request(bus: &Bus<'_>, room: &usize) -> Outcome {
    let (socket, len) = with_answer(bus)?;
    let incoming = socket.receive_now(*room, MSG_TRUNC)?.incoming;
    expect_eq("length returned", incoming.returned, len)?;
    expect_eq("MSG_TRUNC in msg_flags", incoming.flags & MSG_TRUNC != 0, *room < len)?;
    expect_errno("next receive", socket.receive_now(100, 0), Errno::EAGAIN)
}

fn peek_with_an_empty_buffer_returns_the_length(bus: &Bus<'_>) -> Outcome {
    let (socket, len) = with_answer(bus)?;
    let asked = socket.receive_now(0, MSG_PEEK | MSG_TRUNC)?.incoming.returned;
    expect_eq("length asked for", asked, len)?;
    let incoming = socket.receive_now(asked, 0)?.incoming;
    expect_eq("bytes received into a buffer of that length", incoming.bytes.len(), len)?;
    expect("msg_flags", incoming.flags & MSG_TRUNC == 0, "no MSG_TRUNC", incoming.flags)
}

fn datagram_is_lost_in_an_unwritable_buffer(bus: &Bus<'_>) -> Outcome {
    let (socket, _) = with_answer(bus)?;
    let received = socket.raw().refused(Refused::UnwritableBuffer);
    expect_errno("receive", received, bus.expected("errno")?)?;
    expect_errno("next receive", socket.receive_now(100, 0), Errno::EAGAIN)
}

fn peek_leaves_the_datagram(bus: &Bus<'_>) -> Outcome {
    let (socket, _) = with_answer(bus)?;
    let peeked = [socket.receive_now(100, MSG_PEEK)?, socket.receive_now(100, MSG_PEEK)?];
    let taken = socket.receive_now(100, 0)?;
    for peeked in peeked {
        expect_eq("bytes peeked at", peeked.incoming.bytes, &taken.incoming.bytes[..])?;
    }
    expect_errno("next receive", socket.receive_now(100, 0), Errno::EAGAIN)
}

fn truncated_peek_leaves_the_whole_datagram(bus: &Bus<'_>) -> Outcome {
    let (socket, len) = with_answer(bus)?;
    let cut = socket.receive_now(10, MSG_PEEK)?.incoming;
    expect("msg_flags of the peek", cut.flags & MSG_TRUNC != 0, "MSG_TRUNC", cut.flags)?;
    expect_eq("bytes received after it", socket.receive_now(100, 0)?.incoming.returned, len)
}

fn events(socket: &Socket) -> Result<i16, Errno> {
    socket.raw().poll(POLLIN | POLLOUT | POLLERR, Duration::ZERO)
}

fn poll_reports_a_datagram(bus: &Bus<'_>) -> Outcome {
    let idle = bus.bound(libc::NETLINK_ROUTE)?;
    expect_eq("events of a new socket", events(&idle)?, POLLOUT)?;
    let (socket, _) = with_answer(bus)?;
    expect_eq("events with a datagram in the queue", events(&socket)?, POLLIN | POLLOUT)?;
    socket.receive_now(100, MSG_PEEK)?;
    expect_eq("events after a peek", events(&socket)?, POLLIN | POLLOUT)
}

fn poll_reports_until_the_last_datagram(bus: &Bus<'_>) -> Outcome {
    let (socket, _) = with_answer(bus)?;
    socket.send(&route::refused(8))?;
    expect_eq("sequence number", socket.receive_one()?.seq, 7)?;
    socket.wait(WAIT)?;
    expect_eq("events after the first", events(&socket)?, POLLIN | POLLOUT)?;
    expect_eq("sequence number", socket.receive_one()?.seq, 8)?;
    expect_eq("events after the last", events(&socket)?, POLLOUT)
}
