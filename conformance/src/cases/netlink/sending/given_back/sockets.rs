//! Memory that sockets give back: of datagrams, and of what calls leave that fail.

use nix::errno::Errno;
use nix::libc;

use super::given_back;
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_errno, expect_ok};
use crate::port::capability::Capability;
use crate::port::provider::Protocol;
use crate::port::{Outgoing, Refused};
use crate::scene::FREE_PROTOCOL;
use crate::scene::PORT;
use crate::scene::bus::{Bus, Socket};
use crate::scene::dumps::policies;
use crate::wire::address::Address;
use crate::wire::message::{Message, NLM_F_ACK, NLMSG_NOOP};

cases! {
    memory_of_sockets_is_given_back(TURNS) [invasive] => "NL-MEM-006";
}

/// A datagram whose loss shows.
const LARGE: usize = 30_000;
/// One that only memory in many pieces holds.
const HUGE: usize = 5 << 20;

/// What is done, and how often.
type Turn = (fn(&Bus<'_>) -> Outcome, u32);

const TURNS: &[(&str, Turn)] = &[
    ("huge_datagram_that_is_read", (huge_datagram_that_is_read, 1)),
    ("huge_datagram_that_nobody_reads", (|bus| huge_datagram(bus).map(drop), 1)),
    ("datagram_that_nobody_reads", (|bus| queued(bus).map(drop), 16)),
    ("datagram_that_was_peeked_at", (datagram_that_was_peeked_at, 16)),
    ("datagram_that_finds_no_room", (datagram_that_finds_no_room, 16)),
    ("datagram_whose_wait_is_interrupted", (datagram_whose_wait_is_interrupted, 8)),
    ("datagram_to_nobody", (datagram_to_nobody, 16)),
    ("huge_datagram_without_memory", (huge_datagram_without_memory, 1)),
    ("huge_datagram_to_nobody", (huge_datagram_to_nobody, 1)),
    ("datagram_to_a_kernel_that_does_not_listen", (datagram_to_a_kernel_that_does_not_listen, 16)),
    ("datagram_to_who_is_connected_elsewhere", (datagram_to_who_is_connected_elsewhere, 16)),
    ("datagram_that_is_filtered", (datagram_that_is_filtered, 16)),
    ("multicast_that_all_filter", (multicast_that_all_filter, 16)),
    ("multicast_that_finds_no_room", (multicast_that_finds_no_room, 16)),
    ("multicast_whose_loss_is_reported", (multicast_whose_loss_is_reported, 16)),
    ("multicast_that_nobody_reads", (multicast_that_nobody_reads, 16)),
    ("bind_to_a_port_in_use", (bind_to_a_port_in_use, 16)),
    ("unreadable_datagrams", (unreadable_datagrams, 64)),
    ("dump_that_finds_no_room", (dump_that_finds_no_room, 64)),
    ("notifications_of_no_queue", (notifications_of_no_queue, 64)),
];

/// Sends a datagram, not through the bus, which would note its bytes.
fn send(socket: &Socket, to: Address, len: usize) -> Result<usize, Errno> {
    let outgoing = Outgoing {
        bytes: vec![7; len],
        to: Some(to.encode()),
        flags: libc::MSG_DONTWAIT,
        ..Outgoing::default()
    };
    socket.raw().send(&outgoing)
}

/// A sender, and a receiver that has a large datagram in its queue, which therefore takes no other. What
/// it has in its queue goes when nothing refers to the receiver any more.
fn queued(bus: &Bus<'_>) -> Result<(Socket, Socket), Failure> {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    receiver.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?; // the minimum
    expect_ok("send()", send(&sender, Address::port(receiver.portid()?), LARGE))?;
    Ok((sender, receiver))
}

fn huge_datagram(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    sender.set_at(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 2 * HUGE as u32)?;
    expect_ok("send()", send(&sender, Address::port(receiver.portid()?), HUGE))?;
    Ok(receiver)
}

fn huge_datagram_that_is_read(bus: &Bus<'_>) -> Outcome {
    expect_ok("receive", huge_datagram(bus)?.receive_now(10, 0))
}

fn datagram_that_was_peeked_at(bus: &Bus<'_>) -> Outcome {
    let (_, receiver) = queued(bus)?;
    expect_ok("peek", receiver.receive_now(10, libc::MSG_PEEK))
}

fn datagram_that_finds_no_room(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = queued(bus)?;
    expect_errno("send()", send(&sender, Address::port(receiver.portid()?), LARGE), Errno::EAGAIN)
}

fn datagram_whose_wait_is_interrupted(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::Processes)?;
    let (sender, receiver) = queued(bus)?;
    let to = Some(Address::port(receiver.portid()?).encode());
    let sent = sender.raw().send_interrupted(&Outgoing { bytes: vec![7; LARGE], to, ..Outgoing::default() });
    expect_errno("send()", sent, Errno::EINTR)
}

fn datagram_to_nobody(bus: &Bus<'_>) -> Outcome {
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    expect_errno("send()", send(&sender, Address::port(PORT), LARGE), Errno::ECONNREFUSED)
}

/// Each of the allocations for it fails once.
fn huge_datagram_without_memory(bus: &Bus<'_>) -> Outcome {
    let receiver = huge_datagram(bus)?;
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    sender.set_at(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 2 * HUGE as u32)?;
    bus.fail_each_of_step(
        || receiver.portid(),
        |port| send(&sender, Address::port(*port), HUGE),
        |_, _| {
            while receiver.receive_now(10, 0).is_ok() {}
            Ok(())
        },
    )
}

fn huge_datagram_to_nobody(bus: &Bus<'_>) -> Outcome {
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    sender.set_at(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 2 * HUGE as u32)?;
    expect_errno("send()", send(&sender, Address::port(PORT), HUGE), Errno::ECONNREFUSED)
}

fn datagram_to_a_kernel_that_does_not_listen(bus: &Bus<'_>) -> Outcome {
    if bus.try_open(libc::SOCK_RAW, FREE_PROTOCOL).is_err() {
        let deaf = Protocol { input: false, ..Protocol::with_groups(FREE_PROTOCOL, 1) };
        bus.create_protocol(&deaf)?;
    }
    let sender = bus.bound(FREE_PROTOCOL)?;
    expect_errno("send()", send(&sender, Address::KERNEL, LARGE), Errno::ECONNREFUSED)
}

fn datagram_to_who_is_connected_elsewhere(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = queued(bus)?;
    receiver.connect(Address::port(PORT))?;
    let sent = send(&sender, Address::port(receiver.portid()?), LARGE);
    expect_errno("send()", sent, Errno::ECONNREFUSED)
}

fn datagram_that_is_filtered(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    bus.attach_filter(&receiver, 0)?;
    expect_ok("send()", send(&sender, Address::port(receiver.portid()?), LARGE))
}

/// Sends a large datagram to a group. Nobody is at port 0, which it goes to as well.
fn multicast(sender: &Socket) -> Outcome {
    expect_errno("send()", send(sender, Address::groups(1), LARGE), Errno::ECONNREFUSED)
}

fn multicast_that_all_filter(bus: &Bus<'_>) -> Outcome {
    let (sender, member) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    member.join(1)?;
    bus.attach_filter(&member, 0)?;
    multicast(&sender)
}

fn multicast_that_finds_no_room(bus: &Bus<'_>) -> Outcome {
    let (sender, member) = queued(bus)?;
    member.join(1)?;
    multicast(&sender)
}

fn multicast_whose_loss_is_reported(bus: &Bus<'_>) -> Outcome {
    let (sender, member) = queued(bus)?;
    member.join(1)?;
    member.set(libc::NETLINK_BROADCAST_ERROR, 1)?;
    multicast(&sender)
}

fn multicast_that_nobody_reads(bus: &Bus<'_>) -> Outcome {
    let members = [bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?];
    members.iter().try_for_each(|member| member.join(1))?;
    multicast(&bus.bound(libc::NETLINK_USERSOCK)?)
}

fn bind_to_a_port_in_use(bus: &Bus<'_>) -> Outcome {
    let (owner, late) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.open(libc::NETLINK_USERSOCK)?);
    expect_errno("bind()", late.bind(owner.name()?), Errno::EADDRINUSE)?;
    late.bind(Address::KERNEL)?;
    expect_ok("send()", send(&owner, Address::port(late.portid()?), LARGE))
}

/// What each would leave is small.
fn unreadable_datagrams(bus: &Bus<'_>) -> Outcome {
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    let send = |_| expect_errno("send()", sender.raw().refused(Refused::UnreadableDatagram), Errno::EFAULT);
    (0..16).try_for_each(send)
}

/// Each of the receives finds too little room for the next portion.
fn dump_that_finds_no_room(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 2304)?;
    for _ in 0..2 {
        socket.send(&Message::request(NLMSG_NOOP).with(NLM_F_ACK))?;
    }
    socket.send(&policies())?;
    socket.receive_into(100).map(drop)
}

/// Each would leave the socket, which is small.
fn notifications_of_no_queue(bus: &Bus<'_>) -> Outcome {
    bus.message_queue()?; // or the target has none
    let notify = |_| {
        let socket = bus.open(libc::NETLINK_USERSOCK)?;
        expect_errno("mq_notify()", socket.raw().notify(-1, &[7; 32]), Errno::EBADF)
    };
    (0..8).try_for_each(notify)
}

fn memory_of_sockets_is_given_back(bus: &Bus<'_>, (turn, times): &Turn) -> Outcome {
    given_back(bus, *times, || turn(bus))
}
