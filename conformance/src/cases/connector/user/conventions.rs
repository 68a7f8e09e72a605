//! What the documents say about the connector's messages.

use nix::libc::{NETLINK_CONNECTOR, SO_RCVBUF, SOL_SOCKET};

use crate::cases::cases;
use crate::outcome::{Outcome, expect, expect_eq, expect_errno, expect_ok};
use crate::port::capability::Capability;
use crate::port::provider::{Call, Callback, CbId};
use crate::scene::bus::Bus;
use crate::wire::address::Address;
use crate::wire::connector::{CnMsg, HEADER};
use crate::wire::process::{CN_IDX_PROC, PROC_CN_MCAST_LISTEN, PROC_EVENT, control};
use crate::wire::u16_at;

cases! {
    acknowledgement_raises_ack_by_one [initial_net, loses] => "CN-CONV-002";
    request_for_notifications_is_dropped [initial_net] => "CN-CONV-003";
    callbacks_come_and_go_without_notice [initial_net] => "CN-CONV-003";
    cn_msg_has_20_bytes [initial_net] => "CN-CONV-004";
    lost_messages_leave_a_gap [initial_net] => "CN-CONV-005";
}

fn acknowledgement_raises_ack_by_one(bus: &Bus<'_>) -> Outcome {
    let (witness, sender) = (bus.listener()?, bus.outside_observer()?);
    sender.socket.send(&CnMsg { ack: 200, ..control(0) }.in_message())?;
    witness.acknowledgement(200 + bus.expected::<u32>("step")?).map(drop)
}

/// All groups except that of the process events.
const OTHER_GROUPS: Address = Address::groups(!1);

fn request_for_notifications_is_dropped(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::ProcConnector)?;
    let socket = bus.open(NETLINK_CONNECTOR)?;
    socket.bind(OTHER_GROUPS)?;
    // struct cn_ctl_msg without ranges: idx_notify_num, val_notify_num, group, len.
    let request = CnMsg { data: [[0; 4], [0; 4], 5u32.to_ne_bytes(), [0; 4]].concat(), ..CnMsg::to(!0, !0) };
    expect_ok("send()", socket.send(&request.in_message()))?;
    socket.expect_nothing("answer")
}

fn callbacks_come_and_go_without_notice(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(NETLINK_CONNECTOR)?;
    socket.bind(OTHER_GROUPS)?;
    let id = CbId { idx: 20, val: 0x456 };
    bus.add_callback(&Callback::named("nlc_silent", id), &Call::default())?;
    bus.del_callback(id)?;
    socket.expect_nothing("notification")
}

fn cn_msg_has_20_bytes(bus: &Bus<'_>) -> Outcome {
    let socket = bus.member_for_events()?;
    let ack = socket.request(control(PROC_CN_MCAST_LISTEN))?;
    let answer = socket.acknowledgement(ack)?;
    let bytes = &answer.message.payload;
    expect_eq("bytes of the cn_msg and its data", bytes.len(), HEADER + PROC_EVENT)?;
    let mut head = Vec::new();
    for word in [CN_IDX_PROC, CN_IDX_PROC, answer.message.seq, ack] {
        head.extend(word.to_ne_bytes());
    }
    expect_eq("idx, val, seq, ack", &bytes[..16], &head[..])?;
    let rest = (u16_at(bytes, 16), u16_at(bytes, 18));
    expect_eq("len and flags", rest, (Some(PROC_EVENT as u16), Some(0)))
}

fn lost_messages_leave_a_gap(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::ProcConnector)?;
    const GROUP: u32 = 5;
    let (sender, receiver) = (bus.bound(NETLINK_CONNECTOR)?, bus.bound(NETLINK_CONNECTOR)?);
    receiver.join(GROUP)?;
    receiver.set_at(SOL_SOCKET, SO_RCVBUF, 0)?;
    let numbered = |seq| CnMsg { seq, ..CnMsg::to(GROUP, 1) }.in_message().encode();
    for seq in 0..50 {
        sender.send_to(Address::groups(1 << (GROUP - 1)), &numbered(seq))?;
    }
    expect_errno("receiving after them", receiver.receive_now(1024, 0).map(drop), bus.expected("errno")?)?;
    let mut left = Vec::new();
    while let Ok(datagram) = receiver.receive_now(1024, 0) {
        left.push(CnMsg::decode(&datagram.only()?.payload).unwrap_or_default().seq);
    }
    sender.send_to(Address::groups(1 << (GROUP - 1)), &numbered(50))?;
    left.push(CnMsg::decode(&receiver.receive_one()?.payload).unwrap_or_default().seq);
    let gap = left.is_sorted() && left.len() < 51;
    expect("numbers received", gap, "ascending, with a gap before the last", &left)
}
