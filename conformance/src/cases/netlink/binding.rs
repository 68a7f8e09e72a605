//! bind(2), connect(2) and the names of sockets.

mod names;
mod order;
mod refused;

use std::collections::BTreeSet;
use std::thread;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno, expect_ok};
use crate::port::Who;
use crate::port::capability::Capability;
use crate::port::provider::Protocol;
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Socket};
use crate::scene::threads::joined;
use crate::scene::{OTHER_PORT, PORT};
use crate::wire::address::{self, Address};
use crate::wire::message::{Message, NLMSG_NOOP};
use crate::wire::route;

cases! {
    short_address_is_refused(SHORT) => "NL-BIND-001";
    rest_of_a_long_address_is_ignored => "NL-BIND-001";
    other_family_is_refused(OTHER_FAMILIES) => "NL-BIND-002";
    first_port_is_the_process_id => "NL-BIND-003";
    first_port_in_a_thread_is_the_process_id => "NL-BIND-003";
    first_port_in_a_pid_namespace_is_the_pid_seen_there => "NL-BIND-003";
    chosen_ports_cannot_be_guessed => "NL-BIND-024";
    chosen_ports_differ => "NL-BIND-004";
    any_free_port_can_be_bound(PORTS) => "NL-BIND-005";
    port_in_use_is_refused => "NL-BIND-005";
    port_is_free_on_another_protocol => "NL-BIND-006";
    port_is_free_in_another_namespace => "NL-BIND-006";
    other_port_is_refused(REBIND) => "NL-BIND-007";
    same_port_can_be_bound_again => "NL-BIND-007";
    second_bind_replaces_the_groups => "NL-BIND-008";
    second_bind_keeps_high_groups => "NL-BIND-008";
    send_assigns_a_port => "NL-BIND-010";
    connect_assigns_a_port => "NL-BIND-010";
    connect_to_unspec_assigns_no_port => "NL-BIND-010";
    wrong_peer_address_is_refused(PEERS) => "NL-BIND-011";
    connect_to_unspec_dissolves_the_connection => "NL-BIND-011";
    unprivileged_connect_to_others_is_refused(OTHERS) => "NL-BIND-012";
    unprivileged_connect_to_the_kernel_succeeds => "NL-BIND-012";
    unprivileged_connect_on_usersock_succeeds => "NL-BIND-012";
    connect_does_not_check_the_port => "NL-BIND-013";
    connected_socket_refuses_others => "NL-BIND-014";
    connected_socket_receives_nothing_from_the_kernel => "NL-BIND-014";
    connected_socket_receives_multicasts => "NL-BIND-020";
    concurrent_first_sends_agree => "NL-BIND-015";
    one_of_two_concurrent_binds_succeeds => "NL-BIND-016";
    closed_port_is_free_at_once => "NL-BIND-017";
    + names;
    + order;
    + refused;
}

const SHORT: &[(&str, usize)] = &[("0", 0), ("2", 2), ("11", 11)];

fn short_address_is_refused(bus: &Bus<'_>, len: &usize) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    let bound = socket.raw().bind(&Address::port(0).encode()[..*len]);
    expect_errno(&format!("bind() with {len} bytes"), bound, bus.expected("errno")?)
}

fn rest_of_a_long_address_is_ignored(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    let address = [Address::port(PORT).encode(), vec![0xff; 20]].concat();
    expect_ok("bind() with 32 bytes", socket.raw().bind(&address))?;
    expect_eq("port ID", socket.portid()?, PORT)
}

const OTHER_FAMILIES: &[(&str, u16)] = &[("unspec", libc::AF_UNSPEC as u16), ("inet", libc::AF_INET as u16)];

fn other_family_is_refused(bus: &Bus<'_>, family: &u16) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    let address = Address { family: *family, ..Address::port(PORT) };
    expect_errno("bind()", socket.bind(address), bus.expected("errno")?)
}

fn first_port_is_the_process_id(bus: &Bus<'_>) -> Outcome {
    expect_eq("port ID", bus.bound(libc::NETLINK_ROUTE)?.portid()?, std::process::id())
}

fn first_port_in_a_thread_is_the_process_id(bus: &Bus<'_>) -> Outcome {
    let port = thread::scope(|scope| joined(scope.spawn(|| bus.bound(libc::NETLINK_ROUTE)?.portid())));
    expect_eq("port ID", port?, std::process::id())
}

fn first_port_in_a_pid_namespace_is_the_pid_seen_there(bus: &Bus<'_>) -> Outcome {
    let port = bus.run_as(Who::OtherPid, || bus.bound(libc::NETLINK_ROUTE)?.portid())?;
    expect_eq("port ID of process 1 there", port, 1)
}

fn chosen_ports_differ(bus: &Bus<'_>) -> Outcome {
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(bus.bound(libc::NETLINK_ROUTE)?);
    }
    let ports: Vec<u32> = sockets.iter().map(Socket::portid).collect::<Result<_, _>>()?;
    let further = bus.expected("first")?..=bus.expected("last")?;
    let in_range = ports[1..].iter().all(|port| further.contains(port));
    expect("port IDs from the second socket on", in_range, &format!("all within {further:x?}"), &ports[1..])?;
    let distinct = BTreeSet::from_iter(&ports).len() == ports.len();
    expect("port IDs", distinct && ports[0] != 0, "four that differ", &ports)
}

fn chosen_ports_cannot_be_guessed(bus: &Bus<'_>) -> Outcome {
    let _first = bus.bound(libc::NETLINK_ROUTE)?;
    let further = [bus.bound(libc::NETLINK_ROUTE)?, bus.bound(libc::NETLINK_ROUTE)?];
    let [one, two] = [further[0].portid()?, further[1].portid()?];
    let in_turn = one.abs_diff(two) <= 1 || one == bus.expected::<u32>("last")?;
    expect("port IDs of the second and third socket", !in_turn, "two at random", [one, two])
}

const PORTS: &[(&str, u32)] = &[("1", 1), ("777", 777), ("highest", u32::MAX)];

fn any_free_port_can_be_bound(bus: &Bus<'_>, port: &u32) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    expect_ok("bind()", socket.bind(Address::port(*port)))?;
    expect_eq("port ID", socket.portid()?, *port)
}

fn port_in_use_is_refused(bus: &Bus<'_>) -> Outcome {
    let (first, second) = (bus.open(libc::NETLINK_ROUTE)?, bus.open(libc::NETLINK_ROUTE)?);
    first.bind(Address::port(PORT))?;
    expect_errno("second bind()", second.bind(Address::port(PORT)), bus.expected("errno")?)?;
    expect_ok("bind() of the second socket to a free port ID", second.bind(Address::port(OTHER_PORT)))
}

fn port_is_free_on_another_protocol(bus: &Bus<'_>) -> Outcome {
    let (first, second) = (bus.open(libc::NETLINK_ROUTE)?, bus.open(libc::NETLINK_USERSOCK)?);
    first.bind(Address::port(PORT))?;
    expect_ok("bind() on another protocol", second.bind(Address::port(PORT)))
}

fn port_is_free_in_another_namespace(bus: &Bus<'_>) -> Outcome {
    let first = bus.open(libc::NETLINK_ROUTE)?;
    first.bind(Address::port(PORT))?;
    bus.run_as(Who::OtherNet, || {
        let second = bus.open(libc::NETLINK_ROUTE)?;
        expect_ok("bind() in another network namespace", second.bind(Address::port(PORT)))
    })
}

const REBIND: &[(&str, u32)] = &[("another", OTHER_PORT), ("zero", 0)];

fn other_port_is_refused(bus: &Bus<'_>, port: &u32) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    socket.bind(Address::port(PORT))?;
    expect_errno("second bind()", socket.bind(Address::port(*port)), bus.expected("errno")?)?;
    expect_eq("port ID", socket.portid()?, PORT)
}

fn same_port_can_be_bound_again(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    socket.bind(Address::port(PORT))?;
    expect_ok("second bind()", socket.bind(Address::port(PORT)))
}

fn second_bind_replaces_the_groups(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    socket.bind(Address { groups: 0x8001, ..Address::port(PORT) })?;
    expect_eq("groups after the first bind()", socket.name()?.groups, 0x8001)?;
    socket.bind(Address { groups: 0x10, ..Address::port(PORT) })?;
    expect_eq("groups after the second bind()", socket.name()?.groups, 0x10)
}

fn second_bind_keeps_high_groups(bus: &Bus<'_>) -> Outcome {
    let protocol = Protocol::with_groups(FREE_PROTOCOL, 40);
    bus.create_protocol(&protocol)?;
    let socket = bus.open(FREE_PROTOCOL)?;
    socket.bind(Address { groups: 1, ..Address::port(PORT) })?;
    socket.join(40)?;
    socket.bind(Address::port(PORT))?;
    expect_eq("memberships after the second bind()", socket.memberships()?, [40])
}

fn send_assigns_a_port(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    socket.send(&Message::new(NLMSG_NOOP))?;
    expect("port ID", socket.portid()? != 0, "another than 0", 0)
}

fn connect_assigns_a_port(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    socket.connect(Address::KERNEL)?;
    expect("port ID", socket.portid()? != 0, "another than 0", 0)
}

fn connect_to_unspec_assigns_no_port(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    expect_ok("connect(AF_UNSPEC)", socket.connect(Address { family: 0, ..Address::KERNEL }))?;
    expect_eq("port ID", socket.portid()?, 0)
}

const PEERS: &[(&str, (usize, u16))] = &[
    ("shorter_than_a_family", (1, 0)),
    ("netlink_family_alone", (2, address::AF_NETLINK)),
    ("netlink_11_bytes", (11, address::AF_NETLINK)),
    ("inet", (12, libc::AF_INET as u16)),
];

fn wrong_peer_address_is_refused(bus: &Bus<'_>, (len, family): &(usize, u16)) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    let address = Address { family: *family, ..Address::KERNEL }.encode();
    expect_errno("connect()", socket.raw().connect(&address[..*len]), bus.expected("errno")?)
}

fn connect_to_unspec_dissolves_the_connection(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.connect(Address { groups: 0b100, ..Address::port(PORT) })?;
    expect_ok("connect(AF_UNSPEC)", socket.raw().connect(&[0, 0]))?;
    expect_eq("peer", peer(&socket)?, Address::KERNEL)
}

fn peer(socket: &Socket) -> Result<Address, Failure> {
    let (bytes, _) = socket.raw().peer(address::LEN)?;
    Ok(Address::decode(&bytes).unwrap_or(Address { family: 0, ..Address::KERNEL }))
}

const OTHERS: &[(&str, Address)] = &[("port", Address::port(PORT)), ("group", Address::groups(1))];

fn unprivileged_connect_to_others_is_refused(bus: &Bus<'_>, peer: &Address) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let connected = bus.open(libc::NETLINK_ROUTE)?.connect(*peer);
        expect_errno("connect()", connected, bus.expected("errno")?)
    })
}

fn unprivileged_connect_to_the_kernel_succeeds(bus: &Bus<'_>) -> Outcome {
    bus.run_as(Who::Nobody, || {
        expect_ok("connect()", bus.open(libc::NETLINK_ROUTE)?.connect(Address::KERNEL))
    })
}

fn unprivileged_connect_on_usersock_succeeds(bus: &Bus<'_>) -> Outcome {
    bus.run_as(Who::Nobody, || {
        expect_ok("connect()", bus.open(libc::NETLINK_USERSOCK)?.connect(Address::port(PORT)))
    })
}

fn connect_does_not_check_the_port(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    expect_ok("connect()", socket.connect(Address { groups: 0b110, ..Address::port(PORT) }))?;
    expect_eq("peer", peer(&socket)?, Address { groups: 0b10, ..Address::port(PORT) })
}

fn connected_socket_refuses_others(bus: &Bus<'_>) -> Outcome {
    let sockets = [(); 3].map(|()| bus.bound(libc::NETLINK_USERSOCK));
    let [connected, friend, stranger] = sockets;
    let (connected, friend, stranger) = (connected?, friend?, stranger?);
    connected.connect(Address::port(friend.portid()?))?;
    let to = Address::port(connected.portid()?);
    expect_errno("send of a stranger", stranger.send_to(to, b"stranger"), bus.expected("errno")?)?;
    expect_ok("send of the peer", friend.send_to(to, b"friend"))?;
    expect_eq("what arrived", &connected.receive()?.incoming.bytes[..], b"friend")
}

fn connected_socket_receives_nothing_from_the_kernel(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.connect(Address::port(PORT))?;
    let request = route::refused(1).encode();
    expect_ok("send to the kernel", socket.send_to(Address::KERNEL, &request))?;
    expect_errno("receive", socket.receive_now(100, 0), Errno::EAGAIN)
}

fn connected_socket_receives_multicasts(bus: &Bus<'_>) -> Outcome {
    let (connected, stranger) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    connected.join(1)?;
    connected.connect(Address::port(PORT))?;
    // The message also goes to port 0, where no socket is.
    let _ = stranger.send_to(Address::groups(1), b"hello");
    expect_eq("what arrived", &connected.receive()?.incoming.bytes[..], b"hello")
}

fn concurrent_first_sends_agree(bus: &Bus<'_>) -> Outcome {
    for _ in 0..20 {
        let socket = bus.open(libc::NETLINK_ROUTE)?;
        let results: Vec<_> = thread::scope(|scope| {
            let threads =
                [(); 4].map(|()| scope.spawn(|| (socket.send(&Message::new(NLMSG_NOOP)), socket.portid())));
            threads.into_iter().map(joined).collect()
        });
        for (sent, port) in results {
            expect_ok("first send", sent)?;
            expect_eq("port ID seen by a thread", port?, socket.portid()?)?;
        }
    }
    Ok(())
}

fn one_of_two_concurrent_binds_succeeds(bus: &Bus<'_>) -> Outcome {
    for _ in 0..20 {
        let socket = bus.open(libc::NETLINK_ROUTE)?;
        let results: Vec<_> = thread::scope(|scope| {
            let bind = |port| socket.bind(Address::port(port)).map(|()| port);
            let threads = [scope.spawn(move || bind(PORT)), scope.spawn(move || bind(OTHER_PORT))];
            threads.into_iter().map(joined).collect()
        });
        let winners: Vec<u32> = results.iter().filter_map(|result| result.ok()).collect();
        expect_eq("threads whose bind() succeeded, and their port", &winners[..], &[socket.portid()?][..])?;
        let losers: Vec<Errno> = results.iter().filter_map(|result| result.err()).collect();
        let known = losers.iter().all(|errno| [Errno::EINVAL, Errno::EBUSY].contains(errno));
        expect("answer to the other thread", known, "EINVAL or EBUSY", losers)?;
    }
    Ok(())
}

fn closed_port_is_free_at_once(bus: &Bus<'_>) -> Outcome {
    for _ in 0..50 {
        let bound = bus.open(libc::NETLINK_ROUTE)?.bind(Address::port(PORT));
        expect_ok("bind() of a port ID whose socket was closed", bound)?;
    }
    Ok(())
}
