//! Sockets whose bind() was refused because the port ID is another socket's.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno, expect_ok};
use crate::scene::PORT;
use crate::scene::bus::{Bus, Socket};
use crate::scene::refused::{self, WAYS, Way};
use crate::wire::address::Address;
use crate::wire::message::NLM_F_ACK;
use crate::wire::route;

cases! {
    socket_of_a_refused_bind_gets_a_port_of_its_own(WAYS) => "NL-BIND-027";
    socket_of_a_refused_bind_gets_its_own_answers(WAYS) => "NL-BIND-027";
    socket_of_a_refused_bind_sends_from_its_own_port(WAYS) => "NL-BIND-027";
    socket_of_a_refused_bind_can_be_sent_to(WAYS) => "NL-BIND-027";
}

/// The owner of a port, and a socket that was refused it and then did this.
fn owner_and_refused(bus: &Bus<'_>, protocol: i32, way: &Way) -> Result<(Socket, Socket), Failure> {
    let (owner, refused) = refused::owner_and_refused(bus, protocol)?;
    expect_ok("what the refused socket does next", way(&refused))?;
    Ok((owner, refused))
}

fn socket_of_a_refused_bind_gets_a_port_of_its_own(bus: &Bus<'_>, way: &Way) -> Outcome {
    let (_owner, refused) = owner_and_refused(bus, libc::NETLINK_ROUTE, way)?;
    let port = refused.portid()?;
    expect("port ID", ![0, PORT].contains(&port), "neither 0 nor the refused one", port)
}

fn socket_of_a_refused_bind_gets_its_own_answers(bus: &Bus<'_>, way: &Way) -> Outcome {
    let (owner, refused) = owner_and_refused(bus, libc::NETLINK_ROUTE, way)?;
    refused.send(&route::refused(7).with(NLM_F_ACK))?;
    let answers = std::iter::from_fn(|| refused.receive_one().ok().map(|answer| answer.seq));
    let last = answers.take(2).find(|seq| *seq == 7);
    expect_eq("sequence number of the answer", last, Some(7))?;
    owner.expect_nothing("answer to the request of another socket")
}

fn socket_of_a_refused_bind_sends_from_its_own_port(bus: &Bus<'_>, way: &Way) -> Outcome {
    let (_owner, refused) = owner_and_refused(bus, libc::NETLINK_USERSOCK, way)?;
    let receiver = bus.bound(libc::NETLINK_USERSOCK)?;
    refused.send_to(Address::port(receiver.portid()?), b"hello")?;
    expect_eq("port ID of the sender", receiver.receive()?.from.portid, refused.portid()?)?;
    expect("port ID of the socket", refused.portid()? != PORT, "not the refused one", PORT)
}

fn socket_of_a_refused_bind_can_be_sent_to(bus: &Bus<'_>, way: &Way) -> Outcome {
    let (owner, refused) = owner_and_refused(bus, libc::NETLINK_USERSOCK, way)?;
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    // A connected socket takes messages from its peer alone.
    refused.connect(Address::port(sender.portid()?))?;
    sender.send_to(Address::port(refused.portid()?), b"hello")?;
    expect_eq("what arrived", &refused.receive()?.incoming.bytes[..], b"hello")?;
    expect_errno("receive of the owner of the port", owner.receive_now(100, 0), Errno::EAGAIN)
}
