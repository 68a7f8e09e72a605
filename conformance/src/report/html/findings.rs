//! What failed, each failure once: the same one on many targets is one finding.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::markup::{chip, details, escape, targets};
use super::{MANY, Section};
use crate::cases;
use crate::event::{Report, Verdict};
use crate::report::alike::Alike;
use crate::report::pretty::explain;
use crate::report::{Record, word};
use crate::spec::{self, Topic};

/// A verdict that needs attention or is known, and the targets that have it.
struct Finding<'a> {
    /// On the first of the targets.
    report: &'a Report,
    /// The file of the specification that it is about, and its title.
    topic: (usize, &'static str),
    targets: Vec<usize>,
}

/// The findings of a record, in the order of the suite.
pub struct Findings<'a>(Vec<Finding<'a>>);

impl<'a> Findings<'a> {
    /// Finds them.
    pub fn of(record: &'a Record) -> Findings<'a> {
        let topics = spec::topics();
        let mut found: Vec<Finding<'_>> = Vec::new();
        let mut places: BTreeMap<(&str, &str, String), usize> = BTreeMap::new();
        for (target, run) in record.runs.iter().enumerate() {
            let bad = |report: &&Report| !matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. });
            for report in run.reports.iter().filter(bad) {
                let key = (report.case.as_str(), word(&report.verdict), gist(report));
                let place = *places.entry(key).or_insert(found.len());
                match found.get_mut(place) {
                    Some(finding) => finding.targets.push(target),
                    None => {
                        found.push(Finding { report, topic: topic(report, topics), targets: vec![target] })
                    }
                }
            }
        }
        let order: BTreeMap<&str, usize> = cases::of_both().map(|case| case.name.as_str()).zip(0..).collect();
        found.sort_by_key(|finding| (finding.topic.0, order.get(finding.report.case.as_str()).copied()));
        Findings(found)
    }

    /// What needs attention.
    pub fn failed(&self, record: &Record) -> Section {
        let names: Vec<_> = record.runs.iter().map(|run| run.target.as_str()).collect();
        let mut body = String::new();
        let mut troubles: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (target, run) in record.runs.iter().enumerate() {
            for trouble in run.troubles() {
                troubles.entry((trouble.name, trouble.text)).or_default().push(target);
            }
        }
        for ((_, text), of) in &troubles {
            let _ = write!(
                body,
                "<div class=\"trouble\"><b>{}</b><pre>{}</pre></div>",
                targets(of, &names),
                escape(text)
            );
        }
        let failed: Vec<_> = self.0.iter().filter(|finding| finding.report.known.is_none()).collect();
        by_cause(&failed, &names, failed.len() <= MANY, &mut body);
        let count = troubles.len() + failed.len();
        if count == 0 {
            body.push_str("<p>Nothing.</p>");
        }
        Section { id: "failed", title: "Failed", count, body }
    }

    /// What is on the list of known differences.
    pub fn known(&self, names: &[&str]) -> Option<Section> {
        let known: Vec<_> = self.0.iter().filter(|finding| finding.report.known.is_some()).collect();
        let mut body = String::new();
        by_topic(&known, names, false, &mut body);
        (!known.is_empty()).then_some(Section { id: "known", title: "Known", count: known.len(), body })
    }
}

/// First what failed alike, then the others by topic.
fn by_cause(findings: &[&Finding<'_>], names: &[&str], open: bool, body: &mut String) {
    let mut others = findings.to_vec();
    let groups = Alike::groups(findings.iter().map(|finding| finding.report));
    for group in groups.iter().filter(|group| group.reports.len() > 1) {
        let is_of_it =
            |finding: &&Finding<'_>| group.reports.iter().any(|report| std::ptr::eq(*report, finding.report));
        let (alike, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(is_of_it);
        let rows: String = alike.iter().map(|finding| row(finding, names)).collect();
        body.push_str(&details("topic", open, &escape(&group.heading()), &rows));
        others = rest;
    }
    by_topic(&others, names, open, body);
}

fn by_topic(findings: &[&Finding<'_>], names: &[&str], open: bool, body: &mut String) {
    for part in findings.chunk_by(|one, other| one.topic == other.topic) {
        let rows: String = part.iter().map(|finding| row(finding, names)).collect();
        let summary = format!("{} <small>{}</small>", escape(part[0].topic.1), part.len());
        body.push_str(&details("topic", open, &summary, &rows));
    }
}

fn row(finding: &Finding<'_>, names: &[&str]) -> String {
    let report = finding.report;
    let count = finding.targets.len();
    let (on, evidence) = match (names.len(), count) {
        (1, _) => (String::new(), String::new()),
        (_, 1) => (format!("on {}", escape(names[finding.targets[0]])), String::new()),
        (all, _) => {
            let first = escape(names[finding.targets[0]]);
            let on = targets(&finding.targets, names);
            (format!("on {count} of {all} targets"), format!("<p>On {on}; this is from {first}.</p>"))
        }
    };
    let summary = format!(
        "{} <code>{}</code> <span class=\"gist\">{}</span> <small>{on}</small>",
        chip(word(&report.verdict)),
        escape(&report.case),
        escape(gist(report).lines().next().unwrap_or_default()),
    );
    details("finding", false, &summary, &format!("{evidence}<pre>{}</pre>", escape(&explain(report))))
}

/// What makes two failures of a case the same.
fn gist(report: &Report) -> String {
    match &report.verdict {
        Verdict::Fail(mismatch) => {
            format!("{}: {} instead of {}", mismatch.what, mismatch.got, mismatch.expected)
        }
        Verdict::Broken { reason } | Verdict::Crash { reason } | Verdict::Skip { reason } => reason.clone(),
        Verdict::Timeout { after_ms } => format!("no verdict after {after_ms} ms"),
        Verdict::Pass => String::new(),
    }
}

/// The file of the specification that a report is about: its place and its title.
fn topic(report: &Report, topics: &'static [Topic]) -> (usize, &'static str) {
    let id = match &report.verdict {
        Verdict::Fail(mismatch) => Some(mismatch.requirement.as_str()),
        _ => cases::find(&report.case).and_then(|case| case.requirements.first().copied()),
    };
    let about =
        |topic: &Topic| topic.requirements.iter().any(|requirement| Some(requirement.id.as_str()) == id);
    let place = topics.iter().position(about).unwrap_or(topics.len());
    (place, topics.get(place).map_or("Other cases", |topic| &topic.title))
}
