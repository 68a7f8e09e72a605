//! Dumps as their provider sees them: when each callback is called, and with what.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::port::Who;
use crate::port::provider::{Action, Capture, Family, On, Op, Step};
use crate::scene::bus::{Bus, Registered, Socket, WAIT};
use crate::scene::dumps::{families, numbers, recorder, status};
use crate::wire::attr::Attrs;
use crate::wire::message::{Message, NLM_F_DUMP, NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR};
use crate::wire::u32_at;

cases! {
    dumpit_is_called_by_send_and_by_each_receive => "NL-DMP-004", "NL-DMP-013";
    done_is_called_once_at_the_end => "NL-DMP-013";
    done_is_called_by_close => "NL-DMP-013";
    done_that_is_called_by_close_reports_to_nobody => "NL-DMP-013";
    done_is_called_by_the_last_close => "NL-DMP-013";
    done_is_called_by_the_close_of_the_last_process => "NL-DMP-013";
    done_is_not_called_after_a_failed_start => "NL-DMP-013";
    done_is_not_called_for_a_dump_that_was_refused => "NL-DMP-013";
    module_is_held_until_done => "NL-DMP-014";
    module_is_held_until_close => "NL-DMP-014";
    module_is_not_held_after_a_failed_start => "NL-DMP-014";
    larger_message_needs_a_larger_datagram(DATAGRAMS) => "NL-DMP-019";
    larger_datagram_is_for_one_dump => "NL-DMP-019";
    state_is_zero_at_first_and_kept_between_calls => "NL-DMP-020";
    request_stays_as_it_was_sent => "NL-DMP-020";
    dumpit_sees_the_sockets_strict_check(STRICT) => "NL-DMP-022";
    strict_check_is_read_at_the_start => "NL-DMP-022";
}

/// A socket with a running dump of a few records that will not end before a receive.
fn dumping<'b>(bus: &'b Bus<'_>) -> Result<(Registered<'b>, Socket), Failure> {
    let family = bus.register(recorder(3))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(7))?;
    socket.wait(WAIT)?;
    Ok((family, socket))
}

/// The callbacks called since the last look, in order.
fn called(bus: &Bus<'_>) -> Result<Vec<On>, Failure> {
    Ok(bus.log()?.iter().map(|entry| entry.on).collect())
}

/// Like [`called`], without waiting for more.
fn called_already(bus: &Bus<'_>) -> Result<Vec<On>, Failure> {
    Ok(bus.provider()?.log(0)?.iter().map(|entry| entry.on).collect())
}

fn dumpit_is_called_by_send_and_by_each_receive(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(recorder(10))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    expect_eq("callbacks called by send()", called(bus)?, [On::Start, On::Dumpit])?;
    socket.receive_into(2048)?;
    expect_eq("callbacks called by the first receive", called(bus)?, [On::Dumpit])?;
    socket.receive_into(2048)?;
    expect_eq("callbacks called by the second receive", called(bus)?, [On::Dumpit, On::Done])
}

fn done_is_called_once_at_the_end(bus: &Bus<'_>) -> Outcome {
    let (_, socket) = dumping(bus)?;
    expect_eq("callbacks when the dump runs", called(bus)?, [On::Start, On::Dumpit])?;
    socket.receive()?;
    expect_eq("callbacks when NLMSG_DONE is made", called(bus)?, [On::Dumpit, On::Done])?;
    socket.receive()?;
    drop(socket);
    expect_empty("callbacks after that", called_already(bus)?)
}

fn done_is_called_by_close(bus: &Bus<'_>) -> Outcome {
    let (_, socket) = dumping(bus)?;
    called(bus)?;
    drop(socket);
    expect_eq("callbacks when close() has returned", called_already(bus)?, [On::Done])
}

/// By then the extended acknowledgement of the dump is gone.
fn done_that_is_called_by_close_reports_to_nobody(bus: &Bus<'_>) -> Outcome {
    let says = [Action::ErrMsg("over".into()), Action::Cookie(u64::MAX)];
    let family = says.into_iter().fold(recorder(1000), |family, action| family.on(On::Done, action));
    let family = bus.register(family)?;
    for _ in 0..3 {
        let socket = bus.generic()?;
        socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
        socket.wait(WAIT)?;
    }
    let calls = called_already(bus)?.into_iter().filter(|on| *on == On::Done).count();
    expect_eq("calls of done()", calls, 3)
}

fn done_is_called_by_the_last_close(bus: &Bus<'_>) -> Outcome {
    let (_, socket) = dumping(bus)?;
    let second = socket.raw().duplicate()?;
    called(bus)?;
    drop(socket);
    expect_empty("callbacks when one of two descriptors is closed", called_already(bus)?)?;
    drop(second);
    expect_eq("callbacks when the other is closed", called(bus)?, [On::Done])
}

fn done_is_called_by_the_close_of_the_last_process(bus: &Bus<'_>) -> Outcome {
    let (_, socket) = dumping(bus)?;
    called(bus)?;
    // The process also has the socket's descriptor, and closes it when it exits.
    bus.run_as(Who::Process, || Ok(()))?;
    expect_empty("callbacks when one process has ended", called_already(bus)?)?;
    drop(socket);
    expect_eq("callbacks when the other closes", called(bus)?, [On::Done])
}

/// A dump whose `start` fails.
fn refusing() -> Family {
    recorder(3).on(On::Start, Action::Return(-(Errno::EIO as i64)))
}

fn done_is_not_called_after_a_failed_start(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(refusing())?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    let answer = socket.receive_one()?;
    expect_eq("type of the answer", answer.kind, NLMSG_ERROR)?;
    expect_errno("request for a dump", status(&answer), Errno::EIO)?;
    drop(socket);
    expect_eq("callbacks", called(bus)?, [On::Start])
}

fn done_is_not_called_for_a_dump_that_was_refused(bus: &Bus<'_>) -> Outcome {
    let (family, socket) = dumping(bus)?;
    called(bus)?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(8))?;
    expect_empty("callbacks of a second dump", called_already(bus)?)?;
    drop(socket);
    expect_eq("callbacks of close()", called(bus)?, [On::Done])
}

fn module_is_held_until_done(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(recorder(3))?;
    let before = bus.provider()?.module_references()?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    socket.wait(WAIT)?;
    expect_eq("references while it runs", bus.provider()?.module_references()?, before + 1)?;
    socket.receive()?;
    expect_eq("references when NLMSG_DONE is made", bus.provider()?.module_references()?, before)
}

fn module_is_held_until_close(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(recorder(3))?;
    let before = bus.provider()?.module_references()?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    socket.wait(WAIT)?;
    drop(socket);
    expect_eq("references when close() has returned", bus.provider()?.module_references()?, before)
}

fn module_is_not_held_after_a_failed_start(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(refusing())?;
    let before = bus.provider()?.module_references()?;
    bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    expect_eq("references after the refusal", bus.provider()?.module_references()?, before)
}

/// A family whose command 1 dumps one message of 10000 bytes, in datagrams of at least this size.
fn large(datagram: Option<u32>) -> Family {
    let put = Step::new(On::Dumpit, Action::Put(1, NLM_F_MULTI, vec![0; 10_000 - 20])).call(1);
    let family = Family::named("nlc_large").op(Op::dumping(1)).step(put);
    match datagram {
        Some(bytes) => family.on(On::Start, Action::MinDumpAlloc(bytes)),
        None => family,
    }
}

/// The second is short if it is cut to 16 bits.
const DATAGRAMS: &[(&str, u32)] = &[("16_kib", 16 << 10), ("more_than_64_kib", 66_000)];

fn larger_message_needs_a_larger_datagram(bus: &Bus<'_>, bytes: &u32) -> Outcome {
    let family = bus.register(large(None))?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    expect_empty("messages in a datagram of the usual size", &answer.replies)?;
    family.unregister()?;
    let family = bus.register(large(Some(*bytes)))?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    expect_ok("end of the dump", answer.ack()?)?;
    expect_eq("nlmsg_len of the message", answer.reply()?.len(), 10_000)
}

fn larger_datagram_is_for_one_dump(bus: &Bus<'_>) -> Outcome {
    let (wide, narrow) = (bus.register(large(Some(16 << 10)))?, bus.register(recorder(20))?);
    let socket = bus.generic()?;
    // All with small buffers, which request no large datagrams.
    socket.send(&wide.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    socket.receive_into(2048)?;
    socket.receive_into(2048)?;
    socket.send(&narrow.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    socket.wait(WAIT)?;
    let len = socket.receive_now(2048, libc::MSG_TRUNC)?.incoming.returned;
    expect("first datagram of the next dump", len < 8192, "a short one", len)
}

/// Bytes of `cb->ctx`, which the probe keeps its own counters in.
const STATE: usize = 48;

fn state_is_zero_at_first_and_kept_between_calls(bus: &Bus<'_>) -> Outcome {
    let look = |on| Step::new(on, Action::Capture(Capture::DumpState));
    let steps = [look(On::Start), look(On::Done)];
    let family = bus.register(steps.into_iter().fold(recorder(20), Family::step))?;
    let socket = bus.generic()?;
    // An earlier dump leaves its state on the socket.
    expect_ok("dump before", socket.ask(&families())?)?;
    let answer = socket.ask(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    expect_eq("records", numbers(&answer.replies), (0..20).collect::<Vec<_>>())?;
    let log = bus.log()?;
    let state = |on| log.iter().find(|entry| entry.on == on).map(|entry| entry.bytes[4..].to_vec());
    expect_eq("state in start", state(On::Start), Some(vec![0; STATE]))?;
    let kept = state(On::Done).unwrap_or_default();
    expect("state in done", kept.iter().any(|byte| *byte != 0), "what dumpit left there", kept)
}

fn request_stays_as_it_was_sent(bus: &Bus<'_>) -> Outcome {
    let look = Step::new(On::Dumpit, Action::Capture(Capture::Message));
    let mut family = recorder(20);
    family.script.insert(0, look);
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    let request = family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(7);
    socket.send(&request)?;
    // A message in between must not be taken for the request.
    socket.send(&families().seq(8))?;
    let done = |message: &Message| (message.kind, message.seq) == (NLMSG_DONE, 7);
    while !socket.receive_into(2048)?.messages.iter().any(done) {}
    let seen: Vec<_> = bus.calls(On::Dumpit)?.into_iter().map(|entry| entry.bytes).collect();
    expect("calls of dumpit", seen.len() > 2, "several", seen.len())?;
    expect_eq("requests that they saw", seen.iter().all(|bytes| *bytes == request.encode()), true)
}

const STRICT: &[(&str, u32)] = &[("unset", 0), ("set", 1)];

/// A family whose dumps log whether strict checking is on.
fn telling<'b>(bus: &'b Bus<'_>) -> Result<Registered<'b>, Failure> {
    let mut family = recorder(1);
    family.script.insert(0, Step::new(On::Dumpit, Action::Capture(Capture::DumpState)));
    bus.register(family)
}

/// `cb->strict_check` in each call of dumpit.
fn strictness(bus: &Bus<'_>) -> Result<Vec<Option<u32>>, Failure> {
    Ok(bus.calls(On::Dumpit)?.iter().map(|entry| u32_at(&entry.bytes, 0)).collect())
}

fn dumpit_sees_the_sockets_strict_check(bus: &Bus<'_>, strict: &u32) -> Outcome {
    let family = telling(bus)?;
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_GET_STRICT_CHK, *strict)?;
    expect_ok("dump", socket.ask(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?)?;
    expect_eq("cb->strict_check in each call", strictness(bus)?, [Some(*strict); 2])
}

fn strict_check_is_read_at_the_start(bus: &Bus<'_>) -> Outcome {
    let family = telling(bus)?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    socket.wait(WAIT)?;
    socket.set(libc::NETLINK_GET_STRICT_CHK, 1)?;
    socket.receive()?;
    expect_eq("cb->strict_check in each call", strictness(bus)?, [Some(0); 2])
}
