//! Which cases somebody asks for on a command line.

use clap::Args;

use crate::cases::{self, Case};
use crate::event::Role;
use crate::spec::Level;

/// The filters.
#[derive(Debug, Default, Args)]
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

    fn wants(&self, case: &Case) -> bool {
        let matches = |filter: &String| match self.exact {
            true => case.name == *filter || case.requirements.contains(&filter.as_str()),
            false => case.name.contains(filter) || case.requirements.iter().any(|id| id.starts_with(filter)),
        };
        let level =
            |wanted: Level| case.specification().iter().any(|requirement| requirement.level <= wanted);
        (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skip.iter().any(|filter| case.name.contains(filter))
            && self.level.is_none_or(level)
    }
}
