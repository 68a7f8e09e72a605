//! Bytes that guests send as text.

/// Bytes written in hexadecimal, in groups of any size.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.replace(' ', "")).ok()
}

#[cfg(test)]
mod tests {
    use nlconform::wire::explain::hex;

    #[test]
    fn counters_come_as_they_were() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(super::unhex(&hex(&bytes)), Some(bytes));
        for wrong in ["0", "0g", "+1", "é0"] {
            assert_eq!(super::unhex(wrong), None, "{wrong}");
        }
    }
}
