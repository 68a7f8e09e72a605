//! Races of the connector: callbacks and listeners that go while messages for them come.

use std::thread;

use nix::libc::NETLINK_CONNECTOR;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_empty, expect_eq};
use crate::port::provider::{Call, Callback, CbId, On};
use crate::scene::bus::Bus;
use crate::scene::threads::{rounds, while_other};
use crate::wire::connector::CnMsg;
use crate::wire::process::{PROC_EVENT_EXIT, PROC_EVENT_FORK, PROC_EVENT_NONE};

cases! {
    messages_race_with_deletion_of_the_callback [initial_net] => "CN-API-006";
    events_race_with_close_of_a_listener [initial_net] => "CNP-EV-014";
    events_race_with_requests [initial_net] => "CNP-FLT-006";
}

const ID: CbId = CbId { idx: 20, val: 0x456 };

/// Whether the callback is still there or not, the send succeeds.
fn messages_race_with_deletion_of_the_callback(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    let message = CnMsg::to(ID.idx, ID.val).in_message();
    let send = || socket.send(&message).map(drop).map_err(Failure::from);
    let add = || bus.add_callback(&Callback::named("nlc_passing", ID), &Call::default());
    while_other(send, || {
        for _ in rounds() {
            add()?;
            bus.del_callback(ID)?;
        }
        Ok(())
    })?;
    // How often it was called meanwhile is left to chance.
    bus.provider()?.log(0)?;
    send()?;
    expect_empty("calls after the deletion", bus.calls_so_far()?)?;
    add()?;
    send()?;
    expect_eq("calls of the callback that stays", bus.calls(On::Connector)?.len(), 1)
}

/// A thread that begins and ends: two events.
fn cause_events() -> Outcome {
    thread::scope(|scope| drop(scope.spawn(|| ())));
    Ok(())
}

fn events_race_with_close_of_a_listener(bus: &Bus<'_>) -> Outcome {
    while_other(cause_events, || {
        for _ in rounds() {
            let listener = bus.listener()?;
            listener.take_or_lose()?;
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
