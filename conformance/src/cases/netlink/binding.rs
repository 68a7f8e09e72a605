//! bind(2): port IDs.

use nix::libc;

use crate::bus::Bus;
use crate::cases::cases;
use crate::outcome::{Outcome, expect, expect_errno, expect_ok};
use crate::wire::address::Address;

cases! {
    short_address_is_refused(SHORT) => "NL-BIND-001";
    long_address_is_cut => "NL-BIND-001";
    chosen_ports_differ => "NL-BIND-004";
    any_free_port_can_be_bound(PORTS) => "NL-BIND-005";
    port_in_use_is_refused => "NL-BIND-005";
    other_port_is_refused(REBIND) => "NL-BIND-007";
    same_port_can_be_bound_again => "NL-BIND-007";
}

const SHORT: &[(&str, usize)] = &[("0", 0), ("2", 2), ("11", 11)];

fn short_address_is_refused(bus: &Bus<'_>, len: &usize) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    let bound = socket.raw().bind(&Address::port(0).encode()[..*len]);
    expect_errno(&format!("bind() with {len} bytes"), bound, bus.expected("errno")?)
}

fn long_address_is_cut(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    let address = [Address::port(777).encode(), vec![0xff; 20]].concat();
    expect_ok("bind() with 32 bytes", socket.raw().bind(&address))?;
    expect("port ID", socket.portid()? == 777, "777", socket.portid()?)
}

fn chosen_ports_differ(bus: &Bus<'_>) -> Outcome {
    let sockets = [(); 4].map(|()| bus.bound(libc::NETLINK_ROUTE));
    let mut ports = Vec::new();
    for socket in &sockets {
        ports.push(socket.as_ref().map_err(|errno| *errno)?.portid()?);
    }
    let further = bus.expected("first")?..=bus.expected("last")?;
    let (first, rest) = (ports[0], &ports[1..]);
    expect(
        "port IDs of the second socket on",
        rest.iter().all(|port| further.contains(port)),
        "all negative",
        rest,
    )?;
    let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
    expect("port IDs", distinct.len() == ports.len() && first != 0, "four that differ", &ports)
}

const PORTS: &[(&str, u32)] = &[("1", 1), ("777", 777), ("highest", u32::MAX)];

fn any_free_port_can_be_bound(bus: &Bus<'_>, port: &u32) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    expect_ok("bind()", socket.bind(Address::port(*port)))?;
    expect("port ID", socket.portid()? == *port, &port.to_string(), socket.portid()?)
}

fn port_in_use_is_refused(bus: &Bus<'_>) -> Outcome {
    let (first, second) = (bus.open(libc::NETLINK_ROUTE)?, bus.open(libc::NETLINK_ROUTE)?);
    first.bind(Address::port(777))?;
    expect_errno("second bind()", second.bind(Address::port(777)), bus.expected("errno")?)?;
    expect_ok("bind() of the second socket to a free port ID", second.bind(Address::port(778)))
}

const REBIND: &[(&str, u32)] = &[("another", 778), ("zero", 0)];

fn other_port_is_refused(bus: &Bus<'_>, port: &u32) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    socket.bind(Address::port(777))?;
    expect_errno("second bind()", socket.bind(Address::port(*port)), bus.expected("errno")?)?;
    expect("port ID", socket.portid()? == 777, "777, as before", socket.portid()?)
}

fn same_port_can_be_bound_again(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    socket.bind(Address::port(777))?;
    expect_ok("second bind()", socket.bind(Address::port(777)))
}
