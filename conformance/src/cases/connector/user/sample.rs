//! The kernel's own sample module, cn_test.

use nix::libc::NETLINK_CONNECTOR;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq};
use crate::scene::bus::Bus;
use crate::wire::connector::CnMsg;

cases! {
    sample_is_listed_while_it_is_loaded [initial_net] => "CN-CONV-006";
    sample_sends_every_second [initial_net, waits] => "CN-CONV-006";
}

fn sample_is_listed_while_it_is_loaded(bus: &Bus<'_>) -> Outcome {
    let idx: u32 = bus.expected("idx")?;
    // A line of the list is a name, and idx:val.
    let listed = |val: u32| -> Result<bool, Failure> {
        let id = format!("{idx}:{val}");
        let text = bus.file("/proc/net/connector")?;
        Ok(text.lines().any(|line| line.split_whitespace().eq(["cn_test", id.as_str()])))
    };
    let loaded = bus.connector_sample()?;
    expect_eq("IDs in the list", [listed(0x456)?, listed(0x457)?], [true, true])?;
    drop(loaded);
    expect_eq("IDs in the list afterwards", [listed(0x456)?, listed(0x457)?], [false, false])
}

fn sample_sends_every_second(bus: &Bus<'_>) -> Outcome {
    let idx: u32 = bus.expected("idx")?;
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    socket.join(idx)?;
    let _loaded = bus.connector_sample()?;
    let message = socket.receive()?.only()?;
    let heard = CnMsg::decode(&message.payload);
    let data = b"counter = 0\0".to_vec();
    expect_eq("message", heard, Some(CnMsg { data, ..CnMsg::to(idx, 0x457) }))
}
