//! A full receive buffer: what is lost, and what is reported.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, MSG_DONTWAIT, POLLERR, POLLIN, POLLOUT, SO_RCVBUF, SO_RCVBUFFORCE, SOL_SOCKET};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect, expect_eq, expect_errno, expect_ok};
use crate::port::{Outgoing, Who};
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::dumps::controller;
use crate::scene::threads::ended_by;
use crate::wire::address::Address;
use crate::wire::message::{self, Message};

cases! {
    queue_is_kept_and_the_rest_is_lost => "NL-OVR-001";
    each_lost_message_is_counted => "NL-OVR-011";
    other_members_lose_nothing => "NL-OVR-001";
    nothing_is_delivered_before_the_queue_is_empty => "NL-OVR-002";
    second_overrun_is_reported_again => "NL-OVR-002";
    error_is_reported_once_by_receive => "NL-OVR-003";
    error_is_reported_once_by_so_error => "NL-OVR-003";
    peek_takes_the_error => "NL-OVR-003";
    poll_reports_a_pending_error => "NL-RCV-006", "NL-OVR-003";
    overrun_wakes_who_polls_for_errors [parallel] => "NL-RCV-007";
    no_enobufs_suppresses_the_error => "NL-OVR-004";
    loss_without_an_error_is_counted => "NL-OVR-004";
    freed_room_is_used_again_at_once => "NL-OVR-004";
    late_no_enobufs_ends_the_congestion => "NL-OVR-005";
    late_no_enobufs_leaves_the_error => "NL-OVR-005";
    late_no_enobufs_wakes_waiting_senders [parallel] => "NL-OVR-005";
    replies_are_lost_and_requests_are_not => "NL-OVR-009";
    request_is_served_again_after_the_overrun => "NL-OVR-009";
    buffer_is_twice_the_given_size => "NL-OVR-010";
    small_buffer_is_raised(SMALL) => "NL-OVR-010";
    rcvbuf_is_limited_and_rcvbufforce_is_not => "NL-OVR-010";
    rcvbufforce_needs_a_privilege => "NL-OVR-010";
    memory_counts_rather_than_the_payload => "NL-OVR-013";
    empty_queue_accepts_any_datagram => "NL-OVR-013";
}

/// A member of group 1 with room for a few messages, and the sender that fills it.
struct Overrun {
    member: Socket,
    sender: Socket,
}

/// Bytes of payload of each message.
const PAYLOAD: usize = 800;
/// More messages than the member has room for.
const MANY: u32 = 20;

impl Overrun {
    fn set_up(bus: &Bus<'_>) -> Result<Overrun, Failure> {
        let member = bus.bound(libc::NETLINK_USERSOCK)?;
        member.set_at(SOL_SOCKET, SO_RCVBUF, 2304)?;
        member.join(1)?;
        Ok(Overrun { member, sender: bus.bound(libc::NETLINK_USERSOCK)? })
    }

    /// Sends a message with this number to the group.
    fn say(&self, number: u32) -> Outcome {
        let message = Message::new(0x20).seq(number).bytes(&[0; PAYLOAD]).encode();
        match self.sender.send_to(Address::groups(1), &message) {
            // This protocol has no kernel socket; the group still gets the message.
            Ok(_) | Err(Errno::ECONNREFUSED) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends messages 0, 1, ... until one is lost; returns how many the member has.
    fn overrun(&self) -> Result<u32, Failure> {
        for number in 0..MANY {
            self.say(number)?;
            if self.member.raw().poll(POLLERR, Duration::ZERO)? & POLLERR != 0 {
                return Ok(number);
            }
        }
        broken("20 messages did not fill the member's receive buffer")
    }

    /// What receive calls return until the queue is empty: numbers of messages, and errors.
    fn drain(&self) -> Vec<Result<u32, Errno>> {
        let mut got = Vec::new();
        while got.len() < 2 * MANY as usize {
            match self.member.receive_now(4096, 0) {
                Err(Errno::EAGAIN) => break,
                result => {
                    got.push(result.map(|it| it.messages.first().map_or(u32::MAX, |message| message.seq)))
                }
            }
        }
        got
    }
}

/// The messages with these numbers, received.
fn messages(numbers: impl IntoIterator<Item = u32>) -> Vec<Result<u32, Errno>> {
    numbers.into_iter().map(Ok).collect()
}

fn queue_is_kept_and_the_rest_is_lost(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let kept = scene.overrun()?;
    for number in kept + 1..MANY {
        scene.say(number)?;
    }
    let expected = [vec![Err(bus.expected("errno")?)], messages(0..kept)].concat();
    expect_eq("receive calls", scene.drain(), expected)
}

fn each_lost_message_is_counted(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let kept = scene.overrun()?;
    expect_eq("losses", bus.inspect(&scene.member)?.drops, 1)?;
    for number in kept + 1..MANY {
        scene.say(number)?;
    }
    expect_eq("losses", bus.inspect(&scene.member)?.drops, MANY - kept)
}

fn other_members_lose_nothing(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let other = bus.bound(libc::NETLINK_USERSOCK)?;
    other.join(1)?;
    let lost = scene.overrun()?;
    for number in 0..=lost {
        expect_eq("message to a member that has room", other.receive_one()?.seq, number)?;
    }
    Ok(())
}

fn nothing_is_delivered_before_the_queue_is_empty(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let kept = scene.overrun()?;
    expect_errno("first receive", scene.member.receive_now(4096, 0), Errno::ENOBUFS)?;
    for _ in 1..kept {
        scene.member.receive_now(4096, 0)?;
    }
    scene.say(100)?;
    expect_eq("what is left of the queue", scene.drain(), messages([kept - 1]))?;
    scene.say(101)?;
    expect_eq("what comes to an empty queue", scene.drain(), messages([101]))
}

fn second_overrun_is_reported_again(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    for _ in 0..2 {
        let kept = scene.overrun()?;
        expect_eq("receive calls", scene.drain(), [vec![Err(Errno::ENOBUFS)], messages(0..kept)].concat())?;
    }
    Ok(())
}

fn error_is_reported_once_by_receive(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    scene.overrun()?;
    let first = scene.member.receive_now(4096, 0);
    expect_errno("first receive", first, bus.expected("errno")?)?;
    expect_ok("second receive", scene.member.receive_now(4096, 0))
}

fn error_is_reported_once_by_so_error(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let kept = scene.overrun()?;
    let error = || Ok::<_, Failure>(Errno::from_raw(scene.member.get_at(SOL_SOCKET, libc::SO_ERROR)? as i32));
    expect_eq("SO_ERROR", error()?, bus.expected("errno")?)?;
    expect_eq("SO_ERROR again", error()?, Errno::from_raw(0))?;
    expect_eq("receive calls", scene.drain(), messages(0..kept))
}

fn peek_takes_the_error(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let kept = scene.overrun()?;
    let peek = scene.member.receive_now(4096, libc::MSG_PEEK);
    expect_errno("peek", peek, bus.expected("errno")?)?;
    expect_eq("receive calls", scene.drain(), messages(0..kept))
}

fn poll_reports_a_pending_error(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    scene.overrun()?;
    let events = || scene.member.raw().poll(POLLIN | POLLOUT, Duration::ZERO);
    expect_eq("events after the overrun", events()?, POLLIN | POLLOUT | POLLERR)?;
    expect_errno("first receive", scene.member.receive_now(4096, 0), Errno::ENOBUFS)?;
    expect_eq("events after the error was reported", events()?, POLLIN | POLLOUT)
}

fn overrun_wakes_who_polls_for_errors(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let events = ended_by(|| scene.member.raw().poll(POLLERR, 2 * WAIT), || scene.overrun().map(drop))?;
    expect_eq("events", events, Ok(POLLERR))
}

fn no_enobufs_suppresses_the_error(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let kept = scene.overrun()?;
    scene.drain();
    scene.member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    for number in 0..MANY {
        scene.say(number)?;
    }
    expect_eq("receive calls", scene.drain(), messages(0..kept))
}

fn loss_without_an_error_is_counted(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    scene.member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    for number in 0..MANY {
        scene.say(number)?;
    }
    let lost = bus.inspect(&scene.member)?.drops;
    expect_eq("messages received and lost", scene.drain().len() as u32 + lost, MANY)
}

fn freed_room_is_used_again_at_once(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    scene.member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    for number in 0..MANY {
        scene.say(number)?;
    }
    expect_ok("first receive", scene.member.receive_now(4096, 0))?;
    scene.say(100)?;
    expect_eq("message that came last", scene.drain().pop(), Some(Ok(100)))
}

fn late_no_enobufs_ends_the_congestion(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let kept = scene.overrun()?;
    expect_errno("first receive", scene.member.receive_now(4096, 0), Errno::ENOBUFS)?;
    scene.member.receive_now(4096, 0)?;
    scene.member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    scene.say(100)?;
    expect_eq("receive calls", scene.drain(), messages((1..kept).chain([100])))
}

fn late_no_enobufs_leaves_the_error(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    scene.overrun()?;
    scene.member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    expect_errno("first receive", scene.member.receive_now(4096, 0), bus.expected("errno")?)?;
    expect_ok("second receive", scene.member.receive_now(4096, 0))
}

fn late_no_enobufs_wakes_waiting_senders(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    scene.overrun()?;
    expect_errno("first receive", scene.member.receive_now(4096, 0), Errno::ENOBUFS)?;
    scene.member.receive_now(4096, 0)?;
    let to = Some(Address::port(scene.member.portid()?).encode());
    let short = Outgoing { bytes: vec![1; 16], to, ..Outgoing::default() };
    let now = Outgoing { flags: MSG_DONTWAIT, ..short.clone() };
    expect_errno("unicast to the congested socket", scene.sender.transmit(now), Errno::EAGAIN)?;
    thread::scope(|scope| {
        let (reported, done) = mpsc::channel();
        let sender = &scene.sender;
        scope.spawn(move || reported.send(sender.transmit(short)));
        let waits = done.recv_timeout(Duration::from_millis(10)).is_err();
        expect_ok("setting NETLINK_NO_ENOBUFS", scene.member.set(libc::NETLINK_NO_ENOBUFS, 1))?;
        let sent = done.recv_timeout(WAIT);
        // A sender that still waits would keep the case from ending.
        scene.drain();
        expect_eq("blocking unicast waits before", waits, true)?;
        expect("blocking unicast afterwards", sent.is_ok(), "done", sent)
    })
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
