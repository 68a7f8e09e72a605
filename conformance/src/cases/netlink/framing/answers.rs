//! What replies carry, and what becomes of a handler's return value.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_bytes, expect_eq, expect_errno, expect_ok};
use crate::port::provider::{Action, Call, Family, KernelSend, On, Op, Protocol, Step, Verb};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Datagram, Socket};
use crate::scene::requests::{self, ANSWERING};
use crate::wire::ack;
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, batch};
use crate::wire::route;

cases! {
    eintr_suppresses_the_reply => "NL-FRM-009";
    positive_return_is_reported(POSITIVE) => "NL-FRM-010";
    port_in_the_request_is_ignored => "NL-FRM-011";
    port_in_the_request_is_echoed_in_the_copy(ANSWERING) [initial_net] => "NL-FRM-011";
    sequence_number_is_echoed(SEQUENCE_NUMBERS) [initial_net] => "NL-FRM-012";
    dump_echoes_the_sequence_number(SEQUENCE_NUMBERS) [initial_net] => "NL-FRM-012";
    notification_has_its_senders_sequence_number => "NL-FRM-019";
    notification_of_the_controller_has_sequence_number_0 => "NL-FRM-019";
    reply_comes_from_port_0 => "NL-FRM-013";
    sender_and_group_are_in_the_address(GROUPS) => "NL-FRM-013";
    group_of_a_kernel_multicast_is_in_the_address => "NL-FRM-013";
    high_group_is_not_in_the_address => "NL-FRM-013";
    group_of_a_unicast_is_0 => "NL-FRM-014";
    group_of_a_multicast_is_reported(GROUPS) => "NL-FRM-014";
    group_above_32_is_reported => "NL-FRM-014";
    group_is_not_reported_without_pktinfo => "NL-FRM-014";
    request_after_a_dump_is_handled => "NL-FRM-015";
    dump_after_a_running_dump_is_refused => "NL-FRM-020";
    dump_after_a_finished_dump_runs => "NL-FRM-020";
}

/// Registers a family whose command 1 returns this, and sends it a request.
fn asked_for(bus: &Bus<'_>, returned: i64) -> Result<(Socket, Message), Failure> {
    let family = Family::named("nlc_returns").op(Op::doing(1)).on(On::Doit, Action::Return(returned));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    let request = family.request(1, Attrs::new()).with(NLM_F_ACK).seq(7);
    socket.send(&request)?;
    Ok((socket, request))
}

fn eintr_suppresses_the_reply(bus: &Bus<'_>) -> Outcome {
    let (socket, _) = asked_for(bus, -(Errno::EINTR as i64))?;
    expect_eq("calls of the handler", bus.calls(On::Doit)?.len(), 1)?;
    socket.expect_nothing("answer")
}

const POSITIVE: &[(&str, i64)] = &[("1", 1), ("7", 7), ("highest", i32::MAX as i64)];

fn positive_return_is_reported(bus: &Bus<'_>, returned: &i64) -> Outcome {
    let (socket, request) = asked_for(bus, *returned)?;
    let answer = socket.receive_one()?;
    expect_eq("type", answer.kind, NLMSG_ERROR)?;
    expect_eq("status", answer.status(), Some(*returned as i32))?;
    expect_bytes("copy of the request", ack::copy(&answer), request.encode())
}

fn port_in_the_request_is_ignored(bus: &Bus<'_>) -> Outcome {
    let (socket, other) = (bus.bound(libc::NETLINK_ROUTE)?, bus.bound(libc::NETLINK_ROUTE)?);
    socket.send(&route::refused(7).portid(other.portid()?))?;
    expect_eq("nlmsg_pid of the answer", socket.receive_one()?.portid, socket.portid()?)?;
    other.expect_nothing("answer on the socket that the request named")
}

fn port_in_the_request_is_echoed_in_the_copy(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    let socket = bus.bound(*protocol)?;
    let request = requests::get(*protocol).with(NLM_F_ACK).portid(0x1234_5678);
    let (reply, done) = socket.reply_and_acknowledgement(&request)?;
    let port = socket.portid()?;
    expect_eq("nlmsg_pid of reply and acknowledgement", (reply.portid, done.portid), (port, port))?;
    expect_bytes("copy of the request's header", ack::copy(&done), request.header())
}

/// Protocol, and sequence number of the request.
const SEQUENCE_NUMBERS: &[(&str, (i32, u32))] = &[
    ("0", (libc::NETLINK_GENERIC, 0)),
    ("1", (libc::NETLINK_GENERIC, 1)),
    ("highest", (libc::NETLINK_GENERIC, u32::MAX)),
    ("0_on_route", (libc::NETLINK_ROUTE, 0)),
    ("1_on_route", (libc::NETLINK_ROUTE, 1)),
    ("highest_on_route", (libc::NETLINK_ROUTE, u32::MAX)),
];

fn sequence_number_is_echoed(bus: &Bus<'_>, (protocol, seq): &(i32, u32)) -> Outcome {
    let socket = bus.bound(*protocol)?;
    let (reply, ack) =
        socket.reply_and_acknowledgement(&requests::get(*protocol).with(NLM_F_ACK).seq(*seq))?;
    expect_eq("sequence number of the reply", reply.seq, *seq)?;
    expect_eq("sequence number of the acknowledgement", ack.seq, *seq)?;
    socket.send(&requests::refused(*protocol, *seq))?;
    expect_eq("sequence number of the refusal", socket.receive_one()?.seq, *seq)
}

fn dump_echoes_the_sequence_number(bus: &Bus<'_>, (protocol, seq): &(i32, u32)) -> Outcome {
    let socket = bus.bound(*protocol)?;
    let request = requests::dump(*protocol).seq(*seq);
    socket.send(&request)?;
    let answer = socket.answer_to(&request)?;
    expect("messages of the dump", !answer.replies.is_empty(), "some", &answer.replies)?;
    expect_ok("end of the dump", answer.ack()?)
}

fn notification_has_its_senders_sequence_number(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_notifies").group("events"))?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    let send = KernelSend { seq: 0xfeed_f00d, ..KernelSend::new(Verb::Multicast) };
    expect_ok("genlmsg_multicast()", family.send(send)?)?;
    expect_eq("sequence number", socket.receive_one()?.seq, 0xfeed_f00d)
}

fn notification_of_the_controller_has_sequence_number_0(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.join(genl::CTRL_NOTIFY)?;
    bus.register(Family::named("nlc_new"))?;
    let news = socket.receive_one()?;
    expect_eq("command", genl::cmd(&news), Some(genl::CTRL_CMD_NEWFAMILY))?;
    expect_eq("sequence number", news.seq, bus.expected::<u32>("notification")?)
}

fn reply_comes_from_port_0(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.send(&route::refused(7))?;
    let from = socket.receive()?.incoming.from;
    expect_bytes("sender's address", from, Address::KERNEL.encode())
}

/// Groups of `NETLINK_USERSOCK`.
const GROUPS: &[(&str, u32)] = &[("1", 1), ("3", 3), ("32", 32)];

/// A multicast to this group from user space, as received, and the port that sent it.
fn multicast(bus: &Bus<'_>, receiver: &Socket, group: u32) -> Result<(Datagram, u32), Failure> {
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    receiver.join(group)?;
    // It reaches the group; the kernel, which comes next, takes none.
    let sent = sender.send_to(Address::groups(1 << (group - 1)), b"hello");
    expect_errno("send() to a group and the kernel", sent, Errno::ECONNREFUSED)?;
    Ok((receiver.receive()?, sender.portid()?))
}

fn sender_and_group_are_in_the_address(bus: &Bus<'_>, group: &u32) -> Outcome {
    let (datagram, portid) = multicast(bus, &bus.bound(libc::NETLINK_USERSOCK)?, *group)?;
    let from = Address { portid, ..Address::groups(1 << (group - 1)) };
    expect_bytes("sender's address", datagram.incoming.from, from.encode())
}

/// Creates a protocol of 40 groups, joins one and sends to it; returns what the socket received.
fn notified(bus: &Bus<'_>, group: u32) -> Result<Datagram, Failure> {
    let protocol = Protocol::with_groups(FREE_PROTOCOL, 40);
    let handle = bus.create_protocol(&protocol)?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    socket.set(libc::NETLINK_PKTINFO, 1)?;
    socket.join(group)?;
    let send = KernelSend { group, cmd: 0x20, ..KernelSend::new(Verb::Multicast) };
    let sent = bus.send_from(handle, &send, &Call::default())?;
    expect_ok("nlmsg_multicast()", sent)?;
    socket.receive()
}

fn group_of_a_kernel_multicast_is_in_the_address(bus: &Bus<'_>) -> Outcome {
    let from = notified(bus, 5)?.incoming.from;
    expect_bytes("sender's address", from, Address::groups(1 << 4).encode())
}

fn high_group_is_not_in_the_address(bus: &Bus<'_>) -> Outcome {
    let from = notified(bus, 33)?.incoming.from;
    expect_bytes("sender's address", from, Address::KERNEL.encode())
}

/// `NETLINK_PKTINFO` must report this group.
fn expect_group(datagram: &Datagram, group: u32) -> Outcome {
    let info = datagram.control(libc::NETLINK_PKTINFO);
    expect_eq("struct nl_pktinfo", info, Some(&group.to_ne_bytes()[..]))
}

fn group_of_a_unicast_is_0(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.set(libc::NETLINK_PKTINFO, 1)?;
    socket.send(&route::refused(7))?;
    expect_group(&socket.receive()?, 0)
}

fn group_of_a_multicast_is_reported(bus: &Bus<'_>, group: &u32) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    socket.set(libc::NETLINK_PKTINFO, 1)?;
    expect_group(&multicast(bus, &socket, *group)?.0, *group)
}

fn group_above_32_is_reported(bus: &Bus<'_>) -> Outcome {
    expect_group(&notified(bus, 33)?, 33)
}

fn group_is_not_reported_without_pktinfo(bus: &Bus<'_>) -> Outcome {
    let (datagram, _) = multicast(bus, &bus.bound(libc::NETLINK_USERSOCK)?, 3)?;
    expect_eq("struct nl_pktinfo", datagram.control(libc::NETLINK_PKTINFO), None)
}

/// Receives datagrams until a dump ends.
fn until_done(socket: &Socket) -> Result<Vec<Message>, Failure> {
    let mut messages = Vec::new();
    while !messages.iter().any(|message: &Message| message.kind == NLMSG_DONE) {
        messages.extend(socket.receive()?.messages);
    }
    Ok(messages)
}

fn request_after_a_dump_is_handled(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let attrs = || Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    let dump = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs()).with(NLM_F_DUMP).seq(1);
    let get = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs()).with(NLM_F_ACK).seq(2);
    socket.send_bytes(&batch(&[dump, get]))?;
    let first: Vec<u32> = socket.receive()?.messages.iter().map(|message| message.seq).collect();
    let of_dump = !first.is_empty() && first.iter().all(|seq| *seq == 1);
    expect("sequence numbers in the first datagram", of_dump, "those of the dump", first)?;
    expect_eq("sequence number of the reply", socket.receive_one()?.seq, 2)?;
    let ack = socket.receive_one()?;
    expect_eq("type and sequence number of the acknowledgement", (ack.kind, ack.seq), (NLMSG_ERROR, 2))
}

/// A family whose command 1 dumps many records, and whose command 2 ends in its first call.
fn dumper() -> Family {
    let records = Step::new(On::Dumpit, Action::records(100, 500)).cmd(1);
    let put = Step::new(On::Dumpit, Action::Put(2, 0, vec![])).cmd(2);
    let end = Step::new(On::Dumpit, Action::Return(0)).cmd(2);
    let family = Family::named("nlc_dumper").op(Op::dumping(1)).op(Op::dumping(2));
    family.step(records).step(put).step(end)
}

fn dump_after_a_running_dump_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(dumper())?;
    let socket = bus.generic()?;
    let dump = |seq| family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(seq);
    socket.send_bytes(&batch(&[dump(1), dump(2)]))?;
    let (refusals, first): (Vec<_>, Vec<_>) =
        until_done(&socket)?.into_iter().partition(|message| message.seq == 2);
    let refusals: Vec<_> = refusals.iter().map(|message| (message.kind, message.status())).collect();
    let busy = -(bus.expected::<Errno>("errno")? as i32);
    expect_eq("type and status of the answers to the second dump", refusals, [(NLMSG_ERROR, Some(busy))])?;
    expect_eq("messages of the first dump", first.len(), 101)
}

fn dump_after_a_finished_dump_runs(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(dumper())?;
    let socket = bus.generic()?;
    let dump = |seq| family.request(2, Attrs::new()).with(NLM_F_DUMP).seq(seq);
    socket.send_bytes(&batch(&[dump(1), dump(2)]))?;
    for seq in [1, 2] {
        let messages = until_done(&socket)?;
        let messages: Vec<_> = messages.iter().map(|message| (message.seq, message.kind)).collect();
        expect_eq(&format!("messages of dump {seq}"), messages, [(seq, family.id), (seq, NLMSG_DONE)])?;
    }
    Ok(())
}
