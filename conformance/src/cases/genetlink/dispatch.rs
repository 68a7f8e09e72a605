//! From a request to its command, and back.

use crate::bus::Bus;
use crate::cases::cases;
use crate::outcome::{Outcome, expect_eq, expect_errno, expect_ok};
use crate::target::provider::{Action, Family, On, Op};
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{ACK, DUMP, ERROR, Message};

cases! {
    unknown_family_is_refused(UNKNOWN_IDS) => "GENL-DSP-001";
    unknown_family_is_refused_before_its_length => "GENL-DSP-001";
    message_without_command_is_refused(SHORT) => "GENL-DSP-003";
    unknown_command_is_refused(UNKNOWN_COMMANDS) => "GENL-DSP-007";
    do_of_a_dump_only_command_is_refused => "GENL-DSP-008";
    dump_of_a_do_only_command_is_refused => "GENL-DSP-008";
    reply_comes_before_the_acknowledgement => "GENL-DSP-024";
}

const UNKNOWN_IDS: &[(&str, u16)] = &[("last", genl::MAX_ID), ("highest", u16::MAX)];

fn unknown_family_is_refused(bus: &Bus<'_>, id: &u16) -> Outcome {
    let answer = bus.generic()?.ask(&genl::request(*id, 1, Attrs::new()).with(ACK))?;
    expect_errno("request", answer, bus.expected("errno")?)
}

fn unknown_family_is_refused_before_its_length(bus: &Bus<'_>) -> Outcome {
    let answer = bus.generic()?.ask(&Message::request(genl::MAX_ID).with(ACK))?;
    expect_errno("request without a genlmsghdr", answer, bus.expected("errno")?)
}

const SHORT: &[(&str, usize)] = &[("0", 0), ("1", 1), ("3", 3)];

fn message_without_command_is_refused(bus: &Bus<'_>, len: &usize) -> Outcome {
    let request = Message::request(genl::ID_CTRL).with(ACK).bytes(&genl::header(3, 1)[..*len]);
    expect_errno("request", bus.generic()?.ask(&request)?, bus.expected("errno")?)
}

const UNKNOWN_COMMANDS: &[(&str, u8)] = &[("0", 0), ("newfamily", 1), ("getops", 6), ("highest", 255)];

fn unknown_command_is_refused(bus: &Bus<'_>, cmd: &u8) -> Outcome {
    let answer = bus.generic()?.ask(&genl::request(genl::ID_CTRL, *cmd, Attrs::new()).with(ACK))?;
    expect_errno("request", answer, bus.expected("errno")?)
}

fn do_of_a_dump_only_command_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_dumps").op(Op::dumping(1)))?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(ACK))?;
    expect_errno("do request", answer, bus.expected("errno")?)
}

fn dump_of_a_do_only_command_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_does").op(Op::doing(1)))?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(DUMP))?;
    expect_errno("dump request", answer, bus.expected("errno")?)
}

fn reply_comes_before_the_acknowledgement(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_replies").op(Op::doing(1)).on(On::Doit, Action::Reply(2, 0, vec![]));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(ACK).seq(7))?;
    let (reply, ack) = (socket.receive_one()?, socket.receive_one()?);
    expect_eq("type and command of the first", (reply.kind, genl::cmd(&reply)), (family.id, Some(2)))?;
    expect_eq("type of the second", ack.kind, ERROR)?;
    expect_ok("acknowledgement", ack.status().unwrap_or(i32::MIN) as i64)
}
