//! Sends that are wrong in two ways: which of them the error is about.

use nix::libc;
use nix::unistd::{Gid, Uid};

use crate::cases::cases;
use crate::outcome::{Outcome, expect_errno};
use crate::port::capability::Capability;
use crate::port::{Control, Outgoing, Who};
use crate::scene::PORT;
use crate::scene::bus::Bus;
use crate::wire::address::Address;

cases! {
    first_fault_of_a_send_counts(FAULTS) => "NL-SEND-033";
    first_fault_of_an_unprivileged_send_counts(UNPRIVILEGED) => "NL-SEND-033";
    forged_credentials_count_before_the_address => "NL-SEND-033";
}

/// What is wrong with a datagram.
type Fault = fn(Outgoing) -> Outgoing;

fn out_of_band(datagram: Outgoing) -> Outgoing {
    Outgoing { flags: libc::MSG_OOB, ..datagram }
}

fn empty(datagram: Outgoing) -> Outgoing {
    Outgoing { bytes: Vec::new(), ..datagram }
}

/// It claims to come from process 1.
fn forged(datagram: Outgoing) -> Outgoing {
    let data = [1, Uid::current().as_raw(), Gid::current().as_raw()].map(u32::to_ne_bytes).concat();
    let control = vec![Control { level: libc::SOL_SOCKET, kind: libc::SCM_CREDENTIALS, data }];
    Outgoing { control, ..datagram }
}

fn to_a_short_address(datagram: Outgoing) -> Outgoing {
    Outgoing { to: Some(Address::port(0).encode()[..11].to_vec()), ..datagram }
}

/// Nobody is there, and on NETLINK_ROUTE not everybody may send to it.
fn to_a_port(datagram: Outgoing) -> Outgoing {
    Outgoing { to: Some(Address::port(PORT).encode()), ..datagram }
}

/// Larger than any send buffer is by itself.
fn too_large(datagram: Outgoing) -> Outgoing {
    Outgoing { bytes: vec![0; 8 << 20], ..datagram }
}

/// The fault that counts, with the name of its errno, and another.
type Pair = (Fault, &'static str, Fault);

const FAULTS: &[(&str, Pair)] = &[
    ("out_of_band_before_empty", (out_of_band, "out_of_band", empty)),
    ("empty_before_a_short_address", (empty, "empty", to_a_short_address)),
    ("short_address_before_too_large", (to_a_short_address, "short", too_large)),
    ("too_large_before_nobody", (too_large, "too_large", to_a_port)),
];

const UNPRIVILEGED: &[(&str, Pair)] = &[
    ("empty_before_forged", (empty, "empty", forged)),
    ("port_before_too_large", (to_a_port, "port", too_large)),
];

/// Sends what is wrong in these two ways with a socket of this protocol.
fn expect_first(bus: &Bus<'_>, protocol: i32, (first, errno, second): &Pair) -> Outcome {
    let datagram = Outgoing { bytes: vec![0; 16], ..Outgoing::default() };
    let sent = bus.open(protocol)?.raw().send(&second(first(datagram)));
    expect_errno("send()", sent, bus.expected(errno)?)
}

fn first_fault_of_a_send_counts(bus: &Bus<'_>, faults: &Pair) -> Outcome {
    expect_first(bus, libc::NETLINK_USERSOCK, faults)
}

fn first_fault_of_an_unprivileged_send_counts(bus: &Bus<'_>, faults: &Pair) -> Outcome {
    bus.run_as(Who::Nobody, || expect_first(bus, libc::NETLINK_ROUTE, faults))
}

fn forged_credentials_count_before_the_address(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::Processes)?;
    first_fault_of_an_unprivileged_send_counts(bus, &(forged, "forged", to_a_short_address))
}
