//! Callbacks of kernel code.

mod sends;

use std::thread;

use nix::libc::NETLINK_CONNECTOR;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect, expect_eq, expect_errno, expect_ok};
use crate::port::Who;
use crate::port::provider::{
    Action, Call, Callback, Capture, CbId, ConnectorSend, LogEntry, On, Returned, Step,
};
use crate::scene::bus::{Bus, WAIT};
use crate::scene::threads::joined;
use crate::wire::connector::CnMsg;

cases! {
    added_callback_is_listed [initial_net] => "CN-API-001";
    duplicate_id_is_refused [initial_net] => "CN-API-002";
    failed_allocation_leaves_nothing_behind [initial_net] => "CN-API-003";
    id_beyond_the_groups_can_be_used [initial_net] => "CN-API-004";
    long_name_is_truncated [initial_net] => "CN-API-005";
    name_is_listed_as_it_is(NAMES) [initial_net] => "CN-API-009";
    deleted_callback_is_not_called [initial_net] => "CN-API-006";
    deletion_does_not_wait [initial_net, parallel] => "CN-API-006";
    callback_runs_within_send [initial_net] => "CN-API-007";
    callback_runs_for_two_senders_concurrently [initial_net, parallel] => "CN-API-008";
    message_reaches_its_callback_only [initial_net] => "CN-RX-005";
    message_for_an_unknown_id_is_dropped [initial_net] => "CN-RX-005";
    callback_gets_the_sender [initial_net] => "CN-RX-008";
    callback_sees_what_was_sent [initial_net] => "CN-CONV-001";
    proc_file_has_the_documented_format [initial_net] => "CN-PROC-001";
    callbacks_are_listed_in_order [initial_net] => "CN-PROC-001";
    any_user_may_read_the_proc_file [initial_net] => "CN-PROC-004";
    other_network_namespace_has_no_proc_file => "CN-PROC-004";
    process_events_are_listed_first [initial_net] => "CN-PROC-002";
    deleted_callback_is_not_listed [initial_net] => "CN-PROC-003";
    + sends;
}

const ID: CbId = CbId { idx: 20, val: 0x456 };
const OTHER: CbId = CbId { idx: 20, val: 0x457 };
const LIST: &str = "/proc/net/connector";

fn add(bus: &Bus<'_>, callback: Callback) -> Result<Returned, Failure> {
    Ok(bus.add_callback(&callback, &Call::default())?.1)
}

/// A callback that runs this action in each call.
fn doing(name: &str, action: Action) -> Callback {
    Callback { script: vec![Step::new(On::Connector, action)], ..Callback::named(name, ID) }
}

/// Sends an empty message from a new socket.
fn send_to(bus: &Bus<'_>, id: CbId) -> Outcome {
    bus.bound(NETLINK_CONNECTOR)?.send(&CnMsg::to(id.idx, id.val).in_message())?;
    Ok(())
}

/// The only call of a connector callback that the log holds.
fn only_call(bus: &Bus<'_>) -> Result<LogEntry, Failure> {
    let calls = bus.calls(On::Connector)?;
    match <[LogEntry; 1]>::try_from(calls) {
        Ok([call]) => Ok(call),
        Err(calls) => broken(format!("{} calls of the callback", calls.len())),
    }
}

/// The lines of /proc/net/connector without the first.
fn listed(bus: &Bus<'_>) -> Result<Vec<String>, Failure> {
    Ok(bus.file(LIST)?.lines().skip(1).map(String::from).collect())
}

fn added_callback_is_listed(bus: &Bus<'_>) -> Outcome {
    expect_ok("cn_add_callback()", add(bus, Callback::named("nlc_listed", ID))?)?;
    let lines = listed(bus)?;
    let line = "nlc_listed      20:1110".to_string();
    expect("lines of the list", lines.contains(&line), &format!("one is {line:?}"), &lines)
}

fn duplicate_id_is_refused(bus: &Bus<'_>) -> Outcome {
    expect_ok("first callback", add(bus, Callback::named("nlc_first", ID))?)?;
    expect_errno("second callback", add(bus, Callback::named("nlc_second", ID))?, bus.expected("errno")?)?;
    expect_ok("callback with another val", add(bus, Callback::named("nlc_other", OTHER))?)?;
    send_to(bus, ID)?;
    expect_eq("calls of the first", bus.calls(On::Connector)?.len(), 1)
}

fn failed_allocation_leaves_nothing_behind(bus: &Bus<'_>) -> Outcome {
    let callback = Callback::named("nlc_failed", ID);
    let how = Call { fail_nth: 1, ..Call::default() };
    let (_, returned) = bus.add_callback(&callback, &how)?;
    expect_errno("cn_add_callback()", returned, bus.expected("errno")?)?;
    expect_ok("cn_add_callback() once more", add(bus, callback)?)
}

fn id_beyond_the_groups_can_be_used(bus: &Bus<'_>) -> Outcome {
    let id = CbId { idx: 1000, val: 1 };
    expect_ok("cn_add_callback()", add(bus, Callback::named("nlc_far", id))?)?;
    send_to(bus, id)?;
    expect_eq("calls", bus.calls(On::Connector)?.len(), 1)?;
    let send = ConnectorSend { id, ..ConnectorSend::default() };
    let returned = bus.connector_send(&send, &Call::default())?;
    expect_errno("cn_netlink_send_mult()", returned, bus.expected("errno")?)
}

fn long_name_is_truncated(bus: &Bus<'_>) -> Outcome {
    let name = "nlc_a_name_of_forty_bytes_is_cut_to_fit_";
    add(bus, Callback::named(name, ID))?;
    let cut = &name[..bus.expected("length")?];
    let lines = listed(bus)?;
    expect("lines of the list", lines.contains(&format!("{cut} 20:1110")), &format!("one for {cut}"), &lines)
}

const NAMES: &[(&str, &str)] = &[
    ("conversions", "nlc_%x%s%d"),
    ("percent_at_the_end", "nlc_100%"),
    ("blanks", "nlc a b"),
    ("longest", "nlc_a_name_of_thirty_one_bytes_"),
];

fn name_is_listed_as_it_is(bus: &Bus<'_>, name: &&str) -> Outcome {
    expect_ok("cn_add_callback()", add(bus, Callback::named(name, ID))?)?;
    let lines = listed(bus)?;
    let line = format!("{name:<15} 20:1110");
    expect("lines of the list", lines.contains(&line), &format!("one is {line:?}"), &lines)
}

fn deleted_callback_is_not_called(bus: &Bus<'_>) -> Outcome {
    add(bus, Callback::named("nlc_deleted", ID))?;
    add(bus, Callback::named("nlc_stays", OTHER))?;
    bus.del_callback(ID)?;
    bus.del_callback(CbId { idx: 20, val: 0x458 })?; // nobody's
    send_to(bus, ID)?;
    send_to(bus, OTHER)?;
    expect_eq("calls, of the one that stays", bus.calls(On::Connector)?.len(), 1)
}

fn deletion_does_not_wait(bus: &Bus<'_>) -> Outcome {
    add(bus, doing("nlc_busy", Action::Block))?;
    let provider = bus.provider()?;
    thread::scope(|scope| {
        let sender = scope.spawn(|| send_to(bus, ID));
        let running = provider.blocked(WAIT.as_millis() as u64);
        let deleted = bus.del_callback(ID);
        let still = provider.blocked(0);
        provider.release()?;
        let sent = joined(sender);
        expect_eq("callbacks that run", running?, 1)?;
        deleted?;
        expect_eq("callbacks that run after the deletion", still?, 1)?;
        sent
    })?;
    expect_eq("what the callback returned", only_call(bus)?.returned, 0)
}

fn callback_runs_within_send(bus: &Bus<'_>) -> Outcome {
    add(bus, doing("nlc_slow", Action::Sleep(20)))?;
    send_to(bus, ID)?;
    let log = bus.provider()?.log(0)?;
    expect_eq("calls that have ended when send() returns", log.len(), 1)?;
    expect_eq("process that it ran in", log[0].tgid, std::process::id())?;
    let slept = log[0].left_ns - log[0].entered_ns;
    // An emulated machine on a busy host counts its ticks in bursts, so little of the time may be left.
    expect("nanoseconds that it slept", slept >= 1_000_000, "some milliseconds", slept)
}

fn callback_runs_for_two_senders_concurrently(bus: &Bus<'_>) -> Outcome {
    add(bus, doing("nlc_shared", Action::Block))?;
    let provider = bus.provider()?;
    thread::scope(|scope| {
        let senders = [0; 2].map(|_| scope.spawn(|| send_to(bus, ID)));
        let deadline = std::time::Instant::now() + WAIT;
        let mut running = provider.blocked(WAIT.as_millis() as u64);
        while running == Ok(1) && std::time::Instant::now() < deadline {
            thread::yield_now();
            running = provider.blocked(0);
        }
        // Once for each: if the second send has to wait for the first, it reaches this point later.
        while senders.iter().any(|sender| !sender.is_finished()) {
            provider.release()?;
            thread::yield_now();
        }
        for sender in senders {
            joined(sender)?;
        }
        expect_eq("calls at once", running?, 2)
    })
}

fn message_reaches_its_callback_only(bus: &Bus<'_>) -> Outcome {
    add(bus, Callback::named("nlc_one", ID))?;
    let (other, _) = bus.add_callback(&Callback::named("nlc_two", OTHER), &Call::default())?;
    send_to(bus, OTHER)?;
    let called: Vec<_> = bus.calls(On::Connector)?.iter().map(|call| call.handle).collect();
    expect_eq("callbacks called", called, [other])
}

fn message_for_an_unknown_id_is_dropped(bus: &Bus<'_>) -> Outcome {
    add(bus, Callback::named("nlc_known", ID))?;
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    for (idx, val) in [(ID.idx, 1), (9, ID.val)] {
        socket.send(&CnMsg::to(idx, val).in_message())?;
    }
    // The known ID comes last: its call shows that the messages before it were dropped.
    socket.send(&CnMsg::to(ID.idx, ID.val).in_message())?;
    expect_eq("calls", bus.calls(On::Connector)?.len(), 1)?;
    socket.expect_nothing("answer")
}

fn callback_gets_the_sender(bus: &Bus<'_>) -> Outcome {
    add(bus, Callback::named("nlc_knows", ID))?;
    let port = bus.run_as(Who::Nobody, || {
        let socket = bus.bound(NETLINK_CONNECTOR)?;
        socket.send(&CnMsg::to(ID.idx, ID.val).in_message())?;
        socket.portid()
    })?;
    let call = only_call(bus)?;
    expect_eq("port", call.portid, port)?;
    expect_eq("user", call.uid, 65534)
}

fn callback_sees_what_was_sent(bus: &Bus<'_>) -> Outcome {
    add(bus, doing("nlc_sees", Action::Capture(Capture::Message)))?;
    let sent =
        CnMsg { seq: u32::MAX, ack: 5, flags: 0xbeef, data: b"data".to_vec(), ..CnMsg::to(ID.idx, ID.val) };
    bus.bound(NETLINK_CONNECTOR)?.send(&sent.in_message())?;
    let calls = bus.calls(On::Connector)?;
    expect_eq("cn_msg given", calls.first().and_then(|call| CnMsg::decode(&call.bytes)), Some(sent))
}

fn proc_file_has_the_documented_format(bus: &Bus<'_>) -> Outcome {
    add(bus, Callback::named("nlc_form", CbId { idx: u32::MAX, val: 0 }))?;
    let list = bus.file(LIST)?;
    expect_eq("first line", list.lines().next(), Some("Name            ID"))?;
    expect_eq("last line", list.lines().last(), Some("nlc_form        4294967295:0"))
}

fn callbacks_are_listed_in_order(bus: &Bus<'_>) -> Outcome {
    add(bus, Callback::named("nlc_2", OTHER))?;
    add(bus, Callback::named("nlc_1", ID))?;
    let lines = listed(bus)?;
    let names: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    expect("names in the list", names.ends_with(&["nlc_2", "nlc_1"]), "nlc_2, nlc_1 at the end", &names)
}

fn any_user_may_read_the_proc_file(bus: &Bus<'_>) -> Outcome {
    let head = bus.run_as(Who::Nobody, || Ok(bus.file(LIST)?.lines().next().map(String::from)))?;
    expect_eq("first line", head.as_deref(), Some("Name            ID"))
}

fn other_network_namespace_has_no_proc_file(bus: &Bus<'_>) -> Outcome {
    let readable = bus.run_as(Who::OtherNet, || Ok(bus.file(LIST).is_ok()))?;
    expect_eq("/proc/net/connector exists", readable, false)
}

fn process_events_are_listed_first(bus: &Bus<'_>) -> Outcome {
    expect_eq("first callback", listed(bus)?.first().map(String::as_str), Some("cn_proc         1:1"))
}

fn deleted_callback_is_not_listed(bus: &Bus<'_>) -> Outcome {
    let before = listed(bus)?;
    add(bus, Callback::named("nlc_brief", ID))?;
    expect_eq("lines with it", listed(bus)?.len(), before.len() + 1)?;
    bus.del_callback(ID)?;
    expect_eq("lines without it", listed(bus)?, before)
}
