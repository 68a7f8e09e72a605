//! Stalled dumps: without room in the receive buffer, or after a filter.

use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, POLLERR, POLLIN, POLLOUT};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno, expect_ok};
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::dumps::{families, policies, status};
use crate::scene::threads::ended_by;
use crate::wire::message::{Message, NLM_F_ACK, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP};

cases! {
    full_queue_delays_the_next_datagram => "NL-DMP-004";
    half_full_queue_continues_the_dump(HALVES) => "NL-DMP-004";
    dump_without_room_fails_and_continues_later => "NL-DMP-012";
    dump_without_room_occupies_the_socket => "NL-DMP-029";
    receive_that_cannot_continue_a_dump_makes_the_next_fail => "NL-DMP-012";
    datagram_must_leave_room_in_the_buffer(ROOMS) => "NL-DMP-012";
    dump_without_room_wakes_who_polls_for_errors [parallel] => "NL-RCV-007";
    poll_reports_a_dump_without_room => "NL-RCV-006", "NL-DMP-012";
    poll_does_not_report_a_stalled_dump => "NL-RCV-006", "NL-DMP-023";
    dump_never_stalls_with_an_empty_queue => "NL-DMP-012";
    dump_stalls_when_its_datagram_is_filtered => "NL-DMP-023";
    stalled_dump_occupies_the_socket => "NL-DMP-023";
}

/// A buffer size that does not enlarge the datagrams of a dump, in bytes.
const SMALL: usize = 2048;

/// A receive continues the dump only if what it leaves takes no more than half of the receive buffer.
fn full_queue_delays_the_next_datagram(bus: &Bus<'_>) -> Outcome {
    bus.need_prompt_answers()?;
    let socket = bus.generic()?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 16 << 10)?;
    let half = socket.get_at(libc::SOL_SOCKET, libc::SO_RCVBUF)? / 2;
    socket.send(&policies())?;
    while bus.inspect(&socket)?.received <= half * 3 / 2 {
        for _ in 0..4 {
            socket.send(&Message::request(NLMSG_NOOP).with(NLM_F_ACK).seq(2))?;
        }
    }
    socket.receive_into(SMALL)?;
    let full = bus.inspect(&socket)?;
    expect("dump with the queue more than half full", full.dumping, "running still", &full)?;
    while bus.inspect(&socket)?.dumping {
        socket.receive_into(SMALL)?;
    }
    let queued = bus.inspect(&socket)?.received;
    let wanted = half / 2..half + 8192;
    expect(
        "bytes in the queue when the dump went on",
        wanted.contains(&queued),
        "half full, and more",
        queued,
    )
}

/// A socket with a datagram of a dump in its queue, and behind it so many acknowledgements that they take
/// this much memory.
fn queued(bus: &Bus<'_>, acknowledgements: u32) -> Result<(Socket, u32), Failure> {
    bus.need_prompt_answers()?;
    let socket = bus.generic()?;
    socket.send(&policies().seq(CROWDED))?;
    let of_dump = bus.inspect(&socket)?.received;
    for _ in 0..acknowledgements {
        socket.send(&Message::request(NLMSG_NOOP).with(NLM_F_ACK).seq(90))?;
    }
    let all = bus.inspect(&socket)?.received;
    Ok((socket, all - of_dump))
}

/// Gives a socket a receive buffer of twice this size.
fn set_half(socket: &Socket, half: u32) -> Outcome {
    socket.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, half)?;
    expect_eq("SO_RCVBUF", socket.get_at(libc::SOL_SOCKET, libc::SO_RCVBUF)?, 2 * half)
}

/// Bytes by which half of the receive buffer is smaller than what a receive leaves in it.
const HALVES: &[(&str, u32)] = &[("exactly", 0), ("one_byte_more", 1)];

/// There is room for the end of the dump beside so many acknowledgements.
fn half_full_queue_continues_the_dump(bus: &Bus<'_>, missing: &u32) -> Outcome {
    let (socket, left) = queued(bus, 16)?;
    set_half(&socket, left - missing)?;
    socket.receive_into(SMALL)?;
    let queue = bus.inspect(&socket)?;
    expect_eq("whether the dump runs still", queue.dumping, *missing > 0)?;
    expect_eq("whether there is more in the queue", queue.received > left, *missing == 0)
}

/// Bytes of the receive buffer that the datagram would leave free, and whether it is filled.
const ROOMS: &[(&str, (u32, bool))] = &[("none", (0, false)), ("two", (2, true))];

fn datagram_must_leave_room_in_the_buffer(bus: &Bus<'_>, (free, filled): &(u32, bool)) -> Outcome {
    let (alone, _) = queued(bus, 0)?;
    alone.receive_into(SMALL)?;
    let of_end = bus.inspect(&alone)?.received;
    let (socket, left) = queued(bus, 4)?;
    set_half(&socket, (left + of_end + free) / 2)?;
    socket.receive_into(SMALL)?;
    let queue = bus.inspect(&socket)?;
    expect_eq("whether the dump runs still", queue.dumping, !filled)?;
    let next = socket.receive_now(SMALL, 0).map(drop);
    expect_eq("next receive", next, if *filled { Ok(()) } else { Err(bus.expected("errno")?) })
}

/// Sequence number of the dump of [`crowded`].
const CROWDED: u32 = 1;

/// A socket on which the controller's policies are to be dumped, while two acknowledgements leave too
/// little of a small receive buffer. Two refusals fit beside them in whatever configuration: a message
/// takes 768 to 960 of 4608 bytes.
fn crowded(bus: &Bus<'_>) -> Result<Socket, Failure> {
    bus.need_prompt_answers()?;
    let socket = bus.generic()?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 2304)?;
    for _ in 0..2 {
        socket.send(&Message::request(NLMSG_NOOP).with(NLM_F_ACK).seq(90))?;
    }
    expect_ok("send() of the request for a dump", socket.send(&policies().seq(CROWDED)))?;
    Ok(socket)
}

fn events(socket: &Socket) -> Result<i16, Errno> {
    socket.raw().poll(POLLIN | POLLOUT | POLLERR, Duration::ZERO)
}

/// What the next receive calls return, up to the end of the dump: messages, and the errors in between.
fn until_done(socket: &Socket, seq: u32) -> Result<(Vec<Message>, Vec<Errno>), Failure> {
    let (mut messages, mut errors) = (Vec::new(), Vec::new());
    loop {
        socket.wait(WAIT)?;
        match socket.receive_now(SMALL, 0) {
            Ok(datagram) => messages.extend(datagram.messages),
            Err(errno) => errors.push(errno),
        }
        if messages.last().is_some_and(|last| last.kind == NLMSG_DONE && last.seq == seq) {
            return Ok((messages, errors));
        }
    }
}

/// Errno of the NLMSG_ERROR for this sequence number.
fn refusal(messages: &[Message], seq: u32) -> i64 {
    messages.iter().find(|message| message.kind == NLMSG_ERROR && message.seq == seq).map_or(0, status)
}

fn dump_without_room_fails_and_continues_later(bus: &Bus<'_>) -> Outcome {
    let alone = bus.generic()?.ask(&policies())?.replies;
    let (messages, _) = until_done(&crowded(bus)?, CROWDED)?;
    expect_errno("request for a dump", refusal(&messages, CROWDED), bus.expected("errno")?)?;
    let dump = messages.iter().filter(|message| message.seq == CROWDED && message.kind != NLMSG_ERROR);
    expect_eq("messages of the dump", dump.count(), alone.len() + 1)?;
    expect_ok("end of the dump", messages.last().map_or(i64::MIN, status))
}

fn dump_without_room_occupies_the_socket(bus: &Bus<'_>) -> Outcome {
    let socket = crowded(bus)?;
    socket.send(&families().seq(2))?;
    let (messages, _) = until_done(&socket, CROWDED)?;
    expect_errno("another dump", refusal(&messages, 2), bus.expected("meanwhile")?)?;
    expect_ok("another dump after the end", socket.ask(&families())?)
}

fn receive_that_cannot_continue_a_dump_makes_the_next_fail(bus: &Bus<'_>) -> Outcome {
    let (_, errors) = until_done(&crowded(bus)?, CROWDED)?;
    let errno: Errno = bus.expected("errno")?;
    expect("errors of receive calls", errors.contains(&errno), &format!("{errno:?}"), &errors)
}

fn dump_without_room_wakes_who_polls_for_errors(bus: &Bus<'_>) -> Outcome {
    let socket = crowded(bus)?;
    let events = ended_by(
        || socket.raw().poll(POLLERR, 2 * WAIT),
        || {
            while events(&socket)? & POLLERR == 0 {
                socket.receive_into(SMALL)?;
            }
            Ok(())
        },
    )?;
    expect_eq("events", events, Ok(POLLERR))
}

fn poll_reports_a_dump_without_room(bus: &Bus<'_>) -> Outcome {
    let socket = crowded(bus)?;
    expect_eq("events when the request was refused", events(&socket)?, POLLIN | POLLOUT)?;
    // Each receive tries to continue once half of the buffer is free, which is still too little.
    while events(&socket)? & POLLERR == 0 {
        socket.receive_into(SMALL)?;
    }
    expect_eq("events when a receive could not go on", events(&socket)?, POLLIN | POLLOUT | POLLERR)?;
    expect_errno("receive", socket.receive_now(SMALL, 0), Errno::ENOBUFS)?;
    expect_eq("events after the error was reported", events(&socket)?, POLLIN | POLLOUT)?;
    until_done(&socket, CROWDED)?;
    expect_eq("events after the dump", events(&socket)?, POLLOUT)
}

fn dump_never_stalls_with_an_empty_queue(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 1)?;
    expect_ok("dump into the smallest receive buffer", socket.ask(&policies())?)
}

/// A socket on which a filter dropped the first datagram of a dump.
fn filtered(bus: &Bus<'_>) -> Result<Socket, Failure> {
    bus.need_prompt_answers()?;
    let socket = bus.generic()?;
    bus.attach_filter(&socket, 0)?;
    socket.send(&policies().seq(1))?;
    expect_errno("receive", socket.receive_now(4096, 0), Errno::EAGAIN)?;
    Ok(socket)
}

fn dump_stalls_when_its_datagram_is_filtered(bus: &Bus<'_>) -> Outcome {
    let socket = filtered(bus)?;
    expect_eq("dump running after that receive", bus.inspect(&socket)?.dumping, true)
}

fn poll_does_not_report_a_stalled_dump(bus: &Bus<'_>) -> Outcome {
    expect_eq("events", events(&filtered(bus)?)?, POLLOUT)
}

/// The filter drops errors too, so it has to be removed first. Receiving one continues the dump.
fn stalled_dump_occupies_the_socket(bus: &Bus<'_>) -> Outcome {
    let socket = filtered(bus)?;
    bus.attach_filter(&socket, u32::MAX)?;
    socket.send(&families().seq(2))?;
    let (messages, _) = until_done(&socket, 1)?;
    expect_errno("another dump", refusal(&messages, 2), bus.expected("errno")?)?;
    expect_ok("end of the first dump", messages.last().map_or(i64::MIN, status))
}
