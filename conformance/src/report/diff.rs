//! What changed from one run to another.

use std::collections::BTreeMap;
use std::fmt;

use super::{Record, Run, is_well, word};
use crate::event::Report;

/// A case whose verdict changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Full name of the case.
    pub case: String,
    /// The word for its old verdict; `None` if it had none.
    pub old: Option<&'static str>,
    /// The word for its new verdict.
    pub new: Option<&'static str>,
    /// It was well and no longer is, or it is new and not well.
    pub regression: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.regression { "REGRESSION " } else { "" };
        let (old, new) = (self.old.unwrap_or("absent"), self.new.unwrap_or("absent"));
        write!(f, "{mark}{}: {old} -> {new}", self.case)
    }
}

/// The runs of two records to compare: the only ones, else those of one profile.
///
/// # Errors
/// No two of them belong together.
pub fn pairs<'a>(old: &'a Record, new: &'a Record) -> Result<Vec<(&'a Run, &'a Run)>, String> {
    if let ([old], [new]) = (old.runs.as_slice(), new.runs.as_slice()) {
        return Ok(vec![(old, new)]);
    }
    let partner = |run: &Run| old.runs.iter().find(|old| old.profile == run.profile);
    let pairs: Vec<_> = new.runs.iter().filter_map(|run| Some((partner(run)?, run))).collect();
    match pairs.is_empty() {
        true => Err("the two have no profile in common".to_owned()),
        false => Ok(pairs),
    }
}

/// What changed, in the order of the cases' names.
pub fn diff(old: &Run, new: &Run) -> Vec<Change> {
    let mut both: BTreeMap<&str, (Option<&Report>, Option<&Report>)> = BTreeMap::new();
    for report in &old.reports {
        both.entry(&report.case).or_default().0 = Some(report);
    }
    for report in &new.reports {
        both.entry(&report.case).or_default().1 = Some(report);
    }
    let told = |report: Option<&Report>| report.map(|report| word(&report.verdict));
    both.into_iter()
        .filter(|(_, (old, new))| told(*old) != told(*new))
        .map(|(case, (old, new))| Change {
            case: case.to_owned(),
            old: told(old),
            new: told(new),
            regression: old.is_none_or(is_well) && new.is_some_and(|new| !is_well(new)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Verdict;

    fn run(verdicts: &[(&str, Verdict)]) -> Run {
        let report = |(case, verdict): &(&str, Verdict)| Report::new(*case, verdict.clone());
        Run {
            target: "t".into(),
            platform: "TCG".into(),
            profile: "linux-6.12".into(),
            identity: None,
            reports: verdicts.iter().map(report).collect(),
            errors: Vec::new(),
            surprises: Vec::new(),
        }
    }

    #[test]
    fn only_what_gets_worse_is_a_regression() {
        let crash = Verdict::Crash { reason: String::new() };
        let old =
            run(&[("a", Verdict::Pass), ("b", crash.clone()), ("c", Verdict::Pass), ("gone", Verdict::Pass)]);
        let new = run(&[("a", crash.clone()), ("b", Verdict::Pass), ("c", Verdict::Pass), ("new", crash)]);
        let told: Vec<_> = diff(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "REGRESSION a: pass -> crash",
                "b: crash -> pass",
                "gone: pass -> absent",
                "REGRESSION new: absent -> crash"
            ]
        );
    }
}
