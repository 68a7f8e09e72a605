//! Attributes: types, flags, lengths, padding, repetition.

mod byte_order;
mod helpers;
mod integers;
mod kinds;
mod nests;
mod taken_back;
mod validation;
mod values;

use crate::cases::cases;
use crate::outcome::{Outcome, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::port::provider::{AttrKind, Check, On, Policy, PolicyEntry};
use crate::scene::bus::Bus;
use crate::wire::attr::{Attrs, NLA_F_NESTED, NLA_F_NET_BYTEORDER};
use crate::wire::genl::{self, FamilyInfo};
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP};
use crate::wire::policy::{self, Advertised};

use crate::scene::validated::{FIRST, LIBERAL, REFUSED, STRICT, Validated, after, expect_end, explaining};

cases! {
    unknown_type_is_refused(UNKNOWN_TYPES) => "GENL-ATT-001";
    liberal_command_ignores_an_unknown_type(UNKNOWN_TYPES) => "GENL-ATT-034";
    type_without_policy_is_refused => "GENL-ATT-002";
    liberal_command_accepts_a_type_without_policy(UNSPECIFIED) => "GENL-ATT-035";
    leftover_bytes_are_refused(RESTS) => "GENL-ATT-003";
    liberal_command_only_warns_about_leftover_bytes(RESTS) => "GENL-ATT-036";
    nested_flag_on_an_integer_is_refused => "GENL-ATT-006";
    nested_flag_on_another_kind_is_refused(KINDS) => "GENL-ATT-006";
    nest_without_its_flag_is_refused(NESTS) => "GENL-ATT-006";
    liberal_command_ignores_the_nested_flag => "GENL-ATT-038";
    byte_order_flag_is_ignored => "GENL-ATT-007";
    last_of_several_instances_counts(REPEATED) => "GENL-ATT-022";
    each_of_several_instances_is_validated => "GENL-ATT-022";
    first_bad_attribute_is_reported => "GENL-ATT-023";
    callback_is_not_called_for_a_bad_attribute => "GENL-ATT-023";
    padding_is_not_checked => "GENL-ATT-033";
    last_attribute_needs_no_padding => "GENL-ATT-033";
    + byte_order;
    + helpers;
    + integers;
    + kinds;
    + nests;
    + taken_back;
    + validation;
    + values;
}

/// GETPOLICY for the controller, which validates it strictly; it knows the types 1, 2 and 10.
fn policies(attrs: Attrs) -> Message {
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs).with(NLM_F_DUMP)
}

/// GETFAMILY, which the controller validates liberally; it knows the types 1 and 2.
fn family(attrs: Attrs) -> Message {
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs).with(NLM_F_ACK)
}

/// An empty nest of this type inside this many others.
fn wrapped(attr: u16, levels: usize) -> Attrs {
    (0..=levels).fold(Attrs::new(), |inner, _| Attrs::new().nest(attr, inner))
}

fn controllers_id() -> Attrs {
    Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL)
}

const UNKNOWN_TYPES: &[(&str, u16)] = &[("0", 0), ("11", 11), ("highest", 0x3fff)];

fn unknown_type_is_refused(bus: &Bus<'_>, kind: &u16) -> Outcome {
    let request = policies(controllers_id().u32(*kind, 0));
    let answer = explaining(bus)?.ask(&request)?;
    let ack = answer.ack()?;
    expect_end(bus, "request", ack, REFUSED, Some(after(&controllers_id())))?;
    expect_eq("policy", &ack.policy, &None)
}

fn liberal_command_ignores_an_unknown_type(bus: &Bus<'_>, kind: &u16) -> Outcome {
    let answer = bus.generic()?.ask(&family(Attrs::new().u32(*kind, 0).u16(1, genl::GENL_ID_CTRL)))?;
    expect_ok("request", answer.ack()?)
}

/// Type 5 is within the policy, which has no entry for it.
fn type_without_policy_is_refused(bus: &Bus<'_>) -> Outcome {
    let answer = explaining(bus)?.ask(&policies(controllers_id().u32(genl::CTRL_ATTR_MAXATTR, 0)))?;
    let ack = answer.ack()?;
    expect_end(bus, "request", ack, REFUSED, Some(after(&controllers_id())))?;
    expect_eq("policy", &ack.policy, &None)
}

const UNSPECIFIED: &[(&str, (usize, bool))] =
    &[("shorter", (3, false)), ("as_long", (4, true)), ("longer", (5, true))];

fn liberal_command_accepts_a_type_without_policy(bus: &Bus<'_>, (len, accepted): &(usize, bool)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, AttrKind::Unspec).len(4))?;
    let ack = validated.ask(LIBERAL, Attrs::new().put(1, &vec![0; *len]))?;
    if *accepted { expect_ok("request", ack) } else { expect_errno("request", ack, bus.expected("short")?) }
}

const RESTS: &[(&str, &[u8])] = &[
    ("one_byte", &[1]),
    ("two_bytes", &[4, 0]),
    ("three_bytes", &[4, 0, 1]),
    ("length_0", &[0, 0, 1, 0]),
    ("length_3", &[3, 0, 1, 0]),
    ("length_beyond_the_end", &[9, 0, 1, 0, 0, 0, 0, 0]),
];

fn leftover_bytes_are_refused(bus: &Bus<'_>, rest: &&[u8]) -> Outcome {
    let answer = explaining(bus)?.ask(&policies(controllers_id()).bytes(rest))?;
    expect_end(bus, "request", answer.ack()?, REFUSED, None)
}

fn liberal_command_only_warns_about_leftover_bytes(bus: &Bus<'_>, rest: &&[u8]) -> Outcome {
    let answer = explaining(bus)?.ask(&family(controllers_id()).bytes(rest))?;
    let ack = answer.ack()?;
    expect_ok("request", ack)?;
    expect_eq("family found", FamilyInfo::read(answer.reply()?).id, genl::GENL_ID_CTRL)?;
    expect_eq("message", ack.message.clone(), Some(bus.expected::<String>("message")?))
}

fn nested_flag_on_an_integer_is_refused(bus: &Bus<'_>) -> Outcome {
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID | NLA_F_NESTED, genl::GENL_ID_CTRL);
    let answer = explaining(bus)?.ask(&policies(attrs))?;
    let ack = answer.ack()?;
    expect_end(bus, "request", ack, Some(("errno", "unexpected")), Some(FIRST))?;
    expect_eq(
        "policy",
        ack.advertised(),
        Some(Advertised::unsigned(policy::NL_ATTR_TYPE_U16, 0, u16::MAX.into())),
    )
}

const KINDS: &[(&str, (AttrKind, &[u8]))] = &[
    ("u8", (AttrKind::U8, &[1])),
    ("string", (AttrKind::String, b"text")),
    ("flag", (AttrKind::Flag, &[])),
    ("binary", (AttrKind::Binary, &[1, 2, 3])),
    ("msecs", (AttrKind::Msecs, &[0; 8])),
    ("be32", (AttrKind::Be32, &[0; 4])),
];

fn nested_flag_on_another_kind_is_refused(bus: &Bus<'_>, (kind, payload): &(AttrKind, &[u8])) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, *kind))?;
    validated.strictly(Attrs::new().put(1, payload), None)?;
    validated.strictly(Attrs::new().put(1 | NLA_F_NESTED, payload), Some(("errno", "unexpected")))?;
    validated.liberally(Attrs::new().put(1 | NLA_F_NESTED, payload), None)
}

const NESTS: &[(&str, (AttrKind, u32))] = &[
    ("nest", (AttrKind::Nested, policy::NL_ATTR_TYPE_NESTED)),
    ("array", (AttrKind::NestedArray, policy::NL_ATTR_TYPE_NESTED_ARRAY)),
];

fn nest_without_its_flag_is_refused(bus: &Bus<'_>, (kind, advertised): &(AttrKind, u32)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, *kind))?;
    validated.strictly(Attrs::new().nest(1, Attrs::new()), None)?;
    let ack = validated.ask(STRICT, Attrs::new().put(1, &[]))?;
    expect_end(bus, "strict request", &ack, Some(("errno", "missing")), Some(FIRST))?;
    expect_eq("policy", ack.advertised(), Some(Advertised::plain(*advertised)))?;
    validated.liberally(Attrs::new().put(1, &[]), None)
}

fn liberal_command_ignores_the_nested_flag(bus: &Bus<'_>) -> Outcome {
    let answer = bus
        .generic()?
        .ask(&family(Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID | NLA_F_NESTED, genl::GENL_ID_CTRL)))?;
    expect_ok("request", answer.ack()?)
}

fn byte_order_flag_is_ignored(bus: &Bus<'_>) -> Outcome {
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID | NLA_F_NET_BYTEORDER, genl::GENL_ID_CTRL);
    expect_ok("GETPOLICY", bus.generic()?.ask(&policies(attrs.clone()))?)?;
    let answer = bus.generic()?.ask(&family(attrs))?;
    expect_eq("family found", FamilyInfo::read(answer.reply()?).id, genl::GENL_ID_CTRL)
}

const REPEATED: &[(&str, (u16, u16, bool))] =
    &[("found", (999, genl::GENL_ID_CTRL, true)), ("unknown", (genl::GENL_ID_CTRL, 999, false))];

fn last_of_several_instances_counts(bus: &Bus<'_>, (first, last, found): &(u16, u16, bool)) -> Outcome {
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, *first).u16(genl::CTRL_ATTR_FAMILY_ID, *last);
    let answer = bus.generic()?.ask(&family(attrs))?;
    if *found {
        expect_ok("request", answer)
    } else {
        expect_errno("request", answer, bus.expected("unknown")?)
    }
}

/// A single byte is too short for an ID.
fn each_of_several_instances_is_validated(bus: &Bus<'_>) -> Outcome {
    let attrs =
        Attrs::new().u8(genl::CTRL_ATTR_FAMILY_ID, 16).u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    let answer = explaining(bus)?.ask(&family(attrs))?;
    expect_errno("request", &answer, bus.expected("short")?)?;
    expect_eq("offset of the attribute", answer.ack()?.offset, Some(FIRST))
}

/// Attributes 1 to 3, u8 up to 10.
fn small_numbers() -> Policy {
    Policy::of([1, 2, 3].map(|attr| PolicyEntry::new(attr, AttrKind::U8).check(Check::Max(10))))
}

fn first_bad_attribute_is_reported(bus: &Bus<'_>) -> Outcome {
    let validated = Validated::by(bus, small_numbers())?;
    let good = Attrs::new().u8(3, 10);
    let ack = validated.ask(STRICT, good.clone().u8(2, 11).u16(1, 0))?;
    expect_errno("request", &ack, bus.expected("errno")?)?;
    expect_eq("offset of the attribute", ack.offset, Some(after(&good)))
}

fn callback_is_not_called_for_a_bad_attribute(bus: &Bus<'_>) -> Outcome {
    let validated = Validated::by(bus, small_numbers())?;
    let request = |attrs| validated.request(STRICT, attrs).with(NLM_F_ACK);
    let bad = validated.ask_with(request(Attrs::new().u8(1, 7).u8(2, 11)).seq(1))?;
    expect_errno("bad request", bad, bus.expected("errno")?)?;
    expect_ok("good request", validated.ask_with(request(Attrs::new().u8(1, 8)).seq(2))?)?;
    expect_eq("calls: sequence number and attribute 1", validated.logged(On::Doit)?, [(2, vec![8])])
}

fn padding_is_not_checked(bus: &Bus<'_>) -> Outcome {
    let validated = Validated::by(bus, small_numbers())?;
    let attrs = Attrs::new().put_claiming(2, 5, &[7, 0xff, 0xff, 0xff]).u8(1, 9);
    validated.strictly(attrs, None)?;
    let attributes = validated.logged(On::Doit)?.into_iter().map(|(_, bytes)| bytes);
    expect_eq("attribute after the padding", attributes.collect::<Vec<_>>(), [vec![9]])
}

fn last_attribute_needs_no_padding(bus: &Bus<'_>) -> Outcome {
    let validated = Validated::by(bus, small_numbers())?;
    let request = validated
        .request(STRICT, Attrs::new())
        .with(NLM_F_ACK)
        .bytes(&[5u16, 1].map(u16::to_ne_bytes).concat())
        .bytes(&[9]);
    let ack = validated.ask_with(request)?;
    expect_ok("request that ends without padding", &ack)?;
    expect_empty("extended acknowledgement", &ack.order)
}
