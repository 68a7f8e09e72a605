//! Nested attributes.

use super::wrapped;
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_ok};
use crate::port::provider::{AttrKind, Check, On, Policy, PolicyEntry};
use crate::scene::bus::Bus;
use crate::wire::attr::{Attrs, NLA_F_NESTED};
use crate::wire::message::NLM_F_ACK;
use crate::wire::policy::{self, Advertised};

use crate::scene::validated::{
    self, End, FIRST, LIBERAL, REFUSED, STRICT, Validated, expect_end, taken, within,
};

cases! {
    nest_is_empty_or_holds_an_attribute(NESTS) => "GENL-ATT-016";
    nest_is_empty_or_holds_an_attribute(SMALLEST) => "GENL-ATT-043";
    bad_attribute_in_a_nest_is_reported => "GENL-ATT-043";
    unknown_attribute_in_a_nest_is_reported => "GENL-ATT-043";
    nest_in_a_liberal_command_is_validated_liberally => "GENL-ATT-043";
    nest_is_as_strict_as_its_type(LOOSE) => "GENL-ATT-061";
    nest_in_a_nest_is_as_strict_as_the_outer_type(WITHIN) => "GENL-ATT-061";
    policy_of_a_nest_has_its_own_strict_start_type(KINDS) => "GENL-ATT-062";
    attribute_in_a_nest_is_none_of_the_commands(KINDS) => "GENL-ATT-064";
    nest_without_a_policy_is_not_validated => "GENL-ATT-043";
    entry_of_an_array_is_empty_or_holds_an_attribute(ENTRIES) => "GENL-ATT-044", "GENL-ATT-043";
    types_of_array_entries_are_ignored => "GENL-ATT-045";
    bad_attribute_in_an_array_is_reported => "GENL-ATT-046";
    array_is_empty_or_holds_an_entry(NESTS) => "GENL-ATT-017";
    array_is_empty_or_holds_an_entry(SMALLEST) => "GENL-ATT-017";
    nine_levels_of_nests_are_accepted(KINDS) => "GENL-ATT-018";
    ten_levels_of_nests_are_refused(DEPTHS) => "GENL-ATT-018";
    ten_levels_are_refused_in_liberal_commands_too(KINDS) => "GENL-ATT-018";
}

/// Attribute 1 is of this kind and holds attribute 1, a u8 up to 10, and attribute 2, a u16.
fn holder<'b>(bus: &'b Bus<'_>, kind: AttrKind) -> Result<Validated<'b>, Failure> {
    let outer = Policy::of([PolicyEntry::new(1, kind).len(2).check(Check::Nested(1))]);
    let inner = Policy::of([
        PolicyEntry::new(1, AttrKind::U8).check(Check::Max(10)),
        PolicyEntry::new(2, AttrKind::U16),
    ]);
    let mut family = validated::family(outer);
    family.policies.push(inner);
    Validated::registered(bus, family)
}

const SHORT: End = Some(("short", "short_message"));

const UNKNOWN: End = Some(("inner", "unknown"));

/// An attribute of type 0 without a payload.
const EMPTY: [u8; 4] = header(4, 0);
/// Attribute 1 with the payload 10, unpadded.
const TEN: [u8; 5] = {
    let [a, b, c, d] = header(5, 1);
    [a, b, c, d, 10]
};

/// A `struct nlattr`.
const fn header(len: u16, kind: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (len.to_ne_bytes(), kind.to_ne_bytes());
    [a, b, c, d]
}

const NESTS: &[(&str, (&[u8], End))] =
    &[("empty", (&[], None)), ("one_byte", (&[0], SHORT)), ("three_bytes", (&[0; 3], SHORT))];

const SMALLEST: &[(&str, (&[u8], End))] = &[("smallest", (&EMPTY, UNKNOWN))];

fn nest_is_empty_or_holds_an_attribute(bus: &Bus<'_>, (payload, end): &(&[u8], End)) -> Outcome {
    let ack = holder(bus, AttrKind::Nested)?.ask(STRICT, Attrs::new().put(1 | NLA_F_NESTED, payload))?;
    let offset = if *end == UNKNOWN { within(FIRST) } else { FIRST };
    expect_end(bus, "request", &ack, *end, Some(offset))
}

fn bad_attribute_in_a_nest_is_reported(bus: &Bus<'_>) -> Outcome {
    let inner = Attrs::new().u16(2, 1).u8(1, 11);
    let ack = holder(bus, AttrKind::Nested)?.ask(STRICT, Attrs::new().nest(1, inner))?;
    let end = Some(("range", "range_message"));
    expect_end(bus, "request", &ack, end, Some(within(FIRST) + taken(2)))?;
    expect_eq("policy", ack.advertised(), Some(Advertised::unsigned(policy::NL_ATTR_TYPE_U8, 0, 10)))
}

fn unknown_attribute_in_a_nest_is_reported(bus: &Bus<'_>) -> Outcome {
    let inner = Attrs::new().u8(1, 1).u8(3, 1);
    let ack = holder(bus, AttrKind::Nested)?.ask(STRICT, Attrs::new().nest(1, inner))?;
    expect_end(bus, "request", &ack, UNKNOWN, Some(within(FIRST) + taken(1)))
}

fn nest_in_a_liberal_command_is_validated_liberally(bus: &Bus<'_>) -> Outcome {
    let holder = holder(bus, AttrKind::Nested)?;
    holder.liberally(Attrs::new().nest(1, Attrs::new().u8(3, 1).u32(2, 1)), None)?;
    let ack = holder.ask(LIBERAL, Attrs::new().nest(1, Attrs::new().u8(1, 11)))?;
    expect_end(bus, "liberal request", &ack, Some(("range", "range_message")), Some(within(FIRST)))
}

/// Attributes 1 and 2 are of this kind, from 2 on types are strict. They hold attribute 1, a u8, 2, a u16, and 4,
/// which is of this kind and may hold the same.
fn strict_from_two<'b>(bus: &'b Bus<'_>, kind: AttrKind) -> Result<Validated<'b>, Failure> {
    let nest = |attr| PolicyEntry::new(attr, kind).len(4).check(Check::Nested(1));
    let outer = Policy { strict_start_type: 2, ..Policy::of([1, 2].map(nest)) };
    let inner = Policy::of([PolicyEntry::new(1, AttrKind::U8), PolicyEntry::new(2, AttrKind::U16), nest(4)]);
    let mut family = validated::family(outer);
    family.policies.push(inner);
    Validated::registered(bus, family)
}

/// This payload as a nest of this type; in an array, as its only entry.
fn holding(kind: AttrKind, attr: u16, payload: &[u8]) -> Attrs {
    let nest = Attrs::new().put(attr | NLA_F_NESTED, payload);
    if kind == AttrKind::NestedArray { Attrs::new().nest(attr, nest) } else { nest }
}

/// Offset of the first attribute of what such a nest at this offset holds.
const fn inside_of(kind: AttrKind, offset: u32) -> u32 {
    match kind {
        AttrKind::NestedArray => within(within(offset)),
        _ => within(offset),
    }
}

/// What a nest holds that only strict validation refuses, and with which message.
type Loose = (AttrKind, fn() -> Vec<u8>, &'static str);

const LOOSE: &[(&str, Loose)] = &[
    ("unknown_type", (AttrKind::Nested, || Attrs::new().u8(5, 1).as_bytes().into(), "unknown")),
    (
        "unknown_type_in_an_array",
        (AttrKind::NestedArray, || Attrs::new().u8(5, 1).as_bytes().into(), "unknown"),
    ),
    ("wrong_length", (AttrKind::Nested, || Attrs::new().u32(2, 1).as_bytes().into(), "length")),
    (
        "wrong_length_in_an_array",
        (AttrKind::NestedArray, || Attrs::new().u32(2, 1).as_bytes().into(), "length"),
    ),
    ("no_policy", (AttrKind::Nested, || Attrs::new().u8(3, 1).as_bytes().into(), "unspecified")),
    (
        "nested_flag",
        (AttrKind::Nested, || Attrs::new().put(1 | NLA_F_NESTED, &[1]).as_bytes().into(), "unexpected"),
    ),
    ("no_nested_flag", (AttrKind::Nested, || Attrs::new().put(4, &[]).as_bytes().into(), "missing")),
    (
        "bytes_left_over",
        (AttrKind::Nested, || [Attrs::new().u8(1, 1).as_bytes(), &[0; 3]].concat(), "leftover"),
    ),
];

fn nest_is_as_strict_as_its_type(bus: &Bus<'_>, (kind, payload, message): &Loose) -> Outcome {
    let validated = strict_from_two(bus, *kind)?;
    validated.liberally(holding(*kind, 1, &payload()), None)?;
    let ack = validated.ask(LIBERAL, holding(*kind, 2, &payload()))?;
    let offset = (*message != "leftover").then_some(inside_of(*kind, FIRST));
    expect_end(bus, "liberal request", &ack, Some(("errno", message)), offset)
}

const WITHIN: &[(&str, AttrKind)] = &[("nest", AttrKind::Nested), ("array", AttrKind::NestedArray)];

fn nest_in_a_nest_is_as_strict_as_the_outer_type(bus: &Bus<'_>, kind: &AttrKind) -> Outcome {
    let validated = strict_from_two(bus, *kind)?;
    let inner = holding(*kind, 4, Attrs::new().u8(5, 1).as_bytes());
    validated.liberally(holding(*kind, 1, inner.as_bytes()), None)?;
    let ack = validated.ask(LIBERAL, holding(*kind, 2, inner.as_bytes()))?;
    let offset = inside_of(*kind, inside_of(*kind, FIRST));
    expect_end(bus, "liberal request", &ack, Some(("errno", "unknown")), Some(offset))
}

fn policy_of_a_nest_has_its_own_strict_start_type(bus: &Bus<'_>, kind: &AttrKind) -> Outcome {
    let numbers = || [1, 2].map(|attr| PolicyEntry::new(attr, AttrKind::U16));
    let nest = PolicyEntry::new(3, *kind).len(2).check(Check::Nested(1));
    let mut family = validated::family(Policy::of([&numbers()[..], &[nest]].concat()));
    family.policies.push(Policy { strict_start_type: 2, ..Policy::of(numbers()) });
    let validated = Validated::registered(bus, family)?;
    validated.liberally(holding(*kind, 3, Attrs::new().u32(1, 1).u16(2, 1).as_bytes()).u32(2, 1), None)?;
    let ack = validated.ask(LIBERAL, holding(*kind, 3, Attrs::new().u32(2, 1).as_bytes()))?;
    expect_end(bus, "liberal request", &ack, Some(("errno", "length")), Some(inside_of(*kind, FIRST)))
}

fn attribute_in_a_nest_is_none_of_the_commands(bus: &Bus<'_>, kind: &AttrKind) -> Outcome {
    let nest = PolicyEntry::new(2, *kind).len(1).check(Check::Nested(1));
    let number = || PolicyEntry::new(1, AttrKind::U8);
    let mut family = validated::family(Policy::of([number(), nest]));
    family.policies.push(Policy::of([number()]));
    let validated = Validated::registered(bus, family)?;
    let nest = || holding(*kind, 2, Attrs::new().u8(1, 7).as_bytes());
    let requests = [nest(), Attrs::new().u8(1, 5).put(2 | NLA_F_NESTED, &nest().as_bytes()[4..])];
    for (attrs, seq) in requests.into_iter().zip(1..) {
        expect_ok("request", validated.ask_with(validated.request(STRICT, attrs).with(NLM_F_ACK).seq(seq))?)?;
    }
    expect_eq("attribute 1 of the requests", validated.logged(On::Doit)?, [(1, vec![]), (2, vec![5])])
}

fn nest_without_a_policy_is_not_validated(bus: &Bus<'_>) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, AttrKind::Nested))?;
    validated.strictly(Attrs::new().put(1 | NLA_F_NESTED, &[0xff; 7]), None)
}

const ENTRIES: &[(&str, (&[u8], End))] = &[
    ("empty", (&[], None)),
    ("one_byte", (&[0], Some(("short", "element")))),
    ("three_bytes", (&[0; 3], Some(("short", "element")))),
    ("smallest", (&EMPTY, UNKNOWN)),
    ("attribute", (&TEN, None)),
];

/// The entry follows a valid one.
fn entry_of_an_array_is_empty_or_holds_an_attribute(bus: &Bus<'_>, (payload, end): &(&[u8], End)) -> Outcome {
    let array = Attrs::new().nest(1, Attrs::new().u8(1, 1)).put(2 | NLA_F_NESTED, payload);
    let ack = holder(bus, AttrKind::NestedArray)?.ask(STRICT, Attrs::new().nest(1, array))?;
    let second = within(FIRST) + taken(taken(1) as usize);
    let offset = if *end == UNKNOWN { within(second) } else { second };
    expect_end(bus, "request", &ack, *end, Some(offset))
}

fn types_of_array_entries_are_ignored(bus: &Bus<'_>) -> Outcome {
    let inner = || Attrs::new().u8(1, 1);
    let array = [0, 1, 1, 77, 0x3fff].into_iter().fold(Attrs::new(), |array, kind| array.nest(kind, inner()));
    let holder = holder(bus, AttrKind::NestedArray)?;
    holder.strictly(Attrs::new().nest(1, array), None)?;
    holder.strictly(Attrs::new().nest(1, Attrs::new().put(1, inner().as_bytes())), None)
}

fn bad_attribute_in_an_array_is_reported(bus: &Bus<'_>) -> Outcome {
    let array = Attrs::new().nest(1, Attrs::new().u8(1, 10)).nest(1, Attrs::new().u8(1, 11));
    let ack = holder(bus, AttrKind::NestedArray)?.ask(STRICT, Attrs::new().nest(1, array))?;
    let second = within(FIRST) + taken(taken(1) as usize);
    expect_end(bus, "request", &ack, Some(("range", "range_message")), Some(within(second)))
}

/// The smallest nest is also the smallest array: one empty entry.
fn array_is_empty_or_holds_an_entry(bus: &Bus<'_>, (payload, end): &(&[u8], End)) -> Outcome {
    let end = end.filter(|_| *end != UNKNOWN);
    holder(bus, AttrKind::NestedArray)?.strictly(Attrs::new().put(1 | NLA_F_NESTED, payload), end)
}

const KINDS: &[(&str, AttrKind)] = &[("nests", AttrKind::Nested), ("arrays", AttrKind::NestedArray)];

/// Attribute 1 of this kind may hold whatever the request may hold.
fn recursive<'b>(bus: &'b Bus<'_>, kind: AttrKind) -> Result<Validated<'b>, Failure> {
    Validated::by_entry(bus, PolicyEntry::new(1, kind).len(1).check(Check::Nested(0)))
}

/// An empty attribute of this kind inside this many others. An entry of an array is a nest itself.
fn inside(kind: AttrKind, levels: usize) -> Attrs {
    wrapped(1, if kind == AttrKind::NestedArray { 2 * levels } else { levels })
}

fn nine_levels_of_nests_are_accepted(bus: &Bus<'_>, kind: &AttrKind) -> Outcome {
    let nine = bus.expected::<usize>("limit")? - 1;
    expect_ok("request", recursive(bus, *kind)?.ask(STRICT, inside(*kind, nine))?)
}

const DEPTHS: &[(&str, (AttrKind, usize))] = &[
    ("one_more", (AttrKind::Nested, 0)),
    ("hundred_more", (AttrKind::Nested, 100)),
    ("one_more_array", (AttrKind::NestedArray, 0)),
    ("hundred_more_arrays", (AttrKind::NestedArray, 100)),
];

fn ten_levels_of_nests_are_refused(bus: &Bus<'_>, (kind, more): &(AttrKind, usize)) -> Outcome {
    let ack = recursive(bus, *kind)?.ask(STRICT, inside(*kind, bus.expected::<usize>("limit")? + more))?;
    expect_end(bus, "request", &ack, REFUSED, None)
}

fn ten_levels_are_refused_in_liberal_commands_too(bus: &Bus<'_>, kind: &AttrKind) -> Outcome {
    let ack = recursive(bus, *kind)?.ask(LIBERAL, inside(*kind, bus.expected("limit")?))?;
    expect_end(bus, "liberal request", &ack, REFUSED, None)
}
