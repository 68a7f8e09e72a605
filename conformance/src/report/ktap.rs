//! KTAP, version 1 (Documentation/dev-tools/ktap.rst): one test per target, whose subtests are the cases. And the TAP of
//! the kernel's selftests.
//!
//! What `tools/testing/kunit/kunit.py parse` asks beyond the document is kept, too: a test's result line
//! bears the very name of its `# Subtest` line, and a test has at least one subtest.

use std::fmt::Write;

use super::pretty::explain;
use super::{Record, Run, Trouble, is_well, word};
use crate::event::{Report, Verdict};

/// `kunit.py` reads its input in Python's way, for which both end a line.
const END_OF_LINE: [char; 2] = ['\n', '\r'];

/// The record as KTAP.
pub fn ktap(record: &Record) -> String {
    let mut text = format!("KTAP version 1\n1..{}\n", record.runs.len());
    for (number, run) in record.runs.iter().enumerate() {
        let name = description(&run.target);
        subtests(run, &name, &mut text);
        let _ = writeln!(text, "{} {} {name}", result(run.is_well()), number + 1);
    }
    text
}

/// The record as TAP 13 without nesting, as the kernel's selftests print it (tools/testing/selftests/kselftest.h). Who reads
/// selftests' results, as netdev's CI does, looks for these words, and sees no nested test.
pub fn tap(record: &Record) -> String {
    let mut lines = Vec::new();
    for run in &record.runs {
        let named = |line: Line| match record.runs.len() {
            1 => line,
            _ => Line { name: format!("{} {}", run.target, line.name), ..line },
        };
        lines.extend(lines_of(run).map(named));
    }
    let mut text = format!("TAP version 13\n1..{}\n", lines.len());
    write_lines(&lines, "", &mut text);
    text
}

fn subtests(run: &Run, name: &str, text: &mut String) {
    let lines: Vec<_> = lines_of(run).collect();
    let _ = writeln!(text, "  KTAP version 1\n  # Subtest: {name}\n  1..{}", lines.len());
    write_lines(&lines, "  ", text);
}

fn lines_of(run: &Run) -> impl Iterator<Item = Line> {
    run.reports.iter().map(Line::of_case).chain(run.troubles().map(Line::of_trouble))
}

fn write_lines(lines: &[Line], indent: &str, text: &mut String) {
    for (number, line) in lines.iter().enumerate() {
        for told in line.log.split_terminator(END_OF_LINE) {
            // A second space, so that no word of a target is taken for a `# Subtest: ` line.
            let _ = writeln!(text, "{indent}#  {}", unmistakable(told));
        }
        let (result, name) = (result(line.ok), description(&line.name));
        let _ = writeln!(text, "{indent}{result} {} {name}{}", number + 1, line.directive);
    }
}

/// A result line, and the diagnostics before it.
struct Line {
    ok: bool,
    name: String,
    directive: String,
    log: String,
}

impl Line {
    fn of_case(report: &Report) -> Line {
        let ok = is_well(report);
        let directive = match (&report.known, &report.verdict) {
            // Not XFAIL, which parsers of the kernel count as a pass.
            (Some(known), _) => directive("SKIP", &format!("known {}: {known}", word(&report.verdict))),
            (None, Verdict::Pass | Verdict::Fail(_)) => String::new(),
            (None, Verdict::Skip { reason }) => directive("SKIP", reason),
            (None, Verdict::Timeout { after_ms }) => directive("TIMEOUT", &format!("{after_ms} ms")),
            (None, Verdict::Crash { reason }) => directive("ERROR", &format!("crash: {reason}")),
            (None, Verdict::Broken { reason }) => directive("ERROR", &format!("broken: {reason}")),
        };
        let log = if ok { String::new() } else { explain(report) };
        Line { ok, name: report.case.clone(), directive, log }
    }

    fn of_trouble(trouble: Trouble<'_>) -> Line {
        let directive = directive("ERROR", trouble.text);
        Line { ok: false, name: trouble.name.to_owned(), directive, log: trouble.text.to_owned() }
    }
}

fn result(ok: bool) -> &'static str {
    if ok { "ok" } else { "not ok" }
}

/// A test's name: anything but a hash sign and the end of the line.
fn description(name: &str) -> String {
    let words: Vec<_> = name.split(['#', ' ', '\n', '\r']).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// A directive with the first line of its reason. A second hash sign would start another one.
fn directive(word: &str, said: &str) -> String {
    let line = said.split(END_OF_LINE).next().unwrap_or_default().replace(" # ", " ");
    format!(" # {word} {}", unmistakable(line.trim_end()))
}

/// A line without the words that `kunit.py` takes for the end of a kernel's log.
fn unmistakable(line: &str) -> String {
    ["List of all partitions:", "Kernel panic - not syncing: VFS:", "reboot: System halted"]
        .iter()
        .fold(line.to_owned(), |line, end| line.replace(end, &end.replace(':', " -")))
}
