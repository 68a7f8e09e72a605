//! Checks of an attribute's value: bounds, masks, functions.

use nix::errno::Errno;
use nlconform::port::provider::{AttrKind, Check, PolicyEntry};

use super::attribute::{Slot, refuse};
use super::message::ExtAck;

/// The values that an attribute may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// Of an unsigned integer, or of a length.
    Unsigned(u64, u64),
    /// Of a signed integer.
    Signed(i64, i64),
}

/// The bounds that a policy sets, within those of the type.
pub fn of(entry: &PolicyEntry) -> Option<Bounds> {
    let signed = |max: i64| {
        let (mut low, mut high) = (-max - 1, max);
        match entry.check {
            Check::Min(min) => low = min.into(),
            Check::Max(max) => high = max.into(),
            Check::Range(min, max) => (low, high) = (min.into(), max.into()),
            Check::WideRangeSigned(min, max) => (low, high) = (min, max),
            _ => {}
        }
        Some(Bounds::Signed(low, high))
    };
    let unsigned = |max: u64| {
        let (mut low, mut high) = (0, max);
        match entry.check {
            Check::Min(min) => low = min as u64,
            Check::Max(max) => high = max as u64,
            Check::Range(min, max) => (low, high) = (min as u64, max as u64),
            Check::WideRange(min, max) => (low, high) = (min, max),
            Check::ExactLenWarn => (low, high) = (entry.len.into(), entry.len.into()),
            _ => {}
        }
        Some(Bounds::Unsigned(low, high))
    };
    match entry.kind {
        AttrKind::U8 => unsigned(u8::MAX.into()),
        AttrKind::U16 | AttrKind::Be16 | AttrKind::Binary => unsigned(u16::MAX.into()),
        AttrKind::U32 | AttrKind::Be32 => unsigned(u32::MAX.into()),
        AttrKind::U64 | AttrKind::Uint | AttrKind::Msecs => unsigned(u64::MAX),
        AttrKind::S8 => signed(i8::MAX.into()),
        AttrKind::S16 => signed(i16::MAX.into()),
        AttrKind::S32 => signed(i32::MAX.into()),
        AttrKind::S64 | AttrKind::Sint => signed(i64::MAX),
        _ => None,
    }
}

/// Checks a value whose length is right.
pub fn check(
    slot: Slot,
    data: &[u8],
    entry: &PolicyEntry,
    strict: bool,
    extack: &mut ExtAck,
) -> Result<(), Errno> {
    match entry.check {
        Check::Function(errno) => {
            return refuse(extack, slot, None, Check::FUNCTION_MESSAGE, Errno::from_raw(errno.abs()));
        }
        Check::Mask(_) if matches!(of(entry), Some(Bounds::Signed(..))) => return Err(Errno::EINVAL),
        Check::Mask(mask)
            if entry.kind != AttrKind::Bitfield32 && unsigned(entry.kind, data) & !mask != 0 =>
        {
            return refuse(extack, slot, None, "reserved bit set", Errno::EINVAL);
        }
        Check::None | Check::Mask(_) | Check::Nested(_) | Check::Message(_) => return Ok(()),
        _ => {}
    }
    let within = match of(entry) {
        Some(Bounds::Unsigned(low, high)) => (low..=high).contains(&unsigned(entry.kind, data)),
        Some(Bounds::Signed(low, high)) => (low..=high).contains(&signed(entry.kind, data)),
        None => true,
    };
    if within {
        return Ok(());
    }
    let longer = data.len() > entry.len as usize;
    match (&entry.check, entry.kind) {
        (Check::ExactLenWarn, _) if longer && strict => {
            refuse(extack, slot, Some(entry), "invalid attribute length", Errno::EINVAL)
        }
        (Check::ExactLenWarn, _) if longer => Ok(()),
        (_, AttrKind::Binary) => {
            refuse(extack, slot, Some(entry), "binary attribute size out of range", Errno::ERANGE)
        }
        _ => refuse(extack, slot, Some(entry), "integer out of range", Errno::ERANGE),
    }
}

/// The first bytes of `data`, as many as the type has; the rest is ignored.
fn front<const N: usize>(data: &[u8]) -> [u8; N] {
    data.first_chunk().copied().unwrap_or([0; N])
}

fn unsigned(kind: AttrKind, data: &[u8]) -> u64 {
    match kind {
        AttrKind::Binary => data.len() as u64,
        AttrKind::U8 => u8::from_ne_bytes(front(data)).into(),
        AttrKind::U16 => u16::from_ne_bytes(front(data)).into(),
        AttrKind::Be16 => u16::from_be_bytes(front(data)).into(),
        AttrKind::U32 => u32::from_ne_bytes(front(data)).into(),
        AttrKind::Be32 => u32::from_be_bytes(front(data)).into(),
        AttrKind::Uint if data.len() == 4 => u32::from_ne_bytes(front(data)).into(),
        _ => u64::from_ne_bytes(front(data)),
    }
}

fn signed(kind: AttrKind, data: &[u8]) -> i64 {
    match kind {
        AttrKind::S8 => i8::from_ne_bytes(front(data)).into(),
        AttrKind::S16 => i16::from_ne_bytes(front(data)).into(),
        AttrKind::S32 => i32::from_ne_bytes(front(data)).into(),
        AttrKind::Sint if data.len() == 4 => i32::from_ne_bytes(front(data)).into(),
        _ => i64::from_ne_bytes(front(data)),
    }
}
