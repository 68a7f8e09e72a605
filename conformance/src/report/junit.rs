//! JUnit XML: one suite per target, one test case per case. What went wrong outside of the cases is an error.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::pretty::explain;
use super::{Record, Trouble, word};
use crate::event::{Report, Verdict};

/// The record as JUnit XML.
///
/// # Errors
/// It cannot be written as XML.
pub fn junit(record: &Record) -> Result<String, String> {
    let mut document = Document::new("nlconform");
    for run in &record.runs {
        let mut suite = TestSuite::new(format!("{} ({})", run.target, run.platform));
        suite.add_test_cases(run.reports.iter().map(of_case));
        suite.add_test_cases(run.troubles().map(of_trouble));
        document.add_test_suite(suite);
    }
    let text = document.to_string().map_err(|error| error.to_string())?;
    // Jenkins' schema has this count for suites only, and its first place is in the root.
    Ok(text.replacen(&format!(" skipped=\"{}\"", document.skipped), "", 1))
}

fn of_case(report: &Report) -> TestCase {
    let status = match &report.verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Skip { reason } => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(reason);
            skipped
        }
        _ if report.known.is_some() => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(format!("known: {}", report.known.as_deref().unwrap_or_default()));
            skipped.set_description(explain(report));
            skipped
        }
        verdict => {
            let kind = match verdict {
                Verdict::Fail(_) => NonSuccessKind::Failure,
                _ => NonSuccessKind::Error,
            };
            non_success(kind, word(verdict), explain(report))
        }
    };
    let mut case = test_case(&report.case, status);
    case.set_time(Duration::from_micros(report.micros));
    case
}

fn of_trouble(trouble: Trouble<'_>) -> TestCase {
    test_case(trouble.name, non_success(NonSuccessKind::Error, "error", trouble.text.to_owned()))
}

fn non_success(kind: NonSuccessKind, word: &str, text: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(word).set_message(text.lines().next().unwrap_or_default());
    status.set_description(text);
    status
}

fn test_case(name: &str, status: TestCaseStatus) -> TestCase {
    let (topic, name) = name.split_once("::").unwrap_or(("", name));
    let mut case = TestCase::new(name, status);
    case.set_classname(topic);
    case
}
