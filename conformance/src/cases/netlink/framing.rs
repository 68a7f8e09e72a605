//! How a datagram is taken apart, and which messages are answered.

use nix::libc;

use crate::bus::Bus;
use crate::cases::cases;
use crate::outcome::{Outcome, Under, expect_empty, expect_eq, expect_ok};
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{self, ACK, Message, NOOP, REQUEST, batch};

cases! {
    short_datagram_is_ignored(SHORT) => "NL-FRM-001";
    batch_is_answered_in_order => "NL-FRM-004";
    second_message_is_found_behind_padding => "NL-FRM-004";
    no_request_is_only_acknowledged => "NL-FRM-006";
    no_request_and_no_ack_is_unanswered => "NL-FRM-006";
    control_type_is_only_acknowledged(CONTROL_TYPES) => "NL-FRM-007";
    control_type_without_ack_is_unanswered(CONTROL_TYPES) => "NL-FRM-007";
    port_in_the_request_is_ignored => "NL-FRM-011";
    sequence_number_is_echoed(SEQUENCE_NUMBERS) => "NL-FRM-012";
}

fn get_controller() -> Message {
    genl::request(genl::ID_CTRL, genl::CMD_GETFAMILY, Attrs::new().u16(genl::ATTR_FAMILY_ID, genl::ID_CTRL))
}

fn noop(seq: u32) -> Message {
    Message::request(NOOP).with(ACK).seq(seq)
}

const SHORT: &[(&str, usize)] = &[("1", 1), ("15", 15)];

fn short_datagram_is_ignored(bus: &Bus<'_>, len: &usize) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    expect_eq("bytes taken", socket.send_bytes(&noop(1).encode()[..*len])?, *len)?;
    socket.expect_nothing("answer")
}

fn batch_is_answered_in_order(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let unknown = Message::request(0xfff0).with(ACK).seq(2);
    socket.send_bytes(&batch(&[noop(1), unknown, noop(3)]))?;
    for seq in 1..=3 {
        expect_eq("sequence number of the answer", socket.receive_one()?.seq, seq)?;
    }
    Ok(())
}

fn second_message_is_found_behind_padding(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.send_bytes(&batch(&[noop(1).bytes(&[0]), noop(2)]))?;
    expect_eq("sequence number of the first answer", socket.receive_one()?.seq, 1)?;
    expect_eq("sequence number of the second answer", socket.receive_one()?.seq, 2)
}

fn no_request_is_only_acknowledged(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let mut request = get_controller();
    request.flags = ACK;
    let answer = socket.ask(&request)?;
    expect_ok("acknowledgement", answer.ack()?)?;
    expect_empty("replies", answer.replies)
}

fn no_request_and_no_ack_is_unanswered(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let mut request = get_controller();
    request.flags = 0;
    socket.send(&request)?;
    socket.expect_nothing("answer")
}

const CONTROL_TYPES: &[(&str, u16)] = &[
    ("0", 0),
    ("noop", NOOP),
    ("error", message::ERROR),
    ("done", message::DONE),
    ("overrun", message::OVERRUN),
    ("15", 15),
];

fn control_type_is_only_acknowledged(bus: &Bus<'_>, kind: &u16) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let answer = socket.ask(&Message::request(*kind).with(ACK))?;
    expect_ok("acknowledgement", answer.ack()?)
}

fn control_type_without_ack_is_unanswered(bus: &Bus<'_>, kind: &u16) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.send(&Message::request(*kind))?;
    socket.expect_nothing("answer")
}

fn port_in_the_request_is_ignored(bus: &Bus<'_>) -> Outcome {
    let (socket, other) = (bus.bound(libc::NETLINK_ROUTE)?, bus.bound(libc::NETLINK_ROUTE)?);
    socket.send(&noop(1).portid(other.portid()?))?;
    expect_eq("nlmsg_pid of the answer", socket.receive_one()?.portid, socket.portid()?)?;
    other.expect_nothing("answer on the socket that the request named")
}

const SEQUENCE_NUMBERS: &[(&str, u32)] = &[("0", 0), ("1", 1), ("highest", u32::MAX)];

fn sequence_number_is_echoed(bus: &Bus<'_>, seq: &u32) -> Outcome {
    let socket = bus.generic()?;
    socket.send(&get_controller().with(ACK).seq(*seq))?;
    expect_eq("sequence number of the reply", socket.receive_one()?.seq, *seq)?;
    expect_eq("sequence number of the acknowledgement", socket.receive_one()?.seq, *seq)?;
    let unknown = Message::new(0xfff0).with(REQUEST).seq(*seq);
    socket.send(&unknown)?;
    expect_eq("sequence number of the refusal", socket.receive_one()?.seq, *seq).under("NL-FRM-012")
}
