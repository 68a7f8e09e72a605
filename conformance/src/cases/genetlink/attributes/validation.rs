//! Which requests are validated, and how strictly.

use crate::cases::cases;
use crate::outcome::{
    Failure, Outcome, expect, expect_bytes, expect_eq, expect_errno, expect_ok, expect_result,
};
use crate::port::provider::{
    Action, AttrKind, Capture, DONT_VALIDATE_DUMP, DONT_VALIDATE_DUMP_STRICT, DONT_VALIDATE_STRICT, Family,
    On, Op, OpKind, Policy, PolicyEntry,
};
use crate::scene::bus::Bus;
use crate::wire::ack::Ack;
use crate::wire::attr::{Attrs, NLA_F_NESTED};
use crate::wire::genl;
use crate::wire::message::{NLM_F_ACK, NLM_F_DUMP};

use crate::scene::validated::{End, FIRST, REFUSED, Validated, expect_end};

cases! {
    types_from_strict_start_type_on_are_validated_strictly(LENGTHS) => "GENL-ATT-021";
    types_from_strict_start_type_on_are_validated_strictly(NO_POLICY) => "GENL-ATT-047";
    types_from_strict_start_type_on_are_validated_strictly(NESTED_FLAG) => "GENL-ATT-048";
    types_from_strict_start_type_on_are_validated_strictly(BEYOND) => "GENL-ATT-049";
    strictness_ends_with_the_attribute => "GENL-ATT-063";
    command_without_policy_accepts_anything(ANYTHING) => "GENL-ATT-024";
    dump_without_policy_accepts_anything(ANYTHING) => "GENL-ATT-024";
    reserved_command_without_policy_refuses_attributes(RESERVED) => "GENL-ATT-025";
    reserved_dump_without_policy_refuses_attributes(RESERVED) => "GENL-ATT-025";
    reserved_command_without_policy_runs_without_attributes => "GENL-ATT-025";
    split_command_without_policy_accepts_attributes_or_not => "GENL-ATT-026";
    attributes_without_policy_are_parsed_or_not => "GENL-ATT-027";
    attribute_beyond_maxattr_without_policy => "GENL-ATT-027";
    unvalidated_dump_accepts_anything(UNVALIDATED) => "GENL-ATT-028";
    controllers_dump_of_families_is_validated_or_not(CONTROLLERS) => "GENL-ATT-029";
    split_dump_is_validated => "GENL-ATT-029";
    dump_is_validated_before_its_start => "GENL-ATT-030";
    each_validate_flag_applies_to_one_kind_of_request(FLAGS) => "GENL-ATT-031";
    attributes_are_available_throughout_the_dump => "GENL-ATT-032";
    attributes_of_a_dump_are_not_those_of_a_later_request => "GENL-ATT-032";
}

/// Types 2 and 4 are within the policy, which has no entries for them; strict_start_type is 3.
fn from_three_on<'b>(bus: &'b Bus<'_>) -> Result<Validated<'b>, Failure> {
    let entries = [1, 3].map(|attr| PolicyEntry::new(attr, AttrKind::U32));
    let entries = [&entries[..], &[PolicyEntry::new(5, AttrKind::Nested)]].concat();
    Validated::by(bus, Policy { strict_start_type: 3, ..Policy::of(entries) })
}

/// An attribute's type and length, and how the request ends.
type Sent = (u16, usize, End);

const LENGTHS: &[(&str, Sent)] =
    &[("length_below", (1, 5, None)), ("length_from_it_on", (3, 5, Some(("errno", "length"))))];

const NO_POLICY: &[(&str, Sent)] =
    &[("no_policy_below", (2, 4, None)), ("no_policy_from_it_on", (4, 4, Some(("errno", "unspecified"))))];

const NESTED_FLAG: &[(&str, Sent)] = &[
    ("nested_flag_below", (1 | NLA_F_NESTED, 4, None)),
    ("nested_flag_from_it_on", (3 | NLA_F_NESTED, 4, Some(("errno", "unexpected")))),
    ("no_nested_flag_from_it_on", (5, 0, Some(("errno", "missing")))),
];

const BEYOND: &[(&str, Sent)] = &[("beyond_the_last", (6, 4, None))];

fn types_from_strict_start_type_on_are_validated_strictly(bus: &Bus<'_>, (kind, len, end): &Sent) -> Outcome {
    from_three_on(bus)?.liberally(Attrs::new().put(*kind, &vec![0; *len]), *end)
}

fn strictness_ends_with_the_attribute(bus: &Bus<'_>) -> Outcome {
    let validated = from_three_on(bus)?;
    validated.liberally(Attrs::new().u32(3, 0).put(1, &[0; 5]), None)?;
    validated.liberally(Attrs::new().nest(5, Attrs::new()).put(1 | NLA_F_NESTED, &[0; 4]).u8(2, 0), None)
}

/// Only command 1, which logs the types of its attributes. It is the first that is not below resv_start_op.
fn bare() -> Family {
    Family { resv_start_op: 1, ..Family::named("nlc_bare") }
        .op(Op::doing(1))
        .on(On::Doit, Action::Capture(Capture::AttrsPresent))
}

const ANYTHING: &[(&str, &[u8])] = &[
    ("attribute_1", &[8, 0, 1, 0, 0, 0, 0, 0]),
    ("attribute_0", &[4, 0, 0, 0]),
    ("length_0", &[0, 0, 1, 0]),
    ("length_beyond_the_end", &[0xff, 0xff, 1, 0, 0]),
    ("three_bytes", &[1, 2, 3]),
];

fn command_without_policy_accepts_anything(bus: &Bus<'_>, payload: &&[u8]) -> Outcome {
    let validated = Validated::registered(bus, Family { resv_start_op: 255, ..bare() })?;
    let request = validated.request(1, Attrs::new()).with(NLM_F_ACK).bytes(payload).seq(1);
    expect_ok("request", validated.ask_with(request)?)?;
    expect_eq("calls and their attributes", validated.logged(On::Doit)?, [(1, vec![])])
}

/// The same as a dump.
fn bare_dump() -> Family {
    Family { resv_start_op: 1, ..Family::named("nlc_bare") }
        .op(Op::dumping(1))
        .on(On::Dumpit, Action::Capture(Capture::AttrsPresent))
}

fn dump_without_policy_accepts_anything(bus: &Bus<'_>, payload: &&[u8]) -> Outcome {
    let validated = Validated::registered(bus, Family { resv_start_op: 255, ..bare_dump() })?;
    let request = validated.request(1, Attrs::new()).with(NLM_F_DUMP).bytes(payload).seq(1);
    expect_ok("dump", validated.ask_with(request)?)?;
    expect_eq("calls and their attributes", validated.logged(On::Dumpit)?, [(1, vec![])])
}

const RESERVED: &[(&str, (u16, End))] = &[
    ("attribute_0", (0, Some(("errno", "unknown")))),
    ("attribute_1", (1, Some(("errno", "first")))),
    ("attribute_2", (2, Some(("errno", "unknown")))),
];

fn reserved_command_without_policy_refuses_attributes(bus: &Bus<'_>, (kind, end): &(u16, End)) -> Outcome {
    let ack = Validated::registered(bus, bare())?.ask(1, Attrs::new().u32(*kind, 0))?;
    expect_end(bus, "request", &ack, *end, Some(FIRST))
}

fn reserved_dump_without_policy_refuses_attributes(bus: &Bus<'_>, (kind, end): &(u16, End)) -> Outcome {
    let validated = Validated::registered(bus, bare_dump())?;
    let request = validated.request(1, Attrs::new().u32(*kind, 0)).with(NLM_F_DUMP);
    expect_end(bus, "dump", &validated.ask_with(request)?, *end, Some(FIRST))
}

fn reserved_command_without_policy_runs_without_attributes(bus: &Bus<'_>) -> Outcome {
    expect_ok("request", Validated::registered(bus, bare())?.ask(1, Attrs::new())?)
}

fn split_command_without_policy_accepts_attributes_or_not(bus: &Bus<'_>) -> Outcome {
    let op = Op::doing(1).kind(OpKind::Split).flags(genl::GENL_CMD_CAP_DO);
    let family = Family::named("nlc_split").op(op).on(On::Doit, Action::Capture(Capture::AttrsPresent));
    let validated = Validated::registered(bus, family)?;
    let request = validated.request(1, Attrs::new().u32(1, 0)).with(NLM_F_ACK).seq(1);
    let ack = validated.ask_with(request)?;
    let expected = bus.expected("result")?;
    expect_result("request with an attribute", &ack, expected)?;
    match expected {
        Ok(()) => expect_eq("calls and their attributes", validated.logged(On::Doit)?, [(1, vec![])]),
        Err(_) => expect_eq("message", ack.message, Some("Unknown attribute type".into())),
    }
}

/// Attributes 1 to 5, and no policy.
fn without_policy<'b>(bus: &'b Bus<'_>) -> Result<Validated<'b>, Failure> {
    Validated::registered(bus, Family { maxattr: 5, resv_start_op: 255, ..bare() })
}

fn attributes_without_policy_are_parsed_or_not(bus: &Bus<'_>) -> Outcome {
    let validated = without_policy(bus)?;
    let attrs = Attrs::new().put(3, b"anything");
    expect_ok("request", validated.ask_with(validated.request(1, attrs).with(NLM_F_ACK).seq(1))?)?;
    let present = if bus.expected("parsed")? { vec![0, 0, 0, 1, 0, 0] } else { vec![] };
    expect_eq("calls and their attributes", validated.logged(On::Doit)?, [(1, present)])
}

fn attribute_beyond_maxattr_without_policy(bus: &Bus<'_>) -> Outcome {
    let ack = without_policy(bus)?.ask(1, Attrs::new().u32(6, 0))?;
    expect_result("request", ack, bus.expected("beyond")?)
}

/// Attribute 1 of a dump is a u32; the types of the attributes that `dumpit` gets are logged.
fn dumping(op: Op) -> Family {
    Family { resv_start_op: 255, ..Family::named("nlc_dump") }
        .policy(Policy::of([PolicyEntry::new(1, AttrKind::U32)]))
        .op(op)
        .on(On::Dumpit, Action::Capture(Capture::AttrsPresent))
}

const UNVALIDATED: &[(&str, (OpKind, &[u8]))] = &[
    ("ops_unknown_type", (OpKind::Full, &[4, 0, 9, 0])),
    ("ops_malformed", (OpKind::Full, &[0xff, 0xff, 1, 0])),
    ("ops_wrong_size", (OpKind::Full, &[5, 0, 1, 0, 1])),
    ("small_ops_unknown_type", (OpKind::Small, &[4, 0, 9, 0])),
    ("small_ops_malformed", (OpKind::Small, &[0xff, 0xff, 1, 0])),
];

fn unvalidated_dump_accepts_anything(bus: &Bus<'_>, (kind, payload): &(OpKind, &[u8])) -> Outcome {
    let op = |cmd| Op::dumping(cmd).kind(*kind);
    let validated = Validated::registered(bus, dumping(op(1).validate(DONT_VALIDATE_DUMP)).op(op(2)))?;
    // What one request is validated by is not what the next is.
    let other = validated.request(2, Attrs::new().u32(1, 0)).with(NLM_F_DUMP).seq(2);
    expect_ok("dump that is validated", validated.ask_with(other)?)?;
    let request = validated.request(1, Attrs::new()).with(NLM_F_DUMP).bytes(payload).seq(1);
    expect_ok("dump", validated.ask_with(request)?)?;
    let calls = validated.logged(On::Dumpit)?;
    expect_eq("calls and their attributes", calls, [(2, vec![0, 1]), (1, vec![])])
}

type MakeAttrs = fn() -> Attrs;

const CONTROLLERS: &[(&str, MakeAttrs)] = &[
    ("unknown_type", || Attrs::new().u32(9, 0)),
    ("wrong_size", || Attrs::new().u32(genl::CTRL_ATTR_FAMILY_ID, 16)),
    ("malformed", || Attrs::new().put_claiming(genl::CTRL_ATTR_FAMILY_ID, 3, &[])),
];

fn controllers_dump_of_families_is_validated_or_not(bus: &Bus<'_>, attrs: &MakeAttrs) -> Outcome {
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs()).with(NLM_F_DUMP);
    expect_result("dump", bus.generic()?.ask(&request)?, bus.expected("result")?)
}

fn split_dump_is_validated(bus: &Bus<'_>) -> Outcome {
    let op = Op::dumping(1).kind(OpKind::Split).flags(genl::GENL_CMD_CAP_DUMP).validate(DONT_VALIDATE_DUMP);
    let family = dumping(Op { maxattr: 1, policy: Some(0), ..op });
    let validated = Validated::registered(bus, family)?;
    let request = validated.request(1, Attrs::new().u32(9, 0)).with(NLM_F_DUMP);
    expect_result("dump", validated.ask_with(request)?, bus.expected("result")?)
}

fn dump_is_validated_before_its_start(bus: &Bus<'_>) -> Outcome {
    let validated = Validated::registered(bus, dumping(Op::dumping(1)))?;
    let request = |attrs| validated.request(1, attrs).with(NLM_F_DUMP);
    let ack = validated.ask_with(request(Attrs::new().u32(1, 1).u32(9, 0)).seq(1))?;
    expect_end(bus, "dump with an unknown attribute", &ack, REFUSED, Some(FIRST + 8))?;
    expect_ok("dump without it", validated.ask_with(request(Attrs::new().u32(1, 1)).seq(2))?)?;
    let started: Vec<u32> = validated.logged(On::Start)?.into_iter().map(|(seq, _)| seq).collect();
    expect_eq("sequence numbers of dumps that were started", started, [2])
}

const FLAGS: &[(&str, (u8, bool, bool))] = &[
    ("none", (0, false, false)),
    ("strict", (DONT_VALIDATE_STRICT, true, false)),
    ("dump", (DONT_VALIDATE_DUMP, false, true)),
    ("dump_strict", (DONT_VALIDATE_DUMP_STRICT, false, true)),
    ("both", (DONT_VALIDATE_STRICT | DONT_VALIDATE_DUMP_STRICT, true, true)),
];

fn each_validate_flag_applies_to_one_kind_of_request(
    bus: &Bus<'_>,
    (validate, do_is_liberal, dump_is_liberal): &(u8, bool, bool),
) -> Outcome {
    let op = Op { doit: true, ..Op::dumping(1).validate(*validate) };
    let validated = Validated::registered(bus, dumping(op))?;
    let check = |what: &str, ack: Ack, liberal: bool| match liberal {
        true => expect_ok(what, ack),
        false => expect_errno(what, ack, bus.expected("errno")?),
    };
    check("do request", validated.ask(1, Attrs::new().u32(9, 0))?, *do_is_liberal)?;
    let request = validated.request(1, Attrs::new().u32(9, 0)).with(NLM_F_DUMP);
    check("dump request", validated.ask_with(request)?, *dump_is_liberal)
}

fn attributes_are_available_throughout_the_dump(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_dump")
        .policy(Policy::of([PolicyEntry::new(1, AttrKind::U32)]))
        .op(Op::dumping(1))
        .on(On::Dumpit, Action::Capture(Capture::Attr(1)))
        .on(On::Dumpit, Action::records(200, 500));
    let validated = Validated::registered(bus, family)?;
    let request = validated.request(1, Attrs::new().put(1, b"kept")).with(NLM_F_DUMP).seq(1);
    expect_ok("dump", validated.ask_with(request)?)?;
    let calls = validated.logged(On::Dumpit)?;
    expect("calls of dumpit", calls.len() >= 3, "at least 3", calls.len())?;
    let kept = calls.iter().all(|call| *call == (1, b"kept".to_vec()));
    expect("attribute in each call", kept, "as in the request", calls)
}

fn attributes_of_a_dump_are_not_those_of_a_later_request(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_dump")
        .policy(Policy::of([PolicyEntry::new(1, AttrKind::U32)]))
        .op(Op::dumping(1))
        .op(Op::doing(2))
        .on(On::Dumpit, Action::Capture(Capture::Attr(1)))
        .on(On::Dumpit, Action::records(20, 500));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    let dump = family.request(1, Attrs::new().put(1, b"kept")).with(NLM_F_DUMP).seq(1);
    socket.send(&dump)?;
    let later = family.request(2, Attrs::new().put(1, b"late")).with(NLM_F_ACK);
    expect_ok("request meanwhile", &bus.generic()?.ask(&later)?)?;
    expect_ok("dump", &socket.answer_to(&dump)?)?;
    for call in bus.calls(On::Dumpit)? {
        expect_bytes("attribute in a call of dumpit", call.bytes, b"kept")?;
    }
    Ok(())
}
