//! The controller: how policy dumps describe each kind of attribute.

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq};
use crate::port::provider::{AttrKind, Check, Family, Op, Policy, PolicyEntry};
use crate::scene::bus::{Answer, Bus};
use crate::wire::attr::{self, Attr, Attrs};
use crate::wire::message::{NLM_F_DUMP, NLMSG_HDRLEN};
use crate::wire::policy::{self, Advertised};
use crate::wire::{align, genl};

cases! {
    attribute_is_advertised(KINDS) => "GENL-CTRL-027";
    attribute_is_advertised(EITHER) => "GENL-CTRL-027", "GENL-ATT-020";
    attribute_is_omitted(LEFT_OUT) => "GENL-CTRL-040";
    msecs_is_advertised => "GENL-CTRL-028";
    integer_with_a_function_is_advertised => "GENL-CTRL-029";
    number_of_64_bits_is_padded_if_all_are => "GENL-CTRL-046";
}

/// Index of the policy, attribute type and description, for a family with this policy.
fn dumped(bus: &Bus<'_>, policy: Policy) -> Result<Vec<(u16, u16, Advertised)>, Failure> {
    let family = bus.register(Family::named("nlc_advertised").policy(policy).op(Op::doing(1)))?;
    let dump = bus.controller()?.policies(Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, family.id))??;
    Ok(dump.attributes)
}

/// An attribute in a policy: kind, len and check; and its description.
type Kind = (AttrKind, u16, Check, Advertised);

const fn lengths(kind: u32, min: Option<u32>, max: Option<u32>) -> Advertised {
    Advertised { min_length: min, max_length: max, ..Advertised::plain(kind) }
}

const KINDS: &[(&str, Kind)] = &[
    ("u8", (AttrKind::U8, 0, Check::None, Advertised::unsigned(policy::NL_ATTR_TYPE_U8, 0, 0xff))),
    ("u16", (AttrKind::U16, 0, Check::Min(3), Advertised::unsigned(policy::NL_ATTR_TYPE_U16, 3, 0xffff))),
    ("u32", (AttrKind::U32, 0, Check::Max(3), Advertised::unsigned(policy::NL_ATTR_TYPE_U32, 0, 3))),
    ("u64", (AttrKind::U64, 0, Check::None, Advertised::unsigned(policy::NL_ATTR_TYPE_U64, 0, u64::MAX))),
    (
        "u64_range",
        (AttrKind::U64, 0, Check::Range(1, 9), Advertised::unsigned(policy::NL_ATTR_TYPE_U64, 1, 9)),
    ),
    (
        "u64_wide",
        (
            AttrKind::U64,
            0,
            Check::WideRange(1 << 40, 1 << 63),
            Advertised::unsigned(policy::NL_ATTR_TYPE_U64, 1 << 40, 1 << 63),
        ),
    ),
    ("s8", (AttrKind::S8, 0, Check::Range(-3, 3), Advertised::signed(policy::NL_ATTR_TYPE_S8, -3, 3))),
    (
        "s16",
        (AttrKind::S16, 0, Check::Max(-3), Advertised::signed(policy::NL_ATTR_TYPE_S16, i16::MIN as i64, -3)),
    ),
    (
        "s32",
        (
            AttrKind::S32,
            0,
            Check::None,
            Advertised::signed(policy::NL_ATTR_TYPE_S32, i32::MIN as i64, i32::MAX as i64),
        ),
    ),
    (
        "s64",
        (
            AttrKind::S64,
            0,
            Check::WideRangeSigned(-1 << 40, 7),
            Advertised::signed(policy::NL_ATTR_TYPE_S64, -1 << 40, 7),
        ),
    ),
    (
        "mask",
        (
            AttrKind::U32,
            0,
            Check::Mask(0x35),
            Advertised { mask: Some(0x35), ..Advertised::plain(policy::NL_ATTR_TYPE_U32) },
        ),
    ),
    (
        "bitfield32",
        (
            AttrKind::Bitfield32,
            0,
            Check::Mask(0x8000_0001),
            Advertised {
                bitfield32_mask: Some(0x8000_0001),
                ..Advertised::plain(policy::NL_ATTR_TYPE_BITFIELD32)
            },
        ),
    ),
    ("flag", (AttrKind::Flag, 0, Check::None, Advertised::plain(policy::NL_ATTR_TYPE_FLAG))),
    ("string", (AttrKind::String, 0, Check::None, Advertised::plain(policy::NL_ATTR_TYPE_STRING))),
    (
        "string_limited",
        (AttrKind::String, 9, Check::None, lengths(policy::NL_ATTR_TYPE_STRING, None, Some(9))),
    ),
    (
        "nul_string",
        (AttrKind::NulString, 9, Check::None, lengths(policy::NL_ATTR_TYPE_NUL_STRING, None, Some(9))),
    ),
    ("binary", (AttrKind::Binary, 0, Check::None, Advertised::plain(policy::NL_ATTR_TYPE_BINARY))),
    (
        "binary_limited",
        (AttrKind::Binary, 9, Check::None, lengths(policy::NL_ATTR_TYPE_BINARY, None, Some(9))),
    ),
    (
        "binary_exact",
        (AttrKind::Binary, 0, Check::Range(6, 6), lengths(policy::NL_ATTR_TYPE_BINARY, Some(6), Some(6))),
    ),
    (
        "binary_up_to",
        (AttrKind::Binary, 0, Check::Range(0, 6), lengths(policy::NL_ATTR_TYPE_BINARY, None, Some(6))),
    ),
    (
        "binary_function",
        (AttrKind::Binary, 9, Check::Function(22), lengths(policy::NL_ATTR_TYPE_BINARY, None, Some(9))),
    ),
    (
        "string_function",
        (AttrKind::String, 9, Check::Function(22), lengths(policy::NL_ATTR_TYPE_STRING, None, Some(9))),
    ),
    (
        "nul_string_function",
        (
            AttrKind::NulString,
            9,
            Check::Function(22),
            lengths(policy::NL_ATTR_TYPE_NUL_STRING, None, Some(9)),
        ),
    ),
    (
        "binary_warned",
        (AttrKind::Binary, 6, Check::ExactLenWarn, lengths(policy::NL_ATTR_TYPE_BINARY, Some(6), Some(6))),
    ),
];

fn attribute_is_advertised(bus: &Bus<'_>, (kind, len, check, advertised): &Kind) -> Outcome {
    let entry = PolicyEntry::new(1, *kind).len(*len).check(check.clone());
    let reported = dumped(bus, Policy::of([entry]))?;
    expect_eq("attributes", reported, [(0, 1, *advertised)])
}

const EITHER: &[(&str, Kind)] = &[
    ("uint", (AttrKind::Uint, 0, Check::None, Advertised::unsigned(policy::NL_ATTR_TYPE_UINT, 0, u64::MAX))),
    ("sint", (AttrKind::Sint, 0, Check::Range(-3, 3), Advertised::signed(policy::NL_ATTR_TYPE_SINT, -3, 3))),
];

const LEFT_OUT: &[(&str, AttrKind)] = &[
    ("unspec", AttrKind::Unspec),
    ("reject", AttrKind::Reject),
    ("be16", AttrKind::Be16),
    ("be32", AttrKind::Be32),
];

fn attribute_is_omitted(bus: &Bus<'_>, kind: &AttrKind) -> Outcome {
    let policy = Policy::of([PolicyEntry::new(1, *kind), PolicyEntry::new(2, AttrKind::Flag)]);
    let reported = dumped(bus, policy)?;
    expect_eq("attributes", reported, [(0, 2, Advertised::plain(policy::NL_ATTR_TYPE_FLAG))])
}

fn msecs_is_advertised(bus: &Bus<'_>) -> Outcome {
    let policy = Policy::of([PolicyEntry::new(1, AttrKind::Msecs)]);
    let reported = dumped(bus, policy)?;
    let advertised = Advertised::unsigned(bus.expected("kind")?, 0, u64::MAX);
    expect_eq("attributes", reported, [(0, 1, advertised)])
}

fn integer_with_a_function_is_advertised(bus: &Bus<'_>) -> Outcome {
    let policy = Policy::of([PolicyEntry::new(1, AttrKind::U32).check(Check::Function(22))]);
    let reported = dumped(bus, policy)?;
    let advertised = match bus.expected("bounds")? {
        true => Advertised::unsigned(policy::NL_ATTR_TYPE_U32, 0, u32::MAX.into()),
        false => Advertised::plain(policy::NL_ATTR_TYPE_U32),
    };
    expect_eq("attributes", reported, [(0, 1, advertised)])
}

/// An attribute that describes another: its type, its size, and where its payload stands in the datagram.
type Place = (u16, usize, usize);

/// The descriptions in a policy dump.
fn descriptions(answer: &Answer) -> Vec<Vec<Place>> {
    let mut replies = answer.replies.iter();
    let mut found = Vec::new();
    for messages in &answer.datagrams {
        let mut begin = 0;
        for message in replies.by_ref().take(*messages) {
            let from = message.payload.as_ptr() as usize;
            let place = |attr: Attr<'_>| {
                let at = attr.data.as_ptr() as usize - from;
                (attr.kind(), attr.data.len(), begin + NLMSG_HDRLEN + at)
            };
            let policies =
                attr::find(&genl::attrs(message), genl::CTRL_ATTR_POLICY).map(|attr| attr.nested());
            let described = policies.unwrap_or_default().into_iter().flat_map(|policy| policy.nested());
            found.extend(described.map(|one| one.nested().into_iter().map(place).collect()));
            begin += align(message.len() as usize);
        }
    }
    found
}

/// Of the attributes some have bounds, some a mask, and some neither.
fn number_of_64_bits_is_padded_if_all_are(bus: &Bus<'_>) -> Outcome {
    let kinds = [AttrKind::U64, AttrKind::Flag, AttrKind::S8, AttrKind::String, AttrKind::U32, AttrKind::S64];
    let entry = |(attr, kind)| PolicyEntry::new(attr, kind);
    let masked = PolicyEntry::new(7, AttrKind::U16).check(Check::Mask(0xff));
    let policy = Policy::of((1..).zip(kinds).map(entry).chain([masked]).collect::<Vec<_>>());
    let family = bus.register(Family::named("nlc_padded").policy(policy).op(Op::doing(1)))?;
    let of_family = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, family.id);
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, of_family).with(NLM_F_DUMP);
    let descriptions = descriptions(&bus.generic()?.ask(&request)?);
    expect_eq("attributes described", descriptions.len(), kinds.len() + 1)?;
    let pads = descriptions.iter().flatten().any(|(kind, ..)| *kind == policy::NL_POLICY_TYPE_ATTR_PAD);
    for place in descriptions.iter().flatten().filter(|(_, size, _)| pads && *size == 8) {
        expect_eq("offset of 64 bits in the datagram, modulo 8", place.2 % 8, 0)?;
    }
    for pair in descriptions.iter().flat_map(|places| places.windows(2)) {
        if pair[0].0 == policy::NL_POLICY_TYPE_ATTR_PAD {
            expect_eq("sizes of a pad and of what follows it", (pair[0].1, pair[1].1), (0, 8))?;
            expect_eq("offset of a pad's own attribute in the datagram, modulo 8", pair[0].2 % 8, 4)?;
        }
    }
    Ok(())
}
