//! Where two targets have shown different things.

use super::call::Call;
use super::seen::{Observed, Seen};

/// The first call that showed different things.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its place in the sequence; after the last call stands what the log says when all is closed.
    pub at: usize,
    /// What each target has shown; nothing if it was in trouble by then.
    pub shown: [Option<Seen>; 2],
}

/// What came of a comparison.
#[derive(Debug)]
pub enum Compared {
    /// No difference.
    Same,
    /// No difference up to a call that one side cannot make, for this reason. What follows it is another
    /// sequence.
    Cut(String),
    /// A difference, and what each has shown.
    Differ(Difference, Box<[Observed; 2]>),
}

/// The first difference, if there is one.
pub fn difference(calls: &[Call], one: &Observed, other: &Observed) -> Option<Difference> {
    let cut = cut(one, other);
    let length = cut.map_or(one.seen.len().max(other.seen.len()), |(at, _)| at);
    let shown = |at: usize| [one.seen.get(at), other.seen.get(at)];
    let differs = |at: &usize| match shown(*at) {
        [Some(one), Some(other)] => !same(calls.get(*at), one, other),
        _ => true,
    };
    if let Some(at) = (0..length).find(differs) {
        return Some(Difference { at, shown: shown(at).map(|shown| shown.cloned()) });
    }
    (one.trouble != other.trouble).then_some(Difference { at: calls.len(), shown: [None, None] })
}

/// The first call that one of them cannot make, and why.
pub fn cut<'o>(one: &'o Observed, other: &'o Observed) -> Option<(usize, &'o str)> {
    let facts = one.seen.iter().zip(&other.seen).map(|pair| match pair {
        (Seen::Inexpressible(fact), _) | (_, Seen::Inexpressible(fact)) => Some(fact.as_str()),
        _ => None,
    });
    facts.enumerate().find_map(|(at, fact)| Some((at, fact?)))
}

/// Whether two observations of a call are the same as far as a user may rely on them.
fn same(call: Option<&Call>, one: &Seen, other: &Seen) -> bool {
    match (call, one, other) {
        // When everything is closed, the callbacks run in an order of the kernel's choice.
        (None, Seen::Log(one), Seen::Log(other)) if one != other => {
            let sorted = |log: &[_]| {
                let mut entries: Vec<_> = log.iter().map(|entry| format!("{entry:?}")).collect();
                entries.sort();
                entries
            };
            sorted(one) == sorted(other)
        }
        (_, one, other) => one == other,
    }
}
