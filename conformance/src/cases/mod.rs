//! The cases: one file per topic, in the folder of its area.
//!
//! A file starts with a table of its cases: the function, the requirements that it checks and, in
//! brackets, its traits. Where many inputs have the same form, the function takes a row of
//! a table, and each row is a case of its own. Last come modules: further files of the topic.
//!
//! ```text
//! cases! {
//!     duplicate_name_is_refused => "GENL-REG-007";
//!     unprivileged_join_is_refused [initial_net] => "CN-BIND-002";
//!     integer_range(RANGES) => "GENL-ATT-012";
//!     + commands;
//! }
//! ```
//!
//! Below `client` are the scenarios: cases that judge a client library, while the target plays the kernel's
//! part. Their table is called `scenarios!` and is the same otherwise.

mod client;
mod connector;
mod genetlink;
mod netlink;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::event::Role;
use crate::outcome::Outcome;
use crate::scene::bus::Bus;
use crate::scene::client::Stage;
use crate::spec::{self, Requirement};

/// A function that checks one or a few requirements against a target or a client library.
pub struct Case {
    /// Area, topic and function, such as `genetlink::registration::duplicate_name_is_refused`.
    pub name: String,
    /// Source file of its function.
    pub file: &'static str,
    /// Name of its function, which it shares with the other rows of its table.
    pub function: &'static str,
    /// IDs of the requirements that it checks. A failure belongs to the first unless the case says
    /// otherwise.
    pub requirements: &'static [&'static str],
    /// How it must be run.
    pub traits: Traits,
    /// What it does.
    pub run: Run,
}

/// The function of a case, by the side that it judges.
pub enum Run {
    /// An implementation of AF_NETLINK.
    Target(Box<dyn Fn(&Bus<'_>) -> Outcome + Send + Sync>),
    /// A client library.
    Client(Box<dyn Fn(&Stage<'_>) -> Outcome + Send + Sync>),
}

/// How a case must be run; by default, nothing is special.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traits {
    /// Runs in the initial network namespace, because its subject exists only there. Other cases
    /// have a network namespace of their own.
    pub initial_net: bool,
    /// Does something that a host in use should be spared, such as using up all IDs.
    pub invasive: bool,
    /// Sleeps for a second or more, and therefore comes last: other cases can run meanwhile.
    pub waits: bool,
    /// One of its calls waits for another call made at the same time: needs
    /// [`Capability::ParallelCalls`](crate::port::capability::Capability::ParallelCalls).
    pub parallel: bool,
    /// Makes an unmodified kernel lose memory: what conformance/spec/reports.toml knows of.
    pub loses: bool,
}

impl Case {
    /// The side that it judges.
    pub fn role(&self) -> Role {
        match self.run {
            Run::Target(_) => Role::Target,
            Run::Client(_) => Role::Client,
        }
    }

    /// The requirements that it checks.
    pub fn specification(&self) -> Vec<&'static Requirement> {
        self.requirements.iter().filter_map(|id| spec::find(id)).collect()
    }
}

/// All cases that judge a target, in the order of the specification; those that wait come last.
pub fn all() -> &'static [Case] {
    &ALL
}

/// All that judge this side, in the order of the specification; those of client libraries are called
/// scenarios.
pub fn of(role: Role) -> &'static [Case] {
    match role {
        Role::Target => all(),
        Role::Client => &SCENARIOS,
    }
}

/// Those that judge a target, then the scenarios.
pub fn of_both() -> impl Iterator<Item = &'static Case> {
    all().iter().chain(of(Role::Client))
}

/// The case, or the scenario, of this name.
pub fn find(name: &str) -> Option<&'static Case> {
    static BY_NAME: LazyLock<HashMap<&str, &Case>> =
        LazyLock::new(|| of_both().map(|case| (case.name.as_str(), case)).collect());
    BY_NAME.get(name).copied()
}

static ALL: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let mut cases: Vec<Case> =
        [netlink::cases(), genetlink::cases(), connector::cases()].into_iter().flatten().collect();
    let place: HashMap<&str, usize> =
        spec::all().enumerate().map(|(place, requirement)| (requirement.id.as_str(), place)).collect();
    cases.sort_by_cached_key(|case| (case.traits.waits, place.get(case.requirements[0]).copied()));
    cases
});

static SCENARIOS: LazyLock<Vec<Case>> = LazyLock::new(client::cases);

/// The table of cases at the head of a file; see the module's documentation.
macro_rules! cases {
    ($($table:tt)*) => { $crate::cases::table! { Target $($table)* } };
}

/// The table of scenarios at the head of a file.
macro_rules! scenarios {
    ($($table:tt)*) => { $crate::cases::table! { Client $($table)* } };
}

macro_rules! table {
    (
        $side:ident
        $($function:ident $(($rows:ident))? $([$($special:ident),+])? => $($id:literal),+;)*
        $(+ $part:ident;)*
    ) => {
        pub(super) fn cases() -> Vec<$crate::cases::Case> {
            let mut list = Vec::new();
            $(
                #[allow(unused_mut)]
                let mut traits = $crate::cases::Traits::default();
                $($(traits.$special = true;)+)?
                let head = $crate::cases::Head {
                    module: module_path!(),
                    file: file!(),
                    function: stringify!($function),
                    requirements: &[$($id),+],
                    traits,
                };
                list.extend($crate::cases::made!(head, $side, $function $(($rows))?));
            )*
            $(list.extend($part::cases());)*
            list
        }
    };
}

macro_rules! made {
    ($head:ident, Target, $function:ident) => {
        $head.case($function)
    };
    ($head:ident, Target, $function:ident ($rows:ident)) => {
        $head.rows($rows, $function)
    };
    ($head:ident, Client, $function:ident) => {
        $head.scenario($function)
    };
    ($head:ident, Client, $function:ident ($rows:ident)) => {
        $head.scenario_rows($rows, $function)
    };
}

/// Everything of a case except its rows and its function.
#[derive(Clone, Copy)]
struct Head {
    module: &'static str,
    file: &'static str,
    function: &'static str,
    requirements: &'static [&'static str],
    traits: Traits,
}

// These take function pointers: if generic over functions, they would be compiled again for each case.
impl Head {
    fn case(self, run: fn(&Bus<'_>) -> Outcome) -> Vec<Case> {
        vec![self.with(self.function, Run::Target(Box::new(run)))]
    }

    fn scenario(self, run: fn(&Stage<'_>) -> Outcome) -> Vec<Case> {
        vec![self.with(self.function, Run::Client(Box::new(run)))]
    }

    fn rows<T: Sync>(self, rows: &'static [(&str, T)], run: fn(&Bus<'_>, &T) -> Outcome) -> Vec<Case> {
        let case = |(row, input): &'static (&str, T)| {
            let run = Run::Target(Box::new(move |bus| run(bus, input)));
            self.with(&format!("{}::{row}", self.function), run)
        };
        rows.iter().map(case).collect()
    }

    fn scenario_rows<T: Sync>(
        self,
        rows: &'static [(&str, T)],
        run: fn(&Stage<'_>, &T) -> Outcome,
    ) -> Vec<Case> {
        let case = |(row, input): &'static (&str, T)| {
            let run = Run::Client(Box::new(move |stage| run(stage, input)));
            self.with(&format!("{}::{row}", self.function), run)
        };
        rows.iter().map(case).collect()
    }

    /// The name of a case starts with its module.
    fn with(self, name: &str, run: Run) -> Case {
        let topic = self.module.split_once("cases::").map_or(self.module, |(_, topic)| topic);
        Case {
            name: format!("{topic}::{name}"),
            file: self.file,
            function: self.function,
            requirements: self.requirements,
            traits: self.traits,
            run,
        }
    }
}

use {cases, made, scenarios, table};

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names = BTreeSet::new();
        for case in of_both() {
            assert!(names.insert(&case.name), "two cases are called {}", case.name);
        }
    }

    #[test]
    fn cases_name_requirements_that_exist() {
        for case in of_both() {
            for id in case.requirements {
                assert!(spec::find(id).is_some(), "{} checks {id}, which is not in spec/", case.name);
            }
        }
    }

    #[test]
    fn each_requirement_has_a_case_or_a_reason() {
        let mut checked: BTreeMap<&str, usize> = BTreeMap::new();
        for id in of_both().flat_map(|case| case.requirements) {
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
