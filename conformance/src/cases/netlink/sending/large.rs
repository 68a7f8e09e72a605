//! Messages that need more than a page, or more than any one allocation gives.

use nix::errno::Errno;
use nix::libc::{self, MSG_DONTWAIT, SO_RCVBUFFORCE, SO_SNDBUFFORCE, SOL_SOCKET};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_bytes, expect_eq, expect_errno, expect_ok};
use crate::port::provider::{Action, AttrKind, Check, Family, KernelSend, On, Op, Policy, PolicyEntry, Verb};
use crate::port::{Outgoing, Receive};
use crate::scene::bus::{Bus, Socket};
use crate::wire::ack::Ack;
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_ACK_TLVS, NLMSG_NOOP, UNKNOWN};

cases! {
    large_unicast_arrives_whole(LARGE) => "NL-SEND-024";
    large_multicast_arrives_whole_everywhere(WIDE) => "NL-SEND-024";
    multicast_beyond_one_allocation_is_refused => "NL-SEND-024";
    large_multicast_of_the_kernel_arrives_whole_everywhere => "NL-SEND-024";
    large_request_is_handled => "NL-SEND-024";
    refusal_of_a_large_request_copies_it => "NL-ACK-018";
    ext_ack_stands_after_the_copy_of_a_large_request => "NL-ACK-018";
    capped_refusal_of_a_large_request_is_small(LARGE) => "NL-ACK-018";
}

/// Room for what is sent and received, in bytes.
const BUFFER: u32 = 16 << 20;

const LARGE: &[(&str, usize)] = &[("4_kib", 4096), ("30_kib", 30 << 10), ("5_mib", 5 << 20)];
const WIDE: &[(&str, usize)] = &[("4_kib", 4096), ("30_kib", 30 << 10), ("100_kib", 100 << 10)];

/// Bytes of which each place has its own.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

/// A socket that may send and receive what is large.
fn spacious(bus: &Bus<'_>, protocol: i32) -> Result<Socket, Failure> {
    let socket = bus.bound(protocol)?;
    socket.set_at(SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)?;
    socket.set_at(SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)?;
    Ok(socket)
}

fn large_unicast_arrives_whole(bus: &Bus<'_>, len: &usize) -> Outcome {
    let [sender, receiver] = pair(bus)?;
    let to = Some(Address::port(receiver.portid()?).encode());
    let outgoing = Outgoing { bytes: pattern(*len), to, ..Outgoing::default() };
    // Not through the bus: it would note so many bytes.
    expect_eq("send()", sender.raw().send(&outgoing), Ok(*len))?;
    let incoming = receiver.raw().receive(&Receive { room: 2 * len, flags: MSG_DONTWAIT })?;
    expect_bytes("what arrived", incoming.bytes, outgoing.bytes)
}

fn pair(bus: &Bus<'_>) -> Result<[Socket; 2], Failure> {
    Ok([spacious(bus, libc::NETLINK_USERSOCK)?, spacious(bus, libc::NETLINK_USERSOCK)?])
}

fn large_multicast_arrives_whole_everywhere(bus: &Bus<'_>, len: &usize) -> Outcome {
    let [sender, first] = pair(bus)?;
    let [second, third] = pair(bus)?;
    let bytes = pattern(*len);
    for member in [&first, &second, &third] {
        member.join(1)?;
    }
    // Nobody is at port 0, which the message goes to as well.
    let sent = sender.send_to(Address::groups(1), &bytes);
    expect_errno("send()", sent, Errno::ECONNREFUSED)?;
    for member in [first, second, third] {
        expect_bytes("what arrived", member.receive_into(2 * len)?.incoming.bytes, &bytes)?;
    }
    Ok(())
}

fn multicast_beyond_one_allocation_is_refused(bus: &Bus<'_>) -> Outcome {
    let [sender, member] = pair(bus)?;
    member.join(1)?;
    let to = Some(Address::groups(1).encode());
    // Not through the bus: it would note so many bytes.
    let sent = sender.raw().send(&Outgoing { bytes: vec![0xa5; 5 << 20], to, ..Outgoing::default() });
    expect_errno("send()", sent, bus.expected("errno")?)?;
    member.expect_nothing("multicast that was refused")
}

fn large_multicast_of_the_kernel_arrives_whole_everywhere(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_large").group("events"))?;
    let members = [spacious(bus, libc::NETLINK_GENERIC)?, spacious(bus, libc::NETLINK_GENERIC)?];
    for member in &members {
        member.join(family.groups[0])?;
    }
    let payload = pattern(60_000);
    let send = KernelSend { payload: payload.clone(), ..KernelSend::new(Verb::Multicast) };
    expect_ok("genlmsg_multicast_netns()", family.send(send)?)?;
    for member in members {
        expect_bytes("payload after the genlmsghdr", &member.receive_one()?.payload[4..], &payload)?;
    }
    Ok(())
}

fn large_request_is_handled(bus: &Bus<'_>) -> Outcome {
    let socket = spacious(bus, libc::NETLINK_ROUTE)?;
    let request = Message::request(NLMSG_NOOP).with(NLM_F_ACK).bytes(&pattern(30 << 10));
    expect_ok("acknowledgement", socket.ask(&request)?)
}

fn refusal_of_a_large_request_copies_it(bus: &Bus<'_>) -> Outcome {
    let socket = spacious(bus, libc::NETLINK_GENERIC)?;
    let request = Message::request(UNKNOWN).seq(7).bytes(&pattern(30 << 10));
    socket.send(&request)?;
    expect_bytes("copy of the request", &socket.receive_one()?.payload[4..], request.encode())
}

fn ext_ack_stands_after_the_copy_of_a_large_request(bus: &Bus<'_>) -> Outcome {
    let policy =
        [PolicyEntry::new(1, AttrKind::Binary), PolicyEntry::new(2, AttrKind::U32).check(Check::Max(3))];
    let family = Family::named("nlc_behind").policy(Policy::of(policy)).op(Op::doing(1));
    let family = bus.register(family.on(On::Doit, Action::Return(0)))?;
    let socket = spacious(bus, libc::NETLINK_GENERIC)?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    let attrs = Attrs::new().put(1, &pattern(30_000)).u32(2, 4);
    let request = family.request(1, attrs).with(NLM_F_ACK).seq(7);
    socket.send(&request)?;
    let refusal = socket.receive_one()?;
    expect_eq("flags", refusal.flags, NLM_F_ACK_TLVS)?;
    let end = 4 + request.len() as usize;
    expect_bytes("copy of the request", &refusal.payload[4..end], request.encode())?;
    let ack = Ack::read(&refusal).unwrap_or_default();
    expect_errno("refusal", &ack, Errno::ERANGE)?;
    expect_eq("NLMSGERR_ATTR_OFFS", ack.offset, Some(request.len() - 8))
}

fn capped_refusal_of_a_large_request_is_small(bus: &Bus<'_>, len: &usize) -> Outcome {
    let socket = spacious(bus, libc::NETLINK_GENERIC)?;
    socket.set(libc::NETLINK_CAP_ACK, 1)?;
    let bytes = Message::request(UNKNOWN).seq(7).bytes(&vec![0xa5; *len]).encode();
    // Not through the bus: it would note so many bytes.
    expect_ok("send()", socket.raw().send(&Outgoing { bytes, ..Outgoing::default() }))?;
    expect_eq("nlmsg_len of the refusal", socket.receive_one()?.len(), 36)
}
