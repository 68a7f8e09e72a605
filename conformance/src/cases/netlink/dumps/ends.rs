//! The end of a dump: what ends it, what NLMSG_DONE holds, and in which datagram it is.

mod extended;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_empty, expect_eq, expect_errno, expect_result};
use crate::port::provider::{Action, Family, On, Op, Step};
use crate::scene::bus::{Answer, Bus};
use crate::scene::dumps::{families, links, many_sockets, numbers, policies};
use crate::wire::align;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{
    self, Message, NLM_F_DUMP, NLM_F_DUMP_FILTERED, NLM_F_DUMP_INTR, NLM_F_MULTI, NLMSG_DONE,
};
use crate::wire::sock_diag;

cases! {
    done_comes_alone_or_not(DUMPS) => "NL-DMP-028";
    done_shares_the_datagram_when_dumpit_returns_0 => "NL-DMP-006";
    done_comes_alone_when_dumpit_returns_the_length => "NL-DMP-006";
    done_reports_the_result_of_dumpit(ENDS) => "NL-DMP-009";
    done_follows_the_data_of_the_same_call(ENDS) => "NL-DMP-009";
    emsgsize_with_data_continues_the_dump => "NL-DMP-010";
    emsgsize_without_data_ends_the_dump => "NL-DMP-010";
    any_positive_number_continues_the_dump(POSITIVE) => "NL-DMP-009";
    done_fits_or_comes_alone(LEFT) => "NL-DMP-011", "NL-DMP-005";
    change_is_reported_in_the_next_message => "NL-DMP-015";
    change_is_reported_in_front_of_a_familys_header => "NL-DMP-015";
    change_at_the_end_is_reported_in_done => "NL-DMP-015";
    steady_dump_is_not_interrupted(STEADY) => "NL-DMP-015";
    answer_flags_are_in_done_only => "NL-DMP-016";
    + extended;
}

/// A family whose command 1 dumps according to this script.
fn family(steps: impl IntoIterator<Item = Step>) -> Family {
    let family = Family::named("nlc_ends").op(Op::dumping(1));
    steps.into_iter().fold(family, Family::step)
}

fn dumpit(action: Action) -> Step {
    Step::new(On::Dumpit, action)
}

/// The answer to a dump of a family with this script.
fn dump(bus: &Bus<'_>, steps: impl IntoIterator<Item = Step>) -> Result<Answer, Failure> {
    let family = bus.register(family(steps))?;
    bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_DUMP))
}

/// A dump that every system has.
struct Known {
    protocol: i32,
    request: fn() -> Message,
    /// Name of the value that says whether NLMSG_DONE comes alone.
    alone: &'static str,
}

const DUMPS: &[(&str, Known)] = &[
    ("families", Known { protocol: libc::NETLINK_GENERIC, request: families, alone: "families" }),
    ("policies", Known { protocol: libc::NETLINK_GENERIC, request: policies, alone: "policies" }),
    ("links", Known { protocol: libc::NETLINK_ROUTE, request: links, alone: "links" }),
    ("sockets", Known { protocol: libc::NETLINK_SOCK_DIAG, request: sockets, alone: "sockets" }),
];

fn sockets() -> Message {
    sock_diag::sockets(libc::NETLINK_USERSOCK as u8, 0).seq(7)
}

fn done_comes_alone_or_not(bus: &Bus<'_>, known: &Known) -> Outcome {
    let (socket, _listed) = match known.protocol {
        libc::NETLINK_SOCK_DIAG => (bus.diag()?, many_sockets(bus, 1)?),
        protocol => (bus.bound(protocol)?, Vec::new()),
    };
    let answer = socket.ask(&(known.request)())?;
    let reported: usize = answer.replies.iter().map(|reply| align(reply.len() as usize)).sum();
    if reported > bus.sizes().goodsize - 20 {
        return Err(Failure::Skip("the target sends so much that there is no room for NLMSG_DONE".into()));
    }
    let expected: bool = bus.expected(known.alone)?;
    expect_eq("NLMSG_DONE alone in its datagram", answer.datagrams.last() == Some(&1), expected)
}

fn done_shares_the_datagram_when_dumpit_returns_0(bus: &Bus<'_>) -> Outcome {
    let steps = [dumpit(Action::records(3, 100)), dumpit(Action::Return(0))];
    expect_eq("messages in each datagram", dump(bus, steps)?.datagrams, [4])
}

fn done_comes_alone_when_dumpit_returns_the_length(bus: &Bus<'_>) -> Outcome {
    let answer = dump(bus, [dumpit(Action::records(3, 100))])?;
    expect_eq("messages in each datagram", answer.datagrams, [3, 1])
}

/// How `dumpit` ends a dump.
const ENDS: &[(&str, Result<(), Errno>)] =
    &[("nothing_left", Ok(())), ("eio", Err(Errno::EIO)), ("enoent", Err(Errno::ENOENT))];

fn returned(end: &Result<(), Errno>) -> Action {
    Action::Return(end.map_or_else(|errno| -(errno as i64), |()| 0))
}

fn done_reports_the_result_of_dumpit(bus: &Bus<'_>, end: &Result<(), Errno>) -> Outcome {
    let steps = [dumpit(returned(end)).call(2), dumpit(Action::records(3, 100))];
    let answer = dump(bus, steps)?;
    expect_eq("records before the end", numbers(&answer.replies), [0, 1, 2])?;
    expect_eq("messages in each datagram", answer.datagrams.clone(), [3, 1])?;
    expect_result("NLMSG_DONE", answer.ack()?, *end)
}

fn done_follows_the_data_of_the_same_call(bus: &Bus<'_>, end: &Result<(), Errno>) -> Outcome {
    let answer = dump(bus, [dumpit(Action::records(3, 100)), dumpit(returned(end))])?;
    expect_eq("records before the end", numbers(&answer.replies), [0, 1, 2])?;
    expect_result("NLMSG_DONE", answer.ack()?, *end)
}

/// What `dumpit` returns beside a record.
const POSITIVE: &[(&str, i64)] = &[("1", 1), ("2", 2), ("more_than_its_data", 1 << 20)];

fn any_positive_number_continues_the_dump(bus: &Bus<'_>, number: &i64) -> Outcome {
    let record = |call| dumpit(Action::records(call, 100)).call(call);
    let steps = [record(1), record(2), dumpit(Action::Return(*number)).call(1), dumpit(Action::Return(0))];
    let answer = dump(bus, steps)?;
    expect_eq("records", numbers(&answer.replies), [0, 1])?;
    expect_eq("messages in each datagram", answer.datagrams, [1, 2])
}

fn emsgsize_with_data_continues_the_dump(bus: &Bus<'_>) -> Outcome {
    let full = Action::Records { until: 20, size: 500, emsgsize: true };
    let answer = dump(bus, [dumpit(full)])?;
    let end: Result<(), Errno> = bus.expected("with_data")?;
    expect_result("NLMSG_DONE", answer.ack()?, end)?;
    expect_eq("whether all 20 records came", answer.replies.len() == 20, end.is_ok())
}

fn emsgsize_without_data_ends_the_dump(bus: &Bus<'_>) -> Outcome {
    let answer = dump(bus, [dumpit(Action::Return(-(Errno::EMSGSIZE as i64)))])?;
    expect_empty("records", numbers(&answer.replies))?;
    expect_errno("NLMSG_DONE", answer.ack()?, bus.expected("empty")?)
}

/// A message that leaves this many bytes of the first datagram of a dump.
fn all_but(bus: &Bus<'_>, left: usize) -> Result<Step, Failure> {
    let payload = bus.sizes().goodsize - left - message::NLMSG_HDRLEN - genl::GENL_HDRLEN;
    Ok(dumpit(Action::Put(1, NLM_F_MULTI, vec![0; payload])))
}

/// Bytes left in the datagram when `dumpit` ends the dump, and the resulting datagrams.
const LEFT: &[(&str, (usize, &[usize]))] =
    &[("just_enough", (20, &[2])), ("4_bytes_short", (16, &[1, 1])), ("nothing", (0, &[1, 1]))];

fn done_fits_or_comes_alone(bus: &Bus<'_>, (left, datagrams): &(usize, &[usize])) -> Outcome {
    for (_, end) in ENDS {
        let family = bus.register(family([all_but(bus, *left)?, dumpit(returned(end))]))?;
        let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
        expect_eq("messages in each datagram", &answer.datagrams[..], *datagrams)?;
        expect_result("NLMSG_DONE", answer.ack()?, *end)?;
        expect_eq("calls of dumpit", bus.calls(On::Dumpit)?.len(), 1)?;
        family.unregister()?;
    }
    Ok(())
}

/// For each message of a dump with this script, whether it has NLM_F_DUMP_INTR.
fn interruptions(bus: &Bus<'_>, steps: &[Step]) -> Result<Vec<bool>, Failure> {
    interruptions_of(bus, family(steps.iter().cloned()))
}

fn interruptions_of(bus: &Bus<'_>, family: Family) -> Result<Vec<bool>, Failure> {
    let header = vec![0; family.hdrsize as usize];
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).bytes(&header).with(NLM_F_DUMP))?;
    let mut flags = Vec::new();
    loop {
        for message in socket.receive()?.messages {
            flags.push(message.flags & NLM_F_DUMP_INTR != 0);
            if message.kind == NLMSG_DONE {
                return Ok(flags);
            }
        }
    }
}

/// Steps that add one record in each of the first calls of `dumpit`, with this `cb->seq` in
/// those and those that follow.
fn sequence(numbers: &[u32], records: u32) -> Vec<Step> {
    let seq = numbers.iter().zip(1..).map(|(seq, call)| dumpit(Action::DumpSeq(*seq)).call(call));
    let record = (1..=records).map(|call| dumpit(Action::records(call, 100)).call(call));
    seq.chain(record).collect()
}

fn change_is_reported_in_the_next_message(bus: &Bus<'_>) -> Outcome {
    let steps = sequence(&[1, 2, 2, 2], 3);
    expect_eq("NLM_F_DUMP_INTR in each message", interruptions(bus, &steps)?, [false, true, false, false])
}

fn change_is_reported_in_front_of_a_familys_header(bus: &Bus<'_>) -> Outcome {
    let family = Family { hdrsize: 8, ..family(sequence(&[1, 2, 2, 2], 3)) };
    expect_eq("NLM_F_DUMP_INTR in each message", interruptions_of(bus, family)?, [false, true, false, false])
}

fn change_at_the_end_is_reported_in_done(bus: &Bus<'_>) -> Outcome {
    let steps = sequence(&[1, 1, 2], 2);
    expect_eq("NLM_F_DUMP_INTR in each message", interruptions(bus, &steps)?, [false, false, true])
}

/// Values of `cb->seq` in each call that are not a change: 0 means "not checked".
const STEADY: &[(&str, &[u32])] =
    &[("never_set", &[]), ("same", &[5, 5, 5]), ("zero", &[0, 0, 0]), ("set_late", &[0, 5, 5])];

fn steady_dump_is_not_interrupted(bus: &Bus<'_>, numbers: &&[u32]) -> Outcome {
    let interrupted = interruptions(bus, &sequence(numbers, 2))?;
    expect_eq("NLM_F_DUMP_INTR in each message", interrupted, [false; 3])
}

fn answer_flags_are_in_done_only(bus: &Bus<'_>) -> Outcome {
    let steps = [dumpit(Action::AnswerFlags(NLM_F_DUMP_FILTERED)), dumpit(Action::records(2, 100))];
    let family = bus.register(family(steps))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    let records: Vec<_> = socket.receive()?.messages.iter().map(|record| record.flags).collect();
    expect_eq("flags of the records", records, [NLM_F_MULTI; 2])?;
    expect_eq("flags of NLMSG_DONE", socket.receive_one()?.flags, NLM_F_MULTI | NLM_F_DUMP_FILTERED)
}
