//! Functions of include/net/netlink.h that put a value into an attribute and get it out.

use super::helpers::{GIVEN, call};
use crate::cases::cases;
use crate::outcome::{Outcome, expect_bytes, expect_eq};
use crate::port::provider::{Helper, HelperCall};
use crate::scene::bus::Bus;
use crate::wire::attr::{Attrs, NLA_F_NET_BYTEORDER};

cases! {
    integer_is_as_long_as_its_value_needs(INTEGERS) => "GENL-ATT-066";
    integer_of_either_size_is_read(READINGS_OF_INTEGERS) => "GENL-ATT-066";
    value_is_put_in_its_form(FORMS) => "GENL-ATT-067";
    value_that_was_put_is_read(READINGS) => "GENL-ATT-067";
}

/// Room for an attribute of 8 bytes, in which none of them needs to be aligned.
const ROOM: u32 = 12;

/// The function, the value, and the bytes that it takes.
type Integer = (Helper, i64, usize);

const INTEGERS: &[(&str, Integer)] = &[
    ("zero", (Helper::PutUint, 0, 4)),
    ("31_bits", (Helper::PutUint, i32::MAX as i64, 4)),
    ("32_bits", (Helper::PutUint, u32::MAX as i64, 4)),
    ("33_bits", (Helper::PutUint, 1 << 32, 8)),
    ("64_bits", (Helper::PutUint, -1, 8)),
    ("signed_zero", (Helper::PutSint, 0, 4)),
    ("signed_minus_one", (Helper::PutSint, -1, 4)),
    ("signed_31_bits", (Helper::PutSint, i32::MAX as i64, 4)),
    ("signed_least_of_32_bits", (Helper::PutSint, i32::MIN as i64, 4)),
    ("signed_32_bits", (Helper::PutSint, i32::MAX as i64 + 1, 8)),
    ("signed_33_bits", (Helper::PutSint, i32::MIN as i64 - 1, 8)),
    ("signed_least", (Helper::PutSint, i64::MIN, 8)),
];

fn integer_is_as_long_as_its_value_needs(bus: &Bus<'_>, (helper, value, size): &Integer) -> Outcome {
    let put = HelperCall { helper: *helper, argument: ROOM, ..HelperCall::default() };
    let (returned, bytes) = call(bus, &value.to_ne_bytes(), put)?;
    expect_eq("return value", returned, 0)?;
    let attrs = match size {
        4 => Attrs::new().put(GIVEN, &(*value as u32).to_ne_bytes()),
        _ => Attrs::new().put(GIVEN, &value.to_ne_bytes()),
    };
    expect_bytes("attribute", bytes, attrs.as_bytes())
}

/// The function, the attribute, and what is returned.
type Reading = (Helper, fn() -> Vec<u8>, i64);

const READINGS_OF_INTEGERS: &[(&str, Reading)] = &[
    ("4_bytes", (Helper::GetUint, || u32::MAX.to_ne_bytes().to_vec(), u32::MAX as i64)),
    ("8_bytes", (Helper::GetUint, || (5u64 << 32 | 6).to_ne_bytes().to_vec(), 5 << 32 | 6)),
    ("signed_4_bytes", (Helper::GetSint, || (-6i32).to_ne_bytes().to_vec(), -6)),
    ("signed_8_bytes", (Helper::GetSint, || i64::MIN.to_ne_bytes().to_vec(), i64::MIN)),
];

fn integer_of_either_size_is_read(bus: &Bus<'_>, reading: &Reading) -> Outcome {
    expect_reading(bus, reading)
}

fn expect_reading(bus: &Bus<'_>, (helper, payload, value): &Reading) -> Outcome {
    let get = HelperCall { helper: *helper, ..HelperCall::default() };
    expect_eq("value", call(bus, &payload(), get)?.0, *value)
}

/// The function, the value, the attribute's type and its payload.
type Form = (Helper, fn() -> Vec<u8>, u16, fn() -> Vec<u8>);

/// Jiffies, whatever their length, make two seconds.
const MILLIS: u64 = 2000;

/// A value, and a selector.
fn bitfield() -> Vec<u8> {
    [0x0102_0304_u32, 0xf00f_ffff].map(u32::to_ne_bytes).concat()
}

fn number() -> Vec<u8> {
    0x0102_0304_0506_0708_u64.to_ne_bytes().to_vec()
}

const FORMS: &[(&str, Form)] = &[
    (
        "milliseconds",
        (Helper::PutMsecs, || MILLIS.to_ne_bytes().to_vec(), GIVEN, || MILLIS.to_ne_bytes().to_vec()),
    ),
    ("bitfield", (Helper::PutBitfield32, bitfield, GIVEN, bitfield)),
    ("net16", (Helper::PutNet16, number, GIVEN | NLA_F_NET_BYTEORDER, || vec![7, 8])),
    ("net32", (Helper::PutNet32, number, GIVEN | NLA_F_NET_BYTEORDER, || vec![5, 6, 7, 8])),
    ("net64", (Helper::PutNet64, number, GIVEN | NLA_F_NET_BYTEORDER, || (1..=8).collect())),
];

fn value_is_put_in_its_form(bus: &Bus<'_>, (helper, value, kind, payload): &Form) -> Outcome {
    let put = HelperCall { helper: *helper, argument: ROOM, ..HelperCall::default() };
    let (returned, bytes) = call(bus, &value(), put)?;
    expect_eq("return value", returned, 0)?;
    expect_bytes("attribute", bytes, Attrs::new().put(*kind, &payload()).as_bytes())
}

const READINGS: &[(&str, Reading)] = &[
    ("s8", (Helper::GetS8, || vec![0xfe], -2)),
    ("s16", (Helper::GetS16, || (-300i16).to_ne_bytes().to_vec(), -300)),
    ("s32", (Helper::GetS32, || (-70_000i32).to_ne_bytes().to_vec(), -70_000)),
    ("s64", (Helper::GetS64, || (-1i64 << 40).to_ne_bytes().to_vec(), -1 << 40)),
    ("u64", (Helper::GetU64, number, 0x0102_0304_0506_0708)),
    ("be64", (Helper::GetBe64, || (1..=8).collect(), 0x0102_0304_0506_0708)),
    ("milliseconds", (Helper::GetMsecs, || MILLIS.to_ne_bytes().to_vec(), MILLIS as i64)),
    ("bitfield", (Helper::GetBitfield32, bitfield, 0xf00f_ffff_0102_0304_u64 as i64)),
];

fn value_that_was_put_is_read(bus: &Bus<'_>, reading: &Reading) -> Outcome {
    expect_reading(bus, reading)
}
