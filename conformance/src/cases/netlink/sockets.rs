//! socket(2), the protocols that exist, and what a netlink socket cannot do.

mod protocols;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Outcome, Under, expect_eq, expect_errno, expect_ok};
use crate::port::capability::Capability;
use crate::port::provider::{Action, Family, On, Op};
use crate::port::{Refused, Who};
use crate::scene::PORT;
use crate::scene::bus::Bus;
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::message::{Message, NLM_F_DUMP, NLMSG_NOOP};
use crate::wire::route;

cases! {
    type_is_refused(OTHER_TYPES) => "NL-SOCK-001";
    both_types_behave_alike => "NL-SOCK-002";
    protocol_out_of_range_is_refused(NO_PROTOCOLS) => "NL-SOCK-003";
    unregistered_protocol_is_refused(UNREGISTERED) => "NL-SOCK-004";
    call_is_not_supported(REFUSED) => "NL-SOCK-006";
    unknown_option_is_refused(NO_OPTIONS) => "NL-SOCK-007";
    option_that_cannot_be_read_is_refused(UNREADABLE) => "NL-SOCK-007";
    socket_stays_in_its_namespace => "NL-SOCK-008";
    usersock_has_no_kernel_side => "NL-SOCK-009";
    usersock_reaches_a_port => "NL-SOCK-018";
    usersock_reaches_a_group => "NL-SOCK-018", "NL-SOCK-009";
    duplicate_keeps_the_port => "NL-SOCK-013";
    duplicate_keeps_the_memberships => "NL-SOCK-013";
    duplicate_continues_the_dump => "NL-SOCK-013";
    exit_of_a_process_that_inherited_it_is_harmless => "NL-SOCK-013";
    options_describe_the_socket(TYPES) => "NL-SOCK-014";
    loss_is_reported_once_by_so_error => "NL-SOCK-017";
    + protocols;
}

const OTHER_TYPES: &[(&str, i32)] =
    &[("stream", libc::SOCK_STREAM), ("seqpacket", libc::SOCK_SEQPACKET), ("rdm", libc::SOCK_RDM)];

fn type_is_refused(bus: &Bus<'_>, kind: &i32) -> Outcome {
    bus.need(Capability::Route)?;
    expect_errno("socket()", bus.try_open(*kind, libc::NETLINK_ROUTE), bus.expected("errno")?)
}

fn both_types_behave_alike(bus: &Bus<'_>) -> Outcome {
    let mut answers = Vec::new();
    for kind in [libc::SOCK_RAW, libc::SOCK_DGRAM] {
        let socket = bus.open_as(kind, libc::NETLINK_ROUTE)?;
        socket.bind(Address::port(PORT))?;
        socket.send(&route::refused(7))?;
        answers.push(socket.receive()?.incoming.bytes);
    }
    expect_eq("answer on SOCK_DGRAM", &answers[1], &answers[0])
}

const NO_PROTOCOLS: &[(&str, i32)] = &[("32", 32), ("255", 255), ("largest", i32::MAX), ("negative", -1)];

fn protocol_out_of_range_is_refused(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    expect_errno("socket()", bus.try_open(libc::SOCK_RAW, *protocol), bus.expected("errno")?)
}

const UNREGISTERED: &[(&str, i32)] = &[("1", 1), ("17", 17), ("23", 23), ("31", 31)];

fn unregistered_protocol_is_refused(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    expect_errno("socket()", bus.try_open(libc::SOCK_RAW, *protocol), bus.expected("errno")?)
}

const REFUSED: &[(&str, (Refused, &str))] = &[
    ("listen", (Refused::Listen, "unsupported")),
    ("accept", (Refused::Accept, "unsupported")),
    ("shutdown", (Refused::Shutdown, "unsupported")),
    ("mmap", (Refused::Mmap, "mmap")),
    ("fionread", (Refused::Fionread, "ioctl")),
    ("socketpair", (Refused::Socketpair, "unsupported")),
];

fn call_is_not_supported(bus: &Bus<'_>, (call, errno): &(Refused, &str)) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    expect_errno(&format!("{call:?}"), socket.raw().refused(*call), bus.expected(errno)?)
}

const NO_OPTIONS: &[(&str, (i32, i32))] = &[
    ("0", (libc::SOL_NETLINK, 0)),
    ("removed_rx_ring", (libc::SOL_NETLINK, 6)),
    ("list_memberships", (libc::SOL_NETLINK, 9)),
    ("13", (libc::SOL_NETLINK, 13)),
    ("other_level", (1000, 1)),
];

fn unknown_option_is_refused(bus: &Bus<'_>, (level, option): &(i32, i32)) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    expect_errno("setsockopt()", socket.set_at(*level, *option, 1), bus.expected("errno")?)
}

const UNREADABLE: &[(&str, (i32, i32))] = &[
    ("0", (libc::SOL_NETLINK, 0)),
    ("add_membership", (libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP)),
    ("99", (libc::SOL_NETLINK, 99)),
    ("other_level", (1000, 1)),
];

fn option_that_cannot_be_read_is_refused(bus: &Bus<'_>, (level, option): &(i32, i32)) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    expect_errno("getsockopt()", socket.get_at(*level, *option), bus.expected("errno")?)
}

/// What is sent through the old socket arrives in the namespace in which it was opened.
fn socket_stays_in_its_namespace(bus: &Bus<'_>) -> Outcome {
    let (here, there) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let port = here.portid()?;
    bus.run_as(Who::OtherNet, || {
        expect_ok("send to a port of the old namespace", there.send_to(Address::port(port), b"old"))?;
        let new = bus.bound(libc::NETLINK_USERSOCK)?;
        let reached = new.send_to(Address::port(port), b"new");
        expect_errno("send to it through a new socket", reached, Errno::ECONNREFUSED)
    })?;
    expect_eq("what arrived", &here.receive()?.incoming.bytes[..], b"old")
}

fn usersock_has_no_kernel_side(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    expect_errno("send", socket.send(&Message::request(NLMSG_NOOP)), bus.expected("errno")?)
}

fn usersock_reaches_a_port(bus: &Bus<'_>) -> Outcome {
    let (one, two) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    expect_ok("send", one.send_to(Address::port(two.portid()?), b"hello"))?;
    expect_eq("what arrived", &two.receive()?.incoming.bytes[..], b"hello")
}

fn usersock_reaches_a_group(bus: &Bus<'_>) -> Outcome {
    let (one, two) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    two.join(3)?;
    // The unicast to port 0 after the multicast fails; the multicast is still delivered.
    let sent = one.send_to(Address::groups(1 << 2), b"hello");
    expect_errno("send", sent, bus.expected("errno")?).under("NL-SOCK-009")?;
    expect_eq("what arrived", &two.receive()?.incoming.bytes[..], b"hello")
}

fn duplicate_keeps_the_port(bus: &Bus<'_>) -> Outcome {
    let (socket, other) = (bus.open(libc::NETLINK_ROUTE)?, bus.open(libc::NETLINK_ROUTE)?);
    socket.bind(Address::port(PORT))?;
    let duplicate = socket.duplicate()?;
    drop(socket);
    expect_errno("bind() while the duplicate is open", other.bind(Address::port(PORT)), Errno::EADDRINUSE)?;
    drop(duplicate);
    expect_ok("bind() afterwards", bus.open(libc::NETLINK_ROUTE)?.bind(Address::port(PORT)))
}

fn duplicate_keeps_the_memberships(bus: &Bus<'_>) -> Outcome {
    let (socket, sender) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    socket.join(3)?;
    let duplicate = socket.duplicate()?;
    drop(socket);
    // The message also goes to port 0, where no socket is.
    let _ = sender.send_to(Address::groups(1 << 2), b"hello");
    expect_eq("what arrived", &duplicate.receive()?.incoming.bytes[..], b"hello")
}

fn duplicate_continues_the_dump(bus: &Bus<'_>) -> Outcome {
    let recorder = Family::named("nlc_recorder").op(Op::dumping(1));
    let family = bus.register(recorder.on(On::Dumpit, Action::records(100, 500)))?;
    let socket = bus.generic()?;
    let request = family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(1);
    socket.send(&request)?;
    let duplicate = socket.duplicate()?;
    drop(socket);
    expect_eq("records received", duplicate.answer_to(&request)?.replies.len(), 100)
}

fn exit_of_a_process_that_inherited_it_is_harmless(bus: &Bus<'_>) -> Outcome {
    let (socket, sender) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    socket.join(3)?;
    let port = socket.portid()?;
    let seen = bus.run_as(Who::Process, || socket.portid())?;
    expect_eq("port ID that the other process sees", seen, port)?;
    let _ = sender.send_to(Address::groups(1 << 2), b"group");
    sender.send_to(Address::port(port), b"port")?;
    expect_eq("messages in the group", &socket.receive()?.incoming.bytes[..], b"group")?;
    expect_eq("messages at the port", &socket.receive()?.incoming.bytes[..], b"port")
}

const TYPES: &[(&str, i32)] = &[("raw", libc::SOCK_RAW), ("dgram", libc::SOCK_DGRAM)];

fn options_describe_the_socket(bus: &Bus<'_>, kind: &i32) -> Outcome {
    let socket = bus.open_as(*kind, libc::NETLINK_ROUTE)?;
    let get = |option| socket.get_at(libc::SOL_SOCKET, option);
    expect_eq("SO_DOMAIN", get(libc::SO_DOMAIN)?, libc::AF_NETLINK as u32)?;
    expect_eq("SO_PROTOCOL", get(libc::SO_PROTOCOL)?, libc::NETLINK_ROUTE as u32)?;
    expect_eq("SO_TYPE", get(libc::SO_TYPE)?, *kind as u32)
}

fn loss_is_reported_once_by_so_error(bus: &Bus<'_>) -> Outcome {
    let (member, sender) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    member.join(1)?;
    member.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 1)?;
    for _ in 0..20 {
        let _ = sender.send_to(Address::groups(1), &[0; 1000]);
    }
    let error = || member.get_at(libc::SOL_SOCKET, libc::SO_ERROR).map(|error| Errno::from_raw(error as i32));
    expect_eq("SO_ERROR", error()?, bus.expected::<Errno>("error")?)?;
    expect_eq("SO_ERROR when it was read", member.get_at(libc::SOL_SOCKET, libc::SO_ERROR)?, 0)
}
