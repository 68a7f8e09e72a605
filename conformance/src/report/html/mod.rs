//! One HTML file that works without a network and without its script: first what failed, what is new since
//! the last run and what differs between targets; then the targets, and each requirement by topic.

mod differences;
mod findings;
mod markup;
mod requirements;

use std::collections::BTreeSet;
use std::fmt::Write;

use super::matrix::matrix;
use super::{Record, counts, is_well};
use crate::spec::Profile;
use findings::Findings;
pub(super) use markup::escape;
use markup::plural;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// A longer list is folded.
const MANY: usize = 30;

/// One part of the page.
struct Section {
    /// Its anchor.
    id: &'static str,
    title: &'static str,
    /// The count next to the title.
    count: usize,
    body: String,
}

/// The record as a page. `last` is the run before it, if there was one.
///
/// # Errors
/// When a profile of the record is none.
pub fn html(record: &Record, last: Option<&Record>) -> Result<String, String> {
    let profiles = record.runs.iter().map(|run| run.profile.parse()).collect::<Result<Vec<Profile>, _>>()?;
    let names: Vec<_> = record.runs.iter().map(|run| run.target.as_str()).collect();
    let rows = matrix(&record.runs);
    let findings = Findings::of(record);
    let sections = [
        Some(findings.failed(record)),
        last.map(|last| differences::since(last, record)),
        (names.len() > 1).then(|| differences::between(&rows, &profiles, &names)),
        findings.known(&names),
        Some(table_of_targets(record)),
        Some(requirements::by_topic(&rows, &profiles, &names)),
    ];
    let (mut ways, mut body) = (String::new(), String::new());
    for Section { id, title, count, body: text } in sections.into_iter().flatten() {
        let _ = write!(ways, "<a href=\"#{id}\">{title} <b>{count}</b></a>");
        let _ = write!(body, "<section id=\"{id}\"><h2>{title} <small>{count}</small></h2>{text}</section>");
    }
    let about = format!(
        "nlconform {}, run of {}",
        escape(&record.suite),
        escape(&record.started.replace('T', " ").replace('Z', " UTC"))
    );
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>nlconform: {headline}</title><style>{STYLE}</style></head>\n<body class=\"{mood}\">\
         <header><h1>{headline}</h1><p>{about}</p></header>\
         <nav>{ways}<input id=\"search\" type=\"search\" placeholder=\"Search\" aria-label=\"Search\"></nav>\n\
         <main>{body}</main><script>{SCRIPT}</script></body></html>\n",
        headline = headline(record),
        mood = if record.runs.iter().all(super::Run::is_well) { "well" } else { "unwell" },
    ))
}

/// The outcome in one sentence.
fn headline(record: &Record) -> String {
    let reports = || record.runs.iter().flat_map(|run| &run.reports);
    let cases: BTreeSet<_> = reports().map(|report| &report.case).collect();
    let failed: BTreeSet<_> =
        reports().filter(|report| !is_well(report)).map(|report| &report.case).collect();
    let given_up = record.runs.iter().filter(|run| !run.errors.is_empty()).count();
    let surprised = record.runs.iter().any(|run| !run.surprises.is_empty());
    let cases = plural(cases.len(), "case");
    let on = match record.runs.as_slice() {
        [run] => escape(&run.target),
        runs => plural(runs.len(), "target"),
    };
    let lab = format!("the lab could not finish {given_up} of {on}");
    match (failed.len(), given_up) {
        (0, 0) if surprised => format!("Nothing failed, but a known difference holds: {cases} on {on}"),
        (0, 0) => format!("Nothing failed: {cases} on {on}"),
        (0, _) if record.runs.len() == 1 => format!("The lab could not finish {on}"),
        (0, _) => lab.replacen("the", "The", 1),
        (failed, 0) => format!("{failed} of {cases} failed on {on}"),
        (failed, _) => format!("{failed} of {cases} failed, and {lab}"),
    }
}

/// A line for each target.
fn table_of_targets(record: &Record) -> Section {
    let mut body = String::from(
        "<div class=\"scroll\"><table><thead><tr><th>target</th><th>on</th><th>expected</th><th>cases</th></tr></thead><tbody>",
    );
    let mut archs = Vec::new();
    for run in &record.runs {
        if !archs.contains(&&run.arch) {
            archs.push(&run.arch);
        }
    }
    let mut runs: Vec<_> = record.runs.iter().collect();
    runs.sort_by_key(|run| archs.iter().position(|arch| **arch == run.arch));
    let mut group = None;
    for run in runs {
        if archs.len() > 1 && group != Some(&run.arch) {
            let arch = run.arch.as_deref().unwrap_or("other");
            let _ = write!(body, "<tr><th class=\"arch\" colspan=\"4\">{}</th></tr>", escape(arch));
            group = Some(&run.arch);
        }
        let counts = counts(&run.reports);
        let total: usize = counts.iter().map(|(_, count)| count).sum();
        let mut bar = String::new();
        for (word, count) in &counts {
            let share = 100.0 * *count as f64 / total.max(1) as f64;
            let _ = write!(bar, "<i class=\"{word}\" style=\"width:{share:.2}%\"></i>");
        }
        let words: Vec<_> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        let _ = write!(
            body,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td><span class=\"bar\">{bar}</span>{}</td></tr>",
            escape(&run.target),
            escape(&run.platform),
            escape(&run.profile),
            words.join(", ")
        );
    }
    body.push_str("</tbody></table></div>");
    Section { id: "targets", title: "Targets", count: record.runs.len(), body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Report, Verdict};
    use crate::report::Run;

    const CASE: &str = "netlink::sockets::";

    /// A record of the suite's first case on each target.
    fn record(verdicts: &[Verdict]) -> Record {
        let case = &crate::cases::all()[0].name;
        assert!(case.starts_with(CASE));
        let run = |(number, verdict): (usize, &Verdict)| Run {
            target: format!("<kernel> {number}"),
            platform: "TCG".into(),
            arch: None,
            profile: "linux-6.12".into(),
            identity: None,
            reports: vec![Report::new(case, verdict.clone())],
            errors: Vec::new(),
            surprises: Vec::new(),
        };
        Record::new(std::time::SystemTime::UNIX_EPOCH, verdicts.iter().enumerate().map(run).collect())
    }

    fn crash() -> Verdict {
        Verdict::Crash { reason: "<oops>".into() }
    }

    #[test]
    fn what_failed_comes_first_then_what_is_new_then_what_differs() {
        let last = record(&[Verdict::Pass, Verdict::Pass]);
        let page = html(&record(&[Verdict::Pass, crash()]), Some(&last)).unwrap();
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text} in {page}"));
        assert!(page.contains("<h1>1 of 1 case failed on 2 targets</h1>"));
        let places = ["failed", "new", "differs", "targets", "requirements"]
            .map(|id| place(&format!("<section id=\"{id}\"")));
        assert!(places.is_sorted(), "{places:?}");
        assert!(page[places[0]..places[1]].contains("crash: &lt;oops&gt;"));
        assert!(page[places[1]..places[2]].contains("on &lt;kernel&gt; 1"));
        assert!(page[places[2]..places[3]].contains(">crash</span> &lt;kernel&gt; 1"));
        assert!(!page.contains("<kernel>") && !page.contains("<oops>"));
    }

    #[test]
    fn what_failed_alike_stands_together() {
        let mut record = record(&[crash()]);
        let cases = crate::cases::all();
        let pick = |topic: &str| cases.iter().find(|case| case.name.starts_with(topic)).unwrap();
        let alone = Verdict::Crash { reason: "another".into() };
        record.runs[0].reports.push(Report::new(&pick("netlink::dumps").name, alone));
        record.runs[0].reports.push(Report::new(&pick("connector").name, crash()));
        let page = html(&record, None).unwrap();
        let heading = page.find("2 failed alike: crash: &lt;oops&gt;").unwrap_or_else(|| panic!("{page}"));
        let rows: Vec<_> = page.match_indices("class=\"finding\"").map(|(at, _)| at).collect();
        assert_eq!(rows.len(), 3);
        let other = page.find("another").unwrap();
        assert!(heading < rows[0] && rows[1] < other && other < page.find("id=\"targets\"").unwrap());
    }

    #[test]
    fn what_is_not_there_takes_no_room() {
        let page = html(&record(&[Verdict::Pass]), None).unwrap();
        assert!(page.contains("<h1>Nothing failed: 1 case on &lt;kernel&gt; 0</h1>"));
        assert!(
            !page.contains("id=\"new\"")
                && !page.contains("id=\"differs\"")
                && !page.contains("id=\"known\"")
        );
    }

    #[test]
    fn targets_of_several_architectures_stand_below_their_name() {
        let mut record = record(&[Verdict::Pass, Verdict::Pass, crash()]);
        assert!(!html(&record, None).unwrap().contains("class=\"arch\""));
        for (run, arch) in record.runs.iter_mut().zip(["x86_64", "s390x", "x86_64"]) {
            run.arch = Some(arch.to_owned());
        }
        let page = html(&record, None).unwrap();
        let places: Vec<_> = [
            "class=\"arch\" colspan=\"4\">x86_64<",
            "<th>&lt;kernel&gt; 0<",
            "<th>&lt;kernel&gt; 2<",
            ">s390x<",
            "<th>&lt;kernel&gt; 1<",
        ]
        .iter()
        .map(|text| page.find(text).unwrap_or_else(|| panic!("no {text}")))
        .collect();
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(page.matches("class=\"arch\"").count(), 2);
    }

    #[test]
    fn a_hundred_targets_are_grouped() {
        let mut verdicts = vec![Verdict::Pass; 97];
        verdicts.extend(vec![crash(); 3]);
        let page = html(&record(&verdicts), None).unwrap();
        assert_eq!(page.matches("class=\"finding\"").count(), 1);
        assert!(page.contains("on 3 of 100 targets"));
        assert!(page.contains("97 of 100 targets"));
        assert_eq!(page.matches("<th>").count(), 4 + 100);
    }
}
