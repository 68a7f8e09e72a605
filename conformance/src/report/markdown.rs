//! Markdown: the matrix for a job's summary page.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::alike::Alike;
use super::html::escape;
use super::matrix::{Cell, Row, Standing, matrix};
use super::pretty::explain;
use super::{Record, counts, is_well};
use crate::event::Report;
use crate::spec::Level;

/// Causes shown, each with a report in full; the rest is in the other files of the run.
const SHOWN: usize = 20;

/// The record as Markdown: totals, what went wrong, what looks unintended, and the whole matrix.
pub fn markdown(record: &Record) -> String {
    let rows = matrix(&record.runs);
    let mut text = String::from("## nlconform\n\n");
    totals(record, &mut text);
    levels(record, &rows, &mut text);
    trouble(record, &mut text);
    unintended(&rows, &mut text);
    let _ = writeln!(text, "<details><summary>Requirement by target</summary>\n");
    heading(record, "requirement | level", &mut text);
    for row in &rows {
        let cells: Vec<_> = row.cells.iter().map(|cell| symbol(cell.standing)).collect();
        let requirement = row.requirement;
        let _ =
            writeln!(text, "| {} | {} | {} |", requirement.id, requirement.level.word(), cells.join(" | "));
    }
    text.push_str("\n</details>\n");
    text
}

fn heading(record: &Record, first: &str, text: &mut String) {
    let targets: Vec<_> = record.runs.iter().map(|run| run.target.as_str()).collect();
    let columns = first.split('|').count() + targets.len();
    let _ = writeln!(text, "| {first} | {} |\n|{}", targets.join(" | "), " --- |".repeat(columns));
}

fn totals(record: &Record, text: &mut String) {
    text.push_str("| target | on | cases |\n| --- | --- | --- |\n");
    for run in &record.runs {
        let told: Vec<_> =
            counts(&run.reports).iter().map(|(word, count)| format!("{count} {word}")).collect();
        let _ = writeln!(text, "| {} | {} | {} |", run.target, run.platform, told.join(", "));
        for error in &run.errors {
            let _ = writeln!(text, "| | | the lab could not go on: {} |", cell_text(error));
        }
    }
    text.push('\n');
}

/// Requirements that held, of those that were settled, by level.
fn levels(record: &Record, rows: &[Row<'_>], text: &mut String) {
    heading(record, "requirements that hold", text);
    for level in [Level::Must, Level::Should, Level::Observed] {
        let mut line = format!("| {} |", level.word());
        for number in 0..record.runs.len() {
            let of_level = rows.iter().filter(|row| row.requirement.level == level);
            let standings: Vec<_> = of_level.map(|row| row.cells[number].standing).collect();
            let held = standings.iter().filter(|standing| **standing == Standing::Pass).count();
            let settled = held + standings.iter().filter(|standing| standing.is_trouble()).count();
            let _ = write!(line, " {held} of {settled} |");
        }
        let _ = writeln!(text, "{line}");
    }
    text.push('\n');
}

fn trouble(record: &Record, text: &mut String) {
    // The same failure on several targets is reported once.
    let mut seen: BTreeMap<&str, (&Report, Vec<&str>)> = BTreeMap::new();
    for run in &record.runs {
        for report in run.reports.iter().filter(|report| !is_well(report)) {
            seen.entry(&report.case).or_insert((report, Vec::new())).1.push(&run.target);
        }
    }
    let line = |report: &Report| {
        let targets = seen.get(report.case.as_str()).map_or_else(String::new, |(_, on)| on.join(", "));
        format!("<code>{}</code> on {}", report.case, escape(&targets))
    };
    let groups = Alike::groups(seen.values().map(|(report, _)| *report));
    for group in groups.iter().take(SHOWN) {
        let (first, others) = group.reports.split_at(1);
        let summary = if others.is_empty() { line(first[0]) } else { escape(&group.heading()) };
        let told = explain(first[0]);
        let _ = writeln!(text, "<details open><summary>{summary}</summary>\n");
        if !others.is_empty() {
            let _ = writeln!(text, "{}\n", line(first[0]));
        }
        let _ = writeln!(text, "```\n{told}```\n");
        for report in others {
            let _ = writeln!(text, "* {}", line(report));
        }
        text.push_str("\n</details>\n\n");
    }
    let rest: usize = groups.iter().skip(SHOWN).map(|group| group.reports.len()).sum();
    if rest > 0 {
        let _ = writeln!(text, "... and {rest} cases more.\n");
    }
}

fn unintended(rows: &[Row<'_>], text: &mut String) {
    let is_there = |cell: &Cell<'_>| cell.standing == Standing::Pass;
    let mut rows = rows
        .iter()
        .filter(|row| row.requirement.unintended.is_some() && row.cells.iter().any(is_there))
        .peekable();
    if rows.peek().is_none() {
        return;
    }
    text.push_str("Behaviour that looks unintended:\n\n");
    for row in rows {
        let why = row.requirement.unintended.as_deref().unwrap_or_default();
        let _ = writeln!(text, "* {}: {}", row.requirement.id, cell_text(why));
    }
    text.push('\n');
}

fn symbol(standing: Standing) -> String {
    match standing {
        Standing::Pass => "✓".to_owned(),
        Standing::Open | Standing::Unchecked => "–".to_owned(),
        Standing::Skip => "skip".to_owned(),
        trouble => format!("**{}**", trouble.word()),
    }
}

fn cell_text(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Verdict;
    use crate::report::Run;

    #[test]
    fn what_failed_alike_is_told_once() {
        let crash =
            |case: &str, reason: &str| Report::new(case, Verdict::Crash { reason: reason.to_owned() });
        let run = |target: &str| Run {
            target: target.into(),
            platform: "here".into(),
            arch: None,
            profile: "linux-7.3".into(),
            identity: None,
            reports: vec![crash("a", "<gone> 1"), crash("b", "slow"), crash("c", "<gone> 2")],
            errors: Vec::new(),
            surprises: Vec::new(),
        };
        let record = Record::new(std::time::SystemTime::UNIX_EPOCH, vec![run("k1"), run("k2")]);
        let page = markdown(&record);
        assert!(page.contains("<summary>2 failed alike: crash: &lt;gone&gt; N</summary>"), "{page}");
        assert!(page.contains("* <code>c</code> on k1, k2\n"), "{page}");
        assert!(page.contains("<summary><code>b</code> on k1, k2</summary>"), "{page}");
        assert_eq!(page.matches("crash: <gone>").count(), 1, "{page}");
    }
}
