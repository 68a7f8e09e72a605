//! Reports that failed alike: one cause often fails many cases, and is told once.

use crate::event::{Report, Verdict};
use crate::report::{is_well, word};

/// Characters of what failed that are shown and compared.
const WIDTH: usize = 150;

/// Reports that need attention and have something in common.
#[derive(Debug)]
pub struct Alike<'a> {
    /// What they have in common, in one line: the verdict, what was checked, what was expected and got.
    pub gist: String,
    /// The reports, in the order of the suite; at least one.
    pub reports: Vec<&'a Report>,
}

impl<'a> Alike<'a> {
    /// The reports that need attention, grouped by what failed: the largest group first.
    pub fn groups(reports: impl IntoIterator<Item = &'a Report>) -> Vec<Alike<'a>> {
        let mut groups: Vec<Alike<'a>> = Vec::new();
        for report in reports.into_iter().filter(|report| !is_well(report)) {
            let gist = gist(report);
            match groups.iter_mut().find(|group| group.gist == gist) {
                Some(group) => group.reports.push(report),
                None => groups.push(Alike { gist, reports: vec![report] }),
            }
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.reports.len()));
        groups
    }

    /// How many they are and what they have in common.
    pub fn heading(&self) -> String {
        match self.reports.len() {
            1 => self.gist.clone(),
            many => format!("{many} failed alike: {}", self.gist),
        }
    }
}

/// What a report has in common with others that failed alike, in one line.
fn gist(report: &Report) -> String {
    let told = match &report.verdict {
        Verdict::Fail(mismatch) => {
            format!("{}: expected {}, got {}", mismatch.what, mismatch.expected, mismatch.got)
        }
        // "unexpected EACCES" says less than the call that failed so.
        Verdict::Broken { reason } => match report.exchange.last() {
            Some(step) if reason.starts_with("unexpected ") => format!("{}: {}", step.action, step.outcome),
            _ => reason.clone(),
        },
        Verdict::Crash { reason } => reason.clone(),
        Verdict::Timeout { .. } | Verdict::Pass | Verdict::Skip { .. } => String::new(),
    };
    let line: String = told.lines().next().unwrap_or_default().chars().take(WIDTH).collect();
    // IDs, addresses and lengths differ between reports that are alike.
    let words = line.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let alike: String = words.map(without_number).collect();
    match alike.is_empty() {
        true => word(&report.verdict).to_owned(),
        false => format!("{}: {alike}", word(&report.verdict)),
    }
}

/// A word, with the sign after it; a number has only the sign left.
fn without_number(word: &str) -> String {
    let digits = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let hex = digits.strip_prefix("0x").unwrap_or(digits);
    let is_number = hex.contains(|c: char| c.is_ascii_digit()) && hex.chars().all(|c| c.is_ascii_hexdigit());
    match is_number || (digits.len() > hex.len() && hex.chars().all(|c| c.is_ascii_hexdigit())) {
        true => word.replacen(digits, "N", 1),
        false => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Exchange;

    fn crash(case: &str, reason: &str) -> Report {
        Report::new(case, Verdict::Crash { reason: reason.into() })
    }

    #[test]
    fn numbers_do_not_tell_reports_apart() {
        let reports = [
            crash("a", "it ended"),
            crash("b", "killed at 0xff by 7"),
            Report::new("c", Verdict::Pass),
            crash("d", "killed at 0x0 by 12"),
        ];
        let groups = Alike::groups(&reports);
        let told: Vec<_> = groups.iter().map(Alike::heading).collect();
        assert_eq!(told, ["2 failed alike: crash: killed at N by N", "crash: it ended"]);
        assert_eq!(groups[0].reports, [&reports[1], &reports[3]]);
    }

    #[test]
    fn a_preparation_is_told_by_the_call_that_failed() {
        let broken = |case: &str, action: &str| {
            let step = Exchange {
                action: action.into(),
                outcome: "EACCES".into(),
                bytes: String::new(),
                decoded: vec![],
            };
            let verdict = Verdict::Broken { reason: "unexpected EACCES".into() };
            Report { exchange: vec![step], ..Report::new(case, verdict) }
        };
        let reports = [broken("a", "socket 1: bind port 7"), broken("b", "socket 2: connect port 7")];
        assert_eq!(Alike::groups(&reports).len(), 2);
    }
}
