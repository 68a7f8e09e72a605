//! JUnit XML: one suite a target, one test case a case.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::pretty::explain;
use super::{Record, word};
use crate::event::{Report, Verdict};

/// The record as JUnit XML.
///
/// # Errors
/// When it cannot be written as XML.
pub fn junit(record: &Record) -> Result<String, String> {
    let mut document = Document::new("nlconform");
    for run in &record.runs {
        let mut suite = TestSuite::new(format!("{} ({})", run.target, run.platform));
        suite.add_test_cases(run.reports.iter().map(test_case));
        document.add_test_suite(suite);
    }
    document.to_string().map_err(|error| error.to_string())
}

fn test_case(report: &Report) -> TestCase {
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
            let mut failed = TestCaseStatus::non_success(kind);
            let text = explain(report);
            failed.set_type(word(verdict)).set_message(text.lines().next().unwrap_or_default());
            failed.set_description(text);
            failed
        }
    };
    let (topic, name) = report.case.split_once("::").unwrap_or(("", &report.case));
    let mut case = TestCase::new(name, status);
    case.set_classname(topic).set_time(Duration::from_micros(report.micros));
    case
}
