//! The callbacks of a protocol for the groups and the release of its sockets.

use std::thread;

use nix::errno::Errno;
use nix::libc::NETLINK_USERSOCK;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::port::Who;
use crate::port::capability::Capability;
use crate::port::provider::{Action, Call, Handle, KernelSend, LogEntry, On, Protocol, Step, Verb};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::refused;
use crate::scene::threads::joined;
use crate::scene::{OTHER_PORT, PORT};
use crate::wire::address::Address;
use crate::wire::message::{Message, NLM_F_DUMP};

cases! {
    release_is_notified_with_protocol_and_port => "NL-BIND-018";
    release_names_the_namespace_of_the_socket(PLACES) => "NL-BIND-031";
    release_names_the_initial_namespace [initial_net] => "NL-BIND-031";
    release_of_an_unbound_socket_is_not_notified => "NL-BIND-022";
    release_after_a_failed_bind_is_not_notified => "NL-BIND-023";
    release_is_of_the_port_that_was_had_in_the_end => "NL-BIND-023";
    release_after_refused_groups_is_not_notified => "NL-BIND-023";
    release_of_a_chosen_port_is_notified(CHOSEN) => "NL-BIND-023";
    release_comes_after_unbind_and_before_done => "NL-BIND-021";
    bind_is_called_in_ascending_order => "NL-GRP-012";
    bind_is_called_for_groups_already_joined => "NL-GRP-012";
    error_of_bind_unbinds_the_lower_groups => "NL-GRP-025";
    join_of_a_member_calls_bind => "NL-GRP-013";
    error_of_bind_prevents_the_join => "NL-GRP-013";
    leave_without_membership_calls_unbind => "NL-GRP-026";
    unbind_comes_after_the_membership [parallel] => "NL-GRP-026";
    close_calls_unbind_for_each_group => "NL-GRP-014";
    second_bind_removes_groups_without_unbind => "NL-GRP-014";
}

/// A protocol with bind and unbind callbacks that run these steps.
fn listening(bus: &Bus<'_>, script: impl Into<Vec<Step>>) -> Result<Handle, Failure> {
    bus.need(Capability::NetAdmin)?;
    let protocol = Protocol { bind: true, script: script.into(), ..Protocol::with_groups(FREE_PROTOCOL, 32) };
    bus.create_protocol(&protocol)
}

/// The callbacks so far, and the group or port of each.
fn heard(bus: &Bus<'_>) -> Result<Vec<(On, u32)>, Failure> {
    let entries = bus.provider()?.log(0)?;
    Ok(entries.into_iter().map(|entry| (entry.on, entry.subject)).collect())
}

/// Closes sockets, and returns the port IDs of this protocol whose release was notified.
fn released<T>(bus: &Bus<'_>, sockets: T) -> Result<Vec<u32>, Failure> {
    drop(sockets);
    let entries = bus.provider()?.log(0)?;
    let releases =
        entries.iter().filter(|entry| (entry.on, entry.subject) == (On::Release, FREE_PROTOCOL as u32));
    Ok(releases.map(|entry| entry.portid).collect())
}

fn release_is_notified_with_protocol_and_port(bus: &Bus<'_>) -> Outcome {
    listening(bus, [])?;
    bus.provider()?.watch_release()?;
    let socket = bus.open(FREE_PROTOCOL)?;
    socket.bind(Address::port(PORT))?;
    let duplicate = socket.duplicate()?;
    expect_empty("releases while a descriptor is open", released(bus, socket)?)?;
    expect_eq("port IDs released", released(bus, duplicate)?, [PORT])
}

/// Opens a socket, binds it to [`PORT`] and closes it.
type Passing = fn(&Bus<'_>) -> Outcome;

fn come_and_go(bus: &Bus<'_>) -> Outcome {
    Ok(bus.open(NETLINK_USERSOCK)?.bind(Address::port(PORT))?)
}

/// What the socket does, and what the release's return value says of its network namespace: that of the case is 1,
/// another that is not the initial one is 3.
const PLACES: &[(&str, (Passing, i64))] = &[
    ("here", (come_and_go, 1)),
    ("elsewhere", (|bus| bus.run_as(Who::OtherNet, || come_and_go(bus)), 3)),
    (
        "elsewhere_and_closed_here",
        (|bus| Ok(bus.open_by(Who::OtherNet, NETLINK_USERSOCK)?.bind(Address::port(PORT))?), 3),
    ),
];

/// The namespaces of the releases of [`PORT`].
fn expect_namespaces(bus: &Bus<'_>, namespaces: &[i64]) -> Outcome {
    let entries = bus.provider()?.log(0)?;
    let of_port = |entry: &&LogEntry| {
        (entry.on, entry.subject, entry.portid) == (On::Release, NETLINK_USERSOCK as u32, PORT)
    };
    let found: Vec<i64> = entries.iter().filter(of_port).map(|entry| entry.returned).collect();
    expect_eq("network namespaces of the releases", found, namespaces)
}

fn release_names_the_namespace_of_the_socket(bus: &Bus<'_>, (pass, namespace): &(Passing, i64)) -> Outcome {
    bus.provider()?.watch_release()?;
    pass(bus)?;
    expect_namespaces(bus, &[*namespace])
}

fn release_names_the_initial_namespace(bus: &Bus<'_>) -> Outcome {
    let provider = bus.provider()?;
    // From there the initial namespace is another than the own.
    bus.run_as(Who::OtherNet, || Ok(provider.watch_release()?))?;
    come_and_go(bus)?;
    expect_namespaces(bus, &[2])
}

fn release_of_an_unbound_socket_is_not_notified(bus: &Bus<'_>) -> Outcome {
    listening(bus, [])?;
    bus.provider()?.watch_release()?;
    let (unbound, bound) = (bus.open(FREE_PROTOCOL)?, bus.open(FREE_PROTOCOL)?);
    unbound.join(1)?;
    bound.bind(Address::port(PORT))?;
    expect_eq("port IDs released", released(bus, [unbound, bound])?, [PORT])
}

/// The owner of [`PORT`], and a socket that wanted it and did not get it.
fn owner_and_refused(bus: &Bus<'_>) -> Result<(Socket, Socket), Failure> {
    listening(bus, [])?;
    bus.provider()?.watch_release()?;
    refused::owner_and_refused(bus, FREE_PROTOCOL)
}

fn release_after_a_failed_bind_is_not_notified(bus: &Bus<'_>) -> Outcome {
    let (owner, refused) = owner_and_refused(bus)?;
    expect_empty("port IDs released when the refused socket is closed", released(bus, refused)?)?;
    expect_eq("port IDs released when the owner is closed", released(bus, owner)?, [PORT])
}

fn release_is_of_the_port_that_was_had_in_the_end(bus: &Bus<'_>) -> Outcome {
    let (owner, refused) = owner_and_refused(bus)?;
    refused.bind(Address::port(OTHER_PORT))?;
    expect_eq("port IDs released when the second is closed", released(bus, refused)?, [OTHER_PORT])?;
    expect_eq("port IDs released when the first is closed", released(bus, owner)?, [PORT])
}

fn release_after_refused_groups_is_not_notified(bus: &Bus<'_>) -> Outcome {
    listening(bus, [Step::new(On::Bind, Action::Return(-(Errno::EOVERFLOW as i64)))])?;
    bus.provider()?.watch_release()?;
    let socket = bus.open(FREE_PROTOCOL)?;
    let bound = socket.bind(Address { groups: 1, ..Address::port(PORT) });
    expect_errno("bind() to a group that is refused", bound, Errno::EOVERFLOW)?;
    expect_empty("port IDs released", released(bus, socket)?)
}

/// Ways to be given a port without asking for one.
type Choice = fn(&Socket) -> Result<(), Errno>;

const CHOSEN: &[(&str, Choice)] = &[
    ("send", |socket| socket.send(&Message::request(0x20)).map(drop)),
    ("connect", |socket| socket.connect(Address::KERNEL)),
    ("bind", |socket| socket.bind(Address::KERNEL)),
];

fn release_of_a_chosen_port_is_notified(bus: &Bus<'_>, choose: &Choice) -> Outcome {
    listening(bus, [])?;
    bus.provider()?.watch_release()?;
    let socket = bus.open(FREE_PROTOCOL)?;
    choose(&socket)?;
    let port = socket.portid()?;
    expect_eq("port IDs released", released(bus, socket)?, [port])
}

fn release_comes_after_unbind_and_before_done(bus: &Bus<'_>) -> Outcome {
    listening(
        bus,
        [Step::new(On::Input, Action::StartDump), Step::new(On::Dumpit, Action::records(1000, 500))],
    )?;
    bus.provider()?.watch_release()?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    socket.join(3)?;
    socket.send(&Message::request(0x20).with(NLM_F_DUMP).seq(1))?;
    socket.wait(WAIT)?;
    drop(socket);
    // Sockets of other protocols may be closed at the same time, and the callbacks of the request may be
    // told later than what they sent.
    let mut order = heard(bus)?;
    order.retain(|(on, subject)| match on {
        On::Release => *subject == FREE_PROTOCOL as u32,
        _ => matches!(on, On::Unbind | On::Done),
    });
    expect_eq("callbacks", order, [(On::Unbind, 3), (On::Release, FREE_PROTOCOL as u32), (On::Done, 0)])
}

fn bind_is_called_in_ascending_order(bus: &Bus<'_>) -> Outcome {
    listening(bus, [])?;
    bus.open(FREE_PROTOCOL)?.bind(Address::groups(1 << 31 | 0b101))?;
    let binds: Vec<_> = heard(bus)?.into_iter().filter(|(on, _)| *on == On::Bind).collect();
    expect_eq("calls of bind", binds, [(On::Bind, 1), (On::Bind, 3), (On::Bind, 32)])
}

fn bind_is_called_for_groups_already_joined(bus: &Bus<'_>) -> Outcome {
    listening(bus, [])?;
    let socket = bus.open(FREE_PROTOCOL)?;
    socket.bind(Address { groups: 0b1, ..Address::port(PORT) })?;
    heard(bus)?;
    socket.bind(Address { groups: 0b11, ..Address::port(PORT) })?;
    expect_eq("callbacks", heard(bus)?, [(On::Bind, 1), (On::Bind, 2)])
}

fn error_of_bind_unbinds_the_lower_groups(bus: &Bus<'_>) -> Outcome {
    listening(bus, [Step::new(On::Bind, Action::Return(-(Errno::EOVERFLOW as i64))).call(3)])?;
    let socket = bus.open(FREE_PROTOCOL)?;
    let bound = socket.bind(Address { groups: 0b1111, ..Address::port(PORT) });
    expect_errno("bind() to groups 1 to 4", bound, Errno::EOVERFLOW)?;
    let expected = [(On::Bind, 1), (On::Bind, 2), (On::Bind, 3), (On::Unbind, 1), (On::Unbind, 2)];
    expect_eq("callbacks", heard(bus)?, expected)?;
    expect_eq("name afterwards", socket.name()?, Address::KERNEL)
}

fn join_of_a_member_calls_bind(bus: &Bus<'_>) -> Outcome {
    listening(bus, [])?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    socket.join(4)?;
    socket.join(4)?;
    expect_eq("callbacks", heard(bus)?, [(On::Bind, 4), (On::Bind, 4)])
}

fn error_of_bind_prevents_the_join(bus: &Bus<'_>) -> Outcome {
    listening(bus, [Step::new(On::Bind, Action::Return(-(Errno::EOVERFLOW as i64)))])?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    expect_errno("joining", socket.join(4), Errno::EOVERFLOW)?;
    expect_eq("callbacks", heard(bus)?, [(On::Bind, 4)])?;
    expect_empty("memberships", socket.memberships()?)
}

fn leave_without_membership_calls_unbind(bus: &Bus<'_>) -> Outcome {
    listening(bus, [])?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    socket.join(4)?;
    socket.leave(4)?;
    socket.leave(4)?;
    expect_eq("callbacks", heard(bus)?, [(On::Bind, 4), (On::Unbind, 4), (On::Unbind, 4)])
}

fn unbind_comes_after_the_membership(bus: &Bus<'_>) -> Outcome {
    let protocol = listening(bus, [Step::new(On::Unbind, Action::Block)])?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    socket.join(4)?;
    let provider = bus.provider()?;
    let has_listeners = KernelSend { group: 4, ..KernelSend::new(Verb::HasListeners) };
    let (left, during) = thread::scope(|scope| {
        let leaving = scope.spawn(|| socket.leave(4));
        let blocked = provider.blocked(WAIT.as_millis() as u64).map_err(Failure::from);
        let during = blocked.and_then(|blocked| {
            let listeners = bus.send_from(protocol, &has_listeners, &Call::default())?;
            provider.release()?;
            Ok((blocked, listeners))
        });
        (joined(leaving), during)
    });
    expect_eq("calls of unbind, and netlink_has_listeners() meanwhile", during?, (1, 0))?;
    expect_ok("leaving", left)
}

fn close_calls_unbind_for_each_group(bus: &Bus<'_>) -> Outcome {
    listening(bus, [])?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    socket.join(7)?;
    socket.join(2)?;
    socket.join(2)?;
    heard(bus)?;
    drop(socket);
    expect_eq("callbacks", heard(bus)?, [(On::Unbind, 2), (On::Unbind, 7)])
}

fn second_bind_removes_groups_without_unbind(bus: &Bus<'_>) -> Outcome {
    listening(bus, [])?;
    let socket = bus.open(FREE_PROTOCOL)?;
    socket.bind(Address { groups: 0b11, ..Address::port(PORT) })?;
    heard(bus)?;
    socket.bind(Address { groups: 0b01, ..Address::port(PORT) })?;
    drop(socket);
    expect_eq("callbacks", heard(bus)?, [(On::Bind, 1), (On::Unbind, 1)])
}
