//! The privileges that commands and sends need.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, Status, expect_empty, expect_eq, expect_errno, expect_result};
use crate::port::Who;
use crate::port::capability::Capability;
use crate::port::provider::{AttrKind, Family, On, Op, Policy, PolicyEntry};
use crate::scene::bus::{Bus, Registered};
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP};

cases! {
    dump_of_a_do_only_admin_command_is_refused => "GENL-DSP-009";
    admin_command_is_refused(WITHOUT) => "GENL-DSP-010";
    admin_command_is_refused_before_its_attributes(WITHOUT) => "GENL-DSP-010";
    refused_request_calls_no_callback(WITHOUT) => "GENL-DSP-010";
    admin_command_is_accepted_from_root(KINDS) => "GENL-DSP-010";
    namespace_admin_command_is_refused(OUTSIDE) => "GENL-DSP-011";
    namespace_admin_command_is_accepted(INSIDE) => "GENL-DSP-011";
    admin_command_asks_opener_and_sender(PARTIES) => "GENL-DSP-045";
    namespace_admin_command_asks_opener_and_sender(PARTIES) => "GENL-DSP-045";
    unknown_command_is_refused_before_privilege_is_checked => "GENL-DSP-012";
    any_user_may_join_a_group(JOINS) => "GENL-DSP-028";
    unprivileged_send_to_user_space_is_refused(TARGETS) => "GENL-DSP-028";
    root_may_send_to_a_port => "GENL-DSP-028";
    root_may_send_to_a_group => "GENL-DSP-028";
}

/// A family whose commands need this privilege: 1 has doit and dumpit, 2 only doit. Attribute 1 is
/// rejected.
fn guarded<'b>(bus: &'b Bus<'_>, flags: u8) -> Result<Registered<'b>, Failure> {
    let rejected = PolicyEntry { attr: 1, kind: AttrKind::Reject, ..PolicyEntry::default() };
    let family = Family { pre_post: true, ..Family::named("nlc_guarded") }
        .policy(Policy::of([rejected]))
        .op(Op { doit: true, ..Op::dumping(1) }.flags(flags))
        .op(Op::doing(2).flags(flags));
    bus.register(family)
}

/// The result of somebody's request.
fn ask_as(bus: &Bus<'_>, who: Who, request: &Message) -> Result<i64, Failure> {
    bus.run_as(who, || Ok(bus.generic()?.ask(request)?.ack()?.status.into()))
}

const KINDS: &[(&str, u16)] = &[("do", NLM_F_ACK), ("dump", NLM_F_DUMP)];

const WITHOUT: &[(&str, (Who, u16))] = &[
    ("nobody_do", (Who::Nobody, NLM_F_ACK)),
    ("nobody_dump", (Who::Nobody, NLM_F_DUMP)),
    ("user_namespace_do", (Who::OwnNamespacesRoot, NLM_F_ACK)),
    ("user_namespace_dump", (Who::OwnNamespacesRoot, NLM_F_DUMP)),
];

fn dump_of_a_do_only_admin_command_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = guarded(bus, genl::GENL_ADMIN_PERM)?;
    let status = ask_as(bus, Who::Nobody, &family.request(2, Attrs::new()).with(NLM_F_DUMP))?;
    expect_errno("dump request", status, bus.expected("errno")?)
}

fn admin_command_is_refused(bus: &Bus<'_>, (who, kind): &(Who, u16)) -> Outcome {
    let family = guarded(bus, genl::GENL_ADMIN_PERM)?;
    let status = ask_as(bus, *who, &family.request(1, Attrs::new()).with(*kind))?;
    expect_errno("request", status, bus.expected("errno")?)
}

fn admin_command_is_refused_before_its_attributes(bus: &Bus<'_>, (who, kind): &(Who, u16)) -> Outcome {
    let family = guarded(bus, genl::GENL_ADMIN_PERM)?;
    let status = ask_as(bus, *who, &family.request(1, Attrs::new().u32(1, 0)).with(*kind))?;
    expect_errno("request with an attribute that is rejected", status, bus.expected("errno")?)
}

fn refused_request_calls_no_callback(bus: &Bus<'_>, (who, kind): &(Who, u16)) -> Outcome {
    let family = guarded(bus, genl::GENL_ADMIN_PERM)?;
    ask_as(bus, *who, &family.request(1, Attrs::new()).with(*kind))?;
    let callbacks: Vec<On> = bus.calls_so_far()?.iter().map(|entry| entry.on).collect();
    expect_empty("callbacks", callbacks)
}

fn admin_command_is_accepted_from_root(bus: &Bus<'_>, kind: &u16) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let family = guarded(bus, genl::GENL_ADMIN_PERM)?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(*kind))?;
    expect_result("request", answer, Ok(()))
}

const OUTSIDE: &[(&str, Who)] = &[("nobody", Who::Nobody), ("user_namespace", Who::UserNamespaceRoot)];

fn namespace_admin_command_is_refused(bus: &Bus<'_>, who: &Who) -> Outcome {
    let family = guarded(bus, genl::GENL_UNS_ADMIN_PERM)?;
    for (name, kind) in KINDS {
        let status = ask_as(bus, *who, &family.request(1, Attrs::new()).with(*kind))?;
        expect_errno(&format!("{name} request"), status, bus.expected("errno")?)?;
    }
    Ok(())
}

const INSIDE: &[(&str, Who)] = &[("root", Who::Process), ("own_namespaces", Who::OwnNamespacesRoot)];

fn namespace_admin_command_is_accepted(bus: &Bus<'_>, who: &Who) -> Outcome {
    let family = guarded(bus, genl::GENL_UNS_ADMIN_PERM)?;
    for (name, kind) in KINDS {
        let status = ask_as(bus, *who, &family.request(1, Attrs::new()).with(*kind))?;
        expect_result(&format!("{name} request"), status, Ok(()))?;
    }
    Ok(())
}

/// The opener of a socket and the sender of a request on it; the case's own process where nobody is named.
struct Parties {
    opener: Option<Who>,
    sender: Option<Who>,
    /// Where the request is sent to, if that is said.
    to: Option<Address>,
    /// Whether a command with GENL_ADMIN_PERM is executed.
    admin: bool,
    /// Whether one with GENL_UNS_ADMIN_PERM is.
    namespace_admin: bool,
}

const REFUSED: Parties =
    Parties { opener: None, sender: None, to: None, admin: false, namespace_admin: false };
const EXECUTED: Parties = Parties { admin: true, namespace_admin: true, ..REFUSED };

const PARTIES: &[(&str, Parties)] = &[
    ("nobodys_socket", Parties { opener: Some(Who::Nobody), ..REFUSED }),
    (
        "nobodys_socket_with_an_address",
        Parties { opener: Some(Who::Nobody), to: Some(Address::KERNEL), ..EXECUTED },
    ),
    ("nobody_sends", Parties { sender: Some(Who::Nobody), ..REFUSED }),
    (
        "nobody_sends_with_an_address",
        Parties { sender: Some(Who::Nobody), to: Some(Address::KERNEL), ..REFUSED },
    ),
    (
        "network_administrator_sends",
        Parties {
            opener: Some(Who::NetworkAdministrator),
            sender: Some(Who::NetworkAdministrator),
            ..EXECUTED
        },
    ),
    ("socket_of_a_user_namespace", Parties { opener: Some(Who::UserNamespaceRoot), ..REFUSED }),
    // Root has what the command needs in each network namespace, the opener only in its own.
    (
        "socket_of_another_namespace",
        Parties { opener: Some(Who::OwnNamespacesRoot), namespace_admin: true, ..REFUSED },
    ),
    (
        "socket_of_another_namespace_with_an_address",
        Parties { opener: Some(Who::OwnNamespacesRoot), to: Some(Address::KERNEL), ..EXECUTED },
    ),
    // The socket's network namespace counts, not the sender's own.
    ("root_of_a_namespace_sends", Parties { sender: Some(Who::OwnNamespacesRoot), ..REFUSED }),
    (
        "root_of_a_namespace_sends_with_an_address",
        Parties { sender: Some(Who::OwnNamespacesRoot), to: Some(Address::KERNEL), ..REFUSED },
    ),
];

/// Requests for a command that needs this privilege are executed, or refused before any callback.
fn expect_executed(bus: &Bus<'_>, parties: &Parties, flags: u8, executed: bool) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let family = guarded(bus, flags)?;
    let socket = match parties.opener {
        None => bus.open(libc::NETLINK_GENERIC)?,
        Some(who) => bus.open_by(who, libc::NETLINK_GENERIC)?,
    };
    for (name, kind) in KINDS {
        let request = family.request(1, Attrs::new()).with(*kind).seq(7);
        let ask = || Ok(i64::from(socket.ask_to(parties.to, &request)?.ack()?.status));
        let status = match parties.sender {
            None => ask()?,
            Some(who) => bus.run_as(who, ask)?,
        };
        let expected = if executed { Ok(()) } else { Err(bus.expected("errno")?) };
        expect_result(&format!("{name} request"), status, expected)?;
        let called = !bus.calls_so_far()?.is_empty();
        expect_eq(&format!("callbacks of the {name} request are called"), called, executed)?;
    }
    Ok(())
}

fn admin_command_asks_opener_and_sender(bus: &Bus<'_>, parties: &Parties) -> Outcome {
    expect_executed(bus, parties, genl::GENL_ADMIN_PERM, parties.admin)
}

fn namespace_admin_command_asks_opener_and_sender(bus: &Bus<'_>, parties: &Parties) -> Outcome {
    expect_executed(bus, parties, genl::GENL_UNS_ADMIN_PERM, parties.namespace_admin)
}

fn unknown_command_is_refused_before_privilege_is_checked(bus: &Bus<'_>) -> Outcome {
    let family = guarded(bus, genl::GENL_ADMIN_PERM)?;
    let status = ask_as(bus, Who::Nobody, &family.request(9, Attrs::new()).with(NLM_F_ACK))?;
    expect_errno("unknown command", status, bus.expected("errno")?)
}

/// The bit of the controller's group in an address.
const NOTIFY: u32 = 1 << (genl::CTRL_NOTIFY - 1);

/// Whether by an option; else by bind().
const JOINS: &[(&str, bool)] = &[("by_option", true), ("by_bind", false)];

fn any_user_may_join_a_group(bus: &Bus<'_>, by_option: &bool) -> Outcome {
    let memberships = bus.run_as(Who::Nobody, || {
        let socket = bus.open(libc::NETLINK_GENERIC)?;
        if *by_option {
            socket.join(genl::CTRL_NOTIFY)?;
        } else {
            socket.bind(Address::groups(NOTIFY))?;
        }
        Ok(socket.memberships()?)
    })?;
    expect_eq("memberships", memberships, [genl::CTRL_NOTIFY])
}

/// Whether to a group; else to a port.
const TARGETS: &[(&str, bool)] = &[("to_a_group", true), ("to_a_port", false)];

fn unprivileged_send_to_user_space_is_refused(bus: &Bus<'_>, to_group: &bool) -> Outcome {
    let receiver = bus.generic()?;
    receiver.join(genl::CTRL_NOTIFY)?;
    let to = if *to_group { Address::groups(NOTIFY) } else { Address::port(receiver.portid()?) };
    let sent = bus.run_as(Who::Nobody, || {
        let sent = bus.generic()?.send_to(to, &greeting().encode());
        Ok(sent.status())
    })?;
    expect_errno("sendto()", sent, bus.expected("errno")?)?;
    receiver.expect_nothing("message at the receiver")
}

/// Not a request, which the kernel would answer if it got a copy.
fn greeting() -> Message {
    Message::new(genl::GENL_ID_CTRL).seq(7).bytes(&[1, 2, 3, 4])
}

fn root_may_send_to_a_port(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = (bus.generic()?, bus.generic()?);
    sender.send_to(Address::port(receiver.portid()?), &greeting().encode())?;
    let datagram = receiver.receive()?;
    expect_eq("sender", datagram.from.portid, sender.portid()?)?;
    expect_eq("message", datagram.only()?, greeting())
}

fn root_may_send_to_a_group(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = (bus.generic()?, bus.generic()?);
    receiver.join(genl::CTRL_NOTIFY)?;
    sender.send_to(Address::groups(NOTIFY), &greeting().encode())?;
    let datagram = receiver.receive()?;
    expect_eq("sender", datagram.from.portid, sender.portid()?)?;
    expect_eq("message", datagram.only()?, greeting())
}
