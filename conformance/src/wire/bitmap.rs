//! Bitmaps of groups: the bit `1 << n` of the first word stands for group n + 1, and words are in host byte order.

/// The groups of a bitmap of 32-bit words, such as `NETLINK_LIST_MEMBERSHIPS` writes.
pub fn of_words(bytes: &[u8]) -> Vec<u32> {
    groups::<4>(bytes, |word| u32::from_ne_bytes(word).into())
}

/// The groups of a bitmap of the kernel's `unsigned long`, such as `NETLINK_DIAG_GROUPS` has. Those of 32 bits are
/// known by an odd number of them; in little-endian order it makes no difference.
pub fn of_longs(bytes: &[u8]) -> Vec<u32> {
    match bytes.len() % 8 {
        0 => groups::<8>(bytes, u64::from_ne_bytes),
        _ => of_words(bytes),
    }
}

fn groups<const SIZE: usize>(bytes: &[u8], read: impl Fn([u8; SIZE]) -> u64) -> Vec<u32> {
    let (words, _) = bytes.as_chunks::<SIZE>();
    let bits = words.iter().flat_map(|word| {
        let word = read(*word);
        (0..8 * SIZE).map(move |bit| word >> bit & 1 != 0)
    });
    (1..).zip(bits).filter(|(_, is_set)| *is_set).map(|(group, _)| group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bit_of_a_word_follows_the_last_of_the_word_before() {
        let words = [0x8000_0001u32, 0b101].map(u32::to_ne_bytes).concat();
        assert_eq!(of_words(&words), [1, 32, 33, 35]);
        let longs = [1u64 << 63 | 1, 0b10].map(u64::to_ne_bytes).concat();
        assert_eq!(of_longs(&longs), [1, 64, 66]);
        assert_eq!(of_longs(&words[..4]), [1, 32]);
        assert_eq!(of_words(&[]), [0u32; 0]);
    }
}
