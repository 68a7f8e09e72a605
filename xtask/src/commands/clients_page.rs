//! `cargo xtask clients-page`: the page on client libraries, and a page of reports for each, from the results of
//! their runs and the lists of known differences. The notes are written by people, everything else is not.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use nlconform::cases;
use nlconform::event::{Report, Role, Verdict};
use nlconform::report::known::Known;
use nlconform::report::pretty::explain;
use nlconform::report::{Record, Run, counts};
use nlconform::spec::{self, Level};

use super::Ended;
use crate::making::clients::Client;

/// Lines that are shown of an explanation, of its beginning and of its end.
const SHOWN: (usize, usize) = (30, 15);
/// Rows of bytes that are shown of one message.
const ROWS: usize = 4;

/// Arguments of `cargo xtask clients-page`.
#[derive(Debug, Args)]
pub struct ClientsPageArgs {
    /// A folder with a folder for each client, which `cargo xtask client --client NAME --results
    /// FOLDER/NAME` has written
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// A library and its run.
struct Entry {
    client: Client,
    run: Run,
    known: Known,
}

/// Writes docs/clients.md, and a file in docs/clients for each library.
///
/// # Errors
/// When a difference has no note: what nobody has verified is not published.
pub fn clients_page(args: &ClientsPageArgs) -> Result<Ended> {
    let mut entries = Vec::new();
    for client in Client::all()? {
        let folder = args.folder.join(&client.name);
        if folder.exists() {
            let run = run_in(&folder)?;
            let known = Some(client.known_file()).filter(|file| file.exists());
            let known = known.map(|file| Known::read(&file)).transpose().map_err(|error| anyhow!(error))?;
            entries.push(Entry { client, run, known: known.unwrap_or_default() });
        }
    }
    if entries.is_empty() {
        bail!("{} has no folder that is named like a client", args.folder.display());
    }
    let unverified: Vec<_> = entries.iter().flat_map(unverified).collect();
    if !unverified.is_empty() {
        bail!("there is no note in conformance/clients/known on\n  {}", unverified.join("\n  "));
    }
    let page = crate::project_root().join("docs/clients.md");
    fs::write(&page, render(&entries)).with_context(|| format!("cannot write {}", page.display()))?;
    for entry in &entries {
        let page = page.with_extension("").join(&entry.client.name).with_extension("md");
        fs::write(&page, library(entry)).with_context(|| format!("cannot write {}", page.display()))?;
    }
    println!("{}", page.display());
    Ok(Ended::Well)
}

fn run_in(folder: &Path) -> Result<Run> {
    let record = Record::read(folder).map_err(|error| anyhow!(error))?;
    let run = record.runs.into_iter().find(|run| run.role() == Role::Client);
    run.with_context(|| format!("{} has no run of a client library", folder.display()))
}

/// Scenarios that failed and that nobody has looked into.
fn unverified(entry: &Entry) -> Vec<String> {
    let open = entry.differences().filter(|report| entry.note(report).is_none());
    open.map(|report| format!("{}: {}", entry.client.name, report.case)).collect()
}

impl Entry {
    /// The scenarios that did not pass, in order.
    fn differences(&self) -> impl Iterator<Item = &Report> {
        let reports = cases::of(Role::Client).iter().filter_map(|case| report(&self.run, &case.name));
        reports.filter(|report| !matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. }))
    }

    /// What somebody has found out about it.
    fn note(&self, report: &Report) -> Option<&str> {
        let known = self.known.differences.iter().find(|difference| difference.covers(report))?;
        Some(known.note.as_str()).filter(|note| !note.is_empty())
    }

    /// The library and its version.
    fn version(&self) -> &str {
        self.run.identity.as_ref().map_or("", |identity| identity.version.as_str())
    }
}

fn render(entries: &[Entry]) -> String {
    let mut page = String::from(
        "# Client libraries\n\nWhat libraries make of what the kernel may legally send them. Made by `cargo xtask clients-page` \
         from runs of\n`cargo xtask client --client NAME`; the adapters are in [conformance/clients](../conformance/clients).\n\
         The page of each library has a report for each requirement that it does not meet. Each was looked up in the\n\
         library's source, and names the place.\n\n\
         🟢 pass, 🔴 a *must* that failed, 🟡 a *should* that failed, 💥 died, ⏳ hung, ❔ not checked, ⚪ not offered\n",
    );
    overview(entries, &mut page);
    matrix(entries, &mut page);
    page
}

fn overview(entries: &[Entry], page: &mut String) {
    page.push_str("\n| library | version | language | on | scenarios |\n| --- | --- | --- | --- | --- |\n");
    for entry in entries {
        let Entry { client, run, .. } = entry;
        let words: Vec<_> =
            counts(&run.reports).iter().map(|(word, count)| format!("{count} {word}")).collect();
        let _ = writeln!(
            page,
            "| [{}](clients/{}.md) | {} | {} | {} | {} |",
            client.title,
            client.name,
            entry.version(),
            client.language,
            run.target,
            words.join(", ")
        );
    }
}

/// Scenarios by libraries, a table per topic.
fn matrix(entries: &[Entry], page: &mut String) {
    for topic in spec::topics().iter().filter(|topic| topic.role() == Role::Client) {
        let names: Vec<_> = entries.iter().map(|entry| entry.client.name.as_str()).collect();
        let _ = writeln!(page, "\n## {}\n\n| scenario | {} |", topic.title, names.join(" | "));
        let _ = writeln!(page, "| --- |{}", " :-: |".repeat(entries.len()));
        let of_topic = |id: &&&str| topic.requirements.iter().any(|requirement| requirement.id == ***id);
        for case in cases::of(Role::Client) {
            let Some(id) = case.requirements.iter().find(of_topic) else { continue };
            let name = case.name.trim_start_matches("client::");
            let cells: Vec<_> = entries.iter().map(|entry| mark(report(&entry.run, &case.name))).collect();
            let _ =
                writeln!(page, "| {name} [{id}](requirements/{}.md) | {} |", topic.name, cells.join(" | "));
        }
    }
}

fn report<'a>(run: &'a Run, case: &str) -> Option<&'a Report> {
    run.reports.iter().find(|report| report.case == case)
}

fn mark(report: Option<&Report>) -> &'static str {
    match report.map(|report| &report.verdict) {
        Some(Verdict::Pass) => "🟢",
        Some(Verdict::Fail(mismatch)) if level(&mismatch.requirement) == Some(Level::Must) => "🔴",
        Some(Verdict::Fail(_)) => "🟡",
        Some(Verdict::Crash { .. }) => "💥",
        Some(Verdict::Timeout { .. }) => "⏳",
        Some(Verdict::Skip { .. }) => "⚪",
        Some(Verdict::Broken { .. }) | None => "❔",
    }
}

fn level(id: &str) -> Option<Level> {
    spec::find(id).map(|requirement| requirement.level)
}

/// What a library does differently: a report for each requirement.
fn library(entry: &Entry) -> String {
    let title = &entry.client.title;
    let mut page = format!(
        "# {title} {}\n\nFound by [nlconform](../validate-your-own.md#a-client-library) on {}. Each section is a report that \
         can be\nfiled as it stands.\n",
        entry.version(),
        entry.run.target,
    );
    let mut seen: Vec<&str> = Vec::new();
    for report in entry.differences() {
        let id = requirement(report);
        if !seen.contains(&id) {
            seen.push(id);
            difference(entry, report, id, &mut page);
        }
    }
    if seen.is_empty() {
        page.push_str("\nNo scenario failed.\n");
    }
    page
}

/// The requirement that a scenario found not to be met.
fn requirement(report: &Report) -> &str {
    match &report.verdict {
        Verdict::Fail(mismatch) => &mismatch.requirement,
        _ => cases::find(&report.case).map_or("", |case| case.requirements[0]),
    }
}

fn difference(entry: &Entry, report: &Report, id: &str, page: &mut String) {
    let Entry { client, .. } = entry;
    let also: Vec<_> = entry
        .differences()
        .filter(|other| other.case != report.case && requirement(other) == id)
        .map(|other| format!(", `{}`", other.case))
        .collect();
    let level = level(id).map_or("", Level::word);
    let _ = writeln!(page, "\n## {id} ({level})\n");
    if let Some(requirement) = spec::find(id) {
        let _ = writeln!(page, "What Linux asks of a library: {}", requirement.named_statement());
        let _ = writeln!(page, "(Source: {}.)\n", requirement.sources.join("; "));
    }
    if let Verdict::Fail(mismatch) = &report.verdict {
        let _ = writeln!(
            page,
            "What happens instead ({}): expected {}, got {}.\n",
            mismatch.what, mismatch.expected, mismatch.got
        );
    }
    let _ = writeln!(
        page,
        "Where in {} {}: {}\n",
        client.title,
        entry.version(),
        with_link(entry.note(report).unwrap_or(""))
    );
    let _ = writeln!(
        page,
        "To reproduce, in a checkout of nlconform:\n\n    cargo xtask client --client {} --exact {}\n\n\
         (Scenario `{}`{}.)\n\n\
         <details><summary>What was asked, sent and told</summary>\n\n```text\n{}```\n\n</details>",
        client.name,
        report.case,
        report.case,
        also.concat(),
        shortened(&explain(report))
    );
}

/// A note with a link to the report that it refers to in its first words, as in `As CL-DMP-004: ...`.
fn with_link(note: &str) -> String {
    let referred = note.strip_prefix("As ").and_then(|rest| rest.split([':', ' ']).next());
    let Some(requirement) = referred.and_then(spec::find) else { return note.to_owned() };
    let (id, level) = (&requirement.id, requirement.level.word());
    let link = format!("the cause is that of [{id}](#{}-{level})", id.to_lowercase());
    note.replacen(&format!("As {id}"), &link, 1)
}

/// An explanation without most of its bytes.
fn shortened(text: &str) -> String {
    let mut rows = 0;
    let mut kept = Vec::new();
    for line in text.lines() {
        let is_row = line.starts_with("        0") && line.get(12..14) == Some("  ");
        rows = if is_row { rows + 1 } else { 0 };
        // The note stands above.
        if rows <= ROWS && !line.contains("steps omitted") && !line.starts_with("known: ") {
            kept.push(line);
        }
    }
    let (head, tail) = SHOWN;
    if kept.len() > head + tail {
        kept.splice(head..kept.len() - tail, ["[...]"]);
    }
    kept.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_links_to_the_report_that_it_refers_to() {
        let linked = with_link("As CL-DMP-004 (a.c): lost");
        assert_eq!(linked, "the cause is that of [CL-DMP-004](#cl-dmp-004-must) (a.c): lost");
        assert_eq!(with_link("As is: CL-DMP-004"), "As is: CL-DMP-004");
    }

    #[test]
    fn bytes_are_cut_and_words_are_not() {
        let rows: String = (0..9).map(|n| format!("        {:04x}  00 00\n", n * 16)).collect();
        let text = format!("a\n{rows}b\n");
        assert_eq!(shortened(&text).lines().count(), 2 + ROWS);
        let numbers: String = (0..200).map(|n| format!("{n}\n")).collect();
        let short = shortened(&numbers);
        assert!(
            short.starts_with("0\n1\n") && short.contains("29\n[...]\n185\n") && short.ends_with("199\n")
        );
    }
}
