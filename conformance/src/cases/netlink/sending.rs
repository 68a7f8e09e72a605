//! sendmsg(2): addresses, peers and groups.

mod buffers;
mod credentials;
mod filter_programs;
mod filters;
mod from_kernel;
mod given_back;
mod large;
mod order;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, Under, expect_bytes, expect_eq, expect_errno, expect_ok};
use crate::port::capability::Capability;
use crate::port::provider::Protocol;
use crate::port::{Outgoing, Who};
use crate::scene::FREE_PROTOCOL;
use crate::scene::PORT;
use crate::scene::bus::{Bus, Socket};
use crate::scene::requests::{self, ANSWERING};
use crate::wire::address::{self, Address};
use crate::wire::message::{Message, NLM_F_ACK, NLMSG_NOOP, batch};
use crate::wire::route;

cases! {
    empty_datagram_is_refused => "NL-SEND-001";
    empty_datagram_is_refused_before_its_address => "NL-SEND-001";
    out_of_band_data_cannot_be_sent => "NL-SEND-002";
    out_of_band_data_cannot_be_received => "NL-SEND-002";
    wrong_address_is_refused(WRONG_ADDRESSES) => "NL-SEND-003";
    address_of_length_0_is_the_kernel => "NL-SEND-017";
    address_of_length_0_is_the_connected_peer => "NL-SEND-017";
    unprivileged_send_is_refused(UNPRIVILEGED) => "NL-SEND-004";
    any_user_may_send_a_request(ANSWERING) => "NL-SEND-018";
    any_user_may_send_on_usersock => "NL-SEND-018";
    owner_of_the_namespace_may_send => "NL-SEND-004";
    send_to_a_missing_port_is_refused(ANSWERING) => "NL-SEND-005";
    send_to_a_kernel_without_input_is_refused => "NL-SEND-005";
    group_is_reached_except_for_the_sender => "NL-SEND-007", "NL-SEND-019";
    port_in_a_group_gets_one_copy => "NL-SEND-007";
    port_outside_the_group_gets_a_copy => "NL-SEND-007";
    kernel_receives_a_datagram_to_a_group_too => "NL-SEND-007";
    only_the_lowest_group_is_reached(MASKS) => "NL-SEND-008";
    reply_is_queued_when_send_returns(ANSWERING) [initial_net] => "NL-SEND-009";
    connected_group_is_reached => "NL-SEND-014";
    connection_outlives_the_privilege => "NL-SEND-023";
    payload_arrives_unchanged(PAYLOADS) => "NL-SEND-015";
    sends_are_not_merged => "NL-SEND-016";
    replies_are_not_merged => "NL-SEND-016";
    + buffers;
    + credentials;
    + filters;
    + filter_programs;
    + from_kernel;
    + large;
    + order;
    + given_back;
}

fn empty_datagram_is_refused(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    expect_errno("send() of no bytes", socket.send_bytes(&[]), bus.expected("errno")?)
}

fn empty_datagram_is_refused_before_its_address(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let sent = socket.transmit(Outgoing { to: Some(vec![0; 11]), ..Outgoing::default() });
    expect_errno("send() of no bytes to a short address", sent, bus.expected("errno")?)
}

fn out_of_band_data_cannot_be_sent(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let bytes = Message::request(NLMSG_NOOP).encode();
    let sent = socket.transmit(Outgoing { bytes, flags: libc::MSG_OOB, ..Outgoing::default() });
    expect_errno("send() with MSG_OOB", sent, bus.expected("errno")?)
}

fn out_of_band_data_cannot_be_received(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    expect_errno("receive with MSG_OOB", socket.receive_now(100, libc::MSG_OOB), bus.expected("errno")?)
}

/// Family, and bytes of the address that are given.
const WRONG_ADDRESSES: &[(&str, (u16, usize))] = &[
    ("2_bytes", (address::AF_NETLINK, 2)),
    ("11_bytes", (address::AF_NETLINK, 11)),
    ("unspec", (libc::AF_UNSPEC as u16, address::LEN)),
    ("inet", (libc::AF_INET as u16, address::LEN)),
];

fn wrong_address_is_refused(bus: &Bus<'_>, (family, len): &(u16, usize)) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let to = Address { family: *family, ..Address::KERNEL }.encode()[..*len].to_vec();
    let bytes = Message::request(NLMSG_NOOP).encode();
    let sent = socket.transmit(Outgoing { bytes, to: Some(to), ..Outgoing::default() });
    expect_errno("send()", sent, bus.expected("errno")?)
}

fn send_to_no_length(socket: &Socket, bytes: &[u8]) -> Result<usize, Errno> {
    socket.transmit(Outgoing { bytes: bytes.to_vec(), to: Some(Vec::new()), ..Outgoing::default() })
}

fn address_of_length_0_is_the_kernel(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let request = route::refused(7);
    expect_ok("send()", send_to_no_length(&socket, &request.encode()))?;
    expect_eq("sequence number of the answer", socket.receive_one()?.seq, 7)
}

fn address_of_length_0_is_the_connected_peer(bus: &Bus<'_>) -> Outcome {
    let (socket, peer) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    socket.connect(Address::port(peer.portid()?))?;
    expect_ok("send()", send_to_no_length(&socket, b"hello"))?;
    expect_bytes("what arrived", &peer.receive()?.incoming.bytes, b"hello")
}

const UNPRIVILEGED: &[(&str, (i32, Who, Address))] = &[
    ("port_on_route", (libc::NETLINK_ROUTE, Who::Nobody, Address::port(PORT))),
    ("group_on_route", (libc::NETLINK_ROUTE, Who::Nobody, Address::groups(1))),
    ("port_on_generic", (libc::NETLINK_GENERIC, Who::Nobody, Address::port(PORT))),
    ("group_on_generic", (libc::NETLINK_GENERIC, Who::Nobody, Address::groups(1 << 15))),
    ("root_of_another_user_namespace", (libc::NETLINK_ROUTE, Who::UserNamespaceRoot, Address::port(PORT))),
];

fn unprivileged_send_is_refused(bus: &Bus<'_>, (protocol, who, to): &(i32, Who, Address)) -> Outcome {
    bus.run_as(*who, || {
        let sent = bus.open(*protocol)?.send_to(*to, &Message::request(NLMSG_NOOP).encode());
        expect_errno("send()", sent, bus.expected("errno")?)
    })
}

fn any_user_may_send_a_request(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let socket = bus.open(*protocol)?;
        expect_ok("send()", socket.send_to(Address::KERNEL, &requests::refused(*protocol, 7).encode()))?;
        expect_eq("sequence number of the answer", socket.receive_one()?.seq, 7)
    })
}

fn any_user_may_send_on_usersock(bus: &Bus<'_>) -> Outcome {
    let peer = bus.bound(libc::NETLINK_USERSOCK)?;
    let port = peer.portid()?;
    bus.run_as(Who::Nobody, || {
        let sent = bus.open(libc::NETLINK_USERSOCK)?.send_to(Address::port(port), b"hello");
        expect_ok("send()", sent)
    })?;
    expect_bytes("what arrived", &peer.receive()?.incoming.bytes, b"hello")
}

fn owner_of_the_namespace_may_send(bus: &Bus<'_>) -> Outcome {
    bus.run_as(Who::OwnNamespacesRoot, || {
        let (one, two) = (bus.bound(libc::NETLINK_ROUTE)?, bus.bound(libc::NETLINK_ROUTE)?);
        expect_ok("send()", one.send_to(Address::port(two.portid()?), b"hello"))?;
        expect_bytes("what arrived", &two.receive()?.incoming.bytes, b"hello")
    })
}

fn send_to_a_missing_port_is_refused(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let sent = bus.open(*protocol)?.send_to(Address::port(4_242_424), b"hello");
    expect_errno("send()", sent, bus.expected("errno")?)
}

fn send_to_a_kernel_without_input_is_refused(bus: &Bus<'_>) -> Outcome {
    let protocol = Protocol { input: false, ..Protocol::with_groups(FREE_PROTOCOL, 1) };
    bus.create_protocol(&protocol)?;
    let sent = bus.open(FREE_PROTOCOL)?.send(&Message::request(NLMSG_NOOP));
    expect_errno("send()", sent, bus.expected("errno")?)
}

/// A bound socket, a member of this group of `NETLINK_USERSOCK`.
fn member(bus: &Bus<'_>, group: u32) -> Result<Socket, Failure> {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    socket.join(group)?;
    Ok(socket)
}

fn arrives_once(socket: &Socket) -> Outcome {
    expect_bytes("what arrived", &socket.receive()?.incoming.bytes, b"hello")?;
    socket.expect_nothing("second copy")
}

fn group_is_reached_except_for_the_sender(bus: &Bus<'_>) -> Outcome {
    let (sender, one, two) = (member(bus, 1)?, member(bus, 1)?, member(bus, 1)?);
    // After the group the datagram goes to the kernel, which does not listen here.
    let sent = sender.send_to(Address::groups(1), b"hello");
    expect_errno("send()", sent, bus.expected("errno")?).under("NL-SEND-019")?;
    arrives_once(&one)?;
    arrives_once(&two)?;
    sender.expect_nothing("copy at the sender")
}

fn port_in_a_group_gets_one_copy(bus: &Bus<'_>) -> Outcome {
    let (sender, one, two) = (bus.bound(libc::NETLINK_USERSOCK)?, member(bus, 1)?, member(bus, 1)?);
    let to = Address { portid: one.portid()?, ..Address::groups(1) };
    expect_eq("send()", sender.send_to(to, b"hello"), Ok(5))?;
    arrives_once(&one)?;
    arrives_once(&two)
}

fn port_outside_the_group_gets_a_copy(bus: &Bus<'_>) -> Outcome {
    let (sender, one) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let to = Address { portid: one.portid()?, ..Address::groups(1) };
    expect_eq("send() to a group without members", sender.send_to(to, b"hello"), Ok(5))?;
    arrives_once(&one)
}

fn kernel_receives_a_datagram_to_a_group_too(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let (sender, member) = (bus.bound(libc::NETLINK_ROUTE)?, bus.bound(libc::NETLINK_ROUTE)?);
    member.join(1)?;
    let request = route::refused(7).encode();
    expect_eq("send()", sender.send_to(Address::groups(1), &request), Ok(request.len()))?;
    expect_eq("sequence number of the answer", sender.receive_one()?.seq, 7)?;
    expect_bytes("what the member received", member.receive()?.incoming.bytes, request)
}

/// Mask, and the group that is used.
const MASKS: &[(&str, (u32, u32))] =
    &[("groups_2_and_3", (0b110, 2)), ("group_32", (1 << 31, 32)), ("all", (u32::MAX, 1))];

fn only_the_lowest_group_is_reached(bus: &Bus<'_>, (mask, group): &(u32, u32)) -> Outcome {
    let (reached, others) = (member(bus, *group)?, bus.bound(libc::NETLINK_USERSOCK)?);
    for other in (1..=32).filter(|other| other != group) {
        others.join(other)?;
    }
    let sent = bus.bound(libc::NETLINK_USERSOCK)?.send_to(Address::groups(*mask), b"hello");
    expect_errno("send() to the group and to the kernel", sent, Errno::ECONNREFUSED)?;
    arrives_once(&reached)?;
    others.expect_nothing("copy for the other groups")
}

fn reply_is_queued_when_send_returns(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    let socket = bus.bound(*protocol)?;
    socket.send(&requests::get(*protocol).with(NLM_F_ACK))?;
    let reply = socket.receive_now(8192, 0);
    expect_ok("receive of the reply without waiting", &reply)?;
    // They may share a datagram.
    match reply?.messages.len() {
        1 => expect_ok("receive of the acknowledgement without waiting", socket.receive_now(8192, 0)),
        _ => Ok(()),
    }
}

fn connected_group_is_reached(bus: &Bus<'_>) -> Outcome {
    let (sender, member, other) = (bus.bound(libc::NETLINK_USERSOCK)?, member(bus, 2)?, member(bus, 3)?);
    sender.connect(Address::groups(0b110))?;
    expect_errno("send()", sender.send_bytes(b"hello"), bus.expected("errno")?)?;
    arrives_once(&member)?;
    other.expect_nothing("copy for the other group")
}

fn connection_outlives_the_privilege(bus: &Bus<'_>) -> Outcome {
    let (socket, peer) = (bus.bound(libc::NETLINK_ROUTE)?, bus.bound(libc::NETLINK_ROUTE)?);
    let to = Address::port(peer.portid()?);
    socket.connect(to)?;
    bus.run_as(Who::Nobody, || {
        expect_errno("unprivileged send() to the port", socket.send_to(to, b"no"), Errno::EPERM)?;
        expect_ok("unprivileged send() to the connected peer", socket.send_bytes(b"hello"))
    })?;
    expect_bytes("what arrived", &peer.receive()?.incoming.bytes, b"hello")
}

const PAYLOADS: &[(&str, &[u8])] = &[
    ("1_byte", &[0]),
    ("text", b"hi"),
    ("wrong_length_in_header", &[0xff; 16]),
    ("17_bytes", &[0xa5; 17]),
    ("20000_bytes", &[0x5a; 20_000]),
];

fn payload_arrives_unchanged(bus: &Bus<'_>, payload: &&[u8]) -> Outcome {
    let (one, two) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let sent = one.send_to(Address::port(two.portid()?), payload);
    expect_eq("send()", sent, Ok(payload.len()))?;
    let datagram = two.receive()?;
    expect_bytes("what arrived", &datagram.incoming.bytes, payload)?;
    expect_eq("sender's address", datagram.from, Address::port(one.portid()?))
}

fn sends_are_not_merged(bus: &Bus<'_>) -> Outcome {
    let (one, two) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    for payload in [b"one", b"two"] {
        one.send_to(Address::port(two.portid()?), payload)?;
    }
    expect_bytes("first receive", &two.receive()?.incoming.bytes, b"one")?;
    expect_bytes("second receive", &two.receive()?.incoming.bytes, b"two")
}

fn replies_are_not_merged(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.send_bytes(&batch(&[1, 2, 3].map(route::refused)))?;
    for seq in 1..=3 {
        expect_eq("sequence number of the datagram's only message", socket.receive_one()?.seq, seq)?;
    }
    Ok(())
}
