//! Exploration: random sequences of calls on both sides of the port, made on two targets, and what a user can
//! observe compared. One of the targets is usually a model: an implementation that follows the requirements.
//!
//! | file | holds |
//! |---|---|
//! | call.rs, seen.rs | a call and what it has shown, as data |
//! | generate/ | sequences from a seed |
//! | execute/, names.rs | a sequence on a target; IDs put in relation |
//! | compare.rs | where two targets differ |
//! | shrink.rs | shorter sequences |
//! | campaign.rs | many sequences |
//! | command.rs, system.rs | the command, and the system that it runs on |
//! | finding.rs, words.rs, nearest.rs | a difference as a file, and for people |

pub mod call;
pub mod campaign;
pub mod command;
mod compare;
mod execute;
mod finding;
mod generate;
mod names;
mod nearest;
pub mod seen;
mod shrink;
pub mod system;
mod words;

use crate::port::Target;
use call::Call;
pub use compare::{Compared, Difference, difference};
pub use execute::execute;
pub use finding::Finding;
pub use generate::{Features, sequence};
use seen::Observed;
pub use shrink::shrink;

/// One of the two targets that are compared.
pub trait Side {
    /// What it is called in reports.
    fn name(&self) -> String;

    /// Makes the calls on a bus of this target on which nothing has happened yet. `hint` is what the other side has
    /// shown, if it came first: where it received something, this side gets a moment to.
    fn observe(&mut self, calls: &[Call], hint: Option<&Observed>) -> Observed;
}

/// A target of which each sequence gets a new one.
pub struct Fresh<F> {
    /// Its name.
    pub name: String,
    /// Creates one.
    pub make: F,
}

impl<F: FnMut() -> Box<dyn Target>> Side for Fresh<F> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn observe(&mut self, calls: &[Call], hint: Option<&Observed>) -> Observed {
        execute((self.make)().as_ref(), calls, hint)
    }
}

/// Makes the calls on both.
pub fn compare(calls: &[Call], one: &mut dyn Side, other: &mut dyn Side) -> Compared {
    let first = one.observe(calls, None);
    let second = other.observe(calls, Some(&first));
    match (difference(calls, &first, &second), compare::cut(&first, &second)) {
        (Some(difference), _) => Compared::Differ(difference, Box::new([first, second])),
        (None, Some((_, fact))) => Compared::Cut(fact.to_owned()),
        (None, None) => Compared::Same,
    }
}

/// Shortens a sequence on which the two differ, as long as they do and as `go_on`, which is asked before each
/// sequence that is tried, agrees.
pub fn shrink_between(
    calls: Vec<Call>,
    one: &mut dyn Side,
    other: &mut dyn Side,
    go_on: &mut dyn FnMut() -> bool,
) -> Vec<Call> {
    shrink(calls, &mut |candidates| {
        let differs =
            |calls: &Vec<Call>| go_on() && matches!(compare(calls, one, other), Compared::Differ(..));
        candidates.iter().position(differs)
    })
}
