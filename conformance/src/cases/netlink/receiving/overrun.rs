//! A full receive buffer: what is lost, and what is reported.

mod buffer;
mod no_enobufs;

use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, POLLERR, POLLIN, POLLOUT, SO_RCVBUF, SOL_SOCKET};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect_eq, expect_errno, expect_ok};
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::threads::ended_by;
use crate::wire::message::Message;

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
    + no_enobufs;
    + buffer;
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
        let message = Message::new(0x20).seq(number).bytes(&[0; PAYLOAD]);
        Ok(self.sender.multicast(&message.encode())?)
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
