//! recv(2): what fits, what is left.

use nix::errno::Errno;
use nix::libc;

use crate::bus::{Bus, Socket};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno};
use crate::wire::message::{ACK, Message, NOOP};

cases! {
    datagram_is_cut_to_the_room => "NL-RCV-001";
    peek_leaves_the_datagram => "NL-RCV-003";
}

/// A socket with an acknowledgement of 36 bytes in its queue.
fn with_ack(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.send(&Message::request(NOOP).with(ACK).seq(7))?;
    socket.wait(crate::bus::WAIT)?;
    Ok(socket)
}

fn datagram_is_cut_to_the_room(bus: &Bus<'_>) -> Outcome {
    let socket = with_ack(bus)?;
    let cut = socket.receive_now(10, 0)?.incoming;
    expect_eq("bytes received", (cut.returned, cut.bytes.len()), (10, 10))?;
    expect("msg_flags", cut.flags & libc::MSG_TRUNC != 0, "MSG_TRUNC", cut.flags)?;
    expect_errno("next receive", socket.receive_now(100, 0), Errno::EAGAIN)
}

fn peek_leaves_the_datagram(bus: &Bus<'_>) -> Outcome {
    let socket = with_ack(bus)?;
    let peeked = [socket.receive_now(100, libc::MSG_PEEK)?, socket.receive_now(100, libc::MSG_PEEK)?];
    let taken = socket.receive_now(100, 0)?;
    for peeked in peeked {
        expect_eq("bytes peeked at", peeked.incoming.bytes, &taken.incoming.bytes[..])?;
    }
    expect_errno("next receive", socket.receive_now(100, 0), Errno::EAGAIN)
}
