//! sock_diag: the sockets as messages.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_empty, expect_eq, expect_errno, expect_ok, mismatch};
use crate::port::Who;
use crate::port::capability::Capability;
use crate::port::provider::{Action, Family, On, Op, Protocol};
use crate::scene::FREE_PROTOCOL;
use crate::scene::PORT;
use crate::scene::bus::{Bus, Socket};
use crate::scene::memberships::Change::{self, Join, Leave};
use crate::scene::memberships::change;
use crate::scene::modules::while_requesting;
use crate::wire::ack::Ack;
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::bitmap;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE};
use crate::wire::sock_diag::{self, Record};

cases! {
    one_protocol_is_listed => "NL-DIAG-001";
    all_protocols_are_listed => "NL-DIAG-001";
    sockets_elsewhere_are_not_listed => "NL-DIAG-001";
    unbound_member_elsewhere_is_not_listed => "NL-DIAG-001";
    protocol_out_of_range_ends_the_dump(NO_PROTOCOLS) => "NL-DIAG-005";
    request_without_dump_is_refused => "NL-DIAG-006";
    short_request_is_refused(SHORT) => "NL-DIAG-007";
    record_describes_the_socket(TYPES) => "NL-DIAG-002";
    family_out_of_range_is_refused(NO_FAMILIES) => "NL-DIAG-012";
    family_without_a_handler_is_refused => "NL-DIAG-012";
    type_of_sock_diag_is_refused(NO_TYPES) => "NL-DIAG-012";
    family_without_sockets_requests_no_module [invasive] => "NL-DIAG-021";
    cookie_is_the_sockets_own => "NL-DIAG-002";
    state_follows_the_connection => "NL-DIAG-008";
    record_describes_the_peer => "NL-DIAG-002";
    unbound_member_is_listed => "NL-DIAG-003";
    unbound_socket_is_not_listed => "NL-DIAG-003";
    unbound_socket_that_left_its_groups_is_not_listed(LEAVES) => "NL-DIAG-003";
    unbound_socket_that_is_left_a_group_is_listed(KEEPS) => "NL-DIAG-003";
    bound_member_is_listed_twice => "NL-DIAG-009";
    member_that_left_its_groups_is_listed_once(WAYS) => "NL-DIAG-014";
    requested_attributes_are_shown(SHOWN) => "NL-DIAG-004";
    groups_above_32_are_shown => "NL-DIAG-010";
    socket_too_large_for_the_buffer_ends_the_dump => "NL-DIAG-018";
    groups_are_absent_if_never_used => "NL-DIAG-010";
    flag_shows_the_option(OPTIONS) => "NL-DIAG-011";
    flag_shows_the_running_dump => "NL-DIAG-011";
}

/// The sockets that a dump lists.
fn records(bus: &Bus<'_>, protocol: u8, show: u32) -> Result<Vec<Record>, Failure> {
    let answer = bus.diag()?.ask(&sock_diag::sockets(protocol, show))?;
    expect_ok("end of the dump", &answer)?;
    Ok(answer.replies.iter().filter_map(Record::read).collect())
}

/// The records of a socket in a dump of its protocol.
fn records_of(bus: &Bus<'_>, socket: &Socket, show: u32) -> Result<Vec<Record>, Failure> {
    let inode = socket.raw().inode()?;
    let mut records = records(bus, socket.protocol() as u8, show)?;
    records.retain(|record| u64::from(record.inode) == inode);
    Ok(records)
}

/// The first record of a socket: one that is in a group may have another.
fn record_of(bus: &Bus<'_>, socket: &Socket, show: u32) -> Result<Record, Failure> {
    match records_of(bus, socket, show)?.into_iter().next() {
        Some(record) => Ok(record),
        None => mismatch("records of the socket", "one", "none"),
    }
}

fn one_protocol_is_listed(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    record_of(bus, &socket, 0)?;
    let others = records(bus, libc::NETLINK_USERSOCK as u8, 0)?;
    let same = others.iter().all(|record| i32::from(record.protocol) == libc::NETLINK_USERSOCK);
    expect("protocols listed", same, "NETLINK_USERSOCK alone", others)
}

fn all_protocols_are_listed(bus: &Bus<'_>) -> Outcome {
    let sockets = [bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_ROUTE)?];
    let records = records(bus, sock_diag::NDIAG_PROTO_ALL, 0)?;
    for socket in &sockets {
        let inode = socket.raw().inode()?;
        let found = records.iter().filter(|record| u64::from(record.inode) == inode).count();
        expect_eq(&format!("records of the socket of protocol {}", socket.protocol()), found, 1)?;
    }
    Ok(())
}

fn sockets_elsewhere_are_not_listed(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let elsewhere = bus.run_as(Who::OtherNet, || Ok(records_of(bus, &socket, 0)?.len()))?;
    expect_eq("records of the socket as listed in another network namespace", elsewhere, 0)
}

fn unbound_member_elsewhere_is_not_listed(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    socket.join(1)?;
    expect_eq(
        "records of the socket as listed in its own network namespace",
        records_of(bus, &socket, 0)?.len(),
        1,
    )?;
    let elsewhere = bus.run_as(Who::OtherNet, || Ok(records_of(bus, &socket, 0)?.len()))?;
    expect_eq("records of the socket as listed in another network namespace", elsewhere, 0)
}

const NO_PROTOCOLS: &[(&str, u8)] = &[("32", 32), ("40", 40), ("254", 254)];

fn protocol_out_of_range_ends_the_dump(bus: &Bus<'_>, protocol: &u8) -> Outcome {
    let answer = bus.diag()?.ask(&sock_diag::sockets(*protocol, 0))?;
    expect_errno("end of the dump", &answer, bus.expected("protocol")?)
}

fn request_without_dump_is_refused(bus: &Bus<'_>) -> Outcome {
    let mut request = sock_diag::sockets(sock_diag::NDIAG_PROTO_ALL, 0).with(NLM_F_ACK);
    request.flags &= !NLM_F_DUMP;
    let answer = bus.diag()?.ask(&request)?;
    expect_errno("answer to the request", &answer, bus.expected("no_dump")?)
}

const SHORT: &[(&str, usize)] = &[("family_and_protocol", 2), ("8_bytes", 8), ("19_bytes", 19)];

fn short_request_is_refused(bus: &Bus<'_>, len: &usize) -> Outcome {
    let mut request = sock_diag::sockets(sock_diag::NDIAG_PROTO_ALL, 0);
    request.payload.truncate(*len);
    let answer = bus.diag()?.ask(&request)?;
    expect_errno("answer to the request", &answer, bus.expected("short")?)
}

/// A request to sock_diag about this address family.
fn about_family(family: u8, kind: u16, flags: u16) -> Message {
    let mut request = sock_diag::sockets(sock_diag::NDIAG_PROTO_ALL, 0);
    request.payload[0] = family;
    Message { kind, flags, ..request }.with(NLM_F_REQUEST | NLM_F_ACK)
}

/// Beyond all address families of any version.
const NO_FAMILIES: &[(&str, (u8, u16))] = &[
    ("64_do", (64, 0)),
    ("64_dump", (64, NLM_F_DUMP)),
    ("100", (100, NLM_F_DUMP)),
    ("128", (128, NLM_F_DUMP)),
    ("255_do", (255, 0)),
    ("255_dump", (255, NLM_F_DUMP)),
];

fn family_out_of_range_is_refused(bus: &Bus<'_>, (family, flags): &(u8, u16)) -> Outcome {
    let socket = bus.bound(libc::NETLINK_SOCK_DIAG)?;
    for kind in [sock_diag::SOCK_DIAG_BY_FAMILY, SOCK_DESTROY] {
        let answer = socket.ask(&about_family(*family, kind, *flags))?;
        expect_errno(&format!("request of type {kind}"), &answer, bus.expected("no_family")?)?;
    }
    Ok(())
}

/// `SOCK_DESTROY`.
const SOCK_DESTROY: u16 = 21;

fn family_without_a_handler_is_refused(bus: &Bus<'_>) -> Outcome {
    let request = about_family(libc::AF_UNSPEC as u8, sock_diag::SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
    let answer = bus.bound(libc::NETLINK_SOCK_DIAG)?.ask(&request)?;
    expect_errno("request about AF_UNSPEC", &answer, bus.expected("no_handler")?)
}

fn family_without_sockets_requests_no_module(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_SOCK_DIAG)?;
    let request = about_family(libc::AF_UNSPEC as u8, sock_diag::SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
    let requests = bus.module_requests()?;
    let (answer, requested) = while_requesting(requests.as_ref(), || socket.ask(&request), || Ok(()))?;
    expect_errno("request about AF_UNSPEC", &answer?, bus.expected("errno")?)?;
    expect_eq("whether a module was requested", requested, false)
}

const NO_TYPES: &[(&str, u16)] = &[("16", 16), ("17", 17), ("22", 22), ("255", 255), ("highest", u16::MAX)];

fn type_of_sock_diag_is_refused(bus: &Bus<'_>, kind: &u16) -> Outcome {
    let request = about_family(libc::AF_NETLINK as u8, *kind, NLM_F_DUMP);
    let answer = bus.bound(libc::NETLINK_SOCK_DIAG)?.ask(&request)?;
    expect_errno("request", &answer, bus.expected("no_type")?)
}

const TYPES: &[(&str, i32)] = &[("raw", libc::SOCK_RAW), ("dgram", libc::SOCK_DGRAM)];

fn record_describes_the_socket(bus: &Bus<'_>, kind: &i32) -> Outcome {
    let socket = bus.open_as(*kind, libc::NETLINK_USERSOCK)?;
    socket.bind(Address::port(PORT))?;
    let record = record_of(bus, &socket, 0)?;
    expect_eq("ndiag_family", i32::from(record.family), libc::AF_NETLINK)?;
    expect_eq("ndiag_type", i32::from(record.kind), *kind)?;
    expect_eq("ndiag_protocol", i32::from(record.protocol), libc::NETLINK_USERSOCK)?;
    expect_eq("ndiag_portid", record.portid, PORT)
}

fn cookie_is_the_sockets_own(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let cookie = record_of(bus, &socket, 0)?.cookie;
    expect("ndiag_cookie", cookie != 0, "not 0", cookie)?;
    let (bytes, _) = socket.raw().option(libc::SOL_SOCKET, libc::SO_COOKIE, 8)?;
    expect_eq("SO_COOKIE", bytes, cookie.to_ne_bytes())
}

fn state_follows_the_connection(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let state = || Ok::<_, Failure>(record_of(bus, &socket, 0)?.state);
    expect_eq("ndiag_state at first", state()?, bus.expected::<u8>("unconnected")?)?;
    socket.connect(Address::port(PORT))?;
    expect_eq("ndiag_state when connected", state()?, bus.expected::<u8>("connected")?)?;
    socket.connect(Address { family: 0, ..Address::KERNEL })?;
    expect_eq("ndiag_state when disconnected", state()?, bus.expected::<u8>("disconnected")?)
}

fn record_describes_the_peer(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let peer = || {
        let record = record_of(bus, &socket, 0)?;
        Ok::<_, Failure>((record.peer, record.peer_group))
    };
    expect_eq("peer and its group at first", peer()?, (0, 0))?;
    socket.connect(Address { groups: 0b100, ..Address::port(PORT) })?;
    expect_eq("peer and its group when connected", peer()?, (PORT, 3))
}

fn unbound_member_is_listed(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    socket.join(1)?;
    let records = records_of(bus, &socket, 0)?;
    let ports: Vec<u32> = records.iter().map(|record| record.portid).collect();
    expect_eq("port IDs in the records of the socket", ports, [0])?;
    socket.leave(1)?;
    expect_empty("records of the socket once it is in no group", records_of(bus, &socket, 0)?)
}

fn unbound_socket_is_not_listed(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    expect_empty("records of the socket", records_of(bus, &socket, 0)?)
}

const LEAVES: &[(&str, &[Change])] = &[
    ("joined_twice", &[Join(5), Join(5), Leave(5)]),
    ("left_twice", &[Join(5), Leave(5), Leave(5)]),
    ("joined_again", &[Join(5), Leave(5), Join(5), Leave(5)]),
    ("two", &[Join(5), Join(6), Join(5), Leave(6), Leave(5)]),
    ("first_and_last", &[Join(1), Join(32), Leave(1), Leave(32)]),
];

fn unbound_socket_that_left_its_groups_is_not_listed(bus: &Bus<'_>, changes: &&[Change]) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    change(&socket, changes)?;
    expect_empty("records of the socket", records_of(bus, &socket, 0)?)
}

const KEEPS: &[(&str, &[Change])] = &[
    ("left_another", &[Join(5), Join(6), Leave(6)]),
    ("left_one_that_it_was_not_in", &[Join(5), Leave(6)]),
    ("left_another_twice", &[Join(5), Join(6), Leave(6), Leave(6)]),
    ("joined_twice_and_left_another", &[Join(5), Join(5), Join(6), Leave(6)]),
];

fn unbound_socket_that_is_left_a_group_is_listed(bus: &Bus<'_>, changes: &&[Change]) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    change(&socket, changes)?;
    expect_eq("records of the socket", records_of(bus, &socket, 0)?.len(), 1)
}

fn bound_member_is_listed_twice(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    expect_eq("records of the socket before it joins", records_of(bus, &socket, 0)?.len(), 1)?;
    socket.join(1)?;
    let records = records_of(bus, &socket, 0)?;
    expect_eq("records of the socket in a group", records.len(), bus.expected::<usize>("both")?)?;
    expect("records of the socket", records.iter().all(|record| *record == records[0]), "all alike", &records)
}

/// How a socket that is bound to groups 1 and 2 changes its groups before it leaves them.
const WAYS: &[(&str, &[u32])] =
    &[("at_once", &[]), ("after_the_same_bind", &[0b11]), ("after_other_binds", &[0b110, 0b1, 0b10, 0])];

fn member_that_left_its_groups_is_listed_once(bus: &Bus<'_>, masks: &&[u32]) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    socket.bind(Address { groups: 0b11, ..Address::port(PORT) })?;
    for groups in *masks {
        socket.bind(Address { groups: *groups, ..Address::port(PORT) })?;
    }
    socket.memberships()?.into_iter().try_for_each(|group| socket.leave(group))?;
    expect_eq("records of the socket", records_of(bus, &socket, 0)?.len(), 1)
}

const SHOWN: &[(&str, (u32, &[u16]))] = &[
    ("none", (0, &[])),
    ("memory", (sock_diag::NDIAG_SHOW_MEMINFO, &[sock_diag::NETLINK_DIAG_MEMINFO])),
    ("groups", (sock_diag::NDIAG_SHOW_GROUPS, &[sock_diag::NETLINK_DIAG_GROUPS])),
    ("flags", (sock_diag::NDIAG_SHOW_FLAGS, &[sock_diag::NETLINK_DIAG_FLAGS])),
    ("other_bits", (!0xb, &[])),
];

fn requested_attributes_are_shown(bus: &Bus<'_>, (show, expected): &(u32, &[u16])) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    socket.join(1)?;
    expect_eq("types of the attributes", &record_of(bus, &socket, *show)?.attributes[..], *expected)
}

/// The bitmap consists of whole longs of the kernel.
fn groups_above_32_are_shown(bus: &Bus<'_>) -> Outcome {
    let family = (1..=40).fold(Family::named("nlc_forty"), |family, n| family.group(&format!("g{n}")));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    let group = *family.groups.last().unwrap_or(&0);
    socket.join(group)?;
    let bits = record_of(bus, &socket, sock_diag::NDIAG_SHOW_GROUPS)?.groups;
    expect_eq("groups in the bits", bitmap::of_longs(&bits), [group])
}

/// The groups of this protocol alone take 8 KiB, and no receive asks for more than 4.
fn socket_too_large_for_the_buffer_ends_the_dump(bus: &Bus<'_>) -> Outcome {
    let protocol = Protocol::with_groups(FREE_PROTOCOL, 65_536);
    bus.create_protocol(&protocol)?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    socket.join(65_536)?;
    let request = sock_diag::sockets(FREE_PROTOCOL as u8, sock_diag::NDIAG_SHOW_GROUPS);
    let diag = bus.diag()?;
    diag.send(&request.seq(7))?;
    let datagrams = std::iter::from_fn(|| diag.receive_now(4096, 0).ok());
    let messages: Vec<Message> = datagrams.flat_map(|datagram| datagram.messages).collect();
    let end = messages.iter().find(|message| message.kind == NLMSG_DONE).and_then(Ack::read);
    let end = end.map(|end| end.result());
    expect_eq("end of the dump", end, Some(Ok(())))?;
    let inode = socket.raw().inode()?;
    let listed = messages.iter().filter_map(Record::read).filter(|record| u64::from(record.inode) == inode);
    expect_eq("records of the socket", listed.count(), 0)
}

fn groups_are_absent_if_never_used(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let attributes = record_of(bus, &socket, sock_diag::NDIAG_SHOW_GROUPS)?.attributes;
    expect_empty("types of the attributes", attributes)
}

const OPTIONS: &[(&str, (i32, u32))] = &[
    ("pktinfo", (libc::NETLINK_PKTINFO, sock_diag::NDIAG_FLAG_PKTINFO)),
    ("broadcast_error", (libc::NETLINK_BROADCAST_ERROR, sock_diag::NDIAG_FLAG_BROADCAST_ERROR)),
    ("no_enobufs", (libc::NETLINK_NO_ENOBUFS, sock_diag::NDIAG_FLAG_NO_ENOBUFS)),
    ("listen_all_nsid", (libc::NETLINK_LISTEN_ALL_NSID, sock_diag::NDIAG_FLAG_LISTEN_ALL_NSID)),
    ("cap_ack", (libc::NETLINK_CAP_ACK, sock_diag::NDIAG_FLAG_CAP_ACK)),
    ("ext_ack_has_none", (libc::NETLINK_EXT_ACK, 0)),
];

fn flag_shows_the_option(bus: &Bus<'_>, (option, flag): &(i32, u32)) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let flags = || Ok::<_, Failure>(record_of(bus, &socket, sock_diag::NDIAG_SHOW_FLAGS)?.flags);
    expect_eq("flags before", flags()?, 0)?;
    socket.set(*option, 1)?;
    expect_eq("flags with the option", flags()?, *flag)
}

fn flag_shows_the_running_dump(bus: &Bus<'_>) -> Outcome {
    let recorder = Family::named("nlc_recorder").op(Op::dumping(1));
    let family = bus.register(recorder.on(On::Dumpit, Action::records(100, 500)))?;
    let socket = bus.generic()?;
    let request: Message = family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(1);
    socket.send(&request)?;
    let flags = || Ok::<_, Failure>(record_of(bus, &socket, sock_diag::NDIAG_SHOW_FLAGS)?.flags);
    expect_eq("flags while the dump runs", flags()?, sock_diag::NDIAG_FLAG_CB_RUNNING)?;
    socket.answer_to(&request)?;
    expect_eq("flags afterwards", flags()?, 0)
}
