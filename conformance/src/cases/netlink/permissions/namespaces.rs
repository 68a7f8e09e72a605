//! Network namespaces: which messages cross them, and which protocols exist in them.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_errno, expect_ok};
use crate::port::Who;
use crate::port::capability::Capability;
use crate::port::provider::{Call, Family, Handle, KernelSend, Protocol, Verb};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Socket};
use crate::scene::namespaces::{NSID, listen_to_all, name_namespace};
use crate::wire::address::Address;
use crate::wire::message::{Message, NLMSG_NOOP};

cases! {
    multicast_stays_in_its_namespace => "NL-NS-001";
    multicast_from_a_namespace_with_an_id_is_received => "NL-NS-005";
    multicast_from_a_namespace_without_an_id_is_not_received => "NL-NS-005";
    listener_opened_without_capability_receives_its_own_namespace_only => "NL-NS-005";
    message_from_elsewhere_carries_the_namespace_id => "NL-NS-002";
    message_from_the_own_namespace_carries_no_id => "NL-NS-002";
    send_to_a_kernel_without_a_socket_in_the_namespace_fails => "NL-NS-003";
    multicast_from_the_kernel_stays_in_its_namespace => "NL-NS-003";
    groups_are_the_same_in_all_namespaces => "NL-NS-004";
    each_copy_carries_the_id_of_its_own_namespace(ORDERS) => "NL-NS-006";
    each_copy_of_the_kernels_message_carries_the_id_of_its_own_namespace(ORDERS) => "NL-NS-006";
    message_from_here_carries_no_id_although_its_namespace_has_one => "NL-NS-006";
    message_from_elsewhere_leaves_nothing_to_the_next => "NL-NS-006";
}

/// Sends to group 1 from another network namespace, which has an ID in this one if `named`.
fn multicast_elsewhere(bus: &Bus<'_>, named: bool) -> Outcome {
    let here = bus.bound(libc::NETLINK_ROUTE)?;
    bus.run_as(Who::OtherNet, || {
        if named {
            name_namespace(&here, std::process::id())?;
        }
        Ok(bus.bound(libc::NETLINK_USERSOCK)?.multicast(b"hello")?)
    })
}

fn listener(bus: &Bus<'_>) -> Result<Socket, Failure> {
    listen_to_all(bus.open(libc::NETLINK_USERSOCK)?)
}

/// The multicast from elsewhere did not arrive; one from here does.
fn expect_only_from_here(bus: &Bus<'_>, socket: &Socket) -> Outcome {
    expect_errno("receive after the multicast elsewhere", socket.receive_now(100, 0), Errno::EAGAIN)?;
    bus.bound(libc::NETLINK_USERSOCK)?.multicast(b"hello")?;
    expect_eq("what arrived from here", &socket.receive()?.incoming.bytes[..], b"hello")
}

fn multicast_stays_in_its_namespace(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    socket.bind(Address::groups(1))?;
    multicast_elsewhere(bus, true)?;
    expect_only_from_here(bus, &socket)
}

fn multicast_from_a_namespace_with_an_id_is_received(bus: &Bus<'_>) -> Outcome {
    let socket = listener(bus)?;
    multicast_elsewhere(bus, true)?;
    expect_eq("what arrived", &socket.receive()?.incoming.bytes[..], b"hello")
}

fn multicast_from_a_namespace_without_an_id_is_not_received(bus: &Bus<'_>) -> Outcome {
    let socket = listener(bus)?;
    multicast_elsewhere(bus, false)?;
    expect_only_from_here(bus, &socket)
}

fn listener_opened_without_capability_receives_its_own_namespace_only(bus: &Bus<'_>) -> Outcome {
    let socket = listen_to_all(bus.open_by(Who::Nobody, libc::NETLINK_USERSOCK)?)?;
    multicast_elsewhere(bus, true)?;
    expect_only_from_here(bus, &socket)
}

fn message_from_elsewhere_carries_the_namespace_id(bus: &Bus<'_>) -> Outcome {
    let socket = listener(bus)?;
    multicast_elsewhere(bus, true)?;
    let datagram = socket.receive()?;
    let nsid = NSID.to_ne_bytes();
    expect_eq("NETLINK_LISTEN_ALL_NSID", datagram.control(libc::NETLINK_LISTEN_ALL_NSID), Some(&nsid[..]))
}

fn message_from_the_own_namespace_carries_no_id(bus: &Bus<'_>) -> Outcome {
    let socket = listener(bus)?;
    bus.bound(libc::NETLINK_USERSOCK)?.multicast(b"hello")?;
    expect_eq("control messages", socket.receive()?.incoming.control, [])
}

/// Which of three members join in the sender's namespace; the others are in one that has an ID for it.
const ORDERS: &[(&str, [bool; 3])] = &[
    ("here_there", [true, false, false]),
    ("there_here", [false, true, true]),
    ("there_here_there", [false, true, false]),
    ("here_there_here", [true, false, true]),
];

fn each_copy_carries_the_id_of_its_own_namespace(bus: &Bus<'_>, order: &[bool; 3]) -> Outcome {
    let send = || Ok(bus.bound(libc::NETLINK_USERSOCK)?.multicast(b"hello")?);
    expect_own_namespaces(bus, order, (libc::NETLINK_USERSOCK, 1), send)
}

/// The message of a user is copied for each member; one of the kernel goes to the first as it is.
fn each_copy_of_the_kernels_message_carries_the_id_of_its_own_namespace(
    bus: &Bus<'_>,
    order: &[bool; 3],
) -> Outcome {
    let family = bus.register(Family::named("nlc_copies").group("events"))?;
    let send = || expect_ok("genlmsg_multicast_netns()", family.multicast(0, &[])?);
    expect_own_namespaces(bus, order, (libc::NETLINK_GENERIC, family.groups[0]), send)
}

/// Members of a group join in this order and are served one after the other. Those in the sender's namespace get
/// no ID, the others theirs.
fn expect_own_namespaces(
    bus: &Bus<'_>,
    order: &[bool; 3],
    (protocol, group): (i32, u32),
    send: impl FnOnce() -> Outcome,
) -> Outcome {
    let (there, sees) = (bus.bound(libc::NETLINK_ROUTE)?, NSID.to_ne_bytes());
    let listener = || {
        let socket = bus.bound(protocol)?;
        socket.set(libc::NETLINK_LISTEN_ALL_NSID, 1)?;
        Ok::<_, Failure>(socket)
    };
    let strangers = [listener()?, listener()?];
    bus.run_as(Who::OtherNet, || {
        name_namespace(&there, std::process::id())?;
        let locals = [listener()?, listener()?];
        let (mut stranger, mut local) = (strangers.iter(), locals.iter());
        let mut members = Vec::new();
        for here in order {
            let next = if *here { local.next() } else { stranger.next() };
            members.extend(next.map(|member| (*here, member)));
        }
        for (_, member) in &members {
            member.join(group)?;
        }
        send()?;
        for (number, (here, member)) in members.iter().enumerate() {
            let datagram = member.receive()?;
            let expected = (!here).then_some(&sees[..]);
            let told = datagram.control(libc::NETLINK_LISTEN_ALL_NSID);
            expect_eq(&format!("NETLINK_LISTEN_ALL_NSID of member {}", number + 1), told, expected)?;
        }
        Ok(())
    })
}

fn message_from_here_carries_no_id_although_its_namespace_has_one(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetNamespaces)?;
    let socket = listener(bus)?;
    name_namespace(&bus.bound(libc::NETLINK_ROUTE)?, std::process::id())?;
    bus.bound(libc::NETLINK_USERSOCK)?.multicast(b"hello")?;
    expect_eq("control messages", socket.receive()?.incoming.control, [])
}

fn message_from_elsewhere_leaves_nothing_to_the_next(bus: &Bus<'_>) -> Outcome {
    let socket = listener(bus)?;
    multicast_elsewhere(bus, true)?;
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    sender.multicast(b"hello")?;
    sender.send_to(Address::port(socket.portid()?), b"to you")?;
    let nsid = NSID.to_ne_bytes();
    for expected in [Some(&nsid[..]), None, None] {
        let datagram = socket.receive()?;
        let told = datagram.control(libc::NETLINK_LISTEN_ALL_NSID);
        expect_eq("NETLINK_LISTEN_ALL_NSID", told, expected)?;
    }
    Ok(())
}

fn protocol(bus: &Bus<'_>, groups: u32) -> Result<Handle, Failure> {
    let protocol = Protocol::with_groups(FREE_PROTOCOL, groups);
    bus.create_protocol(&protocol)
}

fn send_to_a_kernel_without_a_socket_in_the_namespace_fails(bus: &Bus<'_>) -> Outcome {
    protocol(bus, 1)?;
    bus.run_as(Who::OtherNet, || {
        let socket = bus.bound(FREE_PROTOCOL)?;
        expect_ok("joining", socket.join(1))?;
        expect_errno("send", socket.send(&Message::request(NLMSG_NOOP)), bus.expected("errno")?)
    })
}

fn multicast_from_the_kernel_stays_in_its_namespace(bus: &Bus<'_>) -> Outcome {
    let protocol = protocol(bus, 1)?;
    let here = bus.bound(FREE_PROTOCOL)?;
    here.join(1)?;
    bus.run_as(Who::OtherNet, || {
        let there = bus.bound(FREE_PROTOCOL)?;
        there.join(1)?;
        let send = KernelSend { group: 1, cmd: 0x20, ..KernelSend::new(Verb::Multicast) };
        expect_ok("nlmsg_multicast()", bus.send_from(protocol, &send, &Call::default())?)?;
        expect_errno("receive elsewhere", there.receive_now(100, 0), Errno::EAGAIN)
    })?;
    expect_eq("type of the message that arrived", here.receive_one()?.kind, 0x20)
}

fn groups_are_the_same_in_all_namespaces(bus: &Bus<'_>) -> Outcome {
    protocol(bus, 40)?;
    bus.run_as(Who::OtherNet, || {
        let socket = bus.bound(FREE_PROTOCOL)?;
        expect_ok("joining the last group", socket.join(40))?;
        expect_errno("joining the group after it", socket.join(41), Errno::EINVAL)
    })
}
