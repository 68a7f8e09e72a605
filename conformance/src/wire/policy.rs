//! A policy entry as the kernel describes it (`NL_POLICY_TYPE_ATTR_*`, include/uapi/linux/netlink.h).

use super::attr;

/// Type of the payload, u32: a number of `enum netlink_attribute_type`.
pub const TYPE: u16 = 1;
/// Least signed value, s64.
pub const MIN_VALUE_S: u16 = 2;
/// Greatest signed value, s64.
pub const MAX_VALUE_S: u16 = 3;
/// Least unsigned value, u64.
pub const MIN_VALUE_U: u16 = 4;
/// Greatest unsigned value, u64.
pub const MAX_VALUE_U: u16 = 5;
/// Least length, u32.
pub const MIN_LENGTH: u16 = 6;
/// Greatest length, u32.
pub const MAX_LENGTH: u16 = 7;
/// Policy of a nest, u32.
pub const POLICY_IDX: u16 = 8;
/// Greatest type in a nest, u32.
pub const POLICY_MAXTYPE: u16 = 9;
/// Bits that a bitfield may have, u32.
pub const BITFIELD32_MASK: u16 = 10;
/// Nothing.
pub const PAD: u16 = 11;
/// Bits that an integer may have, u64.
pub const MASK: u16 = 12;

/// What a description says: types and values, in the order of the types, whatever their order was.
/// Values that are no number are left out, and so is padding.
pub fn entry(nest: &[u8]) -> Vec<(u16, u64)> {
    let number = |attr: &attr::Attr<'_>| match attr.data.len() {
        8 => attr.u64(),
        4 => attr.u32().map(u64::from),
        _ => None,
    };
    let attrs = attr::parse(nest);
    let mut entry: Vec<(u16, u64)> =
        attrs.iter().filter_map(|attr| Some((attr.kind(), number(attr)?))).collect();
    entry.sort_unstable();
    entry
}

#[cfg(test)]
mod tests {
    use super::super::attr::Attrs;
    use super::*;

    #[test]
    fn an_entry_is_sorted_and_without_padding() {
        let nest = Attrs::new().put(PAD, &[]).u64(MAX_VALUE_U, 9).u64(MIN_VALUE_U, 1).u32(TYPE, 3);
        assert_eq!(entry(nest.as_bytes()), [(TYPE, 3), (MIN_VALUE_U, 1), (MAX_VALUE_U, 9)]);
    }
}
