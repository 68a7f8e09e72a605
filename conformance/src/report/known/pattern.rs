//! Names with `*` in them, and versions by their numbers.

/// Whether a text is what a pattern says, in which `*` stands for anything.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
}

/// Whether one version is older than another: what counts are the numbers in it, in order.
pub fn older(one: &str, other: &str) -> bool {
    numbers(one).lt(numbers(other))
}

fn numbers(version: &str) -> impl Iterator<Item = u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        assert!(matches("a::*", "a::b::c") && matches("*b*", "abc") && matches("*", "") && matches("a", "a"));
        assert!(!matches("a::*", "b::a::c") && !matches("a", "ab") && !matches("*b", "abc"));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(older("6.9.1", "6.10") && older("release-20221219.0", "20240729") && older("0.9", "0.9.1"));
        assert!(!older("6.10", "6.9") && !older("0.9.0", "0.9.0"));
    }
}
