//! KTAP, version 1 (Documentation/dev-tools/ktap.rst): one subtest a target.

use std::fmt::Write;

use super::pretty::explain;
use super::{Record, Run, is_well};
use crate::event::Verdict;

/// The record as KTAP.
pub fn ktap(record: &Record) -> String {
    let mut text = format!("KTAP version 1\n1..{}\n", record.runs.len());
    for (number, run) in record.runs.iter().enumerate() {
        subtest(run, &mut text);
        let _ = writeln!(text, "{} {} {}", word(run.is_well()), number + 1, run.target.replace(' ', "-"));
    }
    text
}

fn subtest(run: &Run, text: &mut String) {
    let _ = writeln!(text, "  KTAP version 1\n  # Subtest: {}\n  1..{}", run.target, run.reports.len());
    for (number, report) in run.reports.iter().enumerate() {
        let directive = match &report.verdict {
            Verdict::Skip { reason } => format!(" # SKIP {}", reason.replace('\n', " ")),
            _ if report.known.is_some() => format!(" # TODO {}", report.known.as_deref().unwrap_or_default()),
            Verdict::Timeout { .. } => " # TIMEOUT".to_owned(),
            _ => String::new(),
        };
        if !is_well(report) {
            for line in explain(report).lines() {
                let _ = writeln!(text, "  # {line}");
            }
        }
        let _ = writeln!(text, "  {} {} {}{directive}", word(is_well(report)), number + 1, report.case);
    }
}

fn word(ok: bool) -> &'static str {
    if ok { "ok" } else { "not ok" }
}
