//! Receives that wait.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno, expect_ok, mismatch};
use crate::port::capability::Capability;
use crate::port::provider::{Family, KernelSend, Verb};
use crate::port::{Incoming, Receive};
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::dumps::links;
use crate::scene::threads::{both_ended_by, ended_by};
use crate::wire::address::Address;
use crate::wire::route;

cases! {
    receive_waits_for_a_datagram(DATAGRAMS) [parallel] => "NL-RCV-010";
    receive_waits_for_an_error [parallel] => "NL-RCV-010";
    each_of_two_receives_gets_a_datagram [parallel] => "NL-RCV-010";
    receive_that_may_not_wait_fails(NO_WAIT) => "NL-RCV-010";
    receive_waits_until_its_timeout => "NL-RCV-010";
    waiting_receive_is_interrupted => "NL-RCV-010";
    waiting_receive_with_a_timeout_is_not_restarted => "NL-RCV-010";
    waiting_receive_is_restarted [parallel] => "NL-RCV-010";
}

const PATIENT: Receive = Receive { room: 4096, flags: 0 };

/// A receive that waits, and gives up if nothing ends it.
fn wait(socket: &Socket) -> Result<Incoming, Errno> {
    socket.set_receive_timeout(2 * WAIT)?;
    socket.raw().receive(&PATIENT)
}

/// Sends 16 such bytes to a socket of `NETLINK_USERSOCK`.
fn unicast(bus: &Bus<'_>, to: &Socket, byte: u8) -> Outcome {
    let sender = bus.open(libc::NETLINK_USERSOCK)?;
    Ok(sender.send_to(Address::port(to.portid()?), &[byte; 16]).map(drop)?)
}

/// A protocol, and what queues a datagram at a socket of it.
pub(super) type Cause = (i32, fn(&Bus<'_>, &Socket) -> Outcome);

pub(super) const DATAGRAMS: &[(&str, Cause)] = &[
    ("unicast", (libc::NETLINK_USERSOCK, |bus, socket| unicast(bus, socket, 7))),
    (
        "multicast",
        (libc::NETLINK_USERSOCK, |bus, socket| {
            socket.join(1)?;
            Ok(bus.bound(libc::NETLINK_USERSOCK)?.multicast(&[7; 16])?)
        }),
    ),
    (
        "multicast_of_the_kernel",
        (libc::NETLINK_GENERIC, |bus, socket| {
            let family = bus.register(Family::named("nlc_awaited").group("events"))?;
            socket.join(family.groups[0])?;
            expect_ok("multicast", family.multicast(0, &[7; 16])?)?;
            expect_ok("unregistration", family.unregister()?)
        }),
    ),
    ("answer", (libc::NETLINK_ROUTE, |_, socket| Ok(socket.send(&route::refused(7)).map(drop)?))),
    ("dump", (libc::NETLINK_ROUTE, |_, socket| Ok(socket.send(&links().seq(7)).map(drop)?))),
];

fn receive_waits_for_a_datagram(bus: &Bus<'_>, (protocol, cause): &Cause) -> Outcome {
    let socket = bus.bound(*protocol)?;
    let received = ended_by(|| wait(&socket), || cause(bus, &socket))?;
    expect_ok("receive", received)
}

fn receive_waits_for_an_error(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_awaited").group("events"))?;
    let member = bus.generic()?;
    member.join(family.groups[0])?;
    let error = KernelSend::new(Verb::SetErr(libc::EOVERFLOW));
    let received = ended_by(|| wait(&member), || family.send(error).map(drop))?;
    expect_errno("receive", received, Errno::EOVERFLOW)
}

fn each_of_two_receives_gets_a_datagram(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let receive = || wait(&socket).map(|incoming| incoming.bytes);
    let received = both_ended_by([receive, receive], || {
        unicast(bus, &socket, 1)?;
        unicast(bus, &socket, 2)
    })?;
    let mut received = received.into_iter().collect::<Result<Vec<_>, _>>()?;
    received.sort();
    expect_eq("what both receive", received, [[1; 16], [2; 16]])
}

/// Type of the socket, flags of the receive.
const NO_WAIT: &[(&str, (i32, i32))] = &[
    ("msg_dontwait", (libc::SOCK_RAW, libc::MSG_DONTWAIT)),
    ("nonblocking_socket", (libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0)),
];

fn receive_that_may_not_wait_fails(bus: &Bus<'_>, (kind, flags): &(i32, i32)) -> Outcome {
    let socket = bus.open_as(*kind, libc::NETLINK_ROUTE)?;
    let timeout = 2 * WAIT;
    socket.set_receive_timeout(timeout)?;
    let start = Instant::now();
    let received = socket.raw().receive(&Receive { flags: *flags, ..PATIENT });
    expect_errno("receive", received, bus.expected("later")?)?;
    let took = start.elapsed();
    expect("time that it took", took < timeout, "less than SO_RCVTIMEO", took)
}

fn receive_waits_until_its_timeout(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let time = Duration::from_millis(40);
    socket.set_receive_timeout(time)?;
    let mut longest = Duration::ZERO;
    // The kernel's clock for timeouts may lag behind ours for a while: one long wait is enough.
    for _ in 0..5 {
        let start = Instant::now();
        expect_errno("receive", socket.raw().receive(&PATIENT), bus.expected("later")?)?;
        longest = longest.max(start.elapsed());
        if longest >= time / 2 {
            return Ok(());
        }
    }
    mismatch("longest of 5 waits", "about 40 ms", format_args!("{longest:?}"))
}

/// A socket that signals can interrupt.
fn interruptible(bus: &Bus<'_>) -> Result<Socket, Failure> {
    bus.need(Capability::Processes)?;
    bus.bound(libc::NETLINK_USERSOCK)
}

fn waiting_receive_is_interrupted(bus: &Bus<'_>) -> Outcome {
    let received = interruptible(bus)?.raw().receive_interrupted(&PATIENT);
    expect_errno("receive that a signal interrupts", received, bus.expected("interrupted")?)
}

fn waiting_receive_with_a_timeout_is_not_restarted(bus: &Bus<'_>) -> Outcome {
    let socket = interruptible(bus)?;
    socket.set_receive_timeout(2 * WAIT)?;
    let received = socket.raw().receive_restarted(&PATIENT);
    expect_errno("receive that a signal interrupts", received, bus.expected("interrupted")?)
}

fn waiting_receive_is_restarted(bus: &Bus<'_>) -> Outcome {
    let socket = interruptible(bus)?;
    let received = ended_by(|| socket.raw().receive_restarted(&PATIENT), || unicast(bus, &socket, 7))?;
    expect_ok("receive that signals interrupt", received)
}
