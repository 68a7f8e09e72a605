//! Names with `*` in them, and versions by their numbers.

/// Whether a text is what a pattern says, in which `*` stands for anything.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
}

/// The pattern of two texts: the words in which they differ are `*`, or all is, if they have not as many.
pub fn common(one: &str, other: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || c == '=' || c == ',';
    let split = |text: &str| text.split_inclusive(is_end).map(str::to_owned).collect::<Vec<_>>();
    let (ones, others) = (split(one), split(other));
    if ones.len() != others.len() {
        return "*".to_owned();
    }
    let word = |(one, other): (String, String)| match one == other {
        true => one,
        // What ends the word stays.
        false => {
            one.chars().last().filter(|end| is_end(*end)).map_or("*".to_owned(), |end| format!("*{end}"))
        }
    };
    ones.into_iter().zip(others).map(word).collect()
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
    fn what_differs_between_two_texts_is_a_star() {
        let one = "type 16 seq=7 pid=343 len=72";
        assert_eq!(common(one, "type 16 seq=7 pid=12 len=72"), "type 16 seq=7 pid=* len=72");
        assert_eq!(common("port 1", "port 22"), "port *");
        assert_eq!(common("[1, 2]", "[1, 3]"), "[1, *");
        assert_eq!(common("ok", "no answer"), "*");
        let pattern = common(&common(one, "type 16 seq=7 pid=12 len=72"), "type 16 seq=7 pid=5 len=80");
        assert!(matches(&pattern, one) && pattern.starts_with("type 16 seq=7 pid="), "{pattern}");
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(older("6.9.1", "6.10") && older("release-20221219.0", "20240729") && older("0.9", "0.9.1"));
        assert!(!older("6.10", "6.9") && !older("0.9.0", "0.9.0"));
    }
}
