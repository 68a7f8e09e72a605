//! `cargo xtask compat`: a page about how another implementation differs, from its latest run and the list of
//! known differences. The list is written by people, the figures are not.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use nlconform::event::{Identity, Report, Verdict};
use nlconform::report::known::{self, Difference, Known};
use nlconform::report::matrix::{Row, Standing, matrix};
use nlconform::report::{Record, Run, counts};
use nlconform::spec::{Level, Profile};

use super::Ended;
use crate::making::sandbox;
use crate::running::results;

/// Arguments of `cargo xtask compat`.
#[derive(Debug, Args)]
pub struct CompatArgs {
    /// The implementation
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(sandbox::names()))]
    target: String,
    /// Results of its run, such as `nlconform run --format results` writes [default: those of the latest run]
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// First bring the list up to date with that run: what is new is added, what is gone is removed, notes
    /// and links are kept
    #[arg(long)]
    write: bool,
}

/// The list of known differences of an implementation.
pub fn known_file(target: &str) -> PathBuf {
    crate::project_root().join("docs/compat").join(target).with_extension("toml")
}

/// Writes docs/compat/NAME.md.
pub fn compat(args: &CompatArgs) -> Result<Ended> {
    let title = sandbox::find(&args.target)?.title;
    let results = args.results.clone().or_else(results::latest).context("there is no earlier run")?;
    let record = Record::read(&results).map_err(|error| anyhow!(error))?;
    let Some(run) = record.runs.iter().find(|run| run.target.starts_with(title)) else {
        bail!("that run was not of {title}: first `cargo xtask test --target {}`", args.target);
    };
    let file = known_file(&args.target);
    if args.write {
        known::write(&file, std::slice::from_ref(run)).map_err(|error| anyhow!(error))?;
        println!("{}", file.display());
    }
    let known = Known::read(&file).map_err(|error| anyhow!(error))?;
    let page = known_file(&args.target).with_extension("md");
    fs::write(&page, render(&args.target, run, &known)?)
        .with_context(|| format!("cannot write {}", page.display()))?;
    println!("{}", page.display());
    Ok(Ended::Well)
}

fn render(target: &str, run: &Run, known: &Known) -> Result<String> {
    let profile: Profile = run.profile.parse().map_err(|error: String| anyhow!(error))?;
    let rows = matrix(std::slice::from_ref(run));
    let named = |identity: &Identity| format!("{} {}", identity.name, identity.version);
    let mut page = format!(
        "# {} against {}\n\nMade by `cargo xtask test --target {target}` and `cargo xtask compat {target}`; what each \
         difference means is kept in [{target}.toml]({target}.toml).\n\n",
        run.identity.as_ref().map_or(run.target.clone(), named),
        run.profile
    );
    let counted: Vec<_> =
        counts(&run.reports).iter().map(|(word, count)| format!("{count} {word}")).collect();
    let _ = writeln!(
        page,
        "Cases: {}.\n\n| level | hold | differ | not settled |\n| --- | --- | --- | --- |",
        counted.join(", ")
    );
    for level in [Level::Must, Level::Should, Level::Observed] {
        let of_level = rows.iter().filter(|row| row.requirement.level == level);
        let standings: Vec<_> = of_level.map(|row| row.cells[0].standing).collect();
        let held = standings.iter().filter(|standing| **standing == Standing::Pass).count();
        let differ = standings.iter().filter(|standing| **standing > Standing::Pass).count();
        let _ =
            writeln!(page, "| {} | {held} | {differ} | {} |", level.word(), standings.len() - held - differ);
    }
    page.push_str("\n## Differences\n");
    for row in rows.iter().filter(|row| row.cells[0].standing > Standing::Pass) {
        difference(row, profile, known, &mut page);
    }
    Ok(page)
}

fn difference(row: &Row<'_>, profile: Profile, known: &Known, page: &mut String) {
    let requirement = row.requirement;
    let differing: Vec<&Report> = row.cells[0]
        .reports
        .iter()
        .copied()
        .filter(|report| !matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. }))
        .collect();
    let _ = writeln!(
        page,
        "\n### {} ({})\n\n{}\n",
        requirement.id,
        requirement.level.word(),
        requirement.statement(profile.version)
    );
    let mut listed: Vec<&Difference> = Vec::new();
    for entry in differing.iter().filter_map(|report| known.find(report)) {
        let says_the_same = |other: &&Difference| (&other.url, &other.note) == (&entry.url, &entry.note);
        if !listed.iter().any(says_the_same) {
            listed.push(entry);
        }
    }
    for entry in &listed {
        let issue = entry.url.as_ref().map(|url| format!(" [Issue]({url})")).unwrap_or_default();
        let note = if entry.note.is_empty() { "Nobody has looked at it yet." } else { &entry.note };
        let when = if entry.sometimes { "In some runs: " } else { "" };
        let _ = writeln!(page, "{when}{note}{issue}\n");
    }
    if listed.is_empty() {
        page.push_str("Not on the list of known differences yet.\n\n");
    }
    let _ = writeln!(page, "{} of {} cases differ, such as:\n", differing.len(), row.cells[0].reports.len());
    for report in differing.iter().take(3) {
        let seen = match &report.verdict {
            Verdict::Fail(mismatch) => {
                format!("{}: {} instead of {}", mismatch.what, mismatch.got, mismatch.expected)
            }
            Verdict::Broken { reason } | Verdict::Crash { reason } => reason.clone(),
            _ => "no verdict in time".to_owned(),
        };
        let _ = writeln!(page, "* `{}`: {}", report.case, seen.replace('\n', " "));
    }
}
