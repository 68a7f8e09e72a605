//! The list, written from runs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::pattern::{common, matches};
use super::{Difference, Known, seen};
use crate::cases;
use crate::event::{Report, Verdict};
use crate::report::{Run, word};
use crate::text;

/// Writes the list in `file`, or a new one, as these runs of one target have it: see [`update`]. The comment at
/// its head stays.
///
/// # Errors
/// A sentence, when the file cannot be read or written.
pub fn write(file: &Path, runs: &[Run]) -> Result<(), String> {
    let (known, head) = match file.exists() {
        true => (Known::read(file)?, head_of(file)?),
        false => Default::default(),
    };
    text::write(file, update(&known, runs, &head)?).map_err(|error| format!("{}: {error}", file.display()))
}

/// The comment with which a file begins.
fn head_of(file: &Path) -> Result<String, String> {
    let text = text::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect())
}

/// The list as these runs of one target have it, as a file: what is known already keeps its note, link and
/// patterns; what was not seen any more goes; what is new comes without a note. What only some of the runs have
/// seen is listed as `sometimes`, and so stays. Where the runs do not agree on what was got, a `*` stands for what
/// differs. Entries of other versions, and of cases that were not run, stay.
///
/// # Errors
/// A sentence, when it cannot be written.
pub fn update(known: &Known, runs: &[Run], head: &str) -> Result<String, String> {
    let version = runs.iter().find_map(|run| run.identity.as_ref()).map_or("", |identity| &identity.version);
    let seen = all_seen(runs);
    let (current, others): (Vec<_>, Vec<_>) =
        known.differences.iter().cloned().partition(|difference| difference.is_of(version));
    let current =
        Known { differences: current.into_iter().flat_map(|entry| left_of(entry, &seen)).collect() };
    let new = seen.iter().filter(|seen| differs(&seen.report) && current.find(&seen.report).is_none());
    let mut differences = grouped(new, known);
    differences.splice(..0, others.into_iter().chain(current.differences));
    differences.sort_by_key(first_case);
    text(&differences, head)
}

fn differs(report: &Report) -> bool {
    !matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. })
}

/// A verdict of a case: the report of the first run that has it, with a `*` for each word that other runs have
/// otherwise.
struct Seen {
    report: Report,
    /// Other runs have another verdict of the case.
    sometimes: bool,
}

fn all_seen(runs: &[Run]) -> Vec<Seen> {
    let mut verdicts: BTreeMap<(&str, &str), (Report, usize)> = BTreeMap::new();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for report in runs.iter().flat_map(|run| &run.reports) {
        *times.entry(&report.case).or_default() += 1;
        let (first, count) =
            verdicts.entry((&report.case, word(&report.verdict))).or_insert_with(|| (report.clone(), 0));
        *count += 1;
        let pattern = common(&seen(first), &seen(report));
        match &mut first.verdict {
            Verdict::Fail(mismatch) => mismatch.got = pattern,
            Verdict::Broken { reason } | Verdict::Crash { reason } => *reason = pattern,
            _ => {}
        }
    }
    let seen = verdicts.into_iter().map(|((case, _), (report, count))| {
        let sometimes = count < times[case];
        Seen { report, sometimes }
    });
    seen.collect()
}

/// What is left of an entry: names and patterns that were seen in each run, or of cases that were not run; and
/// those that were seen in some runs.
fn left_of(entry: Difference, all: &[Seen]) -> Vec<Difference> {
    if entry.sometimes {
        return vec![entry];
    }
    let (mut always, mut sometimes) = (Vec::new(), Vec::new());
    for pattern in &entry.cases {
        let named: Vec<_> = all.iter().filter(|seen| matches(pattern, &seen.report.case)).collect();
        let covered: Vec<_> = named.iter().filter(|seen| entry.covers(&seen.report)).collect();
        if named.is_empty() || covered.iter().any(|seen| !seen.sometimes) {
            always.push(pattern.clone());
        } else if !covered.is_empty() {
            sometimes.push(pattern.clone());
        }
    }
    let steady = Difference { cases: always, ..entry.clone() };
    let kept = [steady, Difference { cases: sometimes, sometimes: true, ..entry }];
    kept.into_iter().filter(|entry| !entry.cases.is_empty()).collect()
}

/// New entries: the cases of one requirement of which the same was seen share one. Where the requirement had
/// one note for all that was listed of it, that is kept.
fn grouped<'a>(all: impl Iterator<Item = &'a Seen>, known: &Known) -> Vec<Difference> {
    let mut groups: BTreeMap<(String, &str, String, bool), Vec<String>> = BTreeMap::new();
    for Seen { report, sometimes } in all {
        let key = (concerned(report), word(&report.verdict), without_ports(&seen(report)), *sometimes);
        groups.entry(key).or_default().push(report.case.clone());
    }
    let entry =
        |((requirement, verdict, got, sometimes), cases): ((String, &str, String, bool), Vec<String>)| {
            let (url, note) = remark(&requirement, known);
            Difference {
                cases,
                verdict: verdict.to_owned(),
                got,
                sometimes,
                since: None,
                until: None,
                url,
                note,
            }
        };
    groups.into_iter().map(entry).collect()
}

/// What was seen, whatever port IDs messages had: they depend on the cases that ran before.
fn without_ports(seen: &str) -> String {
    let word = |word: &str| match word.trim_end().strip_prefix("pid=") {
        Some(port) => word.replacen(port, "*", 1),
        None => word.to_owned(),
    };
    seen.split_inclusive(' ').map(word).collect()
}

/// The link and the note of all that is listed of a requirement, if they are the same.
fn remark(requirement: &str, known: &Known) -> (Option<String>, String) {
    let mut remarks = known.differences.iter().filter(|difference| {
        cases::of_both()
            .any(|case| case.requirements.first() == Some(&requirement) && difference.names(&case.name))
    });
    let Some(first) = remarks.next() else { return Default::default() };
    let same = remarks.all(|other| (&other.url, &other.note) == (&first.url, &first.note));
    if same { (first.url.clone(), first.note.clone()) } else { Default::default() }
}

/// The requirement that a report is about.
fn concerned(report: &Report) -> String {
    match &report.verdict {
        Verdict::Fail(mismatch) => mismatch.requirement.clone(),
        _ => cases::find(&report.case).map_or_else(String::new, |case| case.requirements[0].to_owned()),
    }
}

/// Where the first of its cases stands in the suite.
fn first_case(difference: &Difference) -> usize {
    cases::of_both().position(|case| difference.names(&case.name)).unwrap_or(usize::MAX)
}

fn text(differences: &[Difference], head: &str) -> Result<String, String> {
    let mut text = head.to_owned();
    for difference in differences {
        let requirement = cases::of_both().find(|case| difference.names(&case.name));
        let requirement = requirement.map_or("", |case| case.requirements[0]);
        let entry = toml::to_string(difference).map_err(|error| error.to_string())?;
        let _ = write!(text, "\n[[difference]] # {requirement}\n{entry}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::tests::failed;
    use super::*;

    const SHORT: &str = "netlink::binding::short_address_is_refused";

    fn run(reports: Vec<Report>) -> Run {
        Run {
            target: "t".into(),
            platform: String::new(),
            arch: None,
            profile: "linux-7.3".into(),
            identity: None,
            reports,
            errors: Vec::new(),
            surprises: Vec::new(),
        }
    }

    #[test]
    fn a_list_is_written_read_and_kept_as_it_is() {
        let runs =
            [run(vec![failed(&format!("{SHORT}::0"), "EFAULT"), failed(&format!("{SHORT}::2"), "EFAULT")])];
        let first = update(&Known::default(), &runs, "# mine\n").unwrap();
        assert!(first.starts_with("# mine\n\n[[difference]] # NL-BIND-001\n"), "{first}");
        let mut known = Known::parse(&first).unwrap();
        assert_eq!(known.differences.len(), 1, "what is alike shares an entry");
        known.differences[0].note = "harmless".into();
        let second = update(&known, &runs, "").unwrap();
        assert_eq!(Known::parse(&second).unwrap(), known);
    }

    #[test]
    fn port_ids_are_not_listed() {
        let runs = [run(vec![failed(&format!("{SHORT}::0"), "NLMSG_DONE seq=7 pid=335 len=24 / status ok")])];
        let known = Known::parse(&update(&Known::default(), &runs, "").unwrap()).unwrap();
        assert_eq!(known.differences[0].got, "NLMSG_DONE seq=7 pid=* len=24 / status ok");
        assert!(known.find(&runs[0].reports[0]).is_some());
    }

    #[test]
    fn what_is_gone_goes_and_what_changes_is_new() {
        let runs =
            [run(vec![failed(&format!("{SHORT}::0"), "EFAULT"), failed(&format!("{SHORT}::2"), "EFAULT")])];
        let known = Known::parse(&update(&Known::default(), &runs, "").unwrap()).unwrap();
        let later = [run(vec![
            Report::new(format!("{SHORT}::0"), Verdict::Pass),
            failed(&format!("{SHORT}::2"), "ok"),
        ])];
        let known = Known::parse(&update(&known, &later, "").unwrap()).unwrap();
        let seen: Vec<_> =
            known.differences.iter().map(|entry| (entry.cases.len(), entry.got.as_str())).collect();
        assert_eq!(seen, [(1, "ok")]);
    }

    #[test]
    fn what_runs_do_not_agree_on_is_a_star() {
        let one = |got| run(vec![failed(&format!("{SHORT}::0"), got)]);
        let known =
            Known::parse(&update(&Known::default(), &[one("port 1"), one("port 2")], "").unwrap()).unwrap();
        assert_eq!(known.differences[0].got, "port *");
    }

    #[test]
    fn what_some_runs_see_is_listed_as_seen_sometimes() {
        let both = |got| run(vec![failed(&format!("{SHORT}::0"), got), failed(&format!("{SHORT}::2"), got)]);
        let passed = Report::new(format!("{SHORT}::0"), Verdict::Pass);
        let one = || run(vec![passed.clone(), failed(&format!("{SHORT}::2"), "EFAULT")]);
        let listed = |known: &Known, runs: &[Run]| Known::parse(&update(known, runs, "").unwrap()).unwrap();
        let shape = |known: &Known| {
            let shape = |entry: &Difference| (entry.cases.concat(), entry.sometimes, entry.note.clone());
            let mut shapes: Vec<_> = known.differences.iter().map(shape).collect();
            shapes.sort_by_key(|(_, sometimes, _)| *sometimes);
            shapes
        };
        let wanted = |note: &str| {
            [(format!("{SHORT}::2"), false, note.into()), (format!("{SHORT}::0"), true, note.into())]
        };
        let (steady, flipping) = ([both("EFAULT")], [both("EFAULT"), one()]);
        assert_eq!(shape(&listed(&Known::default(), &flipping)), wanted(""), "of a new list");
        let mut known = listed(&Known::default(), &steady);
        known.differences[0].note = "by chance".into();
        let known = listed(&known, &flipping);
        assert_eq!(shape(&known), wanted("by chance"), "of an entry that was seen in each run until now");
        assert_eq!(listed(&known, &[one()]), known, "it stays when it is not seen");
        let other = listed(&known, &[both("ok")]);
        assert!(other.differences.iter().any(|entry| entry.got == "ok" && !entry.sometimes), "{other:?}");
    }
}
