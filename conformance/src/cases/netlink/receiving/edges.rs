//! What is told to who polls edge-triggered, as event loops do.

use std::time::Duration;

use nix::libc::{self, POLLERR, POLLIN};

use super::waiting::{Cause, DATAGRAMS};
use crate::cases::cases;
use crate::outcome::{Outcome, expect_eq, expect_ok};
use crate::port::provider::{Family, KernelSend, Verb};
use crate::scene::bus::{Bus, WAIT};

cases! {
    each_datagram_is_an_edge(DATAGRAMS) => "NL-RCV-011";
    each_error_is_an_edge => "NL-RCV-011";
}

fn each_datagram_is_an_edge(bus: &Bus<'_>, (protocol, cause): &Cause) -> Outcome {
    let socket = bus.bound(*protocol)?;
    let edges = socket.raw().edges()?;
    cause(bus, &socket)?;
    expect_eq("events of the first", edges.next(WAIT)?, POLLIN)?;
    expect_eq("events without another", edges.next(Duration::ZERO)?, 0)?;
    cause(bus, &socket)?;
    expect_eq("events of the second, with the first in the queue", edges.next(WAIT)?, POLLIN)
}

fn each_error_is_an_edge(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_awaited").group("events"))?;
    let member = bus.generic()?;
    member.join(family.groups[0])?;
    let edges = member.raw().edges()?;
    expect_ok("multicast", family.multicast(0, &[7; 16])?)?;
    expect_eq("events of the datagram", edges.next(WAIT)?, POLLIN)?;
    for _ in 0..2 {
        family.send(KernelSend::new(Verb::SetErr(libc::EOVERFLOW)))?;
        expect_eq("events of the error", edges.next(WAIT)?, POLLIN | POLLERR)?;
    }
    Ok(())
}
