//! `cargo xtask shipped-page`: the page on kernels as distributions ship them, from a run of the suite on them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use nlconform::cases;
use nlconform::event::{Report, Role, Verdict};
use nlconform::report::pretty::explain;
use nlconform::report::{Record, Run, counts};

use super::Ended;
use super::history::History;
use crate::running::results;

/// Arguments of `cargo xtask shipped-page`.
#[derive(Debug, Args)]
pub struct ShippedPageArgs {
    /// Results of the run [default: those of the latest run]
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

/// Writes docs/shipped.md.
pub fn shipped_page(args: &ShippedPageArgs) -> Result<Ended> {
    let results = args.results.clone().or_else(results::latest).context("there is no earlier run")?;
    let record = Record::read(&results).map_err(|error| anyhow!(error))?;
    if let Some(unmade) = record.runs.iter().find(|run| !run.errors.is_empty()) {
        bail!("{} was not run to its end: {}", unmade.target, unmade.errors.join("; "));
    }
    let whole = cases::of(Role::Target).len();
    if let Some(part) = record.runs.iter().find(|run| run.reports.len() < whole) {
        bail!(
            "the run of {} has {} of {whole} cases: the page is made from the whole suite on shipped kernels \
             (cargo xtask test --kernel deb:...)",
            part.target,
            part.reports.len()
        );
    }
    let page = crate::project_root().join("docs/shipped.md");
    fs::write(&page, render(&record.runs, &History::read()?))
        .with_context(|| format!("cannot write {}", page.display()))?;
    println!("{}", page.display());
    Ok(Ended::Well)
}

const ABOUT: &str = "\
# Kernels as they are shipped

Does the kernel that you run, or ship, keep the contract? No kernel is built for the answer:

| the kernel is | command |
|---|---|
| the one that runs here, else the newest in /boot | `cargo xtask test --kernel host` |
| a package of Debian's archive, here the newest | `cargo xtask test --kernel deb:linux-image-cloud-amd64` |
| the same from a suite | `cargo xtask test --kernel deb:linux-image-amd64/bookworm-security` |
| a package for another architecture | `cargo xtask test --arch aarch64 --kernel deb:linux-image-cloud-arm64` |
| a .deb or .rpm that you have built | `cargo xtask test --kernel ./linux-image-6.12.9_6.12.9-1_amd64.deb` |
| an unpacked package, or `make install` and `make modules_install` | `cargo xtask test --kernel-root DIR` |
| an image with its modules | `cargo xtask test --kernel-image FILE --modules DIR --kernel-build DIR` |

The guest gets the modules that its channel needs, and those that the suite tests, unpacked and in the order in which
they need each other. The probe is built against the kernel's headers: those of the host; those that come with a
package, which lie beside a .deb or a .rpm, or which the lab fetches together with the compiler that they name. Without
headers, and on a kernel that takes only signed modules, the cases that need the probe are skipped, and say why. Of
another architecture come the kernel and its headers; what builds the probe with them is the host's.

";

fn render(runs: &[Run], history: &History) -> String {
    let mut page = ABOUT.to_owned();
    page += "## Results\n\nMade by `cargo xtask shipped-page` from a run of the whole suite.\n\n\
             | kernel | judged by | cases that passed | failed | skipped |\n|---|---|---|---|---|\n";
    for run in runs {
        let of = |words: &[&str]| -> usize {
            let counts = counts(&run.reports);
            counts.iter().filter(|(word, _)| words.contains(word)).map(|(_, count)| count).sum()
        };
        let (passed, skipped) = (of(&["pass"]), of(&["skip"]));
        let failed = run.reports.len() - passed - skipped;
        let release = run.target.trim_start_matches("kernel ");
        let _ = writeln!(page, "| {release} | {} | {passed} | {failed} | {skipped} |", run.profile);
    }
    page += "\n## What was skipped, and why\n\n| reason | cases | kernels |\n|---|---|---|\n";
    for ((reason, cases), releases) in skipped(runs) {
        let all = releases.len() == runs.len();
        let kernels = if all { "all".to_owned() } else { releases.join(", ") };
        let _ = writeln!(page, "| {reason} | {cases} | {kernels} |");
    }
    failed(runs, history, &mut page);
    page
}

/// The failures. Of one that is a bug of Linux's history, where that was fixed; of any other, all that is known.
fn failed(runs: &[Run], history: &History, page: &mut String) {
    let is_well = |verdict: &Verdict| matches!(verdict, Verdict::Pass | Verdict::Skip { .. });
    let mut failures: Vec<(&str, &Report)> = Vec::new();
    for run in runs {
        let reports = run.reports.iter().filter(|report| !is_well(&report.verdict));
        failures.extend(reports.map(|report| (run.target.as_str(), report)));
    }
    if failures.is_empty() {
        return;
    }
    *page += "\n## What failed\n\n| kernel | case | the bug, as Linux fixed it |\n|---|---|---|\n";
    let mut unknown = String::new();
    for (target, report) in failures {
        let is_failed = matches!(report.verdict, Verdict::Fail(_));
        let bug = history.bugs.iter().find(|bug| is_failed && bug.caught_by.contains(&report.case));
        let fix = bug.map_or_else(
            || "see below".to_owned(),
            |bug| format!("{}: {} ({}, {})", bug.saw, bug.fix, bug.version, bug.year),
        );
        let release = target.trim_start_matches("kernel ");
        let _ = writeln!(page, "| {release} | {} | {fix} |", report.case);
        if bug.is_none() {
            let words = explain(report);
            let _ = write!(unknown, "\n## {}: {target}\n\n```\n{}\n```\n", report.case, words.trim_end());
        }
    }
    *page += &unknown;
}

/// The kernels by reason and number of cases. What does not hold for a version is no fact about a kernel.
fn skipped(runs: &[Run]) -> BTreeMap<(String, usize), Vec<&str>> {
    let mut kernels: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for run in runs {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for report in &run.reports {
            if let Verdict::Skip { reason } = &report.verdict
                && reason.starts_with("needs ")
            {
                *reasons.entry(reason).or_default() += 1;
            }
        }
        for (reason, cases) in reasons {
            let release = run.target.trim_start_matches("kernel ");
            kernels.entry((reason.to_owned(), cases)).or_default().push(release);
        }
    }
    kernels
}
