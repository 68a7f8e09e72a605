//! The extended acknowledgement of a dump: with its NLMSG_DONE, or with the error of its start.

use nix::errno::Errno;
use nix::libc;

use super::{ENDS, all_but, dumpit, family, returned};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_errno, expect_result};
use crate::port::provider::{Action, AttrKind, On, Policy, PolicyEntry, Step};
use crate::scene::bus::Bus;
use crate::wire::ack::Ack;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{self, Message, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_MULTI};

cases! {
    done_carries_a_message(ENDS) => "NL-DMP-017";
    done_reports_an_attribute_offset_for_an_error(ENDS) => "NL-DMP-017";
    message_of_an_earlier_call_is_not_carried => "NL-DMP-017";
    nothing_is_carried_without_ext_ack => "NL-DMP-017";
    extended_ack_fits_after_done_or_is_omitted(LEFT) => "NL-DMP-030", "NL-DMP-005";
    failed_start_carries_a_message => "NL-DMP-018";
    failed_start_carries_an_attribute_offset => "NL-DMP-018";
    done_of_a_later_portion_points_to_the_attribute => "NL-DMP-017";
}

/// A family that accepts attribute 1, and a request for its dump that has it.
fn with_attribute(bus: &Bus<'_>, steps: impl IntoIterator<Item = Step>) -> Result<Message, Failure> {
    let policy = Policy::of([PolicyEntry { attr: 1, kind: AttrKind::U32, ..PolicyEntry::default() }]);
    let family = bus.register(family(steps).policy(policy))?;
    Ok(family.request(1, Attrs::new().u32(1, 7)).with(NLM_F_DUMP))
}

/// The end of the dump that `request` asks for, on a socket with NETLINK_EXT_ACK.
fn extended_end(bus: &Bus<'_>, request: &Message) -> Result<Ack, Failure> {
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    Ok(socket.ask(request)?.ack()?.clone())
}

fn done_carries_a_message(bus: &Bus<'_>, end: &Result<(), Errno>) -> Outcome {
    let request = with_attribute(bus, [dumpit(Action::ErrMsg("so it goes".into())), dumpit(returned(end))])?;
    let done = extended_end(bus, &request)?;
    expect_result("NLMSG_DONE", &done, *end)?;
    expect_eq("NLMSGERR_ATTR_MSG", done.message.as_deref(), Some("so it goes"))
}

fn done_reports_an_attribute_offset_for_an_error(bus: &Bus<'_>, end: &Result<(), Errno>) -> Outcome {
    let request = with_attribute(bus, [dumpit(Action::BadAttr(1)), dumpit(returned(end))])?;
    let done = extended_end(bus, &request)?;
    let reported = bus.expected::<bool>("offset")? && end.is_err();
    let after_the_headers = (message::NLMSG_HDRLEN + genl::GENL_HDRLEN) as u32;
    expect_eq("NLMSGERR_ATTR_OFFS", done.offset, reported.then_some(after_the_headers))
}

/// By then the request's buffer is no longer what it was when the dump was asked for.
fn done_of_a_later_portion_points_to_the_attribute(bus: &Bus<'_>) -> Outcome {
    let portion = |call| dumpit(Action::Put(1, NLM_F_MULTI, vec![0; 8])).call(call);
    let failure = [Action::BadAttr(1), returned(&Err(Errno::EIO))].map(|action| dumpit(action).call(3));
    let request = with_attribute(bus, [vec![portion(1), portion(2)], failure.to_vec()].concat())?;
    let done = extended_end(bus, &request)?;
    expect_errno("NLMSG_DONE", &done, Errno::EIO)?;
    let offset = (message::NLMSG_HDRLEN + genl::GENL_HDRLEN) as u32;
    expect_eq("NLMSGERR_ATTR_OFFS", done.offset, bus.expected::<bool>("offset")?.then_some(offset))
}

fn message_of_an_earlier_call_is_not_carried(bus: &Bus<'_>) -> Outcome {
    let early = dumpit(Action::ErrMsg("early".into())).call(1);
    let request = with_attribute(bus, [early, dumpit(Action::records(1, 100))])?;
    expect_eq("NLMSGERR_ATTR_MSG", extended_end(bus, &request)?.message, None)
}

fn nothing_is_carried_without_ext_ack(bus: &Bus<'_>) -> Outcome {
    let steps = [dumpit(Action::ErrMsg("so it goes".into())), dumpit(returned(&Err(Errno::EIO)))];
    let request = with_attribute(bus, steps)?;
    let socket = bus.generic()?;
    socket.send(&request)?;
    let done = socket.receive_one()?;
    expect_eq("flags and nlmsg_len of NLMSG_DONE", (done.flags, done.len()), (NLM_F_MULTI, 20))
}

/// Bytes left for NLMSG_DONE, and whether 16 of them are the text.
const LEFT: &[(&str, (usize, bool))] =
    &[("just_enough", (36, true)), ("4_bytes_short", (32, false)), ("nothing", (20, false))];

fn extended_ack_fits_after_done_or_is_omitted(bus: &Bus<'_>, (left, fits): &(usize, bool)) -> Outcome {
    let message = dumpit(Action::ErrMsg("so it goes".into()));
    let request = with_attribute(bus, [message, all_but(bus, *left)?, dumpit(returned(&Err(Errno::EIO)))])?;
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    socket.send(&request)?;
    let done = socket.receive()?.messages.pop().unwrap_or_default();
    expect_eq(
        "flags and nlmsg_len of NLMSG_DONE",
        (done.flags, done.len()),
        (NLM_F_MULTI | NLM_F_ACK_TLVS, if *fits { 36 } else { 20 }),
    )
}

fn failed_start_carries_a_message(bus: &Bus<'_>) -> Outcome {
    let start = |action| Step::new(On::Start, action);
    let steps = [start(Action::ErrMsg("not today".into())), start(returned(&Err(Errno::EIO)))];
    let refusal = extended_end(bus, &with_attribute(bus, steps)?)?;
    expect_errno("request for a dump", &refusal, Errno::EIO)?;
    let reported = bus.expected::<bool>("carried")?;
    expect_eq("NLMSGERR_ATTR_MSG", refusal.message.as_deref(), reported.then_some("not today"))
}

/// GETPOLICY fails from its `start` for a command that the family does not have.
fn failed_start_carries_an_attribute_offset(bus: &Bus<'_>) -> Outcome {
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL).u32(genl::CTRL_ATTR_OP, 250);
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs).with(NLM_F_DUMP).seq(7);
    let refusal = extended_end(bus, &request)?;
    expect_errno("request for a dump", &refusal, Errno::ENOENT)?;
    let offset = message::NLMSG_HDRLEN + genl::GENL_HDRLEN + 8;
    let reported = bus.expected::<bool>("carried")?;
    expect_eq("NLMSGERR_ATTR_OFFS", refusal.offset, reported.then_some(offset as u32))
}
