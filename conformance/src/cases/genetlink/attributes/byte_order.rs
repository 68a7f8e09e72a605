//! The byte order in which an integer is compared with the bounds of its policy.

use crate::cases::cases;
use crate::outcome::Outcome;
use crate::port::provider::{AttrKind, Check, PolicyEntry};
use crate::scene::bus::Bus;
use crate::scene::validated::{REFUSED, Validated};
use crate::wire::attr::{Attrs, NLA_F_NET_BYTEORDER};

cases! {
    integer_is_compared_in_its_byte_order(HOST) => "GENL-ATT-056";
    integer_is_compared_in_its_byte_order(NETWORK) => "GENL-ATT-057";
}

/// A kind of integer, and [`LEAST`] as such a one.
type Integer = (AttrKind, &'static [u8]);

/// The least value that is allowed: the same bytes in the other order are a number beyond [`MOST`].
const LEAST: i16 = 0x0102;
const MOST: i16 = 0x0110;

const HOST: &[(&str, Integer)] = &[
    ("u16", (AttrKind::U16, &(LEAST as u16).to_ne_bytes())),
    ("u32", (AttrKind::U32, &(LEAST as u32).to_ne_bytes())),
    ("u64", (AttrKind::U64, &(LEAST as u64).to_ne_bytes())),
    ("s16", (AttrKind::S16, &LEAST.to_ne_bytes())),
    ("s32", (AttrKind::S32, &(LEAST as i32).to_ne_bytes())),
    ("s64", (AttrKind::S64, &(LEAST as i64).to_ne_bytes())),
];

const NETWORK: &[(&str, Integer)] = &[
    ("be16", (AttrKind::Be16, &LEAST.to_be_bytes())),
    ("be32", (AttrKind::Be32, &(LEAST as i32).to_be_bytes())),
];

fn integer_is_compared_in_its_byte_order(bus: &Bus<'_>, (kind, allowed): &Integer) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, *kind).check(Check::Range(LEAST, MOST)))?;
    let swapped: Vec<u8> = allowed.iter().rev().copied().collect();
    for flag in [0, NLA_F_NET_BYTEORDER] {
        for (payload, end) in [(*allowed, None), (&swapped[..], REFUSED)] {
            validated.strictly(Attrs::new().put(1 | flag, payload), end)?;
            validated.liberally(Attrs::new().put(1 | flag, payload), end)?;
        }
    }
    Ok(())
}
