//! Dumps of a family: start, dumpit, done, and a family that is unregistered meanwhile.

use std::collections::BTreeSet;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno, expect_ok};
use crate::port::provider::{Action, Capture, Family, On, Op};
use crate::scene::bus::{Bus, Registered, Socket};
use crate::wire::attr::{self, Attrs};
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR};
use crate::wire::u32_at;

cases! {
    callbacks_are_called_in_order => "GENL-DSP-019";
    state_is_kept_between_calls => "GENL-DSP-019";
    failure_of_start_is_reported => "GENL-DSP-020";
    failure_of_start_leaves_nothing_behind => "GENL-DSP-020";
    dump_of_an_unregistered_family_completes => "GENL-DSP-023";
    dump_of_an_unregistered_family_ends_with_its_socket => "GENL-DSP-023";
    dump_of_an_unregistered_family_keeps_to_its_command => "GENL-DSP-023";
}

/// Records in a dump: enough for several datagrams.
const RECORDS: u32 = 100;

/// A family whose command 1 dumps records of 500 bytes.
fn recorder() -> Family {
    Family::named("nlc_recorder").op(Op::dumping(1)).on(On::Dumpit, Action::records(RECORDS, 500))
}

/// A socket with a running dump, most of which is still to come.
fn dumping(bus: &Bus<'_>, family: &Registered<'_>) -> Result<(Socket, Vec<Message>), Failure> {
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    let first = socket.receive_into(8192)?.messages;
    expect(
        "first datagram",
        first.iter().all(|message| message.kind != NLMSG_DONE),
        "no NLMSG_DONE",
        &first,
    )?;
    Ok((socket, first))
}

/// The rest of a dump, NLMSG_DONE included.
fn rest(socket: &Socket) -> Result<Vec<Message>, Failure> {
    let mut messages = Vec::new();
    while messages.last().is_none_or(|last: &Message| last.kind != NLMSG_DONE) {
        messages.extend(socket.receive()?.messages);
    }
    Ok(messages)
}

fn numbers(messages: &[Message]) -> Vec<u32> {
    messages.iter().filter_map(|message| attr::find(&genl::attrs(message), 1)?.u32()).collect()
}

fn callbacks_are_called_in_order(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(recorder())?;
    let (socket, _) = dumping(bus, &family)?;
    rest(&socket)?;
    drop(socket);
    let callbacks: Vec<On> = bus.calls_so_far()?.iter().map(|entry| entry.on).collect();
    let mut dumpits = callbacks.clone();
    dumpits.retain(|on| *on == On::Dumpit);
    expect("calls of dumpit", dumpits.len() > 2, "several", dumpits.len())?;
    expect_eq("callbacks", callbacks, [vec![On::Start], dumpits, vec![On::Done]].concat())
}

/// The probe keeps its counts of calls and records in the callback's context.
fn state_is_kept_between_calls(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_state").op(Op::dumping(1));
    let family = [On::Start, On::Dumpit, On::Done]
        .into_iter()
        .fold(family, |family, on| family.on(on, Action::Capture(Capture::DumpState)));
    let family = bus.register(family.on(On::Dumpit, Action::records(RECORDS, 500)))?;
    let (socket, _) = dumping(bus, &family)?;
    rest(&socket)?;
    let mut calls = 0;
    for entry in bus.calls_so_far()? {
        let state = entry.bytes.get(4..).unwrap_or_default();
        expect_eq(&format!("calls counted when {:?} was called", entry.on), u32_at(state, 0), Some(calls))?;
        expect_eq("bytes that are not written", state.get(8..), Some(&[0; 40][..]))?;
        calls += u32::from(entry.on == On::Dumpit);
    }
    Ok(())
}

fn refusing() -> Family {
    recorder().on(On::Start, Action::Return(-i64::from(libc::EBUSY)))
}

fn failure_of_start_is_reported(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(refusing())?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    let answer = socket.receive_one()?;
    expect_eq("type of the answer", answer.kind, NLMSG_ERROR)?;
    expect_errno("dump request", i64::from(answer.status().unwrap_or(0)), Errno::EBUSY)
}

fn failure_of_start_leaves_nothing_behind(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(refusing())?;
    let other = bus.register(Family { name: "nlc_other".into(), ..recorder() })?;
    let socket = bus.generic()?;
    expect_errno("dump", socket.ask(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?, Errno::EBUSY)?;
    let callbacks: Vec<On> = bus.calls_so_far()?.iter().map(|entry| entry.on).collect();
    expect_eq("callbacks", callbacks, [On::Start])?;
    expect_ok("dump of another family", socket.ask(&other.request(1, Attrs::new()).with(NLM_F_DUMP))?)
}

/// How often `done` was called, once the log has an entry.
fn dones(bus: &Bus<'_>) -> Result<usize, Failure> {
    Ok(bus.calls(On::Done)?.len())
}

fn dump_of_an_unregistered_family_completes(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(recorder())?;
    let (socket, mut messages) = dumping(bus, &family)?;
    bus.calls_so_far()?;
    expect_ok("unregistration", family.unregister()?)?;
    messages.extend(rest(&socket)?);
    let done = messages.pop().and_then(|last| last.status());
    expect_eq("records", numbers(&messages), (0..RECORDS).collect::<Vec<_>>())?;
    expect_eq("status in NLMSG_DONE", done, Some(0))?;
    expect_eq("calls of done", dones(bus)?, 1)
}

fn dump_of_an_unregistered_family_ends_with_its_socket(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(recorder())?;
    let (socket, _) = dumping(bus, &family)?;
    expect_ok("unregistration", family.unregister()?)?;
    expect_eq("calls of done before close()", dones(bus)?, 0)?;
    drop(socket);
    expect_eq("calls of done after close()", dones(bus)?, 1)
}

/// The name is free for another family, which has nothing to do with the dump.
fn dump_of_an_unregistered_family_keeps_to_its_command(bus: &Bus<'_>) -> Outcome {
    let first = bus.register(recorder())?;
    let (socket, mut messages) = dumping(bus, &first)?;
    first.unregister()?;
    bus.register(Family::named("nlc_recorder").op(Op::doing(1)))?;
    bus.calls_so_far()?;
    messages.extend(rest(&socket)?);
    messages.pop();
    let types: BTreeSet<u16> = messages.iter().map(|record| record.kind).collect();
    expect_eq("types of the records", types, BTreeSet::from([first.id]))?;
    let handles: BTreeSet<u32> = bus.calls_so_far()?.iter().map(|entry| entry.handle).collect();
    expect_eq("families whose callbacks were called", handles, BTreeSet::from([first.handle]))
}
