//! Socket filters that drop.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_bytes, expect_eq, expect_errno};
use crate::port::capability::Capability;
use crate::port::provider::{Family, KernelSend, Verb};
use crate::scene::bus::{Bus, Socket};
use crate::wire::address::Address;
use crate::wire::message::{Message, NLMSG_NOOP};
use crate::wire::route;

cases! {
    filtered_unicast_is_lost_silently => "NL-SEND-013";
    filtered_multicast_is_lost_silently => "NL-SEND-013";
    filtered_reply_is_lost_silently => "NL-SEND-013";
    filtered_notification_is_lost_silently => "NL-SEND-013";
}

/// A bound socket whose filter drops everything.
fn deaf(bus: &Bus<'_>, protocol: i32) -> Result<Socket, Failure> {
    let socket = bus.bound(protocol)?;
    bus.attach_filter(&socket, 0)?;
    Ok(socket)
}

fn hear_again(socket: &Socket) -> Outcome {
    Ok(socket.set_at(libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0)?)
}

fn filtered_unicast_is_lost_silently(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = (bus.open(libc::NETLINK_USERSOCK)?, deaf(bus, libc::NETLINK_USERSOCK)?);
    let to = Address::port(receiver.portid()?);
    expect_eq("send()", sender.send_to(to, b"lost"), Ok(4))?;
    hear_again(&receiver)?;
    sender.send_to(to, b"hello")?;
    expect_bytes("what arrived", &receiver.receive()?.incoming.bytes, b"hello")
}

fn filtered_multicast_is_lost_silently(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let (sender, receiver) = (bus.open(libc::NETLINK_ROUTE)?, deaf(bus, libc::NETLINK_ROUTE)?);
    receiver.join(1)?;
    let noop = Message::request(NLMSG_NOOP).encode();
    expect_eq("send()", sender.send_to(Address::groups(1), &noop), Ok(noop.len()))?;
    hear_again(&receiver)?;
    receiver.expect_nothing("multicast that was filtered")
}

fn filtered_reply_is_lost_silently(bus: &Bus<'_>) -> Outcome {
    bus.need_prompt_answers()?;
    let socket = deaf(bus, libc::NETLINK_ROUTE)?;
    let request = route::refused(7).encode();
    expect_eq("send()", socket.send_bytes(&request), Ok(request.len()))?;
    hear_again(&socket)?;
    socket.expect_nothing("answer that was filtered")
}

fn filtered_notification_is_lost_silently(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_filtered").group("events"))?;
    let receiver = deaf(bus, libc::NETLINK_GENERIC)?;
    receiver.join(family.groups[0])?;
    let sent = family.send(KernelSend::new(Verb::Multicast))?;
    expect_errno("genlmsg_multicast() that reaches only filters", sent, bus.expected("multicast")?)?;
    hear_again(&receiver)?;
    receiver.expect_nothing("notification that was filtered")
}
