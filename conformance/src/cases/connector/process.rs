//! Process events.

use nix::libc::NETLINK_CONNECTOR;

use crate::bus::Bus;
use crate::cases::cases;
use crate::outcome::{Outcome, expect_eq};
use crate::wire::connector::{CnMsg, IGNORE, LISTEN, PROC, ProcEvent};

cases! {
    acknowledgement_raises_ack_by_one [initial_net, invasive] => "CN-CONV-002";
}

fn acknowledgement_raises_ack_by_one(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    socket.join(PROC)?;
    let request =
        |op: u32| CnMsg { seq: 100, ack: 200, data: op.to_ne_bytes().to_vec(), ..CnMsg::to(PROC, PROC) };
    socket.send(&request(LISTEN).in_message())?;
    let answer = loop {
        // Processes of others may make events of their own meanwhile.
        let message = CnMsg::decode(&socket.receive_one()?.payload).unwrap_or_default();
        if ProcEvent::decode(&message.data).is_some_and(|event| event.what == 0) {
            break message;
        }
    };
    socket.send(&request(IGNORE).in_message())?;
    expect_eq("ack of the answer", answer.ack, 200 + bus.expected::<u32>("step")?)
}
