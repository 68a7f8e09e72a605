//! References to sockets: whatever becomes of a message, none is left.

use nix::errno::Errno;
use nix::libc;

use super::proc::{line_of, lines};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_errno, mismatch};
use crate::port::Outgoing;
use crate::port::capability::Capability;
use crate::port::provider::Protocol;
use crate::scene::FREE_PROTOCOL;
use crate::scene::PORT;
use crate::scene::bus::{Bus, Socket};
use crate::scene::dumps::{families, policies};
use crate::wire::address::{self, Address};
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP, NLMSG_NOOP, UNKNOWN};

cases! {
    send_leaves_no_reference_to_its_receiver(FATES) => "NL-PROC-009";
    request_leaves_no_reference_to_the_kernels_socket(REQUESTS) => "NL-PROC-009";
    refused_dump_leaves_no_reference_to_its_socket => "NL-PROC-009";
    refused_send_leaves_no_reference_to_the_kernels_socket => "NL-PROC-009";
}

/// Sends to a receiver that has joined group 1.
type Sends = fn(&Bus<'_>, &Socket, &Socket) -> Outcome;

const FATES: &[(&str, Sends)] = &[
    ("received", |_, sender, receiver| {
        to_port(sender, receiver)?;
        receiver.receive().map(drop)
    }),
    ("unread", |_, sender, receiver| Ok(to_port(sender, receiver)?)),
    ("without_room", |_, sender, receiver| {
        to_port(sender, receiver)?;
        expect_errno("send()", to_port(sender, receiver), Errno::EAGAIN)
    }),
    ("interrupted_while_it_waits", |bus, sender, receiver| {
        bus.need(Capability::Processes)?;
        to_port(sender, receiver)?;
        let to = Some(Address::port(receiver.portid()?).encode());
        let sent =
            sender.raw().send_interrupted(&Outgoing { bytes: vec![0; LEN], to, ..Outgoing::default() });
        expect_errno("send()", sent, Errno::EINTR)
    }),
    ("to_who_is_connected_elsewhere", |_, sender, receiver| {
        receiver.connect(Address::port(PORT))?;
        expect_errno("send()", to_port(sender, receiver), Errno::ECONNREFUSED)
    }),
    ("filtered", |bus, sender, receiver| {
        bus.attach_filter(receiver, 0)?;
        Ok(to_port(sender, receiver)?)
    }),
    ("to_a_group", |_, sender, receiver| {
        to_group(sender)?;
        receiver.receive().map(drop)
    }),
    ("to_a_group_without_room", |_, sender, receiver| {
        to_port(sender, receiver)?;
        to_group(sender)
    }),
    ("to_a_group_and_filtered", |bus, sender, receiver| {
        bus.attach_filter(receiver, 0)?;
        to_group(sender)
    }),
];

/// Bytes of a datagram that fills the smallest receive buffer.
const LEN: usize = 3000;

fn to_port(sender: &Socket, receiver: &Socket) -> Result<(), Errno> {
    let to = receiver.raw().name(address::LEN)?.0;
    let outgoing =
        Outgoing { bytes: vec![0; LEN], to: Some(to), flags: libc::MSG_DONTWAIT, ..Outgoing::default() };
    sender.transmit(outgoing).map(drop)
}

/// Nobody is at port 0, which the datagram goes to as well.
fn to_group(sender: &Socket) -> Outcome {
    expect_errno("send()", sender.send_to(Address::groups(1), &[0; LEN]), Errno::ECONNREFUSED)
}

fn send_leaves_no_reference_to_its_receiver(bus: &Bus<'_>, sends: &Sends) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    receiver.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?; // the minimum
    receiver.join(1)?;
    let before = line_of(bus, &receiver)?.references;
    sends(bus, &sender, &receiver)?;
    expect_eq("Locks of the receiver", line_of(bus, &receiver)?.references, before)
}

/// References to the kernel's socket of this protocol.
fn references(bus: &Bus<'_>, protocol: i32) -> Result<u32, Failure> {
    let found = lines(bus)?.into_iter().find(|line| (line.protocol, line.portid) == (protocol, 0));
    found.map_or_else(|| mismatch("lines", "one of the kernel's socket", "none"), |line| Ok(line.references))
}

type MakeRequest = fn() -> Message;

const REQUESTS: &[(&str, MakeRequest)] = &[
    ("that_succeeds", || Message::request(NLMSG_NOOP).with(NLM_F_ACK)),
    ("that_fails", || Message::request(UNKNOWN)),
    ("that_is_ignored", || Message::new(NLMSG_NOOP)),
    ("for_a_dump", families),
    ("for_a_dump_that_is_refused", || Message::request(UNKNOWN).with(NLM_F_DUMP)),
];

fn request_leaves_no_reference_to_the_kernels_socket(bus: &Bus<'_>, request: &MakeRequest) -> Outcome {
    let before = references(bus, libc::NETLINK_GENERIC)?;
    for _ in 0..3 {
        bus.generic()?.send(&request().seq(1))?;
    }
    expect_eq("Locks of the kernel's socket", references(bus, libc::NETLINK_GENERIC)?, before)
}

/// The first dump runs until it is received.
fn refused_dump_leaves_no_reference_to_its_socket(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.send(&policies())?;
    let before = line_of(bus, &socket)?.references;
    for seq in 1..4 {
        socket.send(&families().seq(seq))?;
    }
    expect_eq("Locks of the requester", line_of(bus, &socket)?.references, before)
}

fn refused_send_leaves_no_reference_to_the_kernels_socket(bus: &Bus<'_>) -> Outcome {
    let protocol = Protocol { input: false, ..Protocol::with_groups(FREE_PROTOCOL, 1) };
    bus.create_protocol(&protocol)?;
    let (socket, before) = (bus.bound(FREE_PROTOCOL)?, references(bus, FREE_PROTOCOL)?);
    let sent = socket.send(&Message::request(NLMSG_NOOP));
    expect_errno("send() to a kernel that does not listen", sent, Errno::ECONNREFUSED)?;
    expect_eq("Locks of the kernel's socket", references(bus, FREE_PROTOCOL)?, before)
}
