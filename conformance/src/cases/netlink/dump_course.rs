//! Dumps under way: when they go on, in what portions, and what stalls them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, MSG_PEEK, MSG_TRUNC, POLLERR, POLLIN, POLLOUT};

use super::dump_requests::{families, many_sockets, numbers, policies, recorder, status};
use crate::bus::{Bus, Socket, WAIT};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect, expect_eq, expect_errno, expect_ok};
use crate::wire::attr::Attrs;
use crate::wire::message::{ACK, DONE, DUMP, ERROR, Message, NOOP};
use crate::wire::sock_diag;

cases! {
    first_portion_comes_of_the_send => "NL-DMP-004";
    next_portion_comes_of_a_receive => "NL-DMP-004";
    dump_runs_until_done_is_made => "NL-DMP-004";
    full_queue_holds_the_next_portion_back => "NL-DMP-004";
    poll_tells_of_each_portion => "NL-RCV-006", "NL-DMP-004";
    peek_goes_on_with_the_dump => "NL-RCV-004";
    room_offered_once_is_used_from_then_on => "NL-RCV-005";
    peek_offers_room_too => "NL-RCV-005";
    first_portion_is_a_page => "NL-DMP-005";
    portions_keep_to_the_room_offered(ROOMS) => "NL-DMP-005";
    dump_goes_on_over_changing_rooms(CHANGING) => "NL-DMP-020";
    dump_goes_on_behind_what_was_cut(CHANGING) => "NL-DMP-020";
    two_readers_share_one_dump => "NL-DMP-020";
    dump_without_room_is_refused_and_goes_on_later => "NL-DMP-012";
    dump_without_room_keeps_the_socket => "NL-DMP-012";
    receive_that_cannot_go_on_fails_the_next => "NL-DMP-012";
    dump_is_never_held_back_by_an_empty_queue => "NL-DMP-012";
}

/// Room that asks for no longer portions than the shortest, in bytes.
const SMALL: usize = 2048;

/// A socket on which the controller's policies are dumped, of which only the end is left to make.
fn dumping(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let socket = bus.generic()?;
    socket.send(&policies().seq(1))?;
    Ok(socket)
}

/// A socket to which sock_diag dumps more than `count` times 80 bytes, and the sockets listed.
fn long_dump(bus: &Bus<'_>, count: usize) -> Result<(Socket, Vec<Socket>), Failure> {
    let listed = many_sockets(bus, count)?;
    let socket = bus.bound(libc::NETLINK_SOCK_DIAG)?;
    let show = sock_diag::SHOW_MEMINFO | sock_diag::SHOW_FLAGS;
    socket.send(&sock_diag::sockets(libc::NETLINK_USERSOCK as u8, show).seq(1))?;
    Ok((socket, listed))
}

fn ends(messages: &[Message]) -> bool {
    messages.last().is_some_and(|message| message.kind == DONE)
}

/// Whether another dump is refused on this socket, by an answer that is not among `before`.
fn is_busy(socket: &Socket) -> Result<bool, Failure> {
    socket.send(&families().seq(99))?;
    loop {
        for message in socket.receive()?.messages {
            if message.seq == 99 {
                return Ok(message.kind == ERROR && status(&message) == -(Errno::EBUSY as i64));
            }
        }
    }
}

fn first_portion_comes_of_the_send(bus: &Bus<'_>) -> Outcome {
    let socket = dumping(bus)?;
    let events = socket.raw().poll(POLLIN, Duration::ZERO)?;
    expect_eq("events when send() has returned", events, POLLIN)
}

fn next_portion_comes_of_a_receive(bus: &Bus<'_>) -> Outcome {
    let socket = dumping(bus)?;
    let first = socket.receive_now(64 * 1024, 0)?.messages;
    expect("first portion", !ends(&first), "no NLMSG_DONE yet", &first)?;
    let events = socket.raw().poll(POLLIN, Duration::ZERO)?;
    expect_eq("events when receive has returned", events, POLLIN)?;
    let last = socket.receive_now(64 * 1024, 0)?.messages;
    expect("second portion", ends(&last), "NLMSG_DONE", &last)
}

fn dump_runs_until_done_is_made(bus: &Bus<'_>) -> Outcome {
    let socket = dumping(bus)?;
    let started = bus.inspect(&socket)?;
    expect("queue when send() has returned", started.received > 0, "one portion", &started)?;
    expect_eq("dump running when send() has returned", started.dumping, true)?;
    socket.receive()?;
    let ended = bus.inspect(&socket)?;
    expect("queue after a receive", ended.received > 0, "the last portion", &ended)?;
    expect_eq("dump running when NLMSG_DONE is in the queue", ended.dumping, false)?;
    socket.receive()?;
    expect_eq("bytes in the queue at the end", bus.inspect(&socket)?.received, 0)
}

/// Receives go on with the dump only when what they leave takes no more than half the buffer.
fn full_queue_holds_the_next_portion_back(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 16 << 10)?;
    let half = socket.get_at(libc::SOL_SOCKET, libc::SO_RCVBUF)? / 2;
    socket.send(&policies())?;
    while bus.inspect(&socket)?.received <= half * 3 / 2 {
        for _ in 0..4 {
            socket.send(&Message::request(NOOP).with(ACK).seq(2))?;
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

fn poll_tells_of_each_portion(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let events = || socket.raw().poll(POLLIN | POLLOUT | POLLERR, Duration::ZERO);
    expect_eq("events before the dump", events()?, POLLOUT)?;
    socket.send(&policies())?;
    for portion in ["first", "last"] {
        socket.wait(WAIT)?;
        expect_eq(&format!("events before the {portion} portion"), events()?, POLLIN | POLLOUT)?;
        socket.receive()?;
    }
    expect_eq("events behind the dump", events()?, POLLOUT)
}

fn peek_goes_on_with_the_dump(bus: &Bus<'_>) -> Outcome {
    let socket = dumping(bus)?;
    socket.wait(WAIT)?;
    let peeked = socket.receive_now(64 * 1024, MSG_PEEK)?.messages;
    expect("what is peeked at", !ends(&peeked), "no NLMSG_DONE", &peeked)?;
    expect_eq("next dump refused", is_busy(&socket)?, false)
}

fn room_offered_once_is_used_from_then_on(bus: &Bus<'_>) -> Outcome {
    let (socket, _listed) = long_dump(bus, 500)?;
    let first = socket.receive_into(64 << 10)?.incoming.returned;
    let second = next_len(&socket)?;
    let limit: usize = bus.expected("limit")?;
    let wanted = limit - 200..=limit;
    expect("second portion", wanted.contains(&second), &format!("{limit} bytes, less a record"), second)?;
    socket.receive_now(1, MSG_TRUNC)?;
    let third = next_len(&socket)?;
    expect("third portion", third > first, "a long one, though less room was offered last", third)
}

fn peek_offers_room_too(bus: &Bus<'_>) -> Outcome {
    let (socket, _listed) = long_dump(bus, 200)?;
    socket.wait(WAIT)?;
    let first = socket.receive_now(16 * 1024, MSG_PEEK)?.incoming.returned;
    socket.receive_into(first)?;
    let second = next_len(&socket)?;
    expect("second portion", (2 * first..=16 * 1024).contains(&second), "nearly 16 KiB", second)
}

/// Length of the datagram that comes next.
fn next_len(socket: &Socket) -> Result<usize, Failure> {
    socket.wait(WAIT)?;
    Ok(socket.receive_now(0, MSG_PEEK | MSG_TRUNC)?.incoming.returned)
}

fn first_portion_is_a_page(bus: &Bus<'_>) -> Outcome {
    let (socket, _listed) = long_dump(bus, 200)?;
    let first: usize = bus.expected("first")?;
    let got = next_len(&socket)?;
    expect(
        "first portion",
        (first - 200..=first).contains(&got),
        &format!("{first} bytes, less a record"),
        got,
    )
}

const ROOMS: &[(&str, usize)] = &[
    ("1_byte", 1),
    ("4_kib", 4 << 10),
    ("8_kib", 8 << 10),
    ("32_kib", 32 << 10),
    ("64_kib", 64 << 10),
    ("1_mib", 1 << 20),
];

fn portions_keep_to_the_room_offered(bus: &Bus<'_>, room: &usize) -> Outcome {
    let (socket, _listed) = long_dump(bus, 500)?;
    let longest = *room.clamp(&bus.expected("first")?, &bus.expected("longest")?);
    for portion in ["first", "second", "third"] {
        socket.wait(WAIT)?;
        let len = socket.receive_now(*room, MSG_TRUNC)?.incoming.returned;
        expect(&format!("{portion} portion"), len <= longest, &format!("at most {longest} bytes"), len)?;
    }
    Ok(())
}

/// Room to offer in turn, in bytes.
const CHANGING: &[(&str, &[usize])] = &[
    ("tiny", &[20]),
    ("1000_bytes", &[1000]),
    ("4_kib", &[4096]),
    ("32_kib", &[32 << 10]),
    ("growing", &[20, 600, 1000, 4096, 8192, 16 << 10, 32 << 10]),
    ("shrinking", &[32 << 10, 16 << 10, 8192, 4096, 1000, 600, 20]),
    ("to_and_fro", &[32 << 10, 20, 16 << 10, 600]),
];

/// Who asks for the length first and makes room for it loses nothing.
fn dump_goes_on_over_changing_rooms(bus: &Bus<'_>, rooms: &&[usize]) -> Outcome {
    let family = bus.register(recorder(200))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(DUMP))?;
    let mut got = Vec::new();
    for room in rooms.iter().cycle() {
        let len = next_len(&socket)?;
        let messages = socket.receive_into(len.max(*room))?.messages;
        got.extend(numbers(&messages));
        if ends(&messages) {
            break;
        }
    }
    expect_eq("records", got, (0..200).collect::<Vec<_>>())
}

/// What does not fit is lost with its datagram; the dump goes on behind that.
fn dump_goes_on_behind_what_was_cut(bus: &Bus<'_>, rooms: &&[usize]) -> Outcome {
    let family = bus.register(recorder(200))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(DUMP))?;
    let mut got = Vec::new();
    for room in rooms.iter().cycle() {
        let messages = socket.receive_into(*room)?.messages;
        got.extend(numbers(&messages));
        if ends(&messages) {
            break;
        }
    }
    expect("records", got.is_sorted_by(|one, next| one < next), "in order, none twice", &got)
}

fn two_readers_share_one_dump(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(recorder(300))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(DUMP))?;
    let done = AtomicBool::new(false);
    let read = || -> Result<Vec<u32>, Failure> {
        let mut got = Vec::new();
        while !done.load(Ordering::Relaxed) {
            socket.raw().poll(POLLIN, Duration::from_millis(5))?;
            match socket.receive_now(8192, 0) {
                Ok(datagram) => {
                    got.extend(numbers(&datagram.messages));
                    done.fetch_or(ends(&datagram.messages), Ordering::Relaxed);
                }
                Err(Errno::EAGAIN) => {} // the other one was faster
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(got)
    };
    let (one, two) = thread::scope(|scope| {
        let other = scope.spawn(read);
        (read(), other.join().unwrap_or_else(|_| broken("the other reader panicked")))
    });
    let mut got = [one?, two?].concat();
    got.sort_unstable();
    expect_eq("records of both readers", got, (0..300).collect::<Vec<_>>())
}

/// Sequence number of the dump of [`crowded`].
const CROWDED: u32 = 1;

/// A socket on which the controller's policies shall be dumped, while a few acknowledgements leave too
/// little of a small receive buffer.
fn crowded(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let socket = bus.generic()?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 2304)?;
    for _ in 0..3 {
        socket.send(&Message::request(NOOP).with(ACK).seq(90))?;
    }
    expect_ok("send() of the request for a dump", socket.send(&policies().seq(CROWDED)))?;
    Ok(socket)
}

/// What the next receive calls give, up to the end of the dump: messages, and the errors in between.
fn until_done(socket: &Socket, seq: u32) -> Result<(Vec<Message>, Vec<Errno>), Failure> {
    let (mut messages, mut errors) = (Vec::new(), Vec::new());
    loop {
        socket.wait(WAIT)?;
        match socket.receive_now(SMALL, 0) {
            Ok(datagram) => messages.extend(datagram.messages),
            Err(errno) => errors.push(errno),
        }
        if messages.last().is_some_and(|last| last.kind == DONE && last.seq == seq) {
            return Ok((messages, errors));
        }
    }
}

/// Errno of the NLMSG_ERROR for this sequence number.
fn refusal(messages: &[Message], seq: u32) -> i64 {
    messages.iter().find(|message| message.kind == ERROR && message.seq == seq).map_or(0, status)
}

fn dump_without_room_is_refused_and_goes_on_later(bus: &Bus<'_>) -> Outcome {
    let alone = bus.generic()?.ask(&policies())?.replies;
    let (messages, _) = until_done(&crowded(bus)?, CROWDED)?;
    expect_errno("request for a dump", refusal(&messages, CROWDED), bus.expected("errno")?)?;
    let dump = messages.iter().filter(|message| message.seq == CROWDED && message.kind != ERROR);
    expect_eq("messages of the dump", dump.count(), alone.len() + 1)?;
    expect_ok("end of the dump", messages.last().map_or(i64::MIN, status))
}

fn dump_without_room_keeps_the_socket(bus: &Bus<'_>) -> Outcome {
    let socket = crowded(bus)?;
    socket.send(&families().seq(2))?;
    let (messages, _) = until_done(&socket, CROWDED)?;
    expect_errno("another dump", refusal(&messages, 2), bus.expected("meanwhile")?)?;
    expect_ok("another dump behind the end", socket.ask(&families())?)
}

fn receive_that_cannot_go_on_fails_the_next(bus: &Bus<'_>) -> Outcome {
    let (_, errors) = until_done(&crowded(bus)?, CROWDED)?;
    let errno: Errno = bus.expected("errno")?;
    expect("errors of receive calls", errors.contains(&errno), &format!("{errno:?}"), &errors)
}

fn dump_is_never_held_back_by_an_empty_queue(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 1)?;
    expect_ok("dump into the smallest receive buffer", socket.ask(&policies())?)
}
