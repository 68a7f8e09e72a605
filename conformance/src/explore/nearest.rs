//! The requirements that a difference is probably about: those that share its rarest words.

use std::collections::{BTreeMap, BTreeSet};

use crate::spec::{self, Profile, Requirement};

/// The flags of messages as exchanges show them.
const FLAGS: [&str; 10] =
    ["REQUEST", "MULTI", "ACK", "ECHO", "ROOT", "MATCH", "CAPPED", "ACK_TLVS", "DUMP_INTR", "DUMP_FILTERED"];
/// How many are named.
const NAMED: usize = 3;

/// The requirements nearest to a text that describes a difference, as `ID: statement`. Sequences make no calls
/// of clients and none to process events, and few of the connector.
pub fn nearest(text: &str, profile: Profile) -> Vec<String> {
    let connector = text.contains("protocol 11") || text.contains("probe: connector");
    let others = ["CL-", if connector { "CNP-" } else { "CN" }];
    let about = |requirement: &&Requirement| {
        !others.iter().any(|other| requirement.id.starts_with(other))
            && requirement.holds_for(profile.version)
    };
    let all: Vec<_> = spec::all().filter(about).collect();
    let statements: Vec<_> = all.iter().map(|requirement| requirement.statement(profile.version)).collect();
    let words_of: Vec<_> = statements.iter().map(|statement| words(statement)).collect();
    let mut holders = BTreeMap::<&str, usize>::new();
    for word in words_of.iter().flatten() {
        *holders.entry(word).or_default() += 1;
    }
    let wanted = words(text);
    let weight = |words: &BTreeSet<String>| {
        let shared =
            words.intersection(&wanted).map(|word| (all.len() as f64 / holders[word.as_str()] as f64).ln());
        // A long statement shares words by chance.
        shared.sum::<f64>() / (words.len() as f64).sqrt()
    };
    let mut ranked: Vec<_> = words_of.iter().map(weight).zip(all.iter().zip(&statements)).collect();
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
    let named = ranked.into_iter().take(NAMED).filter(|(weight, _)| *weight > 0.0);
    named.map(|(_, (requirement, statement))| format!("{}: {statement}", requirement.id)).collect()
}

/// The words of a text, without those that say nothing.
fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.len() > 2);
    // In an exchange, flags stand without what they all begin with.
    words
        .map(|word| if FLAGS.contains(&word) { format!("nlm_f_{word}") } else { word.to_owned() })
        .map(|word| word.to_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_and_errno_lead_to_a_requirement_on_both() {
        let found = nearest("setsockopt NETLINK_ADD_MEMBERSHIP = 0: EINVAL, other: ok", Profile::newest());
        let both = |line: &&String| line.contains("NETLINK_ADD_MEMBERSHIP") && line.contains("EINVAL");
        assert!(found.first().is_some_and(|line| both(&line)), "{found:#?}");
    }
}
