//! Datagrams that are too large, and receivers without room.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{
    Failure, Outcome, broken, expect, expect_bytes, expect_eq, expect_errno, expect_ok, mismatch,
};
use crate::port::capability::Capability;
use crate::port::{Outgoing, Refused};
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::threads::{both_ended_by, ended_by, joined};
use crate::wire::address::Address;
use crate::wire::message::Message;
use crate::wire::route;

cases! {
    datagram_beyond_the_send_buffer_is_refused => "NL-SEND-006";
    datagram_as_large_as_the_send_buffer_is_accepted => "NL-SEND-006";
    send_that_may_not_block_fails(NO_WAIT) => "NL-SEND-010";
    receiver_sees_no_error_of_a_failed_send => "NL-SEND-021";
    send_blocks_until_its_timeout => "NL-SEND-010";
    send_continues_when_there_is_room [parallel] => "NL-SEND-010";
    send_continues_before_the_queue_is_empty [parallel] => "NL-SEND-034";
    close_of_the_receiver_ends_a_blocked_send [parallel] => "NL-SEND-030";
    blocked_send_is_interrupted => "NL-SEND-020";
    blocked_send_is_restarted [parallel] => "NL-SEND-041";
    blocked_send_with_a_timeout_is_not_restarted => "NL-SEND-041";
    all_blocked_senders_continue [parallel] => "NL-SEND-040";
    close_of_the_receiver_ends_all_blocked_sends [parallel] => "NL-SEND-040";
    empty_queue_accepts_a_large_datagram => "NL-SEND-011";
    unreadable_datagram_is_refused => "NL-SEND-032";
}

/// A socket with a small send buffer, and the length of the largest datagram that it may send.
fn small_sender(bus: &Bus<'_>) -> Result<(Socket, usize), Failure> {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_SNDBUF, 4608)?;
    let buffer = socket.get_at(libc::SOL_SOCKET, libc::SO_SNDBUF)? as usize;
    Ok((socket, buffer - bus.expected::<usize>("overhead")?))
}

/// A request of this length, header included. It fails because it names no interface; most of it is
/// an attribute without a meaning.
fn request(len: usize) -> Message {
    let request = route::link(route::RTM_GETLINK, route::Link::default()).seq(7);
    let rest = len - request.len() as usize;
    let attr = [(rest as u16).to_ne_bytes(), 0x3fff_u16.to_ne_bytes()].concat();
    request.bytes(&attr).bytes(&vec![0; rest - attr.len()])
}

fn datagram_beyond_the_send_buffer_is_refused(bus: &Bus<'_>) -> Outcome {
    let (socket, largest) = small_sender(bus)?;
    expect_errno("send()", socket.send(&request(largest + 1)), bus.expected("errno")?)
}

fn datagram_as_large_as_the_send_buffer_is_accepted(bus: &Bus<'_>) -> Outcome {
    let (socket, largest) = small_sender(bus)?;
    expect_eq("send()", socket.send(&request(largest)), Ok(largest))?;
    expect_eq("sequence number of the answer", socket.receive_one()?.seq, 7)
}

/// A pair on `NETLINK_USERSOCK`: a sender of this type, connected to a receiver whose buffer is full.
struct Full {
    sender: Socket,
    receiver: Socket,
    /// The datagrams in the receiver's queue.
    queued: usize,
}

const PAYLOAD: [u8; 500] = [0xa5; 500];

impl Full {
    fn new(bus: &Bus<'_>, kind: i32) -> Result<Full, Failure> {
        Full::of(bus, kind, 0) // the minimum
    }

    /// With a receive buffer of this size.
    fn of(bus: &Bus<'_>, kind: i32, size: u32) -> Result<Full, Failure> {
        let receiver = bus.bound(libc::NETLINK_USERSOCK)?;
        receiver.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, size)?;
        let sender = bus.open_as(kind, libc::NETLINK_USERSOCK)?;
        sender.connect(Address::port(receiver.portid()?))?;
        for queued in 0..100 {
            if sender.transmit(now()).is_err() {
                return Ok(Full { sender, receiver, queued });
            }
        }
        broken("100 datagrams do not fill the receive buffer")
    }

    /// The next send must fail with this errno.
    fn refuses(&self, outgoing: Outgoing, errno: Errno) -> Outcome {
        expect_errno("send() to a full receiver", self.sender.transmit(outgoing), errno)
    }

    /// The queued datagrams arrive, and nothing else.
    fn drain(&self) -> Outcome {
        for _ in 0..self.queued {
            expect_bytes("what arrived", &self.receiver.receive()?.incoming.bytes, PAYLOAD)?;
        }
        expect_errno("receive from an empty queue", self.receiver.receive_now(1000, 0), Errno::EAGAIN)
    }
}

/// A datagram that is sent without waiting.
fn now() -> Outgoing {
    Outgoing { flags: libc::MSG_DONTWAIT, ..patient() }
}

fn patient() -> Outgoing {
    Outgoing { bytes: PAYLOAD.to_vec(), ..Outgoing::default() }
}

/// Type of the sender, flags of the send.
const NO_WAIT: &[(&str, (i32, i32))] = &[
    ("msg_dontwait", (libc::SOCK_RAW, libc::MSG_DONTWAIT)),
    ("nonblocking_socket", (libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0)),
];

fn send_that_may_not_block_fails(bus: &Bus<'_>, (kind, flags): &(i32, i32)) -> Outcome {
    let full = Full::new(bus, *kind)?;
    full.refuses(Outgoing { flags: *flags, ..patient() }, bus.expected("errno")?)
}

fn receiver_sees_no_error_of_a_failed_send(bus: &Bus<'_>) -> Outcome {
    let full = Full::new(bus, libc::SOCK_RAW)?;
    full.refuses(now(), bus.expected("errno")?)?;
    expect_eq("SO_ERROR of the receiver", full.receiver.get_at(libc::SOL_SOCKET, libc::SO_ERROR)?, 0)?;
    full.drain()?;
    expect_ok("send() afterwards", full.sender.transmit(now()))
}

fn send_blocks_until_its_timeout(bus: &Bus<'_>) -> Outcome {
    let full = Full::new(bus, libc::SOCK_RAW)?;
    let time = Duration::from_millis(40);
    full.sender.set_send_timeout(time)?;
    let mut longest = Duration::ZERO;
    // The kernel's clock for timeouts may lag behind ours for a while: one long wait is enough.
    for _ in 0..5 {
        let start = Instant::now();
        full.refuses(patient(), bus.expected("errno")?)?;
        longest = longest.max(start.elapsed());
        if longest >= time / 2 {
            return Ok(());
        }
    }
    mismatch("longest of 5 waits", "about 40 ms", format_args!("{longest:?}"))
}

fn send_continues_when_there_is_room(bus: &Bus<'_>) -> Outcome {
    let mut full = Full::new(bus, libc::SOCK_RAW)?;
    full.sender.set_send_timeout(WAIT)?;
    full.queued += 1;
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| full.sender.transmit(patient()));
        for _ in 0..full.queued {
            full.receiver.receive()?;
        }
        Ok::<_, Failure>(joined(sending))
    })?;
    expect_ok("send() to a receiver that made room", sent)
}

fn send_continues_before_the_queue_is_empty(bus: &Bus<'_>) -> Outcome {
    let full = Full::of(bus, libc::SOCK_RAW, 8192)?;
    expect("datagrams in the queue", full.queued > 1, "several", full.queued)?;
    full.sender.set_send_timeout(2 * WAIT)?;
    let take_one = || full.receiver.receive().map(drop);
    let sent = ended_by(|| full.sender.transmit(patient()), take_one)?;
    expect_ok("send() to a receiver that took one datagram", sent)?;
    full.drain()
}

fn close_of_the_receiver_ends_a_blocked_send(bus: &Bus<'_>) -> Outcome {
    let Full { sender, receiver, .. } = Full::new(bus, libc::SOCK_RAW)?;
    sender.set_send_timeout(2 * WAIT)?;
    let close = || {
        drop(receiver);
        Ok(())
    };
    let sent = ended_by(|| sender.transmit(patient()), close)?;
    expect_errno("send() to a receiver that was closed", sent, bus.expected("errno")?)
}

fn blocked_send_is_interrupted(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::Processes)?;
    let full = Full::new(bus, libc::SOCK_RAW)?;
    let sent = full.sender.raw().send_interrupted(&patient());
    expect_errno("send() that a signal interrupts", sent, bus.expected("interrupted")?)?;
    full.drain()
}

fn blocked_send_is_restarted(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::Processes)?;
    let full = Full::new(bus, libc::SOCK_RAW)?;
    let take_all = || (0..full.queued).try_for_each(|_| full.receiver.receive().map(drop));
    let sent = ended_by(|| full.sender.raw().send_restarted(&patient()), take_all)?;
    expect_ok("send() that signals interrupt", sent)
}

fn blocked_send_with_a_timeout_is_not_restarted(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::Processes)?;
    let full = Full::new(bus, libc::SOCK_RAW)?;
    full.sender.set_send_timeout(2 * WAIT)?;
    let sent = full.sender.raw().send_restarted(&patient());
    expect_errno("send() that a signal interrupts", sent, bus.expected("interrupted")?)?;
    full.drain()
}

/// A receiver whose queue one datagram of 20000 bytes fills, and two senders with a timeout that are connected to it.
fn crowded(bus: &Bus<'_>) -> Result<(Socket, [Socket; 2]), Failure> {
    let receiver = bus.bound(libc::NETLINK_USERSOCK)?;
    receiver.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?; // the minimum
    let senders = [bus.open(libc::NETLINK_USERSOCK)?, bus.open(libc::NETLINK_USERSOCK)?];
    for sender in &senders {
        sender.connect(Address::port(receiver.portid()?))?;
        sender.set_send_timeout(2 * WAIT)?;
    }
    senders[0].send_bytes(&[0xa5; 20_000])?;
    Ok((receiver, senders))
}

fn all_blocked_senders_continue(bus: &Bus<'_>) -> Outcome {
    let (receiver, senders) = crowded(bus)?;
    let sends = senders.each_ref().map(|sender| || sender.send_bytes(&[7; 16]));
    let sent = both_ended_by(sends, || receiver.receive().map(drop))?;
    expect_eq("what both sends return", sent, [Ok(16), Ok(16)])?;
    for _ in sent {
        expect_bytes("what arrived", &receiver.receive()?.incoming.bytes, [7; 16])?;
    }
    Ok(())
}

fn close_of_the_receiver_ends_all_blocked_sends(bus: &Bus<'_>) -> Outcome {
    let (receiver, senders) = crowded(bus)?;
    let sends = senders.each_ref().map(|sender| || sender.send_bytes(&[7; 16]));
    let close = || {
        drop(receiver);
        Ok(())
    };
    let errno: Errno = bus.expected("errno")?;
    expect_eq("what both sends return", both_ended_by(sends, close)?, [Err(errno), Err(errno)])
}

fn empty_queue_accepts_a_large_datagram(bus: &Bus<'_>) -> Outcome {
    let receiver = bus.bound(libc::NETLINK_USERSOCK)?;
    receiver.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?; // the minimum
    let payload = vec![0xa5; 20_000];
    let outgoing = Outgoing {
        bytes: payload.clone(),
        to: Some(Address::port(receiver.portid()?).encode()),
        flags: libc::MSG_DONTWAIT,
        ..Outgoing::default()
    };
    let room = receiver.get_at(libc::SOL_SOCKET, libc::SO_RCVBUF)?;
    expect("SO_RCVBUF", room < 20_000, "less than the datagram", room)?;
    expect_ok("send()", bus.open(libc::NETLINK_USERSOCK)?.transmit(outgoing))?;
    expect_bytes("what arrived", receiver.receive()?.incoming.bytes, payload)
}

fn unreadable_datagram_is_refused(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    sender.connect(receiver.name()?)?;
    let sent = sender.raw().refused(Refused::UnreadableDatagram);
    expect_errno("send()", sent, bus.expected("errno")?)?;
    expect_errno("receive of the peer", receiver.receive_now(16, 0), Errno::EAGAIN)
}
