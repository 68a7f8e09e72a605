//! Sockets of another network namespace than their user's: the socket's own counts.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Outcome, expect_errno};
use crate::port::Who;
use crate::scene::PORT;
use crate::scene::bus::{Bus, Socket};
use crate::wire::address::Address;

use crate::scene::namespaces::{listen_to_all, name_namespace};

cases! {
    root_of_the_namespaces_is_not_allowed_with_a_socket_of_another(WAYS) => "NL-PRM-002";
    root_of_the_namespaces_cannot_listen_to_all_with_a_socket_of_another => "NL-GRP-018";
    multicast_from_elsewhere_needs_the_capability_there(LISTENERS) => "NL-NS-005";
}

/// A protocol, and something that needs CAP_NET_ADMIN there.
type Way = (i32, fn(&Socket) -> Result<(), Errno>);

const WAYS: &[(&str, Way)] = &[
    ("bind", (libc::NETLINK_USERSOCK, |socket| socket.bind(Address::groups(1)))),
    ("join", (libc::NETLINK_USERSOCK, |socket| socket.join(1))),
    ("leave", (libc::NETLINK_USERSOCK, |socket| socket.leave(1))),
    ("connect_to_a_port", (libc::NETLINK_ROUTE, |socket| socket.connect(Address::port(PORT)))),
    ("connect_to_a_group", (libc::NETLINK_ROUTE, |socket| socket.connect(Address::groups(1)))),
    (
        "send_to_a_port",
        (libc::NETLINK_ROUTE, |socket| socket.send_to(Address::port(PORT), b"hello").map(drop)),
    ),
    (
        "send_to_a_group",
        (libc::NETLINK_ROUTE, |socket| socket.send_to(Address::groups(1), b"hello").map(drop)),
    ),
];

fn root_of_the_namespaces_is_not_allowed_with_a_socket_of_another(
    bus: &Bus<'_>,
    (protocol, way): &Way,
) -> Outcome {
    let socket = bus.open(*protocol)?;
    bus.run_as(Who::OwnNamespacesRoot, || {
        expect_errno("use of a socket of another network namespace", way(&socket), bus.expected("errno")?)
    })
}

fn root_of_the_namespaces_cannot_listen_to_all_with_a_socket_of_another(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    bus.run_as(Who::OwnNamespacesRoot, || {
        let set = socket.set(libc::NETLINK_LISTEN_ALL_NSID, 1);
        expect_errno("NETLINK_LISTEN_ALL_NSID of a socket of another namespace", set, bus.expected("errno")?)
    })
}

/// Who listens in a network namespace of its own, and whether it has CAP_NET_BROADCAST over the sender's.
const LISTENERS: &[(&str, (Who, bool))] =
    &[("root", (Who::OtherNet, true)), ("root_of_the_namespaces", (Who::OwnNamespacesRoot, false))];

fn multicast_from_elsewhere_needs_the_capability_there(bus: &Bus<'_>, (who, may): &(Who, bool)) -> Outcome {
    let (sender, process) = (bus.bound(libc::NETLINK_USERSOCK)?, std::process::id());
    bus.run_as(*who, || {
        let listener = listen_to_all(bus.open(libc::NETLINK_USERSOCK)?)?;
        name_namespace(&bus.bound(libc::NETLINK_ROUTE)?, process)?;
        sender.multicast(b"hello")?;
        if *may {
            listener.receive()?;
        }
        expect_errno("receive after a multicast elsewhere", listener.receive_now(100, 0), Errno::EAGAIN)?;
        bus.bound(libc::NETLINK_USERSOCK)?.multicast(b"hello")?;
        listener.receive().map(drop)
    })
}
