//! The receive buffer: its size, what it is counted in, and replies that it has no room for.

use nix::errno::Errno;
use nix::libc::{self, SO_RCVBUF, SO_RCVBUFFORCE, SOL_SOCKET};

use super::{MANY, Overrun, PAYLOAD};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno};
use crate::port::Who;
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::dumps::controller;
use crate::wire::address::Address;
use crate::wire::message::{self, Message};

cases! {
    replies_are_lost_and_requests_are_not => "NL-OVR-009";
    request_is_served_again_after_the_overrun => "NL-OVR-009";
    buffer_is_twice_the_given_size => "NL-OVR-010";
    small_buffer_is_raised(SMALL) => "NL-OVR-010";
    rcvbuf_is_limited_and_rcvbufforce_is_not => "NL-OVR-010";
    rcvbufforce_needs_a_privilege => "NL-OVR-010";
    memory_counts_rather_than_the_payload => "NL-OVR-013";
    empty_queue_accepts_any_datagram => "NL-OVR-013";
}

/// A socket that requested more replies than it has room for, and the number of requests.
fn unread_replies(bus: &Bus<'_>) -> Result<Socket, Failure> {
    bus.need_prompt_answers()?;
    let socket = bus.generic()?;
    socket.set_at(SOL_SOCKET, SO_RCVBUF, 2304)?;
    let request = controller();
    for number in 0..MANY {
        let sent = socket.send(&request.clone().seq(number));
        expect_eq("bytes taken by send()", sent, Ok(request.len() as usize))?;
    }
    Ok(socket)
}

fn replies_are_lost_and_requests_are_not(bus: &Bus<'_>) -> Outcome {
    let socket = unread_replies(bus)?;
    socket.wait(WAIT)?;
    expect_errno("first receive", socket.receive_now(4096, 0), bus.expected("errno")?)?;
    let mut replies = 0;
    while let Ok(datagram) = socket.receive_now(4096, 0) {
        expect_eq("sequence number", datagram.only()?.seq, replies)?;
        replies += 1;
    }
    expect("replies", (1..MANY).contains(&replies), "the first few", replies)
}

fn request_is_served_again_after_the_overrun(bus: &Bus<'_>) -> Outcome {
    let socket = unread_replies(bus)?;
    expect_errno("first receive", socket.receive_now(4096, 0), Errno::ENOBUFS)?;
    while socket.receive_now(4096, 0).is_ok() {}
    socket.ask(&controller())?.reply().map(drop)
}

/// `SO_RCVBUF` as read after setting it to a number.
fn buffer(bus: &Bus<'_>, option: i32, bytes: u32) -> Result<u32, Failure> {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.set_at(SOL_SOCKET, option, bytes)?;
    Ok(socket.get_at(SOL_SOCKET, SO_RCVBUF)?)
}

fn buffer_is_twice_the_given_size(bus: &Bus<'_>) -> Outcome {
    expect_eq("SO_RCVBUF when 5000 was set", buffer(bus, SO_RCVBUF, 5000)?, 10000)
}

const SMALL: &[(&str, u32)] = &[("0", 0), ("1", 1), ("500", 500)];

fn small_buffer_is_raised(bus: &Bus<'_>, bytes: &u32) -> Outcome {
    let got = buffer(bus, SO_RCVBUF, *bytes)?;
    expect("SO_RCVBUF", (2048..=4096).contains(&got), "the least, about 2304", got)?;
    expect_eq("the minimum, whatever was set", got, buffer(bus, SO_RCVBUF, 2)?)
}

fn rcvbuf_is_limited_and_rcvbufforce_is_not(bus: &Bus<'_>) -> Outcome {
    const HUGE: u32 = 256 << 20;
    let limited = buffer(bus, SO_RCVBUF, HUGE)?;
    expect("SO_RCVBUF", limited < 2 * HUGE, "net.core.rmem_max, twice", limited)?;
    expect_eq("when it was forced", buffer(bus, SO_RCVBUFFORCE, HUGE)?, 2 * HUGE)
}

fn rcvbufforce_needs_a_privilege(bus: &Bus<'_>) -> Outcome {
    let forced = bus.run_as(Who::Nobody, || {
        let socket = bus.bound(libc::NETLINK_ROUTE)?;
        Ok(socket.set_at(SOL_SOCKET, SO_RCVBUFFORCE, 5000).err().map(|errno| errno as i32))
    })?;
    expect_eq(
        "errno of SO_RCVBUFFORCE without privilege",
        forced.map(Errno::from_raw),
        Some(bus.expected("errno")?),
    )
}

fn memory_counts_rather_than_the_payload(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let kept = scene.overrun()?;
    let buffer = scene.member.get_at(SOL_SOCKET, SO_RCVBUF)?;
    let bytes = (kept + 1) * (PAYLOAD + message::NLMSG_HDRLEN) as u32;
    expect(
        "bytes of the messages sent, of which the last was lost",
        bytes < buffer,
        "less than the buffer",
        bytes,
    )
}

/// An empty queue accepts any message.
fn empty_queue_accepts_any_datagram(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    scene.member.set_at(SOL_SOCKET, SO_RCVBUF, 1)?;
    let message = Message::new(0x20).seq(7).bytes(&[0; 8 << 10]).encode();
    let sent = scene.sender.send_to(Address::port(scene.member.portid()?), &message);
    expect_eq("bytes taken by send()", sent, Ok(message.len()))?;
    expect_eq("sequence number of the message", scene.member.receive_one()?.seq, 7)
}
