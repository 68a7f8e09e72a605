//! Attributes that are integers: their lengths, ranges and masks.

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect_eq, expect_errno};
use crate::port::provider::{AttrKind, Check, Policy, PolicyEntry};
use crate::scene::bus::Bus;
use crate::wire::ack::Ack;
use crate::wire::attr::Attrs;
use crate::wire::genl::{self, FamilyInfo};
use crate::wire::message::{NLM_F_ACK, NLM_F_DUMP};
use crate::wire::policy::{self, Advertised};

use crate::scene::validated::{End, FIRST, REFUSED, STRICT, Validated, after, expect_end, explaining};

cases! {
    id_of_another_size_is_refused => "GENL-ATT-004";
    liberal_command_uses_the_first_bytes_of_a_longer_id => "GENL-ATT-037";
    liberal_command_refuses_a_shorter_id => "GENL-ATT-050";
    integer_has_its_exact_size(SIZES) => "GENL-ATT-004";
    liberal_command_uses_the_first_bytes_of_a_longer_integer(SIZES) => "GENL-ATT-037";
    liberal_command_refuses_a_shorter_integer(SIZES) => "GENL-ATT-050";
    msecs_has_eight_bytes_or_more(MSECS) => "GENL-ATT-005";
    integer_must_be_in_range(RANGES) => "GENL-ATT-012";
    integer_must_be_in_range(EITHER) => "GENL-ATT-012", "GENL-ATT-020";
    integer_of_64_bits_needs_no_alignment_of_its_own(WIDE) => "GENL-ATT-051", "GENL-ATT-012";
    refusal_of_an_integer_reports_its_range(TOLD) => "GENL-ATT-012";
    range_of_a_big_endian_integer_is_not_reported => "GENL-ATT-012";
    bounds_of_an_integer_are_its_own(UNSIGNED) => "GENL-ATT-012";
    bounds_of_an_integer_are_its_own(SIGNED) => "GENL-ATT-012";
    bounds_of_an_integer_are_its_own(AUTOMATIC) => "GENL-ATT-012", "GENL-ATT-020";
    integer_must_be_within_its_mask(MASKS) => "GENL-ATT-013";
    integer_must_be_within_its_mask(EITHER_MASK) => "GENL-ATT-013", "GENL-ATT-020";
    mask_refuses_a_signed_integer(SIGNED) => "GENL-ATT-060";
    length_of_the_policy_is_the_smallest(LONGER) => "GENL-ATT-059";
    integer_has_4_or_8_bytes(LENGTHS) => "GENL-ATT-020";
}

fn id_of_another_size_is_refused(bus: &Bus<'_>) -> Outcome {
    let attrs = Attrs::new().u32(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL.into());
    let answer = explaining(bus)?
        .ask(&genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs).with(NLM_F_DUMP))?;
    let ack = answer.ack()?;
    expect_end(bus, "request", ack, REFUSED, Some(FIRST))?;
    expect_eq(
        "policy",
        ack.advertised(),
        Some(Advertised::unsigned(policy::NL_ATTR_TYPE_U16, 0, u16::MAX.into())),
    )
}

fn liberal_command_uses_the_first_bytes_of_a_longer_id(bus: &Bus<'_>) -> Outcome {
    let payload = [&genl::GENL_ID_CTRL.to_ne_bytes()[..], &[0xff, 0xff]].concat();
    let attrs = Attrs::new().put(genl::CTRL_ATTR_FAMILY_ID, &payload);
    let answer = bus.generic()?.ask(&genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs))?;
    expect_eq("family found", FamilyInfo::read(answer.reply()?).id, genl::GENL_ID_CTRL)
}

fn liberal_command_refuses_a_shorter_id(bus: &Bus<'_>) -> Outcome {
    let request = genl::request(
        genl::GENL_ID_CTRL,
        genl::CTRL_CMD_GETFAMILY,
        Attrs::new().u8(genl::CTRL_ATTR_FAMILY_ID, 16),
    );
    let answer = explaining(bus)?.ask(&request.with(NLM_F_ACK))?;
    expect_end(bus, "request", answer.ack()?, REFUSED, Some(FIRST))
}

const SIZES: &[(&str, (AttrKind, usize))] = &[
    ("u8", (AttrKind::U8, 1)),
    ("u16", (AttrKind::U16, 2)),
    ("u32", (AttrKind::U32, 4)),
    ("u64", (AttrKind::U64, 8)),
    ("s8", (AttrKind::S8, 1)),
    ("s16", (AttrKind::S16, 2)),
    ("s32", (AttrKind::S32, 4)),
    ("s64", (AttrKind::S64, 8)),
    ("be16", (AttrKind::Be16, 2)),
    ("be32", (AttrKind::Be32, 4)),
];

fn integer_has_its_exact_size(bus: &Bus<'_>, (kind, size): &(AttrKind, usize)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, *kind))?;
    validated.strictly(Attrs::new().put(1, &vec![1; *size]), None)?;
    validated.strictly(Attrs::new().put(1, &vec![1; *size - 1]), REFUSED)?;
    validated.strictly(Attrs::new().put(1, &vec![1; *size + 1]), REFUSED)
}

fn liberal_command_uses_the_first_bytes_of_a_longer_integer(
    bus: &Bus<'_>,
    (kind, size): &(AttrKind, usize),
) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, *kind).check(Check::Range(10, 20)))?;
    let longer = |value| encoded(*kind, *size, value).map(|bytes| [&bytes[..], &[15, 0xff]].concat());
    for (value, end) in [(15, None), (9, REFUSED), (21, REFUSED)] {
        let Some(payload) = longer(value) else { return broken("the value does not fit the integer") };
        validated.liberally(Attrs::new().put(1, &payload), end)?;
    }
    Ok(())
}

fn liberal_command_refuses_a_shorter_integer(bus: &Bus<'_>, (kind, size): &(AttrKind, usize)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, *kind))?;
    validated.liberally(Attrs::new().put(1, &vec![1; *size - 1]), REFUSED)
}

const MSECS: &[(&str, (usize, End))] = &[
    ("0", (0, REFUSED)),
    ("4", (4, REFUSED)),
    ("7", (7, REFUSED)),
    ("8", (8, None)),
    ("9", (9, None)),
    ("16", (16, None)),
];

fn msecs_has_eight_bytes_or_more(bus: &Bus<'_>, (len, end): &(usize, End)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, AttrKind::Msecs))?;
    validated.strictly(Attrs::new().put(1, &vec![0; *len]), *end)?;
    validated.liberally(Attrs::new().put(1, &vec![0; *len]), *end)
}

/// An integer attribute, the check in its policy, and the minimum and the maximum value that
/// pass it.
struct Bounded {
    kind: AttrKind,
    size: usize,
    check: Check,
    min: i128,
    max: i128,
}

const fn bounded(kind: AttrKind, size: usize, check: Check, min: i128, max: i128) -> Bounded {
    Bounded { kind, size, check, min, max }
}

const RANGES: &[(&str, Bounded)] = &[
    ("u8", bounded(AttrKind::U8, 1, Check::Range(10, 20), 10, 20)),
    ("u8_min", bounded(AttrKind::U8, 1, Check::Min(10), 10, 0xff)),
    ("u8_max", bounded(AttrKind::U8, 1, Check::Max(20), 0, 20)),
    ("u8_from_0", bounded(AttrKind::U8, 1, Check::Range(0, 0), 0, 0)),
    ("u16", bounded(AttrKind::U16, 2, Check::Range(10, 300), 10, 300)),
    ("u32", bounded(AttrKind::U32, 4, Check::Range(1, 0x7fff), 1, 0x7fff)),
    ("u32_wide", bounded(AttrKind::U32, 4, Check::WideRange(0x8000, 0x8000_0000), 0x8000, 0x8000_0000)),
    ("u64", bounded(AttrKind::U64, 8, Check::Range(10, 20), 10, 20)),
    ("u64_min", bounded(AttrKind::U64, 8, Check::Min(10), 10, u64::MAX as i128)),
    ("u64_wide", bounded(AttrKind::U64, 8, Check::WideRange(1 << 40, 1 << 63), 1 << 40, 1 << 63)),
    ("s8", bounded(AttrKind::S8, 1, Check::Range(-10, 10), -10, 10)),
    ("s8_min", bounded(AttrKind::S8, 1, Check::Min(-1), -1, 127)),
    ("s8_max", bounded(AttrKind::S8, 1, Check::Max(-1), -128, -1)),
    ("s16", bounded(AttrKind::S16, 2, Check::Range(-300, -10), -300, -10)),
    ("s32", bounded(AttrKind::S32, 4, Check::Range(-32768, 32767), -32768, 32767)),
    ("s32_wide", bounded(AttrKind::S32, 4, Check::WideRangeSigned(-40_000, 40_000), -40_000, 40_000)),
    ("s64", bounded(AttrKind::S64, 8, Check::Range(-10, 10), -10, 10)),
    ("s64_wide", bounded(AttrKind::S64, 8, Check::WideRangeSigned(-1 << 40, 1 << 40), -1 << 40, 1 << 40)),
    ("msecs", bounded(AttrKind::Msecs, 8, Check::Range(10, 20), 10, 20)),
    ("be16", bounded(AttrKind::Be16, 2, Check::Range(1, 300), 1, 300)),
    ("be32", bounded(AttrKind::Be32, 4, Check::Range(1, 300), 1, 300)),
    ("be32_wide", bounded(AttrKind::Be32, 4, Check::WideRange(0x8000, 0x8000_0000), 0x8000, 0x8000_0000)),
];

/// The two integer kinds that come in 4 or in 8 bytes.
const EITHER: &[(&str, Bounded)] = &[
    ("uint_of_4", bounded(AttrKind::Uint, 4, Check::Range(10, 300), 10, 300)),
    ("uint_of_8", bounded(AttrKind::Uint, 8, Check::Range(10, 300), 10, 300)),
    ("uint_of_8_wide", bounded(AttrKind::Uint, 8, Check::WideRange(1, 1 << 40), 1, 1 << 40)),
    ("sint_of_4", bounded(AttrKind::Sint, 4, Check::Range(-300, 300), -300, 300)),
    ("sint_of_8", bounded(AttrKind::Sint, 8, Check::Range(-300, 300), -300, 300)),
    ("sint_of_4_min", bounded(AttrKind::Sint, 4, Check::Min(-1), -1, i32::MAX as i128)),
];

fn is_signed(kind: AttrKind) -> bool {
    matches!(kind, AttrKind::S8 | AttrKind::S16 | AttrKind::S32 | AttrKind::S64 | AttrKind::Sint)
}

/// The value in this many bytes, or `None` when it does not fit.
fn encoded(kind: AttrKind, size: usize, value: i128) -> Option<Vec<u8>> {
    let bits = 8 * size as u32;
    let fits = match is_signed(kind) {
        true => (-1 << (bits - 1)..1 << (bits - 1)).contains(&value),
        false => (0..1 << bits).contains(&value),
    };
    let value = match kind {
        AttrKind::Be16 => u16::to_be(value as u16).into(),
        AttrKind::Be32 => u32::to_be(value as u32).into(),
        _ => value,
    };
    let bytes = match size {
        1 => (value as u8).to_ne_bytes().to_vec(),
        2 => (value as u16).to_ne_bytes().to_vec(),
        4 => (value as u32).to_ne_bytes().to_vec(),
        _ => (value as u64).to_ne_bytes().to_vec(),
    };
    fits.then_some(bytes)
}

fn integer_must_be_in_range(bus: &Bus<'_>, bounded: &Bounded) -> Outcome {
    let Bounded { kind, size, check, min, max } = bounded;
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, *kind).check(check.clone()))?;
    for (value, end) in [(min - 1, REFUSED), (*min, None), (*max, None), (max + 1, REFUSED)] {
        let Some(payload) = encoded(*kind, *size, value) else { continue };
        validated.strictly(Attrs::new().put(1, &payload), end)?;
        validated.liberally(Attrs::new().put(1, &payload), end)?;
    }
    Ok(())
}

const UNSIGNED: &[(&str, (AttrKind, usize))] = &[
    ("u8", (AttrKind::U8, 1)),
    ("u16", (AttrKind::U16, 2)),
    ("u32", (AttrKind::U32, 4)),
    ("u64", (AttrKind::U64, 8)),
    ("msecs", (AttrKind::Msecs, 8)),
    ("be16", (AttrKind::Be16, 2)),
    ("be32", (AttrKind::Be32, 4)),
];

const SIGNED: &[(&str, (AttrKind, usize))] = &[
    ("s8", (AttrKind::S8, 1)),
    ("s16", (AttrKind::S16, 2)),
    ("s32", (AttrKind::S32, 4)),
    ("s64", (AttrKind::S64, 8)),
];

const AUTOMATIC: &[(&str, (AttrKind, usize))] =
    &[("uint", (AttrKind::Uint, 4)), ("sint", (AttrKind::Sint, 4))];

/// An attribute with only one bound follows one with narrower bounds.
fn bounds_of_an_integer_are_its_own(bus: &Bus<'_>, (kind, size): &(AttrKind, usize)) -> Outcome {
    // From 10 to 20, or as far below 0.
    let (low, high) = if is_signed(*kind) { (-20, -10) } else { (10, 20) };
    let of = |number, check| PolicyEntry::new(number, *kind).check(check);
    let checks = [of(1, Check::Range(low, high)), of(2, Check::Min(low)), of(3, Check::Max(100))];
    let validated = Validated::by(bus, Policy::of(checks))?;
    let lowest = if is_signed(*kind) { -100 } else { 0 };
    let mut attrs = Attrs::new();
    for (number, value) in [(1, low.into()), (2, 100), (3, lowest)] {
        let Some(payload) = encoded(*kind, *size, value) else {
            return broken("the value does not fit the integer");
        };
        attrs = attrs.put(number, &payload);
    }
    validated.strictly(attrs, None)
}

const WIDE: &[(&str, AttrKind)] = &[("u64", AttrKind::U64), ("s64", AttrKind::S64)];

/// The payload of a request's first attribute is aligned to 8 bytes, as is that after an attribute of 8 bytes.
fn integer_of_64_bits_needs_no_alignment_of_its_own(bus: &Bus<'_>, kind: &AttrKind) -> Outcome {
    let integer = PolicyEntry::new(1, *kind).check(Check::Range(10, 20));
    let validated = Validated::by(bus, Policy::of([integer, PolicyEntry::new(2, AttrKind::Flag)]))?;
    for before in [Attrs::new(), Attrs::new().put(2, &[])] {
        for (value, end) in [(9i64, REFUSED), (10, None), (20, None), (21, REFUSED)] {
            let ack = validated.ask(STRICT, before.clone().put(1, &value.to_ne_bytes()))?;
            expect_end(bus, "request", &ack, end, Some(after(&before)))?;
        }
    }
    Ok(())
}

const TOLD: &[(&str, (Bounded, Advertised))] = &[
    (
        "u8",
        (
            bounded(AttrKind::U8, 1, Check::Range(10, 20), 10, 20),
            Advertised::unsigned(policy::NL_ATTR_TYPE_U8, 10, 20),
        ),
    ),
    (
        "u64",
        (
            bounded(AttrKind::U64, 8, Check::WideRange(1 << 40, 1 << 63), 1 << 40, 1 << 63),
            Advertised::unsigned(policy::NL_ATTR_TYPE_U64, 1 << 40, 1 << 63),
        ),
    ),
    (
        "s8",
        (
            bounded(AttrKind::S8, 1, Check::Min(-1), -1, 127),
            Advertised::signed(policy::NL_ATTR_TYPE_S8, -1, 127),
        ),
    ),
    (
        "s32",
        (
            bounded(AttrKind::S32, 4, Check::WideRangeSigned(-40_000, 40_000), -40_000, 40_000),
            Advertised::signed(policy::NL_ATTR_TYPE_S32, -40_000, 40_000),
        ),
    ),
];

/// What a strict request with a value below the minimum gets.
fn refused_below(bus: &Bus<'_>, bounded: &Bounded) -> Result<Ack, Failure> {
    let Bounded { kind, size, check, min, .. } = bounded;
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, *kind).check(check.clone()))?;
    let Some(payload) = encoded(*kind, *size, min - 1) else {
        return broken("the range has no value below it");
    };
    validated.ask(STRICT, Attrs::new().put(1, &payload))
}

fn refusal_of_an_integer_reports_its_range(
    bus: &Bus<'_>,
    (bounded, advertised): &(Bounded, Advertised),
) -> Outcome {
    let ack = refused_below(bus, bounded)?;
    expect_end(bus, "request", &ack, REFUSED, Some(FIRST))?;
    expect_eq("policy", ack.advertised(), Some(*advertised))
}

fn range_of_a_big_endian_integer_is_not_reported(bus: &Bus<'_>) -> Outcome {
    let ack = refused_below(bus, &bounded(AttrKind::Be16, 2, Check::Range(1, 300), 1, 300))?;
    expect_end(bus, "request", &ack, REFUSED, Some(FIRST))?;
    expect_eq("policy", ack.policy, None)
}

const MASKS: &[(&str, (AttrKind, usize))] = &[
    ("u8", (AttrKind::U8, 1)),
    ("u16", (AttrKind::U16, 2)),
    ("u32", (AttrKind::U32, 4)),
    ("u64", (AttrKind::U64, 8)),
    ("be16", (AttrKind::Be16, 2)),
    ("be32", (AttrKind::Be32, 4)),
];

const EITHER_MASK: &[(&str, (AttrKind, usize))] =
    &[("uint_of_4", (AttrKind::Uint, 4)), ("uint_of_8", (AttrKind::Uint, 8))];

fn integer_must_be_within_its_mask(bus: &Bus<'_>, (kind, size): &(AttrKind, usize)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, *kind).check(Check::Mask(0x35)))?;
    let highest = 1 << (8 * size - 1);
    for (value, end) in [(0, None), (0x35, None), (0x02, REFUSED), (0x3f, REFUSED), (highest, REFUSED)] {
        let Some(payload) = encoded(*kind, *size, value) else { continue };
        let ack = validated.ask(STRICT, Attrs::new().put(1, &payload))?;
        expect_end(bus, "request", &ack, end, Some(FIRST))?;
        expect_eq("policy", ack.policy, None)?;
        validated.liberally(Attrs::new().put(1, &payload), end)?;
    }
    Ok(())
}

fn mask_refuses_a_signed_integer(bus: &Bus<'_>, (kind, size): &(AttrKind, usize)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, *kind).check(Check::Mask(0x7f)))?;
    let ack = validated.ask(STRICT, Attrs::new().put(1, &vec![0; *size]))?;
    expect_errno("request", &ack, bus.expected("errno")?)?;
    expect_eq("message", ack.message, None)
}

/// The length in the policy of a u32, and which lengths it has in a liberal command.
type Lengths = (u16, &'static [(usize, End)]);

const LONGER: &[(&str, Lengths)] = &[
    ("2", (2, &[(1, REFUSED), (2, None), (4, None)])),
    ("6", (6, &[(4, REFUSED), (5, REFUSED), (6, None)])),
];

fn length_of_the_policy_is_the_smallest(bus: &Bus<'_>, (len, ends): &Lengths) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, AttrKind::U32).len(*len))?;
    ends.iter().try_for_each(|(len, end)| validated.liberally(Attrs::new().put(1, &vec![1; *len]), *end))
}

const LENGTHS: &[(&str, (usize, End))] = &[
    ("0", (0, REFUSED)),
    ("1", (1, REFUSED)),
    ("2", (2, REFUSED)),
    ("3", (3, REFUSED)),
    ("4", (4, None)),
    ("5", (5, REFUSED)),
    ("7", (7, REFUSED)),
    ("8", (8, None)),
    ("9", (9, REFUSED)),
    ("16", (16, REFUSED)),
];

fn integer_has_4_or_8_bytes(bus: &Bus<'_>, (len, end): &(usize, End)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, AttrKind::Uint))?;
    validated.strictly(Attrs::new().put(1, &vec![0; *len]), *end)?;
    validated.liberally(Attrs::new().put(1, &vec![0; *len]), *end)
}
