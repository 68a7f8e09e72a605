//! What is checked in the headers of a request, and what is not.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_empty, expect_eq, expect_errno, expect_ok, expect_result};
use crate::port::provider::{Action, AttrKind, Capture, Family, On, Op, Policy, PolicyEntry};
use crate::scene::bus::{Bus, Registered};
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{
    Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_FILTERED, NLM_F_DUMP_INTR, NLM_F_ECHO, NLM_F_MATCH,
    NLM_F_MULTI, NLM_F_REQUEST, NLM_F_ROOT,
};
use crate::wire::{align, u32_at};

cases! {
    message_without_command_is_refused(SHORT) => "GENL-DSP-003";
    message_without_own_header_is_refused(SHORT_OF_OWN) => "GENL-DSP-003";
    unchecked_message_without_own_header_is_refused(SHORT_OF_OWN) => "GENL-DSP-003";
    message_of_only_headers_is_handled => "GENL-DSP-003";
    reserved_field_is_checked(RESERVED) => "GENL-DSP-004";
    reserved_field_below_resv_start_op_is_ignored => "GENL-DSP-029";
    reserved_field_of_old_controller_commands_is_ignored => "GENL-DSP-029";
    flags_are_checked(WRONG_FLAGS) => "GENL-DSP-005";
    flags_of_the_core_are_accepted(RIGHT_FLAGS) => "GENL-DSP-005";
    flags_below_resv_start_op_are_ignored(WRONG_FLAGS) => "GENL-DSP-030";
    headers_are_checked_before_the_command(WRONG_HEADERS) => "GENL-DSP-006";
    version_is_ignored(VERSIONS) => "GENL-DSP-013";
    own_header_follows_the_genlmsghdr(OWN_HEADERS) => "GENL-DSP-015";
    attributes_follow_the_aligned_header(OWN_HEADERS) => "GENL-DSP-016";
}

const SHORT: &[(&str, usize)] = &[("0", 0), ("1", 1), ("3", 3)];

fn message_without_command_is_refused(bus: &Bus<'_>, len: &usize) -> Outcome {
    let request = Message::request(genl::GENL_ID_CTRL).with(NLM_F_ACK).bytes(&genl::header(3, 1)[..*len]);
    expect_errno("request", bus.generic()?.ask(&request)?, bus.expected("errno")?)
}

fn with_own_header(size: u32) -> Family {
    Family { hdrsize: size, ..Family::named("nlc_header") }.op(Op::doing(1))
}

const SHORT_OF_OWN: &[(&str, usize)] = &[("none", 0), ("one_byte_less", 7)];

fn message_without_own_header_is_refused(bus: &Bus<'_>, len: &usize) -> Outcome {
    let family = bus.register(with_own_header(8))?;
    let request = family.request(1, Attrs::new()).bytes(&[0; 8][..*len]).with(NLM_F_ACK);
    expect_errno("request", bus.generic()?.ask(&request)?, bus.expected("errno")?)
}

/// Neither the do nor the dump of the command has a policy, so that nothing else looks at the length.
fn unchecked_message_without_own_header_is_refused(bus: &Bus<'_>, len: &usize) -> Outcome {
    let both = Op { doit: true, ..Op::dumping(1) };
    let family = Family { hdrsize: 8, resv_start_op: 255, ..Family::named("nlc_header") }.op(both);
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    for flags in [NLM_F_ACK, NLM_F_DUMP] {
        let request = family.request(1, Attrs::new()).bytes(&[0; 8][..*len]).with(flags);
        expect_errno("request", socket.ask(&request)?, bus.expected("errno")?)?;
    }
    expect_empty("calls", bus.calls_so_far()?)
}

fn message_of_only_headers_is_handled(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(with_own_header(8))?;
    let request = family.request(1, Attrs::new()).bytes(&[0; 8]).with(NLM_F_ACK);
    expect_ok("request", bus.generic()?.ask(&request)?)
}

/// A family with resv_start_op 2.
fn checking<'b>(bus: &'b Bus<'_>) -> Result<Registered<'b>, Failure> {
    let op = |cmd| Op { doit: true, ..Op::dumping(cmd) };
    bus.register(Family { resv_start_op: 2, ..Family::named("nlc_checks") }.op(op(1)).op(op(2)))
}

/// A request with this command and reserved field.
fn request(family: u16, cmd: u8, reserved: u16) -> Message {
    Message::request(family).bytes(&[cmd, 1]).bytes(&reserved.to_ne_bytes())
}

/// The request must end with the specified result and message.
fn expect_checked(bus: &Bus<'_>, request: &Message) -> Outcome {
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    let answer = socket.ask(request)?;
    let ack = answer.ack()?;
    expect_result("request", ack, bus.expected("result")?)?;
    expect_eq("message", ack.message.as_deref().unwrap_or_default(), bus.expected::<String>("message")?)
}

const RESERVED: &[(&str, u16)] = &[("lowest_bit", 1), ("highest_bit", 0x8000), ("all_bits", 0xffff)];

fn reserved_field_is_checked(bus: &Bus<'_>, reserved: &u16) -> Outcome {
    let family = checking(bus)?;
    expect_checked(bus, &request(family.id, 2, *reserved).with(NLM_F_ACK))
}

fn reserved_field_below_resv_start_op_is_ignored(bus: &Bus<'_>) -> Outcome {
    let family = checking(bus)?;
    expect_ok("request", bus.generic()?.ask(&request(family.id, 1, 0xffff).with(NLM_F_ACK))?)
}

fn reserved_field_of_old_controller_commands_is_ignored(bus: &Bus<'_>) -> Outcome {
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    let request = request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, 5).attrs(attrs).with(NLM_F_ACK);
    expect_ok("GETFAMILY", bus.generic()?.ask(&request)?)
}

const WRONG_FLAGS: &[(&str, u16)] = &[
    ("multi", NLM_F_MULTI),
    ("dump_intr", NLM_F_DUMP_INTR),
    ("dump_filtered", NLM_F_DUMP_FILTERED),
    ("0x40", 0x40),
    ("0x80", 0x80),
    ("root_alone", NLM_F_ROOT),
    ("match_alone", NLM_F_MATCH),
    ("create", 0x400),
    ("append", 0x800),
    ("0x1000", 0x1000),
    ("0x8000", 0x8000),
];

fn flags_are_checked(bus: &Bus<'_>, flags: &u16) -> Outcome {
    let family = checking(bus)?;
    expect_checked(bus, &request(family.id, 2, 0).with(NLM_F_ACK | flags))
}

const RIGHT_FLAGS: &[(&str, u16)] = &[
    ("ack", NLM_F_ACK),
    ("echo", NLM_F_ACK | NLM_F_ECHO),
    ("dump", NLM_F_DUMP),
    ("all", NLM_F_ACK | NLM_F_ECHO | NLM_F_DUMP),
];

fn flags_of_the_core_are_accepted(bus: &Bus<'_>, flags: &u16) -> Outcome {
    let family = checking(bus)?;
    expect_ok("request", bus.generic()?.ask(&request(family.id, 2, 0).with(*flags))?)
}

fn flags_below_resv_start_op_are_ignored(bus: &Bus<'_>, flags: &u16) -> Outcome {
    let family = checking(bus)?;
    expect_ok("request", bus.generic()?.ask(&request(family.id, 1, 0).with(NLM_F_ACK | flags))?)
}

/// Flags and reserved field.
const WRONG_HEADERS: &[(&str, (u16, u16))] = &[
    ("reserved", (NLM_F_REQUEST, 1)),
    ("flags", (NLM_F_REQUEST | NLM_F_MULTI, 0)),
    ("both", (NLM_F_REQUEST | NLM_F_ROOT, 0xffff)),
];

/// The controller's resv_start_op is the first command that it does not have.
fn headers_are_checked_before_the_command(bus: &Bus<'_>, (flags, reserved): &(u16, u16)) -> Outcome {
    let request = request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY + 1, *reserved).with(*flags);
    expect_errno("request", bus.generic()?.ask(&request)?, bus.expected("errno")?)
}

const VERSIONS: &[(&str, u8)] = &[("0", 0), ("1", 1), ("2", 2), ("255", 255)];

fn version_is_ignored(bus: &Bus<'_>, version: &u8) -> Outcome {
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    let request =
        Message::request(genl::GENL_ID_CTRL).bytes(&genl::header(genl::CTRL_CMD_GETFAMILY, *version));
    let answer = bus.generic()?.ask(&request.attrs(attrs).with(NLM_F_ACK))?;
    expect_ok("GETFAMILY", answer.ack()?)?;
    expect_eq("command of the reply", genl::cmd(answer.reply()?), Some(genl::CTRL_CMD_NEWFAMILY))
}

const OWN_HEADERS: &[(&str, usize)] = &[("0", 0), ("1", 1), ("5", 5), ("8", 8)];

/// Recognisable bytes: a header and its padding.
const BYTES: [u8; 8] = [0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 0xa7, 0xb8];

/// The captured bytes of a request with an own header of `size` bytes, padding that is
/// not 0, and an attribute.
fn capture(bus: &Bus<'_>, size: usize, what: Capture) -> Result<Vec<u8>, Failure> {
    let number = PolicyEntry { attr: 1, kind: AttrKind::U32, ..PolicyEntry::default() };
    let family = with_own_header(size as u32).policy(Policy::of([number]));
    let family = bus.register(family.on(On::Doit, Action::Capture(what)))?;
    let attrs = Attrs::new().u32(1, 0x1234_5678);
    let request = Message::request(family.id).bytes(&genl::header(1, 1)).bytes(&BYTES[..align(size)]);
    expect_ok("request", bus.generic()?.ask(&request.attrs(attrs).with(NLM_F_ACK))?)?;
    let mut calls = bus.calls(On::Doit)?;
    expect_eq("calls of doit", calls.len(), 1)?;
    Ok(calls.remove(0).bytes)
}

fn own_header_follows_the_genlmsghdr(bus: &Bus<'_>, size: &usize) -> Outcome {
    let captured = capture(bus, *size, Capture::UserHeader)?;
    expect_eq("distance from the genlmsghdr", u32_at(&captured, 0), Some(bus.expected("offset")?))?;
    expect_eq("its bytes", captured.get(4..), Some(&BYTES[..*size]))
}

fn attributes_follow_the_aligned_header(bus: &Bus<'_>, size: &usize) -> Outcome {
    let aligned = size.next_multiple_of(bus.expected("alignment")?);
    expect_eq("padding that the request has", align(*size), aligned)?;
    let captured = capture(bus, *size, Capture::Attr(1))?;
    expect_eq("attribute", u32_at(&captured, 0), Some(0x1234_5678))
}
