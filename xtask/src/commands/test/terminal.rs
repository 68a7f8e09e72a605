//! What a run shows on the terminal: a line a case, then what went wrong, in a screenful.

use std::collections::HashMap;

use nlconform::event::{Report, Verdict};
use nlconform::report::alike::Alike;
use nlconform::report::pretty::explain;
use nlconform::report::{is_well, word};

use crate::commands::output::Output;

/// Reports of which each is shown in full; of more, those that failed alike are shown together.
const IN_FULL: usize = 10;
/// Lines of a report that are shown.
const LINES: usize = 60;
/// Groups of reports that failed alike, and names of a group, that are shown.
const GROUPS: usize = 20;
const NAMES: usize = 2;

/// Shows verdicts in the order of the suite, target by target, as soon as they can be.
#[derive(Debug)]
pub struct Lines<'a> {
    /// Names of the targets, where there are several.
    targets: Vec<String>,
    cases: &'a [String],
    quiet: bool,
    output: Output,
    waiting: HashMap<(usize, String), String>,
    next: (usize, usize),
}

impl<'a> Lines<'a> {
    /// Of these targets, each with these cases.
    pub fn new(targets: Vec<String>, cases: &'a [String], quiet: bool) -> Lines<'a> {
        Lines { targets, cases, quiet, output: Output::default(), waiting: HashMap::new(), next: (0, 0) }
    }

    /// A case has its verdict on a target.
    pub fn finished(&mut self, target: usize, report: &Report) {
        if !self.quiet {
            let line = match self.targets.as_slice() {
                [_] => line(report),
                several => format!("{}: {}", several[target], line(report)),
            };
            self.waiting.insert((target, report.case.clone()), line);
            self.show(false);
        }
    }

    /// No more verdicts come: what they were written to.
    pub fn end(mut self) -> Output {
        self.show(true);
        self.output
    }

    fn show(&mut self, to_the_end: bool) {
        while self.next.0 < self.targets.len() {
            let (target, case) = self.next;
            let Some(name) = self.cases.get(case) else {
                self.next = (target + 1, 0);
                continue;
            };
            match self.waiting.remove(&(target, name.clone())) {
                Some(line) => self.output.line(&line),
                None if !to_the_end => return,
                None => {}
            }
            self.next.1 += 1;
        }
    }
}

fn line(report: &Report) -> String {
    let shown = match (&report.verdict, &report.known) {
        (Verdict::Skip { reason }, _) => format!(" ({reason})"),
        (_, Some(known)) => format!(" (known: {known})"),
        _ => String::new(),
    };
    format!("{:<7} {}{shown}", word(&report.verdict), report.case)
}

/// What went wrong on a target. Many reports are grouped by what failed alike; the whole of each is in
/// the results' folder.
pub fn troubles(target: &str, reports: &[Report]) -> String {
    let bad: Vec<_> = reports.iter().filter(|report| !is_well(report)).collect();
    let mut text = String::new();
    if bad.len() <= IN_FULL {
        for report in bad {
            text += &format!("\n---- {target}: {} ----\n{}", report.case, beginning(&explain(report)));
        }
        return text;
    }
    let groups = Alike::groups(reports);
    let largest = groups[0].reports[0];
    text += &format!("\n---- {target}: {} ----\n{}", largest.case, beginning(&explain(largest)));
    text += &format!("\n---- {target}: what failed alike ----\n");
    for Alike { gist, reports } in groups.iter().take(GROUPS) {
        let names: Vec<_> = reports.iter().take(NAMES).map(|report| report.case.as_str()).collect();
        let more = if reports.len() > NAMES { " ..." } else { "" };
        text += &format!("{:>5} {gist}\n      {}{more}\n", reports.len(), names.join(" "));
    }
    if groups.len() > GROUPS {
        let rest: usize = groups[GROUPS..].iter().map(|group| group.reports.len()).sum();
        text += &format!("{rest:>5} in {} smaller groups\n", groups.len() - GROUPS);
    }
    text
}

fn beginning(text: &str) -> String {
    let count = text.lines().count();
    let mut shown: String = text.lines().take(LINES).map(|line| format!("{line}\n")).collect();
    if count > LINES {
        shown += &format!("... {} lines more in the results\n", count - LINES);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash(case: &str, reason: String) -> Report {
        Report::new(case, Verdict::Crash { reason })
    }

    #[test]
    fn a_hopeless_kernel_is_told_in_a_screenful() {
        let mut reports: Vec<_> =
            (0..1000).map(|n| crash(&format!("a::c{n}"), format!("killed at {n:#x}"))).collect();
        reports.extend((0..93).map(|n| crash(&format!("b::c{n}"), format!("{} ended", "x".repeat(n)))));
        let shown = troubles("kernel", &reports);
        assert!(shown.lines().count() < 80, "{shown}");
        assert!(shown.contains("   74 in 74 smaller groups"), "{shown}");
        assert!(shown.contains(" 1000 crash: killed at N\n"), "{shown}");
    }

    #[test]
    fn few_reports_are_shown_in_full() {
        let shown = troubles("kernel", &[crash("a::b", "it ended".into()), Report::new("c", Verdict::Pass)]);
        assert_eq!(shown, "\n---- kernel: a::b ----\ncrash: it ended\n");
    }
}
