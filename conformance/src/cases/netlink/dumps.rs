//! Dumps: their start, their course, their end.

use crate::bus::{Bus, Socket};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, Under, expect, expect_eq, expect_errno, expect_ok, expect_result};
use crate::target::provider::{Action, Family, On, Op, Step};
use crate::wire::attr::{self, Attrs};
use crate::wire::genl;
use crate::wire::message::{self, ACK, DONE, DUMP, ERROR, MULTI, Message};
use nix::errno::Errno;

cases! {
    messages_are_multi_and_done_ends_them => "NL-DMP-002";
    dump_is_not_acknowledged => "NL-DMP-003";
    dump_that_cannot_start_is_refused => "NL-DMP-003";
    second_dump_is_refused => "NL-DMP-007";
    first_dump_survives_the_refusal => "NL-DMP-007";
    done_tells_how_dumpit_ended(ENDS) => "NL-DMP-009";
    dump_goes_on_over_many_receives(ROOMS) => "NL-DMP-020";
}

fn dump_families() -> Message {
    genl::request(genl::ID_CTRL, genl::CMD_GETFAMILY, Attrs::new()).with(DUMP).seq(7)
}

/// A family whose command 1 dumps this many records of 500 bytes.
fn recorder(records: u32) -> Family {
    Family::named("nlc_recorder").op(Op::dumping(1)).on(On::Dumpit, Action::records(records, 500))
}

fn numbers(replies: &[Message]) -> Vec<u32> {
    replies.iter().filter_map(|reply| attr::find(&genl::attrs(reply), 1)?.u32()).collect()
}

fn messages_are_multi_and_done_ends_them(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.send(&dump_families())?;
    loop {
        for message in socket.receive()?.messages {
            expect("flags", message.flags & MULTI != 0, "NLM_F_MULTI", message.flags)?;
            if message.kind == DONE {
                expect_eq("nlmsg_len of NLMSG_DONE", message.len(), 20)?;
                return expect_eq("status in NLMSG_DONE", message.status(), Some(0));
            }
        }
    }
}

fn dump_is_not_acknowledged(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let answer = socket.ask(&dump_families().with(ACK))?;
    expect(
        "types of the messages",
        answer.replies.iter().all(|reply| reply.kind != ERROR),
        "no NLMSG_ERROR",
        &answer.replies,
    )?;
    socket.expect_nothing("message behind the dump")
}

fn dump_that_cannot_start_is_refused(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let unknown = Attrs::new().u16(genl::ATTR_FAMILY_ID, genl::MAX_ID);
    socket.send(&genl::request(genl::ID_CTRL, genl::CMD_GETPOLICY, unknown).with(DUMP))?;
    expect_eq("type of the answer", socket.receive_one()?.kind, ERROR)
}

/// A socket on which a dump of 100 records runs.
fn dumping(bus: &Bus<'_>) -> Result<(Socket, Message), Failure> {
    let family = bus.register(recorder(100))?;
    let socket = bus.generic()?;
    let request = family.request(1, Attrs::new()).with(DUMP).seq(1);
    socket.send(&request)?;
    Ok((socket, request))
}

fn second_dump_is_refused(bus: &Bus<'_>) -> Outcome {
    let (socket, _) = dumping(bus)?;
    socket.send(&dump_families().seq(2))?;
    let first = socket.receive()?.messages;
    expect(
        "first datagram",
        first.iter().all(|message| message.seq == 1),
        "records of the first dump",
        &first,
    )?;
    let refusal = socket.receive_one()?;
    expect_eq("sequence number of the refusal", refusal.seq, 2)?;
    let status = message_status(&refusal);
    expect_errno("second dump", status, bus.expected("errno")?)
}

fn message_status(message: &Message) -> i64 {
    message.status().unwrap_or(i32::MIN).into()
}

fn first_dump_survives_the_refusal(bus: &Bus<'_>) -> Outcome {
    let (socket, request) = dumping(bus)?;
    socket.send(&dump_families().seq(2))?;
    socket.send(
        &genl::request(genl::ID_CTRL, genl::CMD_GETFAMILY, Attrs::new().u16(1, genl::ID_CTRL)).seq(3),
    )?;
    let mut records = Vec::new();
    let mut others = Vec::new();
    let end = loop {
        let (dump, other): (Vec<_>, Vec<_>) =
            socket.receive()?.messages.into_iter().partition(|message| message.seq == request.seq);
        others.extend(other.iter().map(|message| (message.seq, message.kind)));
        records.extend(dump);
        if let Some(done) = records.pop_if(|message| message.kind == message::DONE) {
            break done;
        }
    };
    expect_eq("refusal and reply in between", others, [(2, ERROR), (3, genl::ID_CTRL)])?;
    expect_eq("records of the first dump", numbers(&records), (0..100).collect::<Vec<_>>())?;
    expect_ok("end of the first dump", message_status(&end))
}

/// How `dumpit` ends its second call.
const ENDS: &[(&str, Result<(), Errno>)] =
    &[("nothing_left", Ok(())), ("eio", Err(Errno::EIO)), ("enoent", Err(Errno::ENOENT))];

fn done_tells_how_dumpit_ended(bus: &Bus<'_>, end: &Result<(), Errno>) -> Outcome {
    let returned = end.map_or_else(|errno| -i64::from(errno as i32), |()| 0);
    let family = Family::named("nlc_ends")
        .op(Op::dumping(1))
        .step(Step::new(On::Dumpit, Action::Return(returned)).call(2))
        .on(On::Dumpit, Action::records(3, 100));
    let family = bus.register(family)?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(DUMP))?;
    expect_eq("records before the end", numbers(&answer.replies), [0, 1, 2])?;
    expect_result("NLMSG_DONE", answer.ack()?, *end)
}

const ROOMS: &[(&str, usize)] = &[("1000_bytes", 1000), ("4_kib", 4096), ("32_kib", 32 * 1024)];

/// The first datagram of a dump is made for a buffer of a page, so that small ones are cut: the room
/// is at least what one record takes.
fn dump_goes_on_over_many_receives(bus: &Bus<'_>, room: &usize) -> Outcome {
    let family = bus.register(recorder(200))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(DUMP))?;
    let mut got = Vec::new();
    let mut receives = 0;
    loop {
        // The rest of a datagram that is cut would be lost: peek for its length first.
        let len = socket.receive_now(0, nix::libc::MSG_PEEK | nix::libc::MSG_TRUNC)?.incoming.returned;
        let messages = socket.receive_into(len.max(*room))?.messages;
        receives += 1;
        got.extend(numbers(&messages));
        if messages.last().is_some_and(|message| message.kind == DONE) {
            break;
        }
    }
    expect_eq("records", got, (0..200).collect::<Vec<_>>())?;
    expect("receive calls", receives > 2, "several", receives).under("NL-DMP-020")
}
