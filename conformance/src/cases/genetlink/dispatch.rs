//! From a request to its command, and back.

mod answers;
mod callbacks;
mod dumps;
mod headers;
mod parallel;
mod private;
mod privileges;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, Status, expect_eq, expect_errno, expect_ok, expect_result};
use crate::port::provider::{Action, Family, KernelSend, On, Op, OpKind, Verb};
use crate::scene::bus::Bus;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{self, Message, NLM_F_ACK, NLM_F_CAPPED, NLM_F_DUMP, NLMSG_ERROR};

cases! {
    unknown_family_is_refused(UNKNOWN_IDS) => "GENL-DSP-001";
    unknown_family_is_refused_before_its_length => "GENL-DSP-001";
    family_without_netnsok_is_unknown_elsewhere => "GENL-DSP-002";
    family_without_netnsok_replies_in_the_initial_namespace [initial_net] => "GENL-DSP-002";
    unknown_command_is_refused(UNKNOWN_COMMANDS) => "GENL-DSP-007";
    do_of_the_controllers_dump_only_command_is_refused => "GENL-DSP-008";
    do_of_a_dump_only_command_is_refused => "GENL-DSP-008";
    dump_of_a_do_only_command_is_refused(DOES) => "GENL-DSP-008";
    do_and_dump_of_one_command_are_separate => "GENL-DSP-008";
    attributes_for_no_policy_cause_no_warning(NO_POLICY) => "GENL-DSP-040";
    command_out_of_range_is_refused(ANY_COMMANDS) => "GENL-DSP-007";
    reply_comes_before_the_acknowledgement => "GENL-DSP-024";
    reply_of_the_controller_comes_before_the_acknowledgement => "GENL-DSP-024";
    send_to_a_closed_port_is_refused => "GENL-DSP-025";
    send_to_a_full_socket_is_refused => "GENL-DSP-025";
    acknowledgement_is_what_doit_returns(RETURNED) => "GENL-DSP-038";
    genlmsg_put_writes_the_headers => "GENL-DSP-026";
    genlmsg_put_needs_room_for_the_headers(ROOMS) => "GENL-DSP-039";
    + answers;
    + callbacks;
    + dumps;
    + headers;
    + parallel;
    + private;
    + privileges;
}

const UNKNOWN_IDS: &[(&str, u16)] = &[("last", genl::GENL_MAX_ID), ("highest", u16::MAX)];

fn unknown_family_is_refused(bus: &Bus<'_>, id: &u16) -> Outcome {
    let answer = bus.generic()?.ask(&genl::request(*id, 1, Attrs::new()).with(NLM_F_ACK))?;
    expect_errno("request", answer, bus.expected("errno")?)
}

fn unknown_family_is_refused_before_its_length(bus: &Bus<'_>) -> Outcome {
    let answer = bus.generic()?.ask(&Message::request(genl::GENL_MAX_ID).with(NLM_F_ACK))?;
    expect_errno("request without a genlmsghdr", answer, bus.expected("errno")?)
}

fn of_the_initial_namespace() -> Family {
    Family { netnsok: false, ..Family::named("nlc_initial") }.op(Op::doing(1))
}

fn family_without_netnsok_is_unknown_elsewhere(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(of_the_initial_namespace())?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_ACK))?;
    expect_errno("request", answer, bus.expected("errno")?)
}

fn family_without_netnsok_replies_in_the_initial_namespace(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(of_the_initial_namespace())?;
    expect_ok("request", bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_ACK))?)
}

const UNKNOWN_COMMANDS: &[(&str, u8)] = &[
    ("0", 0),
    ("newfamily", 1),
    ("delfamily", 2),
    ("newops", 4),
    ("delops", 5),
    ("getops", 6),
    ("newmcast_grp", 7),
    ("delmcast_grp", 8),
    ("getmcast_grp", 9),
    ("11", 11),
    ("highest", 255),
];

fn unknown_command_is_refused(bus: &Bus<'_>, cmd: &u8) -> Outcome {
    let answer =
        bus.generic()?.ask(&genl::request(genl::GENL_ID_CTRL, *cmd, Attrs::new()).with(NLM_F_ACK))?;
    expect_errno("request", answer, bus.expected("errno")?)
}

/// Kinds of commands, and numbers beyond those that a family has.
const ANY_COMMANDS: &[(&str, (OpKind, u8))] = &[
    ("full_0", (OpKind::Full, 0)),
    ("full_128", (OpKind::Full, 128)),
    ("full_255", (OpKind::Full, 255)),
    ("small_128", (OpKind::Small, 128)),
    ("small_255", (OpKind::Small, 255)),
    ("split_128", (OpKind::Split, 128)),
    ("split_255", (OpKind::Split, 255)),
];

fn command_out_of_range_is_refused(bus: &Bus<'_>, (kind, cmd): &(OpKind, u8)) -> Outcome {
    let family = bus.register(Family::named("nlc_one").op(doing(*kind, 1)))?;
    for flags in [NLM_F_ACK, NLM_F_DUMP] {
        let answer = bus.generic()?.ask(&family.request(*cmd, Attrs::new()).with(flags))?;
        expect_errno("request", answer, bus.expected("errno")?)?;
    }
    Ok(())
}

/// Types of attributes that a command without a policy is sent.
const NO_POLICY: &[(&str, u16)] = &[("1", 1), ("5", 5), ("highest", 0x3fff)];

/// The command is older than the checks of what nobody expects.
fn attributes_for_no_policy_cause_no_warning(bus: &Bus<'_>, kind: &u16) -> Outcome {
    let family = Family { resv_start_op: 2, ..Family::named("nlc_lax") }.op(Op::doing(1));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    socket.send(&family.request(1, Attrs::new().u32(*kind, 0)).with(NLM_F_ACK).seq(7))?;
    let ack = socket.receive_one()?;
    expect_eq("status", ack.status(), Some(0))?;
    expect_eq("flags and nlmsg_len", (ack.flags, ack.len()), (NLM_F_CAPPED, 36))
}

fn do_of_the_controllers_dump_only_command_is_refused(bus: &Bus<'_>) -> Outcome {
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs).with(NLM_F_ACK);
    expect_errno("do request for GETPOLICY", bus.generic()?.ask(&request)?, bus.expected("errno")?)
}

fn do_of_a_dump_only_command_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_dumps").op(Op::dumping(1)))?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_ACK))?;
    expect_errno("do request", answer, bus.expected("errno")?)
}

const DOES: &[(&str, (OpKind, u8))] = &[
    ("full", (OpKind::Full, 1)),
    ("small", (OpKind::Small, 1)),
    ("split", (OpKind::Split, 1)),
    ("highest_full", (OpKind::Full, 255)),
    ("highest_small", (OpKind::Small, 255)),
    ("highest_split", (OpKind::Split, 255)),
];

fn dump_of_a_do_only_command_is_refused(bus: &Bus<'_>, (kind, cmd): &(OpKind, u8)) -> Outcome {
    let family = bus.register(Family::named("nlc_does").op(doing(*kind, *cmd)))?;
    let answer = bus.generic()?.ask(&family.request(*cmd, Attrs::new()).with(NLM_F_DUMP))?;
    expect_errno("dump request", answer, bus.expected("errno")?)
}

/// An entry with `doit` in an array of this kind.
fn doing(kind: OpKind, cmd: u8) -> Op {
    let flags = if kind == OpKind::Split { genl::GENL_CMD_CAP_DO } else { 0 };
    Op::doing(cmd).kind(kind).flags(flags)
}

fn do_and_dump_of_one_command_are_separate(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_both").op(Op { doit: true, ..Op::dumping(1) }))?;
    let socket = bus.generic()?;
    let called = |flags| -> Result<Vec<On>, Failure> {
        socket.ask(&family.request(1, Attrs::new()).with(flags))?;
        Ok(bus.calls_so_far()?.iter().map(|entry| entry.on).collect())
    };
    expect_eq("callbacks of a do request", called(NLM_F_ACK)?, [On::Doit])?;
    expect_eq("callbacks of a dump request", called(NLM_F_DUMP)?, [On::Start, On::Dumpit, On::Done])
}

fn reply_comes_before_the_acknowledgement(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_replies").op(Op::doing(1)).on(On::Doit, Action::Reply(2, 0, vec![]));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_ACK).seq(7))?;
    let (reply, ack) = (socket.receive_one()?, socket.receive_one()?);
    expect_eq("type and command of the first", (reply.kind, genl::cmd(&reply)), (family.id, Some(2)))?;
    expect_eq("type of the second", ack.kind, NLMSG_ERROR)?;
    expect_ok("acknowledgement", ack.status().unwrap_or(i32::MIN) as i64)
}

fn reply_of_the_controller_comes_before_the_acknowledgement(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    socket
        .send(&genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs).with(NLM_F_ACK).seq(7))?;
    let (reply, ack) = (socket.receive_one()?, socket.receive_one()?);
    expect_eq("types", (reply.kind, ack.kind), (genl::GENL_ID_CTRL, NLMSG_ERROR))?;
    expect_ok("acknowledgement", ack.status().unwrap_or(i32::MIN) as i64)
}

fn send_to_a_closed_port_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_sends"))?;
    let portid = bus.generic()?.portid()?; // the socket is closed again
    let returned = family.send(KernelSend { portid, ..KernelSend::new(Verb::Unicast) })?;
    expect_errno("genlmsg_unicast()", returned, bus.expected("closed")?)
}

fn send_to_a_full_socket_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_sends"))?;
    let socket = bus.generic()?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?; // the minimum
    let (portid, payload) = (socket.portid()?, vec![0; 1000]);
    let send = KernelSend { portid, payload, ..KernelSend::new(Verb::Unicast) };
    let mut returned = 0;
    for _ in 0..100 {
        returned = family.send(send.clone())?;
        if returned != 0 {
            break;
        }
    }
    expect_errno("genlmsg_unicast() when the socket is full", returned, bus.expected("full")?)?;
    expect_errno("receive", socket.receive_now(4096, 0).map(drop), bus.expected("overrun")?)
}

const RETURNED: &[(&str, Result<(), Errno>)] =
    &[("0", Ok(())), ("eio", Err(Errno::EIO)), ("enoent", Err(Errno::ENOENT))];

fn acknowledgement_is_what_doit_returns(bus: &Bus<'_>, returned: &Result<(), Errno>) -> Outcome {
    let family = Family::named("nlc_replies")
        .op(Op::doing(1))
        .on(On::Doit, Action::Reply(2, 0, vec![]))
        .on(On::Doit, Action::Return(returned.status()));
    let family = bus.register(family)?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_ACK))?;
    expect_eq("command of the reply", genl::cmd(answer.reply()?), Some(2))?;
    expect_result("acknowledgement", answer.ack()?, *returned)
}

fn genlmsg_put_writes_the_headers(bus: &Bus<'_>) -> Outcome {
    let family = Family { hdrsize: 8, ..Family::named("nlc_headers").version(0x1ff02) };
    let family =
        family.op(Op::doing(1)).on(On::Doit, Action::Reply(9, message::NLM_F_MULTI, vec![1, 2, 3, 4]));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    let request = family.request(1, Attrs::new()).bytes(&[0; 8]).with(NLM_F_ACK).seq(0x77);
    let answer = socket.ask(&request)?;
    let reply = answer.reply()?;
    expect_eq("type", reply.kind, family.id)?;
    expect_eq("length", reply.len(), bus.expected::<u32>("headers")? + 8 + 4)?;
    expect_eq("flags", reply.flags, message::NLM_F_MULTI)?;
    expect_eq("sequence number and port ID", (reply.seq, reply.portid), (0x77, socket.portid()?))?;
    expect_eq(
        "command, version, reserved, own header and payload",
        &reply.payload[..],
        [9, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
    )
}

/// Size of the family's own header, and the number of bytes missing for all headers.
const ROOMS: &[(&str, (u32, u32))] = &[
    ("just_enough", (0, 0)),
    ("one_byte_less", (0, 1)),
    ("own_header", (8, 0)),
    ("own_header_one_byte_less", (8, 1)),
    ("uneven_own_header", (5, 0)),
    ("uneven_own_header_without_padding", (5, 1)),
    ("large_own_header", (30_000, 0)),
];

fn genlmsg_put_needs_room_for_the_headers(bus: &Bus<'_>, (hdrsize, missing): &(u32, u32)) -> Outcome {
    let family = bus.register(Family { hdrsize: *hdrsize, ..Family::named("nlc_room") })?;
    let own = hdrsize.next_multiple_of(bus.expected("alignment")?);
    let room = bus.expected::<u32>("headers")? + own - missing;
    let fits = family.send(KernelSend::new(Verb::PutInto(room)))?;
    expect_eq(&format!("genlmsg_put() into {room} bytes found room"), fits == 1, *missing == 0)
}
