//! The cases: one file a topic, below the area that it belongs to.
//!
//! A file starts with a table of its cases: the function, the requirements that it checks, and, in
//! brackets, what is special about it. Where many inputs have one form the function takes a row of
//! a table, and each row is a case of its own. Last come modules: further files of the topic.
//!
//! ```text
//! cases! {
//!     duplicate_name_is_refused => "GENL-REG-007";
//!     nobody_may_listen [initial_net] => "CN-BIND-002";
//!     integer_range(RANGES) => "GENL-ATT-012";
//!     + commands;
//! }
//! ```

mod connector;
mod genetlink;
mod netlink;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::outcome::Outcome;
use crate::scene::bus::Bus;
use crate::spec::{self, Requirement};

/// A check of one or a few requirements against a target.
pub struct Case {
    /// Area, topic and function, such as `genetlink::registration::duplicate_name_is_refused`.
    pub name: String,
    /// Source file of its function.
    pub file: &'static str,
    /// Name of its function, which it shares with the other rows of its table.
    pub function: &'static str,
    /// IDs of the requirements that it checks. What is found belongs to the first, if not said
    /// otherwise.
    pub requirements: &'static [&'static str],
    /// What is special about how it must be run.
    pub traits: Traits,
    run: Box<dyn Fn(&Bus<'_>) -> Outcome + Send + Sync>,
}

/// What is special about how a case must be run. Nothing is, by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traits {
    /// In the initial network namespace, because what it looks at exists only there. Other cases
    /// have a network namespace of their own.
    pub initial_net: bool,
    /// Does what a host in use should be spared, such as using up all ids.
    pub invasive: bool,
    /// Waits for a second or more in which it has nothing to do, and so comes last: others can run
    /// meanwhile.
    pub waits: bool,
    /// One of its calls waits for what another one, made meanwhile, does: needs
    /// [`PARALLEL_CALLS`](crate::port::PARALLEL_CALLS).
    pub parallel: bool,
}

impl Case {
    /// Runs the case's function.
    pub fn call(&self, bus: &Bus<'_>) -> Outcome {
        (self.run)(bus)
    }

    /// The requirements that it checks.
    pub fn specification(&self) -> Vec<&'static Requirement> {
        self.requirements.iter().filter_map(|id| spec::find(id)).collect()
    }
}

/// All cases, in the order of the specification; those that wait come last.
pub fn all() -> &'static [Case] {
    &ALL
}

/// The case of this name.
pub fn find(name: &str) -> Option<&'static Case> {
    static BY_NAME: LazyLock<HashMap<&str, &Case>> =
        LazyLock::new(|| all().iter().map(|case| (case.name.as_str(), case)).collect());
    BY_NAME.get(name).copied()
}

static ALL: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let mut cases: Vec<Case> =
        [netlink::cases(), genetlink::cases(), connector::cases()].into_iter().flatten().collect();
    let place: HashMap<&str, usize> =
        spec::all().enumerate().map(|(place, requirement)| (requirement.id.as_str(), place)).collect();
    cases.sort_by_key(|case| (case.traits.waits, place.get(case.requirements[0]).copied()));
    cases
});

/// The table of cases at the head of a file; see the module's documentation.
macro_rules! cases {
    (
        $($function:ident $(($rows:ident))? $([$($special:ident),+])? => $($id:literal),+;)*
        $(+ $part:ident;)*
    ) => {
        pub(super) fn cases() -> Vec<$crate::cases::Case> {
            let mut list = Vec::new();
            $(
                #[allow(unused_mut)]
                let mut traits = $crate::cases::Traits::default();
                $($(traits.$special = true;)+)?
                $crate::cases::add!(list, $function $(($rows))?, &[$($id),+], traits);
            )*
            $(list.extend($part::cases());)*
            list
        }
    };
}

macro_rules! add {
    ($list:ident, $function:ident, $ids:expr, $traits:ident) => {
        $list.push($crate::cases::Case {
            name: $crate::cases::name(module_path!(), stringify!($function)),
            file: file!(),
            function: stringify!($function),
            requirements: $ids,
            traits: $traits,
            run: Box::new($function),
        });
    };
    ($list:ident, $function:ident ($rows:ident), $ids:expr, $traits:ident) => {
        $list.extend($rows.iter().map(|(row, input)| $crate::cases::Case {
            name: $crate::cases::name(module_path!(), &format!("{}::{row}", stringify!($function))),
            file: file!(),
            function: stringify!($function),
            requirements: $ids,
            traits: $traits,
            run: Box::new(move |bus| $function(bus, input)),
        }));
    };
}

use {add, cases};

/// The name of a case from where it stands.
fn name(module: &str, function: &str) -> String {
    let topic = module.split_once("cases::").map_or(module, |(_, topic)| topic);
    format!("{topic}::{function}")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names = BTreeSet::new();
        for case in all() {
            assert!(names.insert(&case.name), "two cases are called {}", case.name);
        }
    }

    #[test]
    fn cases_name_requirements_that_exist() {
        for case in all() {
            for id in case.requirements {
                assert!(spec::find(id).is_some(), "{} checks {id}, which is not in spec/", case.name);
            }
        }
    }

    #[test]
    fn each_requirement_has_a_case_or_a_reason() {
        let mut checked: BTreeMap<&str, usize> = BTreeMap::new();
        for id in all().iter().flat_map(|case| case.requirements) {
            *checked.entry(id).or_default() += 1;
        }
        for requirement in spec::all() {
            let cases = checked.get(requirement.id.as_str()).copied().unwrap_or(0);
            match &requirement.unchecked {
                None => assert!(cases > 0, "no case checks {}", requirement.id),
                Some(reason) => {
                    assert!(cases == 0 && reason.len() > 20, "{} has a case, or no reason", requirement.id)
                }
            }
        }
    }
}
