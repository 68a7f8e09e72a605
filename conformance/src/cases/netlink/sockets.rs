//! socket(2), and the protocols that it finds.

use nix::errno::Errno;
use nix::libc;

use super::FREE_PROTOCOL;
use crate::bus::Bus;
use crate::cases::cases;
use crate::outcome::{Outcome, expect, expect_errno, expect_ok};
use crate::target::provider::{Call, Protocol};

cases! {
    type_is_refused(OTHER_TYPES) => "NL-SOCK-001";
    protocol_out_of_range_is_refused(NO_PROTOCOLS) => "NL-SOCK-003";
    second_kernel_socket_is_refused => "NL-SOCK-011";
    kernel_socket_out_of_range_is_refused => "NL-SOCK-011";
    protocol_has_its_groups(GROUPS) => "NL-SOCK-012";
}

const OTHER_TYPES: &[(&str, i32)] =
    &[("stream", libc::SOCK_STREAM), ("seqpacket", libc::SOCK_SEQPACKET), ("rdm", libc::SOCK_RDM)];

fn type_is_refused(bus: &Bus<'_>, kind: &i32) -> Outcome {
    expect_errno("socket()", bus.open_as(*kind, libc::NETLINK_ROUTE), bus.expected("errno")?)
}

const NO_PROTOCOLS: &[(&str, i32)] = &[("32", 32), ("255", 255), ("largest", i32::MAX)];

fn protocol_out_of_range_is_refused(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    expect_errno("socket()", bus.open(*protocol), bus.expected("errno")?)
}

/// The core says so with NULL, which the port gives as ENOMEM.
fn second_kernel_socket_is_refused(bus: &Bus<'_>) -> Outcome {
    let protocol = Protocol::with_groups(FREE_PROTOCOL, 1);
    let (_, first) = bus.provider()?.create_protocol(&protocol, &Call::default())?;
    let (_, second) = bus.provider()?.create_protocol(&protocol, &Call::default())?;
    expect_ok("first netlink_kernel_create()", first)?;
    expect_errno("second netlink_kernel_create()", second, Errno::ENOMEM)
}

fn kernel_socket_out_of_range_is_refused(bus: &Bus<'_>) -> Outcome {
    let (_, returned) = bus.provider()?.create_protocol(&Protocol::with_groups(32, 1), &Call::default())?;
    expect_errno("netlink_kernel_create()", returned, Errno::ENOMEM)
}

const GROUPS: &[(&str, u32)] = &[("1", 1), ("26", 26), ("32", 32), ("33", 33), ("40", 40), ("100", 100)];

fn protocol_has_its_groups(bus: &Bus<'_>, asked: &u32) -> Outcome {
    let protocol = Protocol::with_groups(FREE_PROTOCOL, *asked);
    bus.provider()?.create_protocol(&protocol, &Call::default())?;
    let socket = bus.open(FREE_PROTOCOL)?;
    let last = (*asked).max(bus.expected("least")?);
    expect_ok("joining the last group", socket.join(last))?;
    let beyond = socket.join(last + 1);
    expect("joining the group behind it", beyond.is_err(), "a refusal", beyond)
}
