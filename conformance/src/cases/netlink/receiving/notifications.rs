//! Notifications of POSIX message queues, which the kernel sends to the netlink socket that a program names.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect, expect_bytes, expect_eq, expect_errno, expect_ok};
use crate::port::{MessageQueue, NotifyBy, Outgoing};
use crate::scene::bus::{Bus, Socket};
use crate::scene::threads::ended_by;
use crate::wire::address::Address;

cases! {
    message_to_an_empty_queue_notifies(PROTOCOLS) => "NL-RCV-012";
    queue_notifies_once => "NL-RCV-012";
    end_of_a_notification_is_told(ENDS) => "NL-RCV-012";
    notification_counts_before_it_is_sent => "NL-RCV-013", "NL-RCV-012";
    notification_that_is_refused_does_not_count(REFUSED) => "NL-RCV-013";
    queue_outlives_the_socket => "NL-RCV-012";
    only_a_netlink_socket_is_notified(OTHERS) => "NL-RCV-014";
    notification_waits_for_room [parallel] => "NL-RCV-013", "NL-RCV-012";
}

/// Whose last byte the kernel replaces.
const COOKIE: [u8; 32] = [0xc7; 32];

/// A socket that a queue notifies.
fn notified(bus: &Bus<'_>, protocol: i32) -> Result<(Socket, Box<dyn MessageQueue>), Failure> {
    let (socket, queue) = (bus.bound(protocol)?, bus.message_queue()?);
    expect_ok("mq_notify()", socket.raw().notify(queue.descriptor(), &COOKIE))?;
    Ok((socket, queue))
}

/// The socket receives the notification, for this reason.
fn expect_notification(bus: &Bus<'_>, socket: &Socket, reason: &str) -> Outcome {
    let incoming = socket.receive()?.incoming;
    let mut cookie = COOKIE;
    cookie[31] = bus.expected::<u32>(reason)? as u8;
    expect_bytes("notification", &incoming.bytes, cookie)?;
    expect_bytes("sender", &incoming.from, Address::KERNEL.encode())?;
    expect_eq("flags", incoming.flags, 0)
}

const PROTOCOLS: &[(&str, i32)] = &[
    ("route", libc::NETLINK_ROUTE),
    ("usersock", libc::NETLINK_USERSOCK),
    ("generic", libc::NETLINK_GENERIC),
];

fn message_to_an_empty_queue_notifies(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    let (socket, queue) = notified(bus, *protocol)?;
    socket.expect_nothing("before the message")?;
    queue.send()?;
    expect_notification(bus, &socket, "woken")
}

fn queue_notifies_once(bus: &Bus<'_>) -> Outcome {
    let (socket, queue) = notified(bus, libc::NETLINK_USERSOCK)?;
    queue.send()?;
    expect_notification(bus, &socket, "woken")?;
    queue.send()?;
    drop(queue);
    socket.expect_nothing("after the notification")
}

/// What ends a notification that was not sent.
type End = fn(Box<dyn MessageQueue>) -> Outcome;

const ENDS: &[(&str, End)] = &[
    ("withdrawn", |queue| expect_ok("mq_notify()", queue.notify(NotifyBy::Nobody))),
    ("closed", |queue| {
        drop(queue);
        Ok(())
    }),
];

fn end_of_a_notification_is_told(bus: &Bus<'_>, end: &End) -> Outcome {
    let (socket, queue) = notified(bus, libc::NETLINK_USERSOCK)?;
    end(queue)?;
    expect_notification(bus, &socket, "removed")
}

fn notification_counts_before_it_is_sent(bus: &Bus<'_>) -> Outcome {
    let (socket, queue) = notified(bus, libc::NETLINK_USERSOCK)?;
    let before = bus.inspect(&socket)?.received;
    expect("memory of the receive queue", before as usize > COOKIE.len(), "more than the cookie's", before)?;
    queue.send()?;
    expect_eq("memory when it is sent", bus.inspect(&socket)?.received, before)?;
    expect_notification(bus, &socket, "woken")?;
    expect_eq("memory when it is received", bus.inspect(&socket)?.received, 0)
}

/// A queue of which another socket is notified has no place for a second notification.
const REFUSED: &[(&str, (bool, &str))] = &[("of_no_queue", (false, "missing")), ("second", (true, "taken"))];

fn notification_that_is_refused_does_not_count(bus: &Bus<'_>, (taken, errno): &(bool, &str)) -> Outcome {
    let (_first, queue) = notified(bus, libc::NETLINK_USERSOCK)?;
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let descriptor = if *taken { queue.descriptor() } else { -1 };
    expect_errno("mq_notify()", socket.raw().notify(descriptor, &COOKIE), bus.expected(errno)?)?;
    expect_eq("memory of the receive queue", bus.inspect(&socket)?.received, 0)?;
    socket.expect_nothing("after the refusal")
}

fn queue_outlives_the_socket(bus: &Bus<'_>) -> Outcome {
    let (socket, queue) = notified(bus, libc::NETLINK_USERSOCK)?;
    drop(socket);
    expect_ok("mq_send()", queue.send())
}

const OTHERS: &[(&str, (NotifyBy, &str))] = &[
    ("no_descriptor", (NotifyBy::NoDescriptor, "closed")),
    ("file", (NotifyBy::File, "file")),
    ("unix_socket", (NotifyBy::UnixSocket, "family")),
];

fn only_a_netlink_socket_is_notified(bus: &Bus<'_>, (by, errno): &(NotifyBy, &str)) -> Outcome {
    expect_errno("mq_notify()", bus.message_queue()?.notify(*by), bus.expected(errno)?)
}

fn notification_waits_for_room(bus: &Bus<'_>) -> Outcome {
    let (sender, socket) = (bus.open(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let queue = bus.message_queue()?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?; // the minimum
    let to = Some(Address::port(socket.portid()?).encode());
    let outgoing = Outgoing { bytes: vec![7; 800], to, flags: libc::MSG_DONTWAIT, ..Outgoing::default() };
    let taken = (0..100).take_while(|_| sender.transmit(outgoing.clone()).is_ok()).count();
    if taken == 100 {
        return broken("100 datagrams do not fill the queue");
    }
    let notified = ended_by(
        || socket.raw().notify(queue.descriptor(), &COOKIE),
        || (0..taken).try_for_each(|_| Ok(socket.receive_now(4096, 0).map(drop)?)),
    )?;
    expect_ok("mq_notify()", notified)?;
    queue.send()?;
    expect_notification(bus, &socket, "woken")
}
