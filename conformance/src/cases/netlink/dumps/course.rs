//! Running dumps: when they continue, and with how much data.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{self, MSG_PEEK, MSG_TRUNC, POLLERR, POLLIN, POLLOUT};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno};
use crate::port::provider::{Action, On};
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::dumps::{families, many_sockets, numbers, policies, recorder, status};
use crate::scene::threads::joined;
use crate::wire::attr::Attrs;
use crate::wire::message::{Message, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR};
use crate::wire::sock_diag::{self, Record};

cases! {
    send_fills_the_first_datagram => "NL-DMP-004";
    receive_fills_the_next_datagram => "NL-DMP-004";
    dump_runs_until_done_is_made => "NL-DMP-004";
    poll_reports_each_datagram_of_a_dump => "NL-RCV-006", "NL-DMP-004";
    peek_continues_the_dump => "NL-RCV-004";
    largest_buffer_offered_is_used_from_then_on => "NL-RCV-005";
    buffer_of_a_peek_counts_too => "NL-RCV-005";
    first_datagram_is_at_most_a_page => "NL-DMP-005";
    datagrams_keep_to_the_buffer_offered(ROOMS) => "NL-DMP-005";
    dump_continues_over_changing_buffers(CHANGING) => "NL-DMP-020";
    dump_continues_after_a_truncated_datagram(CHANGING) => "NL-DMP-020";
    two_readers_share_one_dump => "NL-DMP-020";
    receive_that_finds_the_dump_ended_makes_the_next_fail [parallel] => "NL-DMP-025";
    socket_is_omitted_where_a_datagram_ends => "NL-DMP-026";
}

/// A socket with a running dump of the controller's policies, of which only the end is left.
fn dumping(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let socket = bus.generic()?;
    socket.send(&policies().seq(1))?;
    Ok(socket)
}

/// A socket to which sock_diag dumps more than `count` times 80 bytes, and the sockets listed.
fn long_dump(bus: &Bus<'_>, count: usize) -> Result<(Socket, Vec<Socket>), Failure> {
    let listed = many_sockets(bus, count)?;
    let socket = bus.diag()?;
    let show = sock_diag::NDIAG_SHOW_MEMINFO | sock_diag::NDIAG_SHOW_FLAGS;
    socket.send(&sock_diag::sockets(libc::NETLINK_USERSOCK as u8, show).seq(1))?;
    Ok((socket, listed))
}

fn ends(messages: &[Message]) -> bool {
    messages.last().is_some_and(|message| message.kind == NLMSG_DONE)
}

/// Whether another dump is refused on this socket, by an answer that is not among `before`.
fn is_busy(socket: &Socket) -> Result<bool, Failure> {
    socket.send(&families().seq(99))?;
    loop {
        for message in socket.receive()?.messages {
            if message.seq == 99 {
                return Ok(message.kind == NLMSG_ERROR && status(&message) == -(Errno::EBUSY as i64));
            }
        }
    }
}

fn send_fills_the_first_datagram(bus: &Bus<'_>) -> Outcome {
    let socket = dumping(bus)?;
    let events = socket.raw().poll(POLLIN, Duration::ZERO)?;
    expect_eq("events when send() has returned", events, POLLIN)
}

fn receive_fills_the_next_datagram(bus: &Bus<'_>) -> Outcome {
    let socket = dumping(bus)?;
    let first = socket.receive()?.messages;
    expect("first datagram of the dump", !ends(&first), "no NLMSG_DONE yet", &first)?;
    let events = socket.raw().poll(POLLIN, Duration::ZERO)?;
    expect_eq("events when receive has returned", events, POLLIN)?;
    let last = socket.receive_now(64 * 1024, 0)?.messages;
    expect("second datagram of the dump", ends(&last), "NLMSG_DONE", &last)
}

fn dump_runs_until_done_is_made(bus: &Bus<'_>) -> Outcome {
    let socket = dumping(bus)?;
    let started = bus.inspect(&socket)?;
    expect("queue when send() has returned", started.received > 0, "one datagram", &started)?;
    expect_eq("dump running when send() has returned", started.dumping, true)?;
    socket.receive()?;
    let ended = bus.inspect(&socket)?;
    expect("queue after a receive", ended.received > 0, "the last datagram", &ended)?;
    expect_eq("dump running when NLMSG_DONE is in the queue", ended.dumping, false)?;
    socket.receive()?;
    expect_eq("bytes in the queue at the end", bus.inspect(&socket)?.received, 0)
}

fn poll_reports_each_datagram_of_a_dump(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let events = || socket.raw().poll(POLLIN | POLLOUT | POLLERR, Duration::ZERO);
    expect_eq("events before the dump", events()?, POLLOUT)?;
    socket.send(&policies())?;
    for datagram in ["first", "last"] {
        socket.wait(WAIT)?;
        expect_eq(&format!("events before the {datagram} datagram"), events()?, POLLIN | POLLOUT)?;
        socket.receive()?;
    }
    expect_eq("events after the dump", events()?, POLLOUT)
}

fn peek_continues_the_dump(bus: &Bus<'_>) -> Outcome {
    let socket = dumping(bus)?;
    socket.wait(WAIT)?;
    let peeked = socket.receive_now(64 * 1024, MSG_PEEK)?.messages;
    expect("what is peeked at", !ends(&peeked), "no NLMSG_DONE", &peeked)?;
    expect_eq("next dump refused", is_busy(&socket)?, false)
}

fn largest_buffer_offered_is_used_from_then_on(bus: &Bus<'_>) -> Outcome {
    let (socket, _listed) = long_dump(bus, 500)?;
    let first = socket.receive_into(64 << 10)?.incoming.returned;
    let second = next_len(&socket)?;
    let limit = LONGEST - bus.sizes().overhead;
    let wanted = limit - 200..=limit;
    expect(
        "second datagram of the dump",
        wanted.contains(&second),
        &format!("{limit} bytes, less a record"),
        second,
    )?;
    socket.receive_now(1, MSG_TRUNC)?;
    let third = next_len(&socket)?;
    expect(
        "third datagram of the dump",
        third > first,
        "a long one, though less room was offered last",
        third,
    )
}

fn buffer_of_a_peek_counts_too(bus: &Bus<'_>) -> Outcome {
    let (socket, _listed) = long_dump(bus, 200)?;
    socket.wait(WAIT)?;
    let first = socket.receive_now(16 * 1024, MSG_PEEK)?.incoming.returned;
    socket.receive_into(first)?;
    let second = next_len(&socket)?;
    expect("second datagram of the dump", (2 * first..=16 * 1024).contains(&second), "nearly 16 KiB", second)
}

/// The largest allocation for a datagram of a dump, in bytes.
const LONGEST: usize = 32 << 10;

/// Length of the next datagram.
fn next_len(socket: &Socket) -> Result<usize, Failure> {
    socket.wait(WAIT)?;
    Ok(socket.receive_now(0, MSG_PEEK | MSG_TRUNC)?.incoming.returned)
}

fn first_datagram_is_at_most_a_page(bus: &Bus<'_>) -> Outcome {
    let (socket, _listed) = long_dump(bus, 200)?;
    let first = bus.sizes().goodsize;
    let got = next_len(&socket)?;
    expect(
        "first datagram of the dump",
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

fn datagrams_keep_to_the_buffer_offered(bus: &Bus<'_>, room: &usize) -> Outcome {
    let (socket, _listed) = long_dump(bus, 500)?;
    let buffers = bus.sizes();
    let longest = (*room).clamp(buffers.goodsize, LONGEST - buffers.overhead);
    for datagram in ["first", "second", "third"] {
        socket.wait(WAIT)?;
        let len = socket.receive_now(*room, MSG_TRUNC)?.incoming.returned;
        expect(&format!("{datagram} datagram"), len <= longest, &format!("at most {longest} bytes"), len)?;
    }
    Ok(())
}

/// Buffer sizes to offer in turn, in bytes.
const CHANGING: &[(&str, &[usize])] = &[
    ("tiny", &[20]),
    ("1000_bytes", &[1000]),
    ("4_kib", &[4096]),
    ("32_kib", &[32 << 10]),
    ("growing", &[20, 600, 1000, 4096, 8192, 16 << 10, 32 << 10]),
    ("shrinking", &[32 << 10, 16 << 10, 8192, 4096, 1000, 600, 20]),
    ("to_and_fro", &[32 << 10, 20, 16 << 10, 600]),
];

/// A reader that queries the length first and then offers enough room loses nothing.
fn dump_continues_over_changing_buffers(bus: &Bus<'_>, rooms: &&[usize]) -> Outcome {
    let family = bus.register(recorder(200))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
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

/// What does not fit is lost with its datagram; the dump continues after it.
fn dump_continues_after_a_truncated_datagram(bus: &Bus<'_>, rooms: &&[usize]) -> Outcome {
    let family = bus.register(recorder(200))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
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
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
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
                // The other one was faster: to the datagram, or to the end (NL-DMP-025).
                Err(Errno::EAGAIN | Errno::EINVAL) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(got)
    };
    let (one, two) = thread::scope(|scope| {
        let other = scope.spawn(read);
        (read(), joined(other))
    });
    let mut got = [one?, two?].concat();
    got.sort_unstable();
    expect_eq("records of both readers", got, (0..300).collect::<Vec<_>>())
}

/// NLMSG_DONE is in the queue before the dump counts as ended. `done` blocks in between, until the second
/// reader has come.
fn receive_that_finds_the_dump_ended_makes_the_next_fail(bus: &Bus<'_>) -> Outcome {
    bus.need_prompt_answers()?;
    let family = bus.register(recorder(3).on(On::Done, Action::Block))?;
    let (socket, provider) = (bus.generic()?, bus.provider()?);
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| socket.receive_now(8192, 0).map(|first| first.messages.len()));
        let made = provider.blocked(WAIT.as_millis() as u64).map(|blocked| blocked == 1);
        let second = scope.spawn(|| socket.receive_one());
        let deadline = Instant::now() + WAIT;
        let waits = || socket.raw().poll(POLLIN, Duration::ZERO) == Ok(POLLIN);
        while made == Ok(true) && waits() && Instant::now() < deadline {
            thread::yield_now();
        }
        // It has NLMSG_DONE, and is about to wait for the first reader.
        thread::sleep(Duration::from_millis(5));
        provider.release()?;
        Ok::<_, Failure>((joined(first), joined(second)))
    })?;
    expect_eq("records that the first reader has", first?, 3)?;
    expect_eq("type of the message that the second one has", second?.kind, NLMSG_DONE)?;
    expect_errno("receive after the dump", socket.receive_now(8192, 0), bus.expected("errno")?)?;
    expect_errno("receive after that", socket.receive_now(8192, 0), Errno::EAGAIN)
}

/// A table that grows or shrinks during the walk is walked again, which hides the loss: so each of
/// a few dumps may show it.
fn socket_is_omitted_where_a_datagram_ends(bus: &Bus<'_>) -> Outcome {
    const COUNT: usize = 120;
    let listed = many_sockets(bus, COUNT)?;
    let ports: BTreeSet<u32> = listed.iter().map(Socket::portid).collect::<Result<_, _>>()?;
    let request = sock_diag::sockets(libc::NETLINK_USERSOCK as u8, sock_diag::NDIAG_SHOW_MEMINFO);
    let mut seen = Vec::new();
    for _ in 0..10 {
        // A new socket each time: one that has offered a large buffer gets everything in one datagram.
        let answer = bus.diag()?.ask(&request)?;
        let reported: BTreeSet<_> =
            answer.replies.iter().filter_map(Record::read).map(|record| record.portid).collect();
        let lost = ports.difference(&reported).count();
        let done_alone = answer.datagrams.last() == Some(&1);
        let datagrams = answer.datagrams.len() - usize::from(done_alone);
        if datagrams > 1 && lost == datagrams - 1 {
            return Ok(());
        }
        seen.push((datagrams, lost));
    }
    let what = "datagrams with records, and sockets that have none";
    expect(what, false, "one socket less than datagrams, at least once", seen)
}
