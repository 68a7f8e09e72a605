//! getsockname(2) and getpeername(2).

use nix::libc;

use super::peer;
use crate::cases::cases;
use crate::outcome::{Outcome, expect_bytes, expect_eq};
use crate::scene::PORT;
use crate::scene::bus::Bus;
use crate::wire::address::{self, Address};

cases! {
    getsockname_reports_port_and_groups => "NL-BIND-009";
    peer_of_an_unconnected_socket_is_zero => "NL-BIND-013";
    name_is_truncated_to_the_buffer(ROOMS) => "NL-BIND-019";
    names_hold_nothing_of_earlier_calls => "NL-BIND-025";
}

fn getsockname_reports_port_and_groups(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    expect_eq("name before", socket.name()?, Address::KERNEL)?;
    let address = Address { groups: 0x8000, ..Address::port(PORT) };
    socket.bind(address)?;
    expect_eq("name afterwards", socket.name()?, address)
}

fn peer_of_an_unconnected_socket_is_zero(bus: &Bus<'_>) -> Outcome {
    expect_eq("peer", peer(&bus.open(libc::NETLINK_ROUTE)?)?, Address::KERNEL)
}

const ROOMS: &[(&str, usize)] = &[("2", 2), ("12", 12), ("100", 100)];

fn name_is_truncated_to_the_buffer(bus: &Bus<'_>, room: &usize) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    socket.bind(Address::port(PORT))?;
    let (_, reported) = socket.raw().name(*room)?;
    expect_eq("length that getsockname() reports", reported, address::LEN)?;
    let (_, reported) = socket.raw().peer(*room)?;
    expect_eq("length that getpeername() reports", reported, address::LEN)
}

/// What the calls before leave is an address, where these ones have theirs.
fn names_hold_nothing_of_earlier_calls(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let own = socket.name()?;
    let leave_bytes = || {
        let _ = socket.raw().bind(&[0xff; 128]);
        let _ = socket.raw().connect(&[0xff; 128]);
    };
    leave_bytes();
    expect_bytes("getsockname()", socket.raw().name(address::LEN)?.0, own.encode())?;
    leave_bytes();
    expect_bytes("getpeername()", socket.raw().peer(address::LEN)?.0, Address::KERNEL.encode())
}
