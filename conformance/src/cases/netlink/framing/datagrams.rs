//! Datagrams of several messages, as kernel code builds them.

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_bytes, expect_eq, expect_ok};
use crate::port::provider::{Action, Family, KernelSend, On, Op, OpKind, Protocol, RawDatagram, Step, Verb};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Socket};
use crate::wire::attr::Attrs;
use crate::wire::message::{
    self, Message, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTI, NLMSG_DONE, NLMSG_NOOP, batch,
};

cases! {
    reply_of_a_protocol_may_hold_several_messages => "NL-FRM-018";
    reply_of_a_family_may_hold_several_messages(REQUESTS) => "NL-FRM-018";
    part_of_a_dump_may_hold_any_messages => "NL-FRM-018";
    multicast_may_hold_several_messages => "NL-FRM-018";
}

const SEQ: u32 = 0x5e90_0007;

/// A message that means nothing, one that needs padding, and an end of a dump that says nothing.
fn messages(kind: u16) -> [Message; 3] {
    let part = Message::new(kind).with(NLM_F_MULTI | NLM_F_DUMP_INTR).bytes(&[1, 1, 0, 0, 5]);
    [Message::new(NLMSG_NOOP), part, Message::new(NLMSG_DONE).with(NLM_F_MULTI)]
}

/// The same as the answer to a request of this type and `SEQ`.
fn answer(kind: u16, socket: &Socket) -> Result<Vec<u8>, Failure> {
    let portid = socket.portid()?;
    Ok(batch(&messages(kind).map(|message| message.seq(SEQ).portid(portid))))
}

/// Sends that answer, whose `type` is the request's; there is no acknowledgement.
fn answering(on: On) -> [Step; 2] {
    let [noop, part, done] = messages(0);
    let datagram = RawDatagram::default().reply(&noop).family_reply(&part).reply(&done);
    let silence = Action::Return(-(Errno::EINTR as i64));
    [Step::new(on, Action::Datagram(datagram)), Step::new(on, silence)]
}

fn reply_of_a_protocol_may_hold_several_messages(bus: &Bus<'_>) -> Outcome {
    let script = answering(On::Input).to_vec();
    let protocol = Protocol { script, ..Protocol::with_groups(FREE_PROTOCOL, 0) };
    bus.create_protocol(&protocol)?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    socket.send(&Message::request(0x20).seq(SEQ))?;
    expect_bytes("datagram", socket.receive()?.incoming.bytes, answer(0x20, &socket)?)?;
    socket.expect_nothing("second datagram")
}

/// The flags of a request, and the callback that answers it.
const REQUESTS: &[(&str, (u16, On))] = &[("doit", (0, On::Doit)), ("start", (NLM_F_DUMP, On::Start))];

fn reply_of_a_family_may_hold_several_messages(bus: &Bus<'_>, (flags, on): &(u16, On)) -> Outcome {
    let family = Family::named("nlc_answers").op(Op { doit: true, ..Op::dumping(1) });
    let family = bus.register(answering(*on).into_iter().fold(family, Family::step))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(*flags).seq(SEQ))?;
    expect_bytes("datagram", socket.receive()?.incoming.bytes, answer(family.id, &socket)?)?;
    socket.expect_nothing("second datagram")
}

fn part_of_a_dump_may_hold_any_messages(bus: &Bus<'_>) -> Outcome {
    let [noop, part, done] = messages(0);
    let datagram = RawDatagram::default().reply(&noop).family_reply(&part).exactly(&done);
    let family = Family::named("nlc_dumps").op(Op::dumping(1).kind(OpKind::Small));
    let family = bus.register(family.step(Step::new(On::Dumpit, Action::Datagram(datagram)).call(1)))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(SEQ))?;
    let mut expected = answer(family.id, &socket)?;
    let exact = expected.len() - message::NLMSG_HDRLEN;
    expected[exact..].copy_from_slice(&done.header());
    expect_bytes("first datagram", socket.receive()?.incoming.bytes, expected)?;
    let end = socket.receive_one()?;
    expect_eq("type and sequence number of what follows", (end.kind, end.seq), (NLMSG_DONE, SEQ))
}

fn multicast_may_hold_several_messages(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_notifies").group("events"))?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    let messages = messages(family.id);
    expect_ok("genlmsg_multicast()", family.send(KernelSend::messages(Verb::Multicast, &messages))?)?;
    expect_bytes("datagram", socket.receive()?.incoming.bytes, batch(&messages))?;
    socket.expect_nothing("second datagram")
}
