//! Taps, and the trace event for extended acknowledgements.

mod queued;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect, expect_bytes, expect_eq, expect_errno, expect_ok};
use crate::port::provider::Protocol;
use crate::port::{Outgoing, Receive, Who};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::Bus;
use crate::scene::interfaces;
use crate::wire::address::Address;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP, NLMSG_NOOP};
use crate::wire::route::{self, Link};

cases! {
    tap_receives_the_protocol(TAPPED) => "NL-TAP-001";
    tap_does_not_receive_the_protocol(UNTAPPED) => "NL-TAP-003";
    tap_does_not_receive_a_new_protocol => "NL-TAP-003";
    tap_receives_request_and_reply => "NL-TAP-001";
    tap_does_not_receive_other_namespaces => "NL-TAP-003";
    large_message_passes_the_tap(LARGE) => "NL-TAP-004";
    message_without_memory_passes_the_tap_whole_or_not => "NL-TAP-007";
    tap_on_another_interface_is_refused => "NL-TAP-002";
    removing_a_missing_tap_is_refused => "NL-TAP-002";
    each_of_two_taps_receives => "NL-TAP-005";
    tap_receives_until_it_is_removed => "NL-TAP-005";
    tap_can_be_deleted_after_messages => "NL-TAP-006";
    message_is_traced_without_ext_ack => "NL-TRC-001";
    + queued;
}

/// The interface that is a tap.
const TAP: &str = "nlc_tap";
/// The index that it gets where that matters.
const INDEX: u32 = 4242;
/// The loopback interface, which each network namespace has.
const LOOPBACK: u32 = 1;

/// Creates a tap in the case's network namespace.
fn tap(bus: &Bus<'_>) -> Outcome {
    interfaces::create_tap(bus, TAP, 0)
}

/// Bytes and packets that the tap received.
fn seen(bus: &Bus<'_>) -> Result<(u64, u64), Failure> {
    seen_by(bus, TAP)
}

/// Bytes and packets that this tap received.
fn seen_by(bus: &Bus<'_>, name: &str) -> Result<(u64, u64), Failure> {
    counted(&bus.file("/proc/net/dev")?, name)
}

/// Those that this tap in the network namespace of a process received.
fn seen_of_process(bus: &Bus<'_>, process: u32, name: &str) -> Result<(u64, u64), Failure> {
    counted(&bus.file(&format!("/proc/{process}/net/dev"))?, name)
}

/// Bytes and packets that such a file has of an interface. A netlink message that asks for them would be counted.
fn counted(text: &str, name: &str) -> Result<(u64, u64), Failure> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
    let mut numbers = line.unwrap_or_default().split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(bytes)), Some(Ok(packets))) => Ok((bytes, packets)),
        _ => broken(format!("/proc/net/dev has no numbers of {name}")),
    }
}

/// Bytes and packets that the tap receives while one socket of this protocol sends 100 bytes to another.
fn seen_of(bus: &Bus<'_>, protocol: i32) -> Result<(u64, u64), Failure> {
    let (one, two) = (bus.bound(protocol)?, bus.bound(protocol)?);
    let to = Address::port(two.portid()?);
    let before = seen(bus)?;
    one.send_to(to, &[0; 100])?;
    let after = seen(bus)?;
    Ok((after.0 - before.0, after.1 - before.1))
}

const TAPPED: &[(&str, i32)] = &[
    ("route", libc::NETLINK_ROUTE),
    ("usersock", libc::NETLINK_USERSOCK),
    ("sock_diag", libc::NETLINK_SOCK_DIAG),
    ("nflog", libc::NETLINK_NFLOG),
    ("xfrm", libc::NETLINK_XFRM),
    ("fib_lookup", libc::NETLINK_FIB_LOOKUP),
    ("netfilter", libc::NETLINK_NETFILTER),
    ("generic", libc::NETLINK_GENERIC),
];

/// Registers a protocol that the target does not have, if its provider can.
fn provide(bus: &Bus<'_>, protocol: i32) -> Outcome {
    if bus.try_open(libc::SOCK_RAW, protocol).err() == Some(Errno::EPROTONOSUPPORT) {
        bus.create_protocol(&Protocol::with_groups(protocol, 1))?;
    }
    Ok(())
}

fn tap_receives_the_protocol(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    tap(bus)?;
    provide(bus, *protocol)?;
    expect_eq("bytes and packets seen", seen_of(bus, *protocol)?, (100, 1))
}

const UNTAPPED: &[(&str, i32)] =
    &[("connector", libc::NETLINK_CONNECTOR), ("kobject_uevent", libc::NETLINK_KOBJECT_UEVENT)];

fn tap_does_not_receive_the_protocol(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    tap(bus)?;
    provide(bus, *protocol)?;
    expect_eq("bytes and packets seen", seen_of(bus, *protocol)?, (0, 0))
}

fn tap_does_not_receive_a_new_protocol(bus: &Bus<'_>) -> Outcome {
    tap(bus)?;
    provide(bus, FREE_PROTOCOL)?;
    expect_eq("bytes and packets seen", seen_of(bus, FREE_PROTOCOL)?, (0, 0))
}

fn tap_receives_request_and_reply(bus: &Bus<'_>) -> Outcome {
    tap(bus)?;
    let socket = bus.generic()?;
    let before = seen(bus)?;
    socket.ask(&Message::request(NLMSG_NOOP).with(NLM_F_ACK))?;
    let after = seen(bus)?;
    expect_eq("bytes and packets seen", (after.0 - before.0, after.1 - before.1), (16 + 36, 2))
}

fn tap_does_not_receive_other_namespaces(bus: &Bus<'_>) -> Outcome {
    tap(bus)?;
    let before = seen(bus)?;
    bus.run_as(Who::OtherNet, || {
        bus.generic()?.ask(&Message::request(NLMSG_NOOP).with(NLM_F_ACK)).map(drop)
    })?;
    expect_eq("bytes and packets seen", seen(bus)?, before)
}

/// Bytes of a message, and the value that says whether the tap sees it.
const LARGE: &[(&str, (usize, &str))] =
    &[("30_kib", (30 << 10, "large")), ("60_kib", (60_000, "large")), ("5_mib", (5 << 20, "huge"))];

fn large_message_passes_the_tap(bus: &Bus<'_>, (len, seen_or_not): &(usize, &str)) -> Outcome {
    tap(bus)?;
    let (one, two) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    one.set_at(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 2 * *len as u32)?;
    let to = Address::port(two.portid()?);
    let bytes = vec![0xa5; *len];
    let before = seen(bus)?;
    // Not through the bus: it would note so many bytes.
    let outgoing = Outgoing { bytes, to: Some(to.encode()), ..Outgoing::default() };
    expect_eq("send()", one.raw().send(&outgoing), Ok(*len))?;
    let after = seen(bus)?;
    let expected = if bus.expected(seen_or_not)? { (*len as u64, 1) } else { (0, 0) };
    expect_eq("bytes and packets seen", (after.0 - before.0, after.1 - before.1), expected)?;
    let incoming = two.raw().receive(&Receive { room: 2 * len, flags: libc::MSG_DONTWAIT })?;
    expect_bytes("what arrived", incoming.bytes, outgoing.bytes)
}

/// The buffer has more than a page, which is replaced by several if it cannot be had in one piece.
fn message_without_memory_passes_the_tap_whole_or_not(bus: &Bus<'_>) -> Outcome {
    const LEN: usize = 6000;
    tap(bus)?;
    let (one, two) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let to = Some(Address::port(two.portid()?).encode());
    let outgoing = Outgoing { bytes: vec![0xa5; LEN], to, ..Outgoing::default() };
    bus.fail_each_of_step(
        || seen(bus),
        |_| one.raw().send(&outgoing),
        |before, sent| {
            let after = seen(bus)?;
            let passed = (after.0 - before.0, after.1 - before.1);
            let whole = sent.is_ok() && passed == (LEN as u64, 1);
            expect("bytes and packets seen", whole || passed == (0, 0), "all or none", passed)?;
            while two.receive_now(LEN, 0).is_ok() {}
            Ok(())
        },
    )
}

fn tap_on_another_interface_is_refused(bus: &Bus<'_>) -> Outcome {
    let added = bus.provider()?.tap(LOOPBACK, true)?;
    expect_errno("netlink_add_tap() of the loopback", added, bus.expected("not_netlink")?)
}

/// Another one is there.
fn removing_a_missing_tap_is_refused(bus: &Bus<'_>) -> Outcome {
    tap(bus)?;
    let removed = bus.provider()?.tap(LOOPBACK, false)?;
    expect_errno("netlink_remove_tap() of the loopback", removed, bus.expected("not_added")?)
}

fn each_of_two_taps_receives(bus: &Bus<'_>) -> Outcome {
    const SECOND: &str = "nlc_tap_2";
    tap(bus)?;
    interfaces::create_tap(bus, SECOND, 0)?;
    let before = seen_by(bus, SECOND)?;
    expect_eq("bytes and packets seen by the first", seen_of(bus, libc::NETLINK_USERSOCK)?, (100, 1))?;
    let after = seen_by(bus, SECOND)?;
    expect_eq("bytes and packets seen by the second", (after.0 - before.0, after.1 - before.1), (100, 1))
}

/// The tap is the provider's, on an interface that is one itself: that one sees each message twice.
fn tap_receives_until_it_is_removed(bus: &Bus<'_>) -> Outcome {
    let provider = bus.provider()?;
    interfaces::create_tap(bus, TAP, INDEX as i32)?;
    let references = provider.module_references()?;
    expect_ok("netlink_add_tap()", provider.tap(INDEX, true)?)?;
    expect_eq("references with the tap", provider.module_references()?, references + 1)?;
    expect_eq("bytes and packets seen", seen_of(bus, libc::NETLINK_USERSOCK)?, (200, 2))?;
    expect_eq("netlink_remove_tap()", provider.tap(INDEX, false)?, 0)?;
    expect_eq("references without it", provider.module_references()?, references)?;
    expect_eq("bytes and packets seen afterwards", seen_of(bus, libc::NETLINK_USERSOCK)?, (100, 1))
}

/// The deletion waits for whoever still refers to the interface.
fn tap_can_be_deleted_after_messages(bus: &Bus<'_>) -> Outcome {
    interfaces::create_tap(bus, TAP, INDEX as i32)?;
    expect_eq("bytes and packets seen", seen_of(bus, libc::NETLINK_USERSOCK)?, (100, 1))?;
    let request = route::link(route::RTM_DELLINK, Link { index: INDEX as i32, ..Link::default() });
    expect_ok("RTM_DELLINK", bus.bound(libc::NETLINK_ROUTE)?.ask(&request.with(NLM_F_ACK))?)
}

fn message_is_traced_without_ext_ack(bus: &Bus<'_>) -> Outcome {
    // A dump of the interfaces that are up; no kernel has such a filter.
    let dump = route::link(route::RTM_GETLINK, Link { flags: libc::IFF_UP as u32, ..Link::default() })
        .with(NLM_F_DUMP);
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.set(crate::wire::NETLINK_GET_STRICT_CHK, 1)?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    let Some(message) = socket.ask(&dump)?.ack()?.message.clone() else {
        return broken("the refusal of the dump has no message");
    };
    socket.set(libc::NETLINK_EXT_ACK, 0)?;
    let (answer, lines) = bus.trace("netlink:netlink_extack", || socket.ask(&dump))?;
    expect_eq("message in the answer", &answer?.ack()?.message, &None)?;
    let event = format!("netlink_extack: msg={message}");
    expect("events", lines.iter().any(|line| line.ends_with(&event)), &event, lines)
}
