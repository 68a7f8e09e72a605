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

/// The runs of two records to compare: the only ones, else those of one profile, and of one architecture if
/// both records have it.
///
/// # Errors
/// No two of them belong together.
pub fn pairs<'a>(old: &'a Record, new: &'a Record) -> Result<Vec<(&'a Run, &'a Run)>, String> {
    if let ([old], [new]) = (old.runs.as_slice(), new.runs.as_slice()) {
        return Ok(vec![(old, new)]);
    }
    let partner = |run: &Run| {
        let of_profile = |old: &&Run| old.profile == run.profile;
        let of_both = |old: &&Run| of_profile(old) && old.arch == run.arch;
        let is_shared = old.runs.iter().any(|old| old.arch == run.arch);
        old.runs.iter().find(|old| of_both(old) || (!is_shared && of_profile(old)))
    };
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
            arch: None,
            profile: "linux-6.12".into(),
            identity: None,
            reports: verdicts.iter().map(report).collect(),
            errors: Vec::new(),
            surprises: Vec::new(),
        }
    }

    #[test]
    fn runs_are_compared_within_an_architecture_or_between_two() {
        let of = |profile: &str, arch: &str| Run {
            profile: profile.into(),
            arch: Some(arch.into()),
            ..run(&[("a", Verdict::Pass)])
        };
        let record = |runs| Record::new(std::time::SystemTime::UNIX_EPOCH, runs);
        let both = record(vec![
            of("linux-6.12", "x86_64"),
            of("linux-7.3", "x86_64"),
            of("linux-6.12", "s390x"),
            of("linux-7.3", "s390x"),
        ]);
        let told = |old: &Record, new: &Record| -> Vec<(String, String, String)> {
            let pairs = pairs(old, new).unwrap();
            let arch = |run: &Run| run.arch.clone().unwrap();
            pairs.iter().map(|(old, new)| (arch(old), arch(new), new.profile.clone())).collect()
        };
        assert!(told(&both, &both).iter().all(|(old, new, _)| old == new));
        let one = |arch: &str| {
            record(both.runs.iter().filter(|run| run.arch.as_deref() == Some(arch)).cloned().collect())
        };
        let pair = |profile: &str| ("x86_64".to_owned(), "s390x".to_owned(), profile.to_owned());
        assert_eq!(told(&one("x86_64"), &one("s390x")), [pair("linux-6.12"), pair("linux-7.3")]);
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
