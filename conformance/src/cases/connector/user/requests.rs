//! Messages from user space to the connector.
//!
//! Whether a message was accepted is seen from the acknowledgement of a request that does nothing: an
//! unknown operation of the process events.

use nix::libc::{NETLINK_CONNECTOR, SOCK_RAW};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_errno, expect_ok, expect_result};
use crate::port::Who;
use crate::port::capability::Capability;
use crate::scene::PORT;
use crate::scene::bus::{Bus, NO_OPERATION, Observer, Socket};
use crate::wire::address::Address;
use crate::wire::connector::{CONNECTOR_MAX_MSG_SIZE, CnMsg, HEADER};
use crate::wire::message::{
    self, Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_MIN_TYPE, NLMSG_NOOP, batch,
};
use crate::wire::process::control;

cases! {
    type_and_flags_are_ignored(HEADERS) [initial_net, loses] => "CN-RX-001";
    unknown_id_gets_no_reply [initial_net] => "CN-RX-001";
    message_of_a_wrong_size_is_dropped(SIZES) [initial_net, loses] => "CN-RX-002";
    message_without_all_its_data_is_dropped(DATA) [initial_net, loses] => "CN-RX-003";
    second_message_of_a_datagram_is_ignored [initial_net, loses] => "CN-RX-004";
    any_user_may_send_to_the_kernel [initial_net, loses] => "CN-RX-006";
    unprivileged_send_to_user_space_is_refused(ELSEWHERE) => "CN-RX-006";
    other_network_namespace_has_no_connector => "CN-RX-007";
    any_user_may_open_a_socket => "CN-RX-009";
    message_leaves_nothing_with_the_kernel(LEFT) [initial_net, loses] => "CN-RX-010";
}

/// The `ack` of the request.
const NUMBER: u32 = 0x1000;

/// A request that does nothing, but is acknowledged.
fn request() -> CnMsg {
    CnMsg { ack: NUMBER, ..control(NO_OPERATION) }
}

/// The observer of the acknowledgement, and the sender of the request.
fn witness_and_sender(bus: &Bus<'_>) -> Result<(Observer, Socket), Failure> {
    Ok((bus.listener()?, bus.bound(NETLINK_CONNECTOR)?))
}

/// Sends a datagram; it must be accepted, or be dropped silently.
fn expect_taken(bus: &Bus<'_>, datagram: &[u8], taken: bool) -> Outcome {
    let (witness, sender) = witness_and_sender(bus)?;
    let sent = sender.send_bytes(datagram);
    expect_eq("what send() returns", sent, Ok(datagram.len()))?;
    expect_eq("acknowledged", witness.acknowledged(NUMBER + 1)?, taken)?;
    sender.expect_nothing("answer to the sender")
}

/// Type and flags of the netlink header.
const HEADERS: &[(&str, (u16, u16))] = &[
    ("done", (message::NLMSG_DONE, 0)),
    ("noop", (NLMSG_NOOP, 0)),
    ("error", (message::NLMSG_ERROR, 0)),
    ("request_with_ack", (NLMSG_MIN_TYPE, NLM_F_REQUEST | NLM_F_ACK)),
    ("dump", (NLMSG_MIN_TYPE, NLM_F_REQUEST | NLM_F_DUMP)),
    ("highest", (u16::MAX, u16::MAX)),
];

fn type_and_flags_are_ignored(bus: &Bus<'_>, (kind, flags): &(u16, u16)) -> Outcome {
    let message = Message { kind: *kind, flags: *flags, ..request().in_message() };
    expect_taken(bus, &message.encode(), true)
}

fn unknown_id_gets_no_reply(bus: &Bus<'_>) -> Outcome {
    let message = CnMsg { idx: 0x4e4c, ..request() }.in_message().with(NLM_F_REQUEST | NLM_F_ACK);
    expect_taken(bus, &message.encode(), false)
}

/// `nlmsg_len`, bytes sent, and whether the message is accepted.
const SIZES: &[(&str, (usize, usize, bool))] = &[
    ("shorter_than_a_header", (40, 10, false)),
    ("no_room_for_the_cn_msg", (35, 35, false)),
    ("exact", (40, 40, true)),
    ("longer_than_the_datagram", (41, 40, false)),
    ("shorter_than_the_datagram", (40, 60, true)),
    (
        "longest",
        (
            message::NLMSG_HDRLEN + CONNECTOR_MAX_MSG_SIZE,
            message::NLMSG_HDRLEN + CONNECTOR_MAX_MSG_SIZE,
            true,
        ),
    ),
    (
        "too_long",
        (
            message::NLMSG_HDRLEN + CONNECTOR_MAX_MSG_SIZE + 1,
            message::NLMSG_HDRLEN + CONNECTOR_MAX_MSG_SIZE + 1,
            false,
        ),
    ),
];

fn message_of_a_wrong_size_is_dropped(bus: &Bus<'_>, (len, sent, taken): &(usize, usize, bool)) -> Outcome {
    let mut datagram = request().in_message().claim_len(*len as u32).encode();
    datagram.resize(*sent, 0);
    expect_taken(bus, &datagram, *taken)
}

/// `len` of the cn_msg, bytes of data that follow it, and whether the message is accepted.
const DATA: &[(&str, (u16, usize, bool))] = &[
    ("all", (4, 4, true)),
    ("more_room", (4, CONNECTOR_MAX_MSG_SIZE - HEADER, true)),
    ("one_byte_less", (4, 3, false)),
    ("half", (8, 4, false)),
    ("highest", (u16::MAX, 4, false)),
];

fn message_without_all_its_data_is_dropped(
    bus: &Bus<'_>,
    (len, there, taken): &(u16, usize, bool),
) -> Outcome {
    let mut msg = CnMsg { claimed_len: Some(*len), ..request() };
    msg.data.resize(*there, 0);
    expect_taken(bus, &msg.in_message().encode(), *taken)
}

fn second_message_of_a_datagram_is_ignored(bus: &Bus<'_>) -> Outcome {
    let (witness, sender) = witness_and_sender(bus)?;
    let second = CnMsg { ack: NUMBER + 10, ..request() };
    sender.send_bytes(&batch(&[request().in_message(), second.in_message()]))?;
    witness.acknowledgement(NUMBER + 1)?;
    expect_eq("second acknowledged", witness.acknowledged(NUMBER + 11)?, false)
}

fn any_user_may_send_to_the_kernel(bus: &Bus<'_>) -> Outcome {
    let witness = bus.listener()?;
    bus.run_as(Who::Nobody, || {
        let sent = bus.bound(NETLINK_CONNECTOR)?.send(&request().in_message());
        expect_ok("send()", sent)
    })?;
    witness.acknowledgement(NUMBER + 1).map(drop)
}

const ELSEWHERE: &[(&str, Address)] = &[("port", Address::port(PORT)), ("group", Address::groups(1))];

fn unprivileged_send_to_user_space_is_refused(bus: &Bus<'_>, to: &Address) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let sent = bus.bound(NETLINK_CONNECTOR)?.send_to(*to, &request().in_message().encode());
        expect_errno("sendto()", sent, bus.expected("errno")?)
    })
}

fn other_network_namespace_has_no_connector(bus: &Bus<'_>) -> Outcome {
    bus.run_as(Who::OtherNet, || {
        let sent = bus.bound(NETLINK_CONNECTOR)?.send(&request().in_message());
        expect_errno("send()", sent, bus.expected("errno")?)
    })
}

fn any_user_may_open_a_socket(bus: &Bus<'_>) -> Outcome {
    let errno = bus.expected("errno")?;
    let expected = if bus.has(Capability::Connector) { Ok(()) } else { Err(errno) };
    bus.run_as(Who::Nobody, || expect_result("socket()", bus.try_open(SOCK_RAW, NETLINK_CONNECTOR), expected))
}

/// What makes a datagram.
type Make = fn() -> Vec<u8>;

/// Messages that reach a callback, and that do not.
const LEFT: &[(&str, Make)] = &[
    ("taken", || request().in_message().encode()),
    ("of_an_unknown_id", || CnMsg { idx: 0x4e4c, ..request() }.in_message().encode()),
    ("with_data_that_is_not_there", || Message::request(NLMSG_MIN_TYPE).bytes(&[0xff; HEADER]).encode()),
    ("shorter_than_a_header", || vec![1; 10]),
    ("too_long", || Message::request(NLMSG_MIN_TYPE).bytes(&[0; CONNECTOR_MAX_MSG_SIZE + 1]).encode()),
];

fn message_leaves_nothing_with_the_kernel(bus: &Bus<'_>, message: &Make) -> Outcome {
    bus.kernel_queue(NETLINK_CONNECTOR)?;
    let sender = bus.bound(NETLINK_CONNECTOR)?;
    for _ in 0..50 {
        expect_ok("send()", sender.send_bytes(&message()))?;
    }
    expect_eq("memory of the kernel's queue", bus.kernel_queue(NETLINK_CONNECTOR)?, 0)
}
