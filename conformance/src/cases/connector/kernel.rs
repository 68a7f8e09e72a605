//! Callbacks and sends of kernel code.

use nix::libc::NETLINK_CONNECTOR;

use crate::bus::{Bus, Socket};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_errno, expect_ok};
use crate::target::provider::{Action, Call, Callback, Capture, CbId, ConnectorSend, On, Returned, Step};
use crate::wire::connector::CnMsg;
use crate::wire::message::DONE;

cases! {
    duplicate_id_is_refused [initial_net] => "CN-API-002";
    unknown_id_has_no_group [initial_net] => "CN-SND-001";
    group_is_the_idx [initial_net] => "CN-SND-002";
    group_without_member_finds_nobody(NOBODY) [initial_net] => "CN-SND-004";
    message_is_a_done_without_flags(LENGTHS) [initial_net] => "CN-SND-008";
    message_reaches_its_callback_only [initial_net] => "CN-RX-005";
    message_for_an_unknown_id_is_dropped [initial_net] => "CN-RX-005";
    callback_sees_what_was_sent [initial_net] => "CN-CONV-001";
}

const ID: CbId = CbId { idx: 20, val: 0x456 };

fn add(bus: &Bus<'_>, callback: Callback) -> Result<Returned, Failure> {
    Ok(bus.provider()?.add_callback(&callback, &Call::default())?.1)
}

fn send(bus: &Bus<'_>, send: ConnectorSend) -> Result<Returned, Failure> {
    Ok(bus.provider()?.connector_send(&send, &Call::default())?)
}

/// A bound socket in this connector group.
fn member(bus: &Bus<'_>, group: u32) -> Result<Socket, Failure> {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    socket.join(group)?;
    Ok(socket)
}

fn duplicate_id_is_refused(bus: &Bus<'_>) -> Outcome {
    expect_ok("first callback", add(bus, Callback::named("nlc_first", ID))?)?;
    expect_errno("second callback", add(bus, Callback::named("nlc_second", ID))?, bus.expected("errno")?)?;
    let other = CbId { val: ID.val + 1, ..ID };
    expect_ok("callback with another val", add(bus, Callback::named("nlc_other", other))?)?;
    bus.bound(NETLINK_CONNECTOR)?.send(&CnMsg::to(ID.idx, ID.val).in_message())?;
    expect_eq("calls of the first", bus.calls(On::Connector)?.len(), 1)
}

fn unknown_id_has_no_group(bus: &Bus<'_>) -> Outcome {
    let returned = send(bus, ConnectorSend { id: CbId { idx: 99, val: 99 }, ..ConnectorSend::default() })?;
    expect_errno("cn_netlink_send_mult()", returned, bus.expected("errno")?)
}

fn group_is_the_idx(bus: &Bus<'_>) -> Outcome {
    add(bus, Callback::named("nlc_group", ID))?;
    let (inside, outside) = (member(bus, ID.idx)?, member(bus, ID.idx + 1)?);
    expect_ok("cn_netlink_send_mult()", send(bus, ConnectorSend { id: ID, ..ConnectorSend::default() })?)?;
    inside.receive_one()?;
    outside.expect_nothing("message in the group beside it")
}

const NOBODY: &[(&str, u32)] = &[("empty", 21), ("beyond_the_last", 33)];

fn group_without_member_finds_nobody(bus: &Bus<'_>, group: &u32) -> Outcome {
    let returned = send(bus, ConnectorSend { id: ID, group: *group, ..ConnectorSend::default() })?;
    expect_errno("cn_netlink_send_mult()", returned, bus.expected("errno")?)
}

const LENGTHS: &[(&str, usize)] = &[("0", 0), ("1", 1), ("40", 40)];

fn message_is_a_done_without_flags(bus: &Bus<'_>, len: &usize) -> Outcome {
    let socket = member(bus, 21)?;
    let payload: Vec<u8> = (0..*len as u8).collect();
    let sent = ConnectorSend { id: ID, seq: 71, ack: 72, group: 21, payload, ..ConnectorSend::default() };
    expect_ok("cn_netlink_send_mult()", send(bus, sent.clone())?)?;
    let message = socket.receive_one()?;
    expect_eq(
        "type, flags, seq, pid",
        (message.kind, message.flags, message.seq, message.portid),
        (DONE, 0, 71, 0),
    )?;
    expect_eq("nlmsg_len", message.len() as usize, 16 + 20 + len)?;
    let expected = CnMsg { seq: 71, ack: 72, data: sent.payload, ..CnMsg::to(ID.idx, ID.val) };
    expect_eq("cn_msg", CnMsg::decode(&message.payload), Some(expected))
}

fn message_reaches_its_callback_only(bus: &Bus<'_>) -> Outcome {
    add(bus, Callback::named("nlc_one", ID))?;
    let other = Callback::named("nlc_two", CbId { val: ID.val + 1, ..ID });
    let (other, _) = bus.provider()?.add_callback(&other, &Call::default())?;
    bus.bound(NETLINK_CONNECTOR)?.send(&CnMsg::to(ID.idx, ID.val + 1).in_message())?;
    let called: Vec<_> = bus.calls(On::Connector)?.iter().map(|call| call.handle).collect();
    expect_eq("callbacks called", called, [other])
}

fn message_for_an_unknown_id_is_dropped(bus: &Bus<'_>) -> Outcome {
    add(bus, Callback::named("nlc_known", ID))?;
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    for (idx, val) in [(ID.idx, 1), (9, ID.val)] {
        socket.send(&CnMsg::to(idx, val).in_message())?;
    }
    // The one that is known comes last: its call shows that the others were dropped before.
    socket.send(&CnMsg::to(ID.idx, ID.val).in_message())?;
    expect_eq("calls", bus.calls(On::Connector)?.len(), 1)?;
    socket.expect_nothing("answer")
}

fn callback_sees_what_was_sent(bus: &Bus<'_>) -> Outcome {
    let mut callback = Callback::named("nlc_sees", ID);
    callback.script = vec![Step::new(On::Connector, Action::Capture(Capture::Message))];
    add(bus, callback)?;
    let sent =
        CnMsg { seq: u32::MAX, ack: 5, flags: 0xbeef, data: b"data".to_vec(), ..CnMsg::to(ID.idx, ID.val) };
    bus.bound(NETLINK_CONNECTOR)?.send(&sent.in_message())?;
    let calls = bus.calls(On::Connector)?;
    expect_eq("cn_msg given", calls.first().and_then(|call| CnMsg::decode(&call.bytes)), Some(sent))
}
