//! How a datagram is parsed, and which of its messages are answered.

mod answers;
mod datagrams;
mod padding;

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Outcome, expect, expect_bytes, expect_empty, expect_eq, expect_ok};
use crate::scene::bus::{Bus, Socket};
use crate::scene::dumps::links;
use crate::scene::requests::{self, ANSWERING};
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{self, Message, NLM_F_ACK, NLM_F_REQUEST, NLMSG_NOOP, batch};
use crate::wire::route;

cases! {
    short_datagram_is_ignored(SHORT) => "NL-FRM-001";
    length_below_the_header_ends_the_datagram(BELOW_HEADER) => "NL-FRM-002";
    length_beyond_the_datagram_ends_it(BEYOND) => "NL-FRM-003";
    batch_is_answered_in_order(REQUESTS) => "NL-FRM-004";
    second_message_is_found_after_padding => "NL-FRM-004";
    last_message_needs_no_padding => "NL-FRM-005";
    trailing_bytes_are_ignored(RESTS) => "NL-FRM-005";
    message_without_request_flag_is_only_acknowledged(UNHEARD) => "NL-FRM-006";
    message_without_request_and_ack_flags_gets_no_reply(UNHEARD) => "NL-FRM-006";
    control_type_is_only_acknowledged(CONTROL_TYPES) => "NL-FRM-007";
    control_type_without_ack_gets_no_reply(CONTROL_TYPES) => "NL-FRM-007";
    error_is_always_reported(FLAGS) => "NL-FRM-008";
    success_is_acknowledged_if_requested(ANSWERING) [initial_net] => "NL-FRM-008";
    success_is_not_acknowledged_by_default(ANSWERING) [initial_net] => "NL-FRM-008";
    messages_are_laid_out_as_documented => "NL-FRM-016";
    attributes_are_laid_out_as_documented => "NL-FRM-021";
    + answers;
    + datagrams;
    + padding;
}

fn get_controller() -> Message {
    genl::request(
        genl::GENL_ID_CTRL,
        genl::CTRL_CMD_GETFAMILY,
        Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL),
    )
}

/// Sends a datagram that must be accepted as a whole.
fn send_whole(socket: &Socket, datagram: &[u8]) -> Outcome {
    expect_eq("bytes taken", socket.send_bytes(datagram), Ok(datagram.len()))
}

const SHORT: &[(&str, usize)] = &[("1", 1), ("15", 15)];

fn short_datagram_is_ignored(bus: &Bus<'_>, len: &usize) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    send_whole(&socket, &route::refused(1).encode()[..*len])?;
    socket.expect_nothing("answer")
}

const BELOW_HEADER: &[(&str, u32)] = &[("0", 0), ("8", 8), ("15", 15)];

fn length_below_the_header_ends_the_datagram(bus: &Bus<'_>, len: &u32) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    send_whole(&socket, &batch(&[route::refused(1), route::refused(2).claim_len(*len), route::refused(3)]))?;
    expect_eq("sequence number of the first answer", socket.receive_one()?.seq, 1)?;
    socket.expect_nothing("second answer")
}

const BEYOND: &[(&str, u32)] = &[("one_byte", 21), ("20_bytes", 40), ("highest", u32::MAX)];

fn length_beyond_the_datagram_ends_it(bus: &Bus<'_>, len: &u32) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    send_whole(&socket, &batch(&[route::refused(1), route::refused(2).claim_len(*len)]))?;
    expect_eq("sequence number of the first answer", socket.receive_one()?.seq, 1)?;
    socket.expect_nothing("second answer")
}

/// A request with this sequence number.
type Request = fn(u32) -> Message;

const REQUESTS: &[(&str, Request)] = &[
    ("refused", route::refused),
    ("acknowledged", |seq| Message::request(NLMSG_NOOP).with(NLM_F_ACK).seq(seq)),
];

fn batch_is_answered_in_order(bus: &Bus<'_>, request: &Request) -> Outcome {
    if request(1).kind == NLMSG_NOOP {
        bus.need_noop()?;
    }
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    send_whole(&socket, &batch(&[1, 2, 3].map(request)))?;
    for seq in 1..=3 {
        expect_eq("sequence number of the answer", socket.receive_one()?.seq, seq)?;
    }
    Ok(())
}

fn second_message_is_found_after_padding(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    send_whole(&socket, &batch(&[route::refused(1).bytes(&[0]), route::refused(2)]))?;
    expect_eq("sequence number of the first answer", socket.receive_one()?.seq, 1)?;
    expect_eq("sequence number of the second answer", socket.receive_one()?.seq, 2)
}

fn last_message_needs_no_padding(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    send_whole(&socket, &batch(&[route::refused(1), route::refused(2).bytes(&[0; 9])]))?;
    expect_eq("sequence number of the first answer", socket.receive_one()?.seq, 1)?;
    expect_eq("sequence number of the second answer", socket.receive_one()?.seq, 2)
}

const RESTS: &[(&str, usize)] = &[("1_byte", 1), ("12_bytes", 12), ("15_bytes", 15)];

fn trailing_bytes_are_ignored(bus: &Bus<'_>, len: &usize) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    send_whole(&socket, &[route::refused(1).encode(), vec![0xff; *len]].concat())?;
    expect_eq("sequence number of the answer", socket.receive_one()?.seq, 1)?;
    socket.expect_nothing("second answer")
}

/// A protocol, and a message that it would answer if it were a request.
type Unheard = (i32, fn() -> Message);

const UNHEARD: &[(&str, Unheard)] =
    &[("do", (libc::NETLINK_GENERIC, get_controller)), ("dump", (libc::NETLINK_ROUTE, links))];

fn message_without_request_flag_is_only_acknowledged(
    bus: &Bus<'_>,
    (protocol, message): &Unheard,
) -> Outcome {
    let socket = bus.bound(*protocol)?;
    let mut request = message().with(NLM_F_ACK);
    request.flags &= !NLM_F_REQUEST;
    let answer = socket.ask(&request)?;
    expect_ok("acknowledgement", answer.ack()?)?;
    let kinds: Vec<_> = answer.replies.iter().map(|reply| reply.kind).collect();
    expect_empty("types of the replies", kinds)
}

fn message_without_request_and_ack_flags_gets_no_reply(
    bus: &Bus<'_>,
    (protocol, message): &Unheard,
) -> Outcome {
    let socket = bus.bound(*protocol)?;
    let mut request = message();
    request.flags &= !NLM_F_REQUEST;
    socket.send(&request)?;
    socket.expect_nothing("answer")
}

const CONTROL_TYPES: &[(&str, u16)] = &[
    ("0", 0),
    ("noop", NLMSG_NOOP),
    ("error", message::NLMSG_ERROR),
    ("done", message::NLMSG_DONE),
    ("overrun", message::NLMSG_OVERRUN),
    ("15", 15),
];

fn control_type_is_only_acknowledged(bus: &Bus<'_>, kind: &u16) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let answer = socket.ask(&Message::request(*kind).with(NLM_F_ACK))?;
    expect_ok("acknowledgement", answer.ack()?)
}

fn control_type_without_ack_gets_no_reply(bus: &Bus<'_>, kind: &u16) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.send(&Message::request(*kind))?;
    socket.expect_nothing("answer")
}

/// Protocol, and flags of the request.
const FLAGS: &[(&str, (i32, u16))] = &[
    ("without_ack", (libc::NETLINK_GENERIC, 0)),
    ("with_ack", (libc::NETLINK_GENERIC, NLM_F_ACK)),
    ("without_ack_on_route", (libc::NETLINK_ROUTE, 0)),
    ("with_ack_on_route", (libc::NETLINK_ROUTE, NLM_F_ACK)),
];

fn error_is_always_reported(bus: &Bus<'_>, (protocol, flags): &(i32, u16)) -> Outcome {
    let socket = bus.bound(*protocol)?;
    socket.send(&requests::refused(*protocol, 7).with(*flags))?;
    let refusal = socket.receive_one()?;
    expect_eq("type", refusal.kind, message::NLMSG_ERROR)?;
    expect("status", refusal.status() < Some(0), "a negative errno", refusal.status())?;
    socket.expect_nothing("second answer")
}

fn success_is_acknowledged_if_requested(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    let socket = bus.bound(*protocol)?;
    let (reply, ack) = socket.reply_and_acknowledgement(&requests::get(*protocol).with(NLM_F_ACK).seq(7))?;
    expect_eq("type of the reply", reply.kind, requests::reply_kind(*protocol))?;
    expect_eq(
        "type and status of the acknowledgement",
        (ack.kind, ack.status()),
        (message::NLMSG_ERROR, Some(0)),
    )
}

fn success_is_not_acknowledged_by_default(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    let socket = bus.bound(*protocol)?;
    socket.send(&requests::get(*protocol).seq(7))?;
    expect_eq("type of the reply", socket.receive_one()?.kind, requests::reply_kind(*protocol))?;
    socket.expect_nothing("acknowledgement")
}

/// A request and its acknowledgement, each field written out.
fn messages_are_laid_out_as_documented(bus: &Bus<'_>) -> Outcome {
    bus.need_noop()?;
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let header = |len: u32, kind: u16, flags: u16, pid: u32| {
        let shorts = [kind.to_ne_bytes(), flags.to_ne_bytes()].concat();
        [&len.to_ne_bytes()[..], &shorts, &0x0102_0304_u32.to_ne_bytes(), &pid.to_ne_bytes()].concat()
    };
    let request = header(16, 1, 5, 0x0506_0708);
    socket.send_bytes(&request)?;
    let answer = socket.receive()?;
    let expected = [header(36, 2, 0x100, socket.portid()?), 0i32.to_ne_bytes().to_vec(), request].concat();
    expect_bytes("struct nlmsghdr and struct nlmsgerr", answer.incoming.bytes, expected)?;
    let sender = [16u16.to_ne_bytes(), [0; 2], [0; 2], [0; 2], [0; 2], [0; 2]].concat();
    expect_bytes("struct sockaddr_nl", answer.incoming.from, sender)
}

/// The first attribute of the controller's description of itself is its name.
fn attributes_are_laid_out_as_documented(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.send(&get_controller())?;
    let reply = socket.receive_one()?;
    let name = [&11u16.to_ne_bytes()[..], &2u16.to_ne_bytes(), b"nlctrl\0\0"].concat();
    expect_bytes("bytes after the genlmsghdr", reply.payload.get(4..16).unwrap_or_default(), name)
}
