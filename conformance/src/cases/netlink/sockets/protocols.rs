//! Protocols that a case registers: creation and release.

use nix::errno::Errno;
use nix::libc::{NETLINK_USERSOCK, SOCK_RAW};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::port::Who;
use crate::port::capability::Capability;
use crate::port::provider::{Call, KernelSend, Protocol, Verb};
use crate::scene::bus::{Bus, Socket};
use crate::scene::modules::while_requesting;
use crate::scene::{FREE_PROTOCOL, PORT};
use crate::wire::address::Address;
use crate::wire::message::{Message, NLMSG_NOOP};

cases! {
    socket_holds_the_module => "NL-SOCK-005";
    released_protocol_cannot_be_opened => "NL-SOCK-010";
    socket_of_a_released_protocol_fails_its_calls(CALLS) => "NL-SOCK-015";
    unregistered_protocol_requests_a_module [invasive] => "NL-SOCK-019";
    registered_protocol_requests_no_module [invasive] => "NL-SOCK-019";
    protocol_registered_by_its_module_is_opened [invasive] => "NL-SOCK-019";
    second_kernel_socket_is_refused => "NL-SOCK-011";
    kernel_socket_out_of_range_is_refused(NO_PROTOCOLS) => "NL-SOCK-011";
    protocol_has_its_groups(GROUPS) => "NL-SOCK-012";
    protocol_without_a_configuration_has_the_least => "NL-SOCK-024";
    protocol_without_a_configuration_has_nothing_of_the_former(FORMER) => "NL-SOCK-024";
    first_kernel_socket_sets_the_number_of_groups => "NL-SOCK-016";
    kernel_socket_of_usersock_has_listeners => "NL-SOCK-020";
    module_is_asked_for_by_its_alias => "NL-SOCK-022";
    protocol_registered_again_has_nothing_of_the_former(FORMER) => "NL-SOCK-021";
}

fn socket_holds_the_module(bus: &Bus<'_>) -> Outcome {
    let provider = bus.provider()?;
    bus.create_protocol(&Protocol::with_groups(FREE_PROTOCOL, 1))?;
    let before = provider.module_references()?;
    let socket = bus.open(FREE_PROTOCOL)?;
    expect_eq("references with a socket", provider.module_references()?, before + 1)?;
    let duplicate = socket.duplicate()?;
    drop(socket);
    expect_eq("references with its duplicate", provider.module_references()?, before + 1)?;
    drop(duplicate);
    expect_eq("references without", provider.module_references()?, before)
}

fn released_protocol_cannot_be_opened(bus: &Bus<'_>) -> Outcome {
    let protocol = Protocol::with_groups(FREE_PROTOCOL, 1);
    let handle = bus.create_protocol(&protocol)?;
    expect_ok("socket() while it is registered", bus.try_open(SOCK_RAW, FREE_PROTOCOL))?;
    bus.provider()?.release_protocol(handle)?;
    expect_errno("socket() afterwards", bus.try_open(SOCK_RAW, FREE_PROTOCOL), bus.expected("socket")?)
}

type UserCall = fn(&Socket) -> Result<(), Errno>;

const CALLS: &[(&str, (UserCall, &str))] = &[
    ("bind", (|socket| socket.bind(Address::groups(1)), "groups")),
    ("join", (|socket| socket.join(1), "groups")),
    ("leave", (|socket| socket.leave(1), "groups")),
    ("send", (|socket| socket.send(&Message::request(NLMSG_NOOP)).map(drop), "send")),
];

fn socket_of_a_released_protocol_fails_its_calls(bus: &Bus<'_>, (call, errno): &(UserCall, &str)) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let protocol = Protocol::with_groups(FREE_PROTOCOL, 1);
    let handle = bus.create_protocol(&protocol)?;
    let socket = bus.open(FREE_PROTOCOL)?;
    bus.provider()?.release_protocol(handle)?;
    expect_errno("call", call(&socket), bus.expected(errno)?)
}

/// The result of socket() of a protocol, and whether a module was requested; `meanwhile` is done before that
/// is refused.
fn opened(
    bus: &Bus<'_>,
    protocol: i32,
    meanwhile: impl FnOnce() -> Outcome,
) -> Result<(Result<Socket, Errno>, bool), Failure> {
    let requests = bus.module_requests()?;
    while_requesting(requests.as_ref(), || bus.try_open(SOCK_RAW, protocol), meanwhile)
}

fn unregistered_protocol_requests_a_module(bus: &Bus<'_>) -> Outcome {
    let (socket, requested) = opened(bus, FREE_PROTOCOL, || Ok(()))?;
    expect_eq("whether a module was requested", requested, true)?;
    expect_errno("socket()", socket, bus.expected("errno")?)
}

fn registered_protocol_requests_no_module(bus: &Bus<'_>) -> Outcome {
    let (socket, requested) = opened(bus, NETLINK_USERSOCK, || Ok(()))?;
    expect_eq("whether a module was requested", requested, false)?;
    expect_ok("socket()", socket)
}

fn protocol_registered_by_its_module_is_opened(bus: &Bus<'_>) -> Outcome {
    let register = || bus.create_protocol(&Protocol::with_groups(FREE_PROTOCOL, 1)).map(drop);
    let (socket, requested) = opened(bus, FREE_PROTOCOL, register)?;
    expect_eq("whether a module was requested", requested, true)?;
    expect_ok("socket()", socket)
}

fn module_is_asked_for_by_its_alias(bus: &Bus<'_>) -> Outcome {
    let open = || bus.try_open(SOCK_RAW, FREE_PROTOCOL);
    let (socket, lines) = bus.trace("module:module_request", open)?;
    expect("socket()", socket.is_err(), "a refusal", "ok")?;
    let alias = format!("module_request: net-pf-16-proto-{FREE_PROTOCOL} ");
    expect("events", lines.iter().any(|line| line.contains(&alias)), &alias, lines)
}

/// What the former owner of a protocol asked for, and what must then not be so.
type Former = (fn(Protocol) -> Protocol, fn(&Bus<'_>) -> Outcome);

const FORMER: &[(&str, Former)] = &[
    (
        "bind",
        (
            |former| Protocol { bind: true, ..former },
            |bus| {
                let socket = bus.bound(FREE_PROTOCOL)?;
                socket.bind(Address { groups: 1, ..socket.name()? })?;
                socket.join(2)?;
                socket.leave(1)?;
                drop(socket);
                let called: Vec<_> =
                    bus.provider()?.log(0)?.iter().map(|entry| (entry.on, entry.subject)).collect();
                expect_empty("callbacks", called)
            },
        ),
    ),
    (
        "nonroot_recv",
        (
            |former| Protocol { nonroot_recv: true, ..former },
            |bus| {
                bus.run_as(Who::Nobody, || {
                    expect_errno("joining", bus.open(FREE_PROTOCOL)?.join(1), Errno::EPERM)
                })
            },
        ),
    ),
    (
        "nonroot_send",
        (
            |former| Protocol { nonroot_send: true, ..former },
            |bus| {
                bus.run_as(Who::Nobody, || {
                    let sent = bus.open(FREE_PROTOCOL)?.send_to(Address::port(PORT), b"hello");
                    expect_errno("send() to a port", sent, Errno::EPERM)
                })
            },
        ),
    ),
    (
        "groups",
        (
            |former| Protocol { groups: 40, ..former },
            |bus| expect_errno("joining group 33", bus.open(FREE_PROTOCOL)?.join(33), Errno::EINVAL),
        ),
    ),
];

/// The former owner's protocol, and then this one.
fn register_again(bus: &Bus<'_>, (former, check): &Former, second: &Protocol) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let (provider, plain) = (bus.provider()?, Protocol::with_groups(FREE_PROTOCOL, 32));
    let (handle, made) = provider.create_protocol(&former(plain), &Call::default())?;
    expect_ok("first netlink_kernel_create()", made)?;
    provider.release_protocol(handle)?;
    expect_ok("second netlink_kernel_create()", provider.create_protocol(second, &Call::default())?.1)?;
    check(bus)
}

fn protocol_registered_again_has_nothing_of_the_former(bus: &Bus<'_>, former: &Former) -> Outcome {
    register_again(bus, former, &Protocol::with_groups(FREE_PROTOCOL, 32))
}

/// netlink_kernel_create() gets NULL.
fn without_configuration() -> Protocol {
    Protocol { protocol: FREE_PROTOCOL, no_cfg: true, ..Protocol::default() }
}

fn protocol_without_a_configuration_has_the_least(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    bus.create_protocol(&without_configuration())?;
    let (socket, last) = (bus.open(FREE_PROTOCOL)?, bus.expected("least")?);
    expect_ok("joining the last group", socket.join(last))?;
    let beyond = socket.join(last + 1);
    expect("joining the group after it", beyond.is_err(), "a refusal", beyond)?;
    expect_errno("send()", socket.send(&Message::request(NLMSG_NOOP)), bus.expected("send")?)?;
    bus.run_as(Who::Nobody, || {
        expect_errno("joining without privilege", bus.open(FREE_PROTOCOL)?.join(1), Errno::EPERM)
    })
}

fn protocol_without_a_configuration_has_nothing_of_the_former(bus: &Bus<'_>, former: &Former) -> Outcome {
    register_again(bus, former, &without_configuration())
}

/// netlink_kernel_create() returns NULL, which the port reports as ENOMEM.
fn second_kernel_socket_is_refused(bus: &Bus<'_>) -> Outcome {
    let protocol = Protocol::with_groups(FREE_PROTOCOL, 1);
    let (_, first) = bus.provider()?.create_protocol(&protocol, &Call::default())?;
    let (_, second) = bus.provider()?.create_protocol(&protocol, &Call::default())?;
    expect_ok("first netlink_kernel_create()", first)?;
    expect_errno("second netlink_kernel_create()", second, Errno::ENOMEM)
}

const NO_PROTOCOLS: &[(&str, i32)] = &[("32", 32), ("negative", -1)];

fn kernel_socket_out_of_range_is_refused(bus: &Bus<'_>, number: &i32) -> Outcome {
    let protocol = Protocol::with_groups(*number, 1);
    let (_, returned) = bus.provider()?.create_protocol(&protocol, &Call::default())?;
    expect_errno("netlink_kernel_create()", returned, Errno::ENOMEM)
}

const GROUPS: &[(&str, u32)] = &[("1", 1), ("26", 26), ("32", 32), ("33", 33), ("40", 40), ("100", 100)];

fn protocol_has_its_groups(bus: &Bus<'_>, asked: &u32) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let protocol = Protocol::with_groups(FREE_PROTOCOL, *asked);
    bus.create_protocol(&protocol)?;
    let socket = bus.open(FREE_PROTOCOL)?;
    let last = (*asked).max(bus.expected("least")?);
    expect_ok("joining the last group", socket.join(last))?;
    let beyond = socket.join(last + 1);
    expect("joining the group after it", beyond.is_err(), "a refusal", beyond)
}

fn first_kernel_socket_sets_the_number_of_groups(bus: &Bus<'_>) -> Outcome {
    bus.create_protocol(&Protocol::with_groups(FREE_PROTOCOL, 40))?;
    bus.run_as(Who::OtherNet, || {
        bus.create_protocol(&Protocol::with_groups(FREE_PROTOCOL, 100))?;
        let socket = bus.open(FREE_PROTOCOL)?;
        expect_ok("joining group 40 elsewhere", socket.join(40))?;
        expect_errno("joining group 41 elsewhere", socket.join(41), Errno::EINVAL)
    })?;
    expect_errno("joining group 41 here", bus.open(FREE_PROTOCOL)?.join(41), Errno::EINVAL)
}

fn kernel_socket_of_usersock_has_listeners(bus: &Bus<'_>) -> Outcome {
    // Where all sockets live in one namespace, it may have a kernel socket of its own.
    bus.need(Capability::NetNamespaces)?;
    let handle = bus.create_protocol(&Protocol::with_groups(NETLINK_USERSOCK, 32))?;
    let member = bus.bound(NETLINK_USERSOCK)?;
    member.join(3)?;
    for (group, listeners) in [(2, 0), (3, 1)] {
        let asked = KernelSend { group, ..KernelSend::new(Verb::HasListeners) };
        let found = bus.send_from(handle, &asked, &Call::default())?;
        expect_eq(&format!("netlink_has_listeners() of group {group}"), found, listeners)?;
    }
    Ok(())
}
