//! Results of a run, and the formats in which people and programs read them.

pub mod alike;
pub mod annotations;
pub mod diff;
pub mod html;
pub mod junit;
pub mod known;
pub mod ktap;
pub mod markdown;
pub mod matrix;
pub mod pretty;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::event::{Identity, PROTOCOL, Report, Role, Verdict, check_version};
use crate::text;

/// The error of a run that has not ended yet, or that something ended.
pub const UNFINISHED: &str = "the run did not end; `nlconform run --resume` goes on with it";

/// results.json: all verdicts of one run of the suite, on one target or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record {
    /// Version of the schema, [`PROTOCOL`].
    pub protocol: u32,
    /// Version of nlconform.
    pub suite: String,
    /// When the run started, in UTC, in the format of RFC 3339.
    pub started: String,
    /// One for each target, in the requested order.
    pub runs: Vec<Run>,
}

/// The verdicts on one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Run {
    /// The name of the target for people, such as `kernel 6.12.117`.
    pub target: String,
    /// What it ran on, such as `TCG`.
    pub platform: String,
    /// The architecture that it is built for, such as `s390x`, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The profile that it was judged by, such as `linux-6.12`.
    pub profile: String,
    /// The target's identity; missing if it did not get that far.
    pub identity: Option<Identity>,
    /// Verdicts, in the order of the suite.
    pub reports: Vec<Report>,
    /// Why cases have no verdict, if some have none.
    pub errors: Vec<String>,
    /// Known differences that no longer exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surprises: Vec<String>,
}

impl Record {
    /// A record of these runs.
    pub fn new(started: SystemTime, runs: Vec<Run>) -> Record {
        Record {
            protocol: PROTOCOL,
            suite: env!("CARGO_PKG_VERSION").to_owned(),
            started: humantime::format_rfc3339_seconds(started).to_string(),
            runs,
        }
    }

    /// Several records as one, which started when the first of them did. Runs of the same target that have no
    /// case in common are parts of one run.
    pub fn merge(records: Vec<Record>) -> Record {
        let started = records.iter().map(|record| record.started.clone()).min().unwrap_or_default();
        let mut runs: Vec<Run> = Vec::new();
        for run in records.into_iter().flat_map(|record| record.runs) {
            match runs.iter_mut().find(|earlier| earlier.is_continued_by(&run)) {
                Some(earlier) => earlier.continue_with(run),
                None => runs.push(run),
            }
        }
        Record { started, ..Record::new(SystemTime::UNIX_EPOCH, runs) }
    }

    /// Reads a results.json, by its own path or that of its folder.
    ///
    /// # Errors
    /// A sentence, when it cannot be read or is of a newer version.
    pub fn read(path: &Path) -> Result<Record, String> {
        let file = if path.is_dir() { path.join("results.json") } else { path.to_owned() };
        let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
        let text = text::read(&file).map_err(|error| wrong(&error))?;
        let record =
            Record::parse(&text).map_err(|error| wrong(&format!("these are no results: {error}")))?;
        check_version(record.protocol, PROTOCOL).map_err(|error| wrong(&error))?;
        Ok(record)
    }

    /// Reads what a run has written. If the end is missing, because the run or its reader was killed, what is
    /// whole counts.
    fn parse(text: &str) -> serde_json::Result<Record> {
        let torn = match serde_json::from_str(text) {
            Err(error) if error.is_eof() => error,
            whole => return whole,
        };
        let lines = text.rfind('\n').map_or("", |end| &text[..end]);
        let errors = serde_json::to_string(&[UNFINISHED])?;
        serde_json::from_str(&format!("{lines}],\"errors\":{errors}}}]}}")).map_err(|_| torn)
    }
}

/// The word for a verdict in every format.
pub fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail(_) => "fail",
        Verdict::Broken { .. } => "broken",
        Verdict::Skip { .. } => "skip",
        Verdict::Crash { .. } => "crash",
        Verdict::Timeout { .. } => "timeout",
    }
}

/// Whether a report needs no attention: the case passed, does not apply, or is known to differ.
pub fn is_well(report: &Report) -> bool {
    matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. }) || report.known.is_some()
}

/// What went wrong in a run outside of its cases. Formats that have only cases show it as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble<'a> {
    /// The name in place of a case's.
    pub name: &'static str,
    /// What went wrong, as text.
    pub text: &'a str,
}

impl Run {
    /// The side that was tested.
    pub fn role(&self) -> Role {
        self.identity.as_ref().map_or(Role::Target, |identity| identity.role)
    }

    /// Whether another run is a part of this one.
    fn is_continued_by(&self, other: &Run) -> bool {
        let cases: BTreeSet<_> = self.reports.iter().map(|report| &report.case).collect();
        let is_same = (&self.target, &self.platform, &self.profile, &self.identity)
            == (&other.target, &other.platform, &other.profile, &other.identity);
        is_same && other.reports.iter().all(|report| !cases.contains(&report.case))
    }

    fn continue_with(&mut self, part: Run) {
        self.errors.retain(|error| error != UNFINISHED);
        self.errors.extend(part.errors);
        self.reports.extend(part.reports);
        self.surprises.extend(part.surprises);
    }

    /// Whether this run needs no attention.
    pub fn is_well(&self) -> bool {
        self.troubles().next().is_none() && self.reports.iter().all(is_well)
    }

    /// What went wrong outside of the cases.
    pub fn troubles(&self) -> impl Iterator<Item = Trouble<'_>> {
        // A run without a verdict is not a good one.
        let nothing = (self.reports.is_empty() && self.errors.is_empty()).then_some("no case has a verdict");
        let errors = self.errors.iter().map(String::as_str).chain(nothing);
        let errors = errors.map(|text| Trouble { name: "run::error", text });
        let surprises =
            self.surprises.iter().map(|text| Trouble { name: "run::known_difference_holds", text });
        errors.chain(surprises)
    }
}

/// How many reports there are of each word, with those that are known to differ apart; passes are
/// counted even when there are none.
pub fn counts(reports: &[Report]) -> Vec<(&'static str, usize)> {
    let kind = |report: &Report| if report.known.is_some() { "known" } else { word(&report.verdict) };
    ["pass", "fail", "crash", "timeout", "broken", "known", "skip"]
        .into_iter()
        .map(|wanted| (wanted, reports.iter().filter(|report| kind(report) == wanted).count()))
        .filter(|(kind, count)| *count > 0 || *kind == "pass")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cases: &[&str], errors: &[&str]) -> Record {
        let run = Run {
            target: "t 1".into(),
            platform: "here".into(),
            arch: None,
            profile: "linux-7.3".into(),
            identity: None,
            reports: cases.iter().map(|case| Report::new(*case, Verdict::Pass)).collect(),
            errors: errors.iter().map(|error| (*error).to_owned()).collect(),
            surprises: Vec::new(),
        };
        Record::new(SystemTime::UNIX_EPOCH, vec![run])
    }

    #[test]
    fn parts_of_a_run_are_joined_and_two_runs_are_not() {
        let first = || record(&["a", "b"], &[UNFINISHED]);
        let joined = Record::merge(vec![first(), record(&["c"], &[])]);
        assert_eq!(joined.runs, record(&["a", "b", "c"], &[]).runs);
        assert_eq!(Record::merge(vec![first(), record(&["b", "c"], &[])]).runs.len(), 2);
        let mut other = record(&["c"], &[]);
        other.runs[0].target = "t 2".into();
        assert_eq!(Record::merge(vec![first(), other]).runs.len(), 2);
        let given_up = Record::merge(vec![record(&["a"], &["given up"]), record(&["c"], &[])]);
        assert_eq!(given_up.runs[0].errors, ["given up"]);
    }

    #[test]
    fn of_a_torn_document_what_is_whole_counts() {
        let text = serde_json::to_string(&record(&["a", "b"], &[])).unwrap();
        let (head, _) = text.split_once("{\"case\"").unwrap();
        let line = |case| serde_json::to_string(&Report::new(case, Verdict::Pass)).unwrap();
        let torn = format!("{head}\n{}\n,{}\n,{{\"case\":\"c", line("a"), line("b"));
        assert_eq!(Record::parse(&torn).unwrap(), record(&["a", "b"], &[UNFINISHED]));
        assert_eq!(Record::parse(&format!("{head}\n")).unwrap(), record(&[], &[UNFINISHED]));
        assert!(Record::parse("{\n").unwrap_err().to_string().contains("EOF"));
        assert!(Record::parse("").is_err() && Record::parse("{}").is_err());
    }
}
