//! The connector, and the events of processes that come through it.

use nix::libc::NETLINK_CONNECTOR;

use crate::cases::scenarios;
use crate::client::protocol::{Body, Expects, Options, ProcessEvent};
use crate::outcome::{Failure, Outcome, expect_eq, mismatch};
use crate::port::process::{Deed, Program};
use crate::port::provider::{Call, Callback, CbId, ConnectorSend, On};
use crate::scene::bus::{NO_OPERATION, Process};
use crate::scene::client::{Handle, Stage, Told, WAIT, meanwhile};
use crate::wire::connector::CnMsg;
use crate::wire::message::NLMSG_DONE;
use crate::wire::process::{CN_IDX_PROC, control};

scenarios! {
    connector_message_is_data [initial_net] => "CL-CON-001";
    connector_reply_is_data(REPLIES) [initial_net] => "CL-CON-002";
    life_of_a_process [initial_net] => "CL-PRC-001";
    acknowledgement_after_events [initial_net] => "CL-PRC-002";
    acknowledgement_of_somebody_else [initial_net] => "CL-PRC-003";
    overrun_of_process_events [initial_net] => "CL-PRC-004";
    other_process_events [initial_net] => "CL-PRC-006";
}

const ID: CbId = CbId { idx: 20, val: 0x456 };
const DATA: &[u8] = b"connected";

fn has_data(told: &Told) -> bool {
    let ends = |payload: &Vec<u8>| payload.windows(DATA.len()).any(|window| window == DATA);
    told.is_done() && told.messages().iter().any(|message| message.payload.as_ref().is_some_and(ends))
}

fn connector_message_is_data(stage: &Stage<'_>) -> Outcome {
    let handle = stage.open(NETLINK_CONNECTOR, Options::default())?;
    let joined = handle.join_number(ID.idx)?;
    joined.must("joining the group", joined.is_done(), "done")?;
    for nth in ["first", "second"] {
        let send =
            ConnectorSend { id: ID, group: ID.idx, payload: DATA.to_vec(), ..ConnectorSend::default() };
        stage.bus().connector_send(&send, &Call::default())?;
        let told = handle.next_event()?;
        told.must(
            &format!("{nth} event"),
            has_data(&told),
            "done, with a message that has the 9 bytes of data",
        )?;
    }
    Ok(())
}

/// Whether the reply keeps the number of its request.
const REPLIES: &[(&str, bool)] = &[("same_seq", true), ("other_seq", false)];

fn connector_reply_is_data(stage: &Stage<'_>, same: &bool) -> Outcome {
    stage.bus().add_callback(&Callback::named("nlc_client", ID), &Call::default())?;
    let handle = stage.open(NETLINK_CONNECTOR, Options::default())?;
    let request = CnMsg { seq: 7, ack: 100, ..CnMsg::to(ID.idx, ID.val) };
    let body = Body::Raw { kind: NLMSG_DONE, payload: request.encode() };
    let told = meanwhile(
        || handle.request_of(body, Expects::Reply),
        || {
            let calls = stage.bus().calls(On::Connector)?;
            let portid = calls.last().map_or(0, |call| call.portid);
            let seq = if *same { 7 } else { 0 };
            let payload = DATA.to_vec();
            let reply = ConnectorSend { id: ID, seq, ack: 101, portid, payload, ..ConnectorSend::default() };
            stage.bus().connector_send(&reply, &Call::default()).map(drop)
        },
    )?;
    told.must("outcome of the request", has_data(&told), "done, with a message that has the 9 bytes of data")
}

/// The events of a process, up to its exit, that the caller is given.
fn events_of(handle: &Handle<'_>, process: &Process) -> Result<(Vec<ProcessEvent>, Told), Failure> {
    const MOST: usize = 500;
    let id = process.task().pid;
    let mut events: Vec<ProcessEvent> = Vec::new();
    for _ in 0..MOST {
        let told = handle.next_event()?;
        let new = told.messages().iter().filter_map(|message| message.process.clone());
        events.extend(new.filter(|event| event.pid == id || event.child == Some(id)));
        if told.is_timeout() || events.last().is_some_and(|event| event.what == "exit") {
            return Ok((events, told));
        }
    }
    Ok((events, handle.next_event()?))
}

/// A process executes a program and ends: the caller must see it.
fn see_a_life(stage: &Stage<'_>, handle: &Handle<'_>) -> Outcome {
    let process = stage.bus().process(&[Deed::Exec(Program::Binary)])?;
    let (id, parent) = (process.task().pid, process.maker().pid);
    let (events, _) = events_of(handle, &process)?;
    let event = |what: &str, pid, child| ProcessEvent { what: what.into(), pid, child };
    let wanted = [event("fork", parent, Some(id)), event("exec", id, None), event("exit", id, None)];
    let seen: Vec<_> =
        events.into_iter().filter(|event| wanted.iter().any(|one| one.what == event.what)).collect();
    expect_eq("events of the process", seen, wanted.to_vec())
}

fn subscribed(told: &Told) -> Outcome {
    told.must("outcome of the subscription", told.is_done(), "done")
}

fn life_of_a_process(stage: &Stage<'_>) -> Outcome {
    let handle = stage.open(NETLINK_CONNECTOR, Options::default())?;
    subscribed(&handle.listen()?)?;
    see_a_life(stage, &handle)
}

/// A handle in the group of process events that has not subscribed.
fn member<'s>(stage: &'s Stage<'_>) -> Result<Handle<'s>, Failure> {
    let handle = stage.open(NETLINK_CONNECTOR, Options::default())?;
    let joined = handle.join_number(CN_IDX_PROC)?;
    joined.must("joining the group", joined.is_done(), "done")?;
    Ok(handle)
}

fn acknowledgement_after_events(stage: &Stage<'_>) -> Outcome {
    let _other = stage.bus().listener()?;
    let handle = member(stage)?;
    stage.bus().process(&[Deed::Exit(0)])?;
    subscribed(&handle.within(WAIT).listen()?)?;
    see_a_life(stage, &handle)
}

fn acknowledgement_of_somebody_else(stage: &Stage<'_>) -> Outcome {
    // Without a listener there is no acknowledgement (cn_proc_ack()).
    let _listener = stage.bus().listener()?;
    let handle = member(stage)?;
    // It is refused, and everybody is told.
    let other = stage.bus().outside_observer()?;
    other.request(control(NO_OPERATION))?;
    subscribed(&handle.listen()?)?;
    see_a_life(stage, &handle)
}

fn overrun_of_process_events(stage: &Stage<'_>) -> Outcome {
    let options = stage.small_buffer();
    let processes = if options.buffer.is_some() { 40 } else { 300 };
    let handle = stage.open(NETLINK_CONNECTOR, options)?;
    subscribed(&handle.listen()?)?;
    stage
        .while_paused(|| (0..processes).try_for_each(|_| stage.bus().process(&[Deed::Exit(0)]).map(drop)))?;
    let events = handle.drain_events()?;
    if !events.iter().any(|told| told.is_overrun() || told.is_failure()) {
        let expected = "overrun, or another failure, once; then the events that come later";
        return mismatch("events", expected, format_args!("{} events, all of them done", events.len()));
    }
    see_a_life(stage, &handle)
}

fn other_process_events(stage: &Stage<'_>) -> Outcome {
    let handle = stage.open(NETLINK_CONNECTOR, Options::default())?;
    subscribed(&handle.listen()?)?;
    let deeds = [Deed::SetName("renamed".into()), Deed::SetSid, Deed::SetGroups(1, 1, 1), Deed::Exit(0)];
    stage.bus().process(&deeds)?;
    see_a_life(stage, &handle)
}
