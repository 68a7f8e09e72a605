//! Known differences: a file that an implementer keeps next to the implementation, so that a run separates
//! what is new from what is on the list.
//!
//! ```toml
//! [NL-SOCK-004]
//! verdict = ["fail"]
//! url = "https://example.org/issues/17"
//! note = "what the difference is, and whether it matters"
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::word;
use crate::cases;
use crate::event::{Report, Verdict};
use crate::spec;

/// Known differences by requirement.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Known(BTreeMap<String, Difference>);

/// One known difference.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The verdicts that its cases may have.
    pub verdict: Vec<String>,
    /// Where the implementer keeps track of it.
    #[serde(default)]
    pub url: Option<String>,
    /// What the difference is, and whether it matters.
    #[serde(default)]
    pub note: String,
}

impl Difference {
    /// The URL, else the note.
    pub fn reference(&self) -> &str {
        self.url.as_deref().unwrap_or(&self.note)
    }
}

impl Known {
    /// Reads the file.
    ///
    /// # Errors
    /// A sentence, if it cannot be read, is malformed, or names an unknown requirement.
    pub fn read(path: &Path) -> Result<Known, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let known: Known = toml::from_str(&text).map_err(|error| wrong(&error))?;
        for (id, difference) in &known.0 {
            if spec::find(id).is_none() {
                return Err(wrong(&format!("unknown requirement {id}")));
            }
            let is_verdict = |word: &String| ["fail", "crash", "timeout", "broken"].contains(&word.as_str());
            if difference.verdict.is_empty() || !difference.verdict.iter().all(is_verdict) {
                return Err(wrong(&format!("{id}: a known verdict is fail, crash, timeout or broken")));
            }
            if difference.reference().is_empty() {
                return Err(wrong(&format!("{id}: a known difference has a url or a note")));
            }
        }
        Ok(known)
    }

    /// The differences, by requirement.
    pub fn differences(&self) -> impl Iterator<Item = (&str, &Difference)> {
        self.0.iter().map(|(id, difference)| (id.as_str(), difference))
    }

    /// Marks a report whose verdict is the known one of its requirement.
    pub fn mark(&self, report: &mut Report) {
        let concerned = match &report.verdict {
            Verdict::Fail(mismatch) => Some(mismatch.requirement.as_str()),
            _ => cases::find(&report.case).and_then(|case| case.requirements.first().copied()),
        };
        let difference = concerned.and_then(|id| self.0.get(id));
        report.known = difference
            .filter(|known| known.verdict.iter().any(|verdict| verdict == word(&report.verdict)))
            .map(|known| known.reference().to_owned());
    }

    /// The requirements that are known not to hold but hold: one line each.
    pub fn surprises(&self, reports: &[Report]) -> Vec<String> {
        let holds = |id: &str| {
            let checks = |report: &&Report| {
                cases::find(&report.case).is_some_and(|case| case.requirements.contains(&id))
            };
            let verdicts: Vec<_> =
                reports.iter().filter(checks).map(|report| word(&report.verdict)).collect();
            verdicts.contains(&"pass") && verdicts.iter().all(|word| ["pass", "skip"].contains(word))
        };
        let kept = self.0.iter().filter(|(id, _)| holds(id));
        kept.map(|(id, known)| {
            format!("{id} holds, but is on the list of known differences: {}", known.reference())
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::event::Mismatch;

    fn known(text: &str) -> Result<Known, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Known::read(file.path())
    }

    /// A report on the first case, which checks `id`.
    fn report(verdict: impl Fn(&str) -> Verdict) -> (Report, &'static str) {
        let case = &cases::all()[0];
        let id = case.requirements[0];
        let report = Report::new(&case.name, verdict(id));
        (report, id)
    }

    fn fail(id: &str) -> Verdict {
        Verdict::Fail(Mismatch {
            requirement: id.to_owned(),
            statement: String::new(),
            what: String::new(),
            expected: String::new(),
            got: String::new(),
        })
    }

    #[test]
    fn only_the_known_verdict_is_marked() {
        let (mut failed, id) = report(fail);
        let list = known(&format!("[{id}]\nverdict = [\"fail\"]\nurl = \"u\"\n")).unwrap();
        list.mark(&mut failed);
        assert_eq!(failed.known.as_deref(), Some("u"));
        let (mut crashed, _) = report(|_| Verdict::Crash { reason: String::new() });
        list.mark(&mut crashed);
        assert_eq!(crashed.known, None);
    }

    #[test]
    fn what_holds_after_all_is_told() {
        let (passed, id) = report(|_| Verdict::Pass);
        let list = known(&format!("[{id}]\nverdict = [\"fail\"]\nurl = \"u\"\n")).unwrap();
        assert_eq!(
            list.surprises(&[passed]),
            [format!("{id} holds, but is on the list of known differences: u")]
        );
        assert!(list.surprises(&[report(fail).0]).is_empty());
        assert!(list.surprises(&[]).is_empty());
    }

    #[test]
    fn a_file_that_names_nothing_is_refused() {
        assert!(
            known("[NL-NOPE-001]\nverdict = [\"fail\"]\nurl = \"u\"\n").unwrap_err().contains("NL-NOPE-001")
        );
        assert!(
            known("[NL-SOCK-001]\nverdict = [\"maybe\"]\nurl = \"u\"\n").unwrap_err().contains("verdict")
        );
    }
}
