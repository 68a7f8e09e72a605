//! Workflow commands with which GitHub shows failures next to a job.

use std::fmt::Write;

use super::pretty::explain;
use super::{Record, is_well};

/// One `::error` line for each report that needs attention, and for each error of the lab.
pub fn annotations(record: &Record) -> String {
    let mut text = String::new();
    for run in &record.runs {
        for report in run.reports.iter().filter(|report| !is_well(report)) {
            let title = property(&format!("{} on {}", report.case, run.target));
            let _ = writeln!(text, "::error title={title}::{}", data(&explain(report)));
        }
        for error in &run.errors {
            let _ = writeln!(text, "::error title={}::{}", property(&run.target), data(error));
        }
    }
    text
}

fn data(text: &str) -> String {
    text.trim_end().replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
