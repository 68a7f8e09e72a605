//! Which cases somebody asks for on a command line.

use clap::Args;

use crate::cases::{self, Case};
use crate::event::Role;
use crate::spec::Level;

/// The filters.
#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    /// Only cases whose names contain one of these, or that check a requirement with such an ID
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Leave out cases whose names contain this (can be repeated)
    #[arg(long, value_name = "FILTER")]
    skip: Vec<String>,
    /// Filters must match whole names
    #[arg(long)]
    exact: bool,
    /// Only requirements of this level or a stricter one
    #[arg(long, value_enum)]
    level: Option<Level>,
}

impl Selection {
    /// The cases that are meant of those that judge this side, in the suite's order.
    ///
    /// # Errors
    /// When there is none: a name that is mistyped must not look like success.
    pub fn cases(&self, role: Role) -> Result<Vec<&'static Case>, String> {
        let chosen: Vec<_> = cases::of(role).iter().filter(|case| self.wants(case)).collect();
        match chosen.is_empty() {
            true => Err("no case matches these filters".to_owned()),
            false => Ok(chosen),
        }
    }

    /// Leaves out filters that no case matches: words that a kernel passes to its first program.
    pub fn leave_out_unknown(&mut self) {
        let exact = self.exact;
        self.filters.retain(|filter| cases::of_both().any(|case| matches(case, filter, exact)));
    }

    fn wants(&self, case: &Case) -> bool {
        let level =
            |wanted: Level| case.specification().iter().any(|requirement| requirement.level <= wanted);
        (self.filters.is_empty() || self.filters.iter().any(|filter| matches(case, filter, self.exact)))
            && !self.skip.iter().any(|filter| case.name.contains(filter))
            && self.level.is_none_or(level)
    }
}

fn matches(case: &Case, filter: &str, exact: bool) -> bool {
    match exact {
        true => case.name == filter || case.requirements.contains(&filter),
        false => case.name.contains(filter) || case.requirements.iter().any(|id| id.starts_with(filter)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_case_matches_is_left_out() {
        let filters = ["splash", "NL-ACK-003"].map(String::from).to_vec();
        let mut selection = Selection { filters, ..Selection::default() };
        let asked = selection.cases(Role::Target).unwrap().len();
        selection.leave_out_unknown();
        assert_eq!(selection.filters, ["NL-ACK-003"]);
        assert_eq!(selection.cases(Role::Target).unwrap().len(), asked);
    }
}
