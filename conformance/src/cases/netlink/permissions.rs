//! The capabilities of senders, of openers and of owners of namespaces.

mod elsewhere;
mod lifetime;
mod namespaces;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_errno, expect_ok};
use crate::port::Who;
use crate::port::capability::Capability;
use crate::scene::bus::{Bus, Socket};
use crate::wire::ack::Ack;
use crate::wire::address::Address;
use crate::wire::message::NLM_F_ACK;
use crate::wire::route;

cases! {
    opener_is_checked_without_an_address => "NL-PRM-001";
    opener_is_not_checked_with_an_address => "NL-PRM-001";
    sender_is_checked(ADDRESSES) => "NL-PRM-001";
    capable_opener_and_sender_succeed(ADDRESSES) => "NL-PRM-001";
    owner_of_the_namespace_is_allowed(WAYS) => "NL-PRM-002";
    root_of_a_user_namespace_is_not_allowed_elsewhere(WAYS) => "NL-PRM-002";
    + elsewhere;
    + lifetime;
    + namespaces;
}

/// Sends a request that needs CAP_NET_ADMIN, and returns its status. It leaves the loopback device,
/// which it is about, as it is.
fn privileged(socket: &Socket, to: Option<Address>) -> Result<Ack, Failure> {
    let request =
        route::link(route::RTM_NEWLINK, route::Link { index: 1, ..Default::default() }).with(NLM_F_ACK);
    Ok(socket.ask_to(to, &request)?.ack()?.clone())
}

fn opener_is_checked_without_an_address(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open_by(Who::Nobody, libc::NETLINK_ROUTE)?;
    expect_errno(
        "request on a socket opened without privilege",
        privileged(&socket, None)?,
        bus.expected("errno")?,
    )
}

fn opener_is_not_checked_with_an_address(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open_by(Who::Nobody, libc::NETLINK_ROUTE)?;
    expect_ok("request on a socket opened without privilege", privileged(&socket, Some(Address::KERNEL))?)
}

const ADDRESSES: &[(&str, Option<Address>)] =
    &[("without_address", None), ("with_address", Some(Address::KERNEL))];

fn sender_is_checked(bus: &Bus<'_>, to: &Option<Address>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    bus.run_as(Who::Nobody, || {
        expect_errno("unprivileged request", privileged(&socket, *to)?, bus.expected("errno")?)
    })
}

fn capable_opener_and_sender_succeed(bus: &Bus<'_>, to: &Option<Address>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    expect_ok("request", privileged(&bus.bound(libc::NETLINK_ROUTE)?, *to)?)
}

type Way = fn(&Socket) -> Result<(), Errno>;

const WAYS: &[(&str, Way)] = &[
    ("bind", |socket| socket.bind(Address::groups(1))),
    ("join", |socket| socket.join(1)),
    ("leave", |socket| socket.leave(1)),
];

fn owner_of_the_namespace_is_allowed(bus: &Bus<'_>, way: &Way) -> Outcome {
    bus.run_as(Who::OwnNamespacesRoot, || {
        expect_ok("change of group 1", way(&bus.open(libc::NETLINK_USERSOCK)?))
    })
}

fn root_of_a_user_namespace_is_not_allowed_elsewhere(bus: &Bus<'_>, way: &Way) -> Outcome {
    bus.run_as(Who::UserNamespaceRoot, || {
        let used = way(&bus.open(libc::NETLINK_USERSOCK)?);
        expect_errno("change of group 1", used, bus.expected("errno")?)
    })
}
