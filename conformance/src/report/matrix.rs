//! Requirement by target: how each requirement stands after the cases that check it.

use std::collections::HashMap;

use serde::Serialize;

use super::Run;
use crate::cases;
use crate::event::{Report, Verdict};
use crate::spec::{self, Requirement};

/// The outcome of a requirement on one target. Later ones outweigh earlier ones if several cases check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// No program can check it.
    Unchecked,
    /// None of its cases has a verdict on it.
    Open,
    /// The target lacks what its cases need, or it does not hold for the version.
    Skip,
    /// It held.
    Pass,
    /// It is known not to hold.
    Known,
    /// The preparation of a case failed.
    Broken,
    /// A case did not end in time.
    Timeout,
    /// The target, or the process that ran a case, died.
    Crash,
    /// It did not hold.
    Fail,
}

impl Standing {
    /// Its one word.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Unchecked => "unchecked",
            Standing::Open => "open",
            Standing::Skip => "skip",
            Standing::Pass => "pass",
            Standing::Known => "known",
            Standing::Broken => "broken",
            Standing::Timeout => "timeout",
            Standing::Crash => "crash",
            Standing::Fail => "fail",
        }
    }

    /// Whether it needs attention.
    pub fn is_trouble(self) -> bool {
        self > Standing::Known
    }
}

/// One requirement and its cases' reports on each target.
#[derive(Debug)]
pub struct Row<'a> {
    /// The requirement.
    pub requirement: &'static Requirement,
    /// One for each run of the record.
    pub cells: Vec<Cell<'a>>,
}

/// The outcome of one requirement on one target, and why.
#[derive(Debug)]
pub struct Cell<'a> {
    /// The outcome.
    pub standing: Standing,
    /// The reports that it comes from.
    pub reports: Vec<&'a Report>,
}

/// The matrix: each requirement on a side that one of the runs is about, in the order of the specification.
pub fn matrix(runs: &[Run]) -> Vec<Row<'_>> {
    let mut reports: Vec<_> = runs.iter().map(by_requirement).collect();
    let row = |requirement: &'static Requirement| {
        let of_it = reports.iter_mut().map(|run| run.remove(requirement.id.as_str()).unwrap_or_default());
        Row { requirement, cells: of_it.map(|reports| cell(requirement, reports)).collect() }
    };
    let concerned = |requirement: &&Requirement| runs.iter().any(|run| run.role() == requirement.role());
    spec::all().filter(concerned).map(row).collect()
}

/// Reports by ID of a requirement that their case checks.
type Reports<'a> = HashMap<&'static str, Vec<&'a Report>>;

fn by_requirement(run: &Run) -> Reports<'_> {
    let mut reports = Reports::new();
    for report in &run.reports {
        for id in cases::find(&report.case).into_iter().flat_map(|case| case.requirements) {
            reports.entry(*id).or_default().push(report);
        }
    }
    reports
}

fn cell<'a>(requirement: &Requirement, reports: Vec<&'a Report>) -> Cell<'a> {
    if requirement.unchecked.is_some() {
        return Cell { standing: Standing::Unchecked, reports: Vec::new() };
    }
    let standings = reports.iter().map(|report| standing(requirement, report));
    Cell { standing: standings.max().unwrap_or(Standing::Open), reports }
}

/// The outcome of a report for one of the requirements of its case.
fn standing(requirement: &Requirement, report: &Report) -> Standing {
    match &report.verdict {
        Verdict::Pass => Standing::Pass,
        Verdict::Fail(mismatch) if mismatch.requirement == requirement.id => match report.known {
            Some(_) => Standing::Known,
            None => Standing::Fail,
        },
        // The case ended with another requirement's mismatch.
        Verdict::Fail(_) => Standing::Open,
        _ if report.known.is_some() => Standing::Known,
        Verdict::Broken { .. } => Standing::Broken,
        Verdict::Skip { .. } => Standing::Skip,
        Verdict::Crash { .. } => Standing::Crash,
        Verdict::Timeout { .. } => Standing::Timeout,
    }
}
