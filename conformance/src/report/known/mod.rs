//! Known differences: a file that an implementer keeps beside the implementation, so that a run tells what is
//! new from what is on the list already.
//!
//! An entry names cases and what was seen of them. Anything else that a run sees is unexpected, and so is an
//! entry that no longer applies, unless it is of what some runs see and others do not. [`update`] writes the file
//! from runs.
//!
//! ```toml
//! [[difference]]
//! cases = ["netlink::binding::short_address_is_refused::*"]
//! verdict = "fail"
//! got = "EFAULT"
//! until = "20240729" # first version of the target that it no longer holds for
//! url = "https://example.org/issues/17"
//! note = "what the difference is, and whether it matters"
//! ```

mod pattern;
mod update;

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::word;
use crate::cases;
use crate::event::{Report, Verdict};
use crate::text;
use pattern::{matches, older};
pub use update::{update, write};

/// Verdicts that an entry can have.
const VERDICTS: [&str; 4] = ["fail", "broken", "crash", "timeout"];

/// A list of known differences.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The entries, in the order of the suite.
    #[serde(default, rename = "difference")]
    pub differences: Vec<Difference>,
}

/// One known difference: what is seen of some cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Names of cases; `*` stands for anything.
    pub cases: Vec<String>,
    /// The word of their verdict.
    pub verdict: String,
    /// What was got instead of what was expected, or the reason of the verdict; `*` stands for anything.
    pub got: String,
    /// Some runs see it, others do not: that it is not seen says nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sometimes: bool,
    /// First version of the target that it holds for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// First version of the target that it no longer holds for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Where the implementer keeps track of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What the difference is, and whether it matters.
    #[serde(default)]
    pub note: String,
}

impl Difference {
    /// Where to read on, else what is to be said.
    pub fn reference(&self) -> &str {
        match &self.url {
            Some(url) => url,
            None if self.note.is_empty() => "listed, without a note",
            None => &self.note,
        }
    }

    /// Whether a report is of one of its cases and has what is listed.
    pub fn covers(&self, report: &Report) -> bool {
        self.names(&report.case) && self.verdict == word(&report.verdict) && matches(&self.got, &seen(report))
    }

    /// Whether it can apply at all.
    fn check(&self) -> Result<(), String> {
        if !VERDICTS.contains(&self.verdict.as_str()) {
            let words = VERDICTS.join(", ");
            return Err(format!("the verdict of an entry is one of {words}, not {:?}", self.verdict));
        }
        if self.cases.is_empty() {
            return Err("it names no case".to_owned());
        }
        let is_case = |pattern: &&String| cases::of_both().any(|case| matches(pattern, &case.name));
        if let Some(pattern) = self.cases.iter().find(|pattern| !is_case(pattern)) {
            return Err(format!("no case is called {pattern}; `nlconform list` shows all"));
        }
        if self.verdict == "timeout" && !matches(&self.got, "") {
            return Err(format!("a timeout has nothing that was got, so that {:?} is never seen", self.got));
        }
        let versions = [&self.since, &self.until].into_iter().flatten();
        if let Some(version) =
            versions.clone().find(|version| !version.contains(|c: char| c.is_ascii_digit()))
        {
            return Err(format!("{version:?} is no version: it has no number"));
        }
        match (&self.since, &self.until) {
            (Some(since), Some(until)) if !older(since, until) => {
                Err(format!("no version is from {since} on and older than {until}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether it is about this case.
    fn names(&self, case: &str) -> bool {
        self.cases.iter().any(|pattern| matches(pattern, case))
    }

    /// Whether it is about this version of the target.
    fn is_of(&self, version: &str) -> bool {
        let since = self.since.as_ref().is_none_or(|since| !older(version, since));
        since && self.until.as_ref().is_none_or(|until| older(version, until))
    }
}

/// What a report has seen, by which differences are told apart.
pub fn seen(report: &Report) -> String {
    match &report.verdict {
        Verdict::Fail(mismatch) => mismatch.got.clone(),
        Verdict::Broken { reason } | Verdict::Crash { reason } => reason.clone(),
        Verdict::Timeout { .. } | Verdict::Pass | Verdict::Skip { .. } => String::new(),
    }
}

impl Known {
    /// Reads the file.
    ///
    /// # Errors
    /// A sentence, when it cannot be read, is not of the form, or names what does not exist.
    pub fn read(path: &Path) -> Result<Known, String> {
        let text = text::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Known::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    fn parse(text: &str) -> Result<Known, String> {
        let known: Known = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            format!("line {}: {}", before.matches('\n').count() + 1, error.message())
        })?;
        for (number, difference) in known.differences.iter().enumerate() {
            difference.check().map_err(|why| format!("entry {}: {why}", number + 1))?;
            let is_same = |other: &Difference| {
                let what = |entry: &Difference| {
                    (entry.verdict.clone(), entry.got.clone(), entry.since.clone(), entry.until.clone())
                };
                difference.cases.iter().any(|case| other.cases.contains(case))
                    && what(other) == what(difference)
            };
            if let Some(other) = known.differences[..number].iter().position(is_same) {
                return Err(format!("entry {} lists what entry {} lists", number + 1, other + 1));
            }
        }
        Ok(known)
    }

    /// The entries about this version of the target.
    pub fn of_version(&self, version: &str) -> Known {
        let differences = self.differences.iter().filter(|difference| difference.is_of(version));
        Known { differences: differences.cloned().collect() }
    }

    /// The entry that covers a report.
    pub fn find(&self, report: &Report) -> Option<&Difference> {
        self.differences.iter().find(|difference| difference.covers(report))
    }

    /// Marks a report that is as an entry has it.
    pub fn mark(&self, report: &mut Report) {
        if let Some(difference) = self.find(report) {
            report.known = Some(difference.reference().to_owned());
        }
    }

    /// What is listed and was not seen: a line for each name or pattern. Nothing is said of cases that were
    /// not run, nor of what is seen sometimes.
    pub fn surprises(&self, reports: &[Report]) -> Vec<String> {
        let of_entry = |difference: &Difference| {
            let stale = difference.cases.iter().filter_map(|pattern| surprise(difference, pattern, reports));
            stale.collect::<Vec<_>>()
        };
        self.differences.iter().filter(|difference| !difference.sometimes).flat_map(of_entry).collect()
    }
}

fn surprise(difference: &Difference, pattern: &str, reports: &[Report]) -> Option<String> {
    let named: Vec<_> = reports.iter().filter(|report| matches(pattern, &report.case)).collect();
    let first = named.first()?;
    if named.iter().any(|report| difference.covers(report)) {
        return None;
    }
    let now = match seen(first) {
        seen if seen.is_empty() => word(&first.verdict).to_owned(),
        seen => format!("{}: {seen}", word(&first.verdict)),
    };
    Some(format!("{pattern} is listed as {}: {}; now it is {now}", difference.verdict, difference.got))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Mismatch;

    const CASE: &str = "netlink::binding::short_address_is_refused::0";

    fn list(lines: &str) -> Result<Known, String> {
        Known::parse(&format!("[[difference]]\nnote = \"n\"\n{lines}"))
    }

    pub fn failed(case: &str, got: &str) -> Report {
        let (requirement, got) = ("NL-BIND-001".into(), got.to_owned());
        let (statement, what, expected) = Default::default();
        Report::new(case, Verdict::Fail(Mismatch { requirement, statement, what, expected, got }))
    }

    fn marked(known: &Known, mut report: Report) -> bool {
        known.mark(&mut report);
        report.known.is_some()
    }

    #[test]
    fn only_what_was_seen_is_marked() {
        let cases = "cases = [\"netlink::binding::short_address_is_refused::*\"]";
        let known = list(&format!("{cases}\nverdict = \"fail\"\ngot = \"EFAULT\"")).unwrap();
        assert!(marked(&known, failed(CASE, "EFAULT")));
        assert!(!marked(&known, failed(CASE, "ok")), "another difference is new");
        assert!(!marked(&known, failed("netlink::binding::long_address_is_cut", "EFAULT")));
        assert!(!marked(&known, Report::new(CASE, Verdict::Crash { reason: "EFAULT".into() })));
    }

    #[test]
    fn what_is_listed_and_not_seen_is_unexpected() {
        let known = list(&format!("cases = [{CASE:?}]\nverdict = \"fail\"\ngot = \"EFAULT\"")).unwrap();
        let now = |report| known.surprises(&[report]);
        assert!(now(failed(CASE, "EFAULT")).is_empty());
        assert_eq!(
            now(Report::new(CASE, Verdict::Pass)),
            [format!("{CASE} is listed as fail: EFAULT; now it is pass")]
        );
        assert_eq!(now(failed(CASE, "ok")).len(), 1);
        let skipped = Verdict::Skip { reason: "there is none".into() };
        assert_eq!(now(Report::new(CASE, skipped)).len(), 1);
        assert!(known.surprises(&[]).is_empty(), "it was not run");
    }

    #[test]
    fn what_is_seen_sometimes_may_not_be_seen_and_all_else_is_unexpected() {
        let entry = format!("cases = [{CASE:?}]\nverdict = \"fail\"\ngot = \"EFAULT\"\nsometimes = true");
        let known = list(&entry).unwrap();
        assert!(known.surprises(&[Report::new(CASE, Verdict::Pass)]).is_empty());
        assert!(marked(&known, failed(CASE, "EFAULT")));
        assert!(!marked(&known, failed(CASE, "ok")), "another difference is new");
        assert!(!marked(&known, Report::new(CASE, Verdict::Crash { reason: "EFAULT".into() })));
    }

    #[test]
    fn an_entry_is_about_versions_of_the_target() {
        let lines = format!(
            "cases = [{CASE:?}]\nverdict = \"fail\"\ngot = \"*\"\nsince = \"20221219\"\nuntil = \"20240729\""
        );
        let known = list(&lines).unwrap();
        let applies = |version| !known.of_version(version).differences.is_empty();
        assert!(applies("release-20221219.0") && applies("20231231"));
        assert!(!applies("20240729") && !applies("20220101"));
    }

    #[test]
    fn a_file_that_names_nothing_is_refused() {
        let entry =
            |case: &str, verdict: &str| format!("cases = [{case:?}]\nverdict = {verdict:?}\ngot = \"\"");
        assert!(list(&entry("netlink::nothing", "fail")).unwrap_err().contains("netlink::nothing"));
        assert!(list(&entry(CASE, "skip")).unwrap_err().contains("verdict"));
        assert!(list(&format!("{}\ncase = \"x\"", entry(CASE, "fail"))).is_err(), "unknown key");
        let refused = |lines: &str| list(lines).unwrap_err();
        let with = |more: &str| refused(&format!("{}\n{more}", entry(CASE, "fail")));
        assert_eq!(refused("cases = []\nverdict = \"fail\"\ngot = \"\""), "entry 1: it names no case");
        assert!(with("since = \"new\"").contains("no version"));
        assert!(with("since = \"2\"\nuntil = \"1\"").contains("older than 1"));
        let timeout = format!("cases = [{CASE:?}]\nverdict = \"timeout\"\ngot = \"nothing\"");
        assert!(refused(&timeout).contains("never seen"));
        let refused_at = refused("cases = 7\nverdict = \"fail\"\ngot = \"\"");
        assert_eq!(refused_at, "line 3: invalid type: integer `7`, expected a sequence");
        let twice = format!("{0}\n[[difference]]\n{0}", entry(CASE, "fail"));
        assert_eq!(refused(&twice), "entry 2 lists what entry 1 lists");
    }
}
