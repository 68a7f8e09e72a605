//! Races of the connector: callbacks and listeners that go while messages for them come.

use std::collections::VecDeque;
use std::thread;

use nix::libc::NETLINK_CONNECTOR;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_empty, expect_eq};
use crate::port::provider::{Call, Callback, CbId, On};
use crate::scene::bus::{Bus, NO_OPERATION, Observer};
use crate::scene::threads::{rounds, while_other};
use crate::wire::connector::CnMsg;
use crate::wire::process::{PROC_EVENT_EXIT, PROC_EVENT_FORK, PROC_EVENT_NONE, control};

cases! {
    messages_race_with_deletion_of_the_callback [initial_net] => "CN-API-006";
    list_races_with_deletion_of_a_callback [initial_net] => "CN-PROC-003";
    events_race_with_close_of_a_listener [initial_net] => "CNP-EV-014";
    events_race_with_requests [initial_net] => "CNP-FLT-006";
}

const ID: CbId = CbId { idx: 20, val: 0x456 };
const OTHERS: u32 = 64;
/// Sockets that listen at once.
const LISTENERS: usize = 4;

/// Callbacks that are listed before the one that comes and goes: who looks for that one has the list for long, so that the
/// deletion waits, and follows at once.
fn add_others(bus: &Bus<'_>) -> Outcome {
    (0..OTHERS).try_for_each(|n| {
        let id = CbId { idx: ID.idx + 1, val: n };
        bus.add_callback(&Callback::named("nlc_other", id), &Call::default()).map(drop)
    })
}

/// Adds the callback and deletes it, for as long as a race lasts.
fn add_and_delete(bus: &Bus<'_>) -> Outcome {
    for _ in rounds() {
        bus.add_callback(&Callback::named("nlc_passing", ID), &Call::default())?;
        bus.del_callback(ID)?;
    }
    Ok(())
}

/// Whether the callback is still there or not, the send succeeds.
fn messages_race_with_deletion_of_the_callback(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    let message = CnMsg::to(ID.idx, ID.val).in_message();
    let send = || socket.send(&message).map(drop).map_err(Failure::from);
    let add = || bus.add_callback(&Callback::named("nlc_passing", ID), &Call::default());
    add_others(bus)?;
    while_other(send, || add_and_delete(bus))?;
    // How often it was called meanwhile is left to chance.
    bus.provider()?.log(0)?;
    send()?;
    expect_empty("calls after the deletion", bus.calls_so_far()?)?;
    add()?;
    send()?;
    expect_eq("calls of the callback that stays", bus.calls(On::Connector)?.len(), 1)
}

/// The callbacks that stay are listed all the time.
fn list_races_with_deletion_of_a_callback(bus: &Bus<'_>) -> Outcome {
    let read = || {
        let list = bus.file("/proc/net/connector")?;
        let others = list.lines().filter(|line| line.starts_with("nlc_other ")).count();
        expect_eq("callbacks that stay", others, OTHERS as usize)
    };
    add_others(bus)?;
    while_other(read, || add_and_delete(bus))
}

/// A thread that begins and ends: two events.
fn cause_events() -> Outcome {
    thread::scope(|scope| drop(scope.spawn(|| ())));
    Ok(())
}

fn events_race_with_close_of_a_listener(bus: &Bus<'_>) -> Outcome {
    // A refusal is an event, too, and takes no process that does something.
    let asking = bus.listener()?;
    let refused = control(NO_OPERATION).in_message();
    let refuse = || asking.socket.send(&refused).map(drop).map_err(Failure::from);
    let listener = || -> Result<Observer, Failure> {
        let listener = bus.member_for_events()?;
        listener.listen()?;
        Ok(listener)
    };
    // An event comes to the newest of them first: it is on its way to the oldest while that is closed.
    let mut listeners = (0..LISTENERS).map(|_| listener()).collect::<Result<VecDeque<_>, _>>()?;
    while_other(refuse, || {
        for _ in rounds() {
            listeners.push_back(listener()?);
            listeners.pop_front();
        }
        Ok(())
    })
}

/// What comes is in the mask before the request or in the one after it.
fn events_race_with_requests(bus: &Bus<'_>) -> Outcome {
    const MASKS: [u32; 2] = [PROC_EVENT_FORK, PROC_EVENT_EXIT];
    let listener = bus.listener_to(MASKS[1])?;
    while_other(cause_events, || {
        for round in rounds() {
            listener.listen_to(MASKS[round as usize % 2])?;
            while let Some(event) = listener.take_or_lose()? {
                let what = event.event.what;
                expect("event", what == PROC_EVENT_NONE || MASKS.contains(&what), "FORK or EXIT", what)?;
            }
        }
        Ok(())
    })
}
