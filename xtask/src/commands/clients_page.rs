//! `cargo xtask clients-page`: the page on client libraries, from the results of their runs and the lists of
//! known differences. The notes are written by people, everything else is not.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

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

/// Lines of an explanation that are shown.
const SHOWN: usize = 45;
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

/// Writes docs/clients.md.
pub fn clients_page(args: &ClientsPageArgs) -> Result<Ended> {
    let mut entries = Vec::new();
    for client in Client::all()? {
        let folder = args.folder.join(&client.name);
        if !folder.exists() {
            continue;
        }
        let record = Record::read(&folder).map_err(|error| anyhow!(error))?;
        let run = record.runs.into_iter().find(|run| run.role() == Role::Client);
        let run = run.with_context(|| format!("{} has no run of a client library", folder.display()))?;
        let known = client.known_file();
        let known = if known.exists() {
            Known::read(&known).map_err(|error| anyhow!(error))?
        } else {
            Known::default()
        };
        entries.push(Entry { client, run, known });
    }
    if entries.is_empty() {
        bail!("{} has no folder that is named like a client", args.folder.display());
    }
    let page = crate::project_root().join("docs/clients.md");
    fs::write(&page, render(&entries)).with_context(|| format!("cannot write {}", page.display()))?;
    println!("{}", page.display());
    Ok(Ended::Well)
}

fn render(entries: &[Entry]) -> String {
    let mut page = String::from(
        "# Client libraries\n\nWhat libraries make of what the kernel may legally send them. Made by `cargo xtask clients-page` \
         from runs of\n`cargo xtask client --client NAME`; the adapters and the notes are in \
         [conformance/clients](../conformance/clients).\n\n\
         🟢 pass, 🔴 a *must* that failed, 🟡 a *should* that failed, 💥 died, ⏳ hung, ❔ not checked, ⚪ not offered\n",
    );
    overview(entries, &mut page);
    matrix(entries, &mut page);
    entries.iter().for_each(|entry| library(entry, &mut page));
    page
}

fn overview(entries: &[Entry], page: &mut String) {
    page.push_str("\n| library | version | language | on | scenarios |\n| --- | --- | --- | --- | --- |\n");
    for Entry { client, run, .. } in entries {
        let version = run.identity.as_ref().map_or("", |identity| identity.version.as_str());
        let words: Vec<_> =
            counts(&run.reports).iter().map(|(word, count)| format!("{count} {word}")).collect();
        let _ = writeln!(
            page,
            "| [{}](#{}) | {version} | {} | {} | {} |",
            client.title,
            client.name,
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

/// What a library does differently, each requirement as it can be filed.
fn library(entry: &Entry, page: &mut String) {
    let Entry { client, run, known } = entry;
    let _ = writeln!(page, "\n<a id=\"{}\"></a>\n\n## {}", client.name, client.title);
    let mut seen: Vec<&str> = Vec::new();
    for case in cases::of(Role::Client) {
        let Some(report) = report(run, &case.name) else { continue };
        if matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. }) {
            continue;
        }
        let id = match &report.verdict {
            Verdict::Fail(mismatch) => mismatch.requirement.as_str(),
            _ => case.requirements[0],
        };
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        difference(client, run, known, report, id, page);
    }
    if seen.is_empty() {
        page.push_str("\nNo scenario failed.\n");
    }
}

fn difference(client: &Client, run: &Run, known: &Known, report: &Report, id: &str, page: &mut String) {
    let statement = spec::find(id).map(|requirement| requirement.named_statement()).unwrap_or_default();
    let level = level(id).map_or("", Level::word);
    let _ = writeln!(page, "\n### {}: {id} ({level})\n\n{statement}\n", client.title);
    let note = known.differences.iter().find(|difference| difference.covers(report));
    match note.map(|difference| difference.note.as_str()).filter(|note| !note.is_empty()) {
        Some(note) => {
            let _ = writeln!(page, "Verified: {note}\n");
        }
        None => page.push_str("Not verified yet: nobody has looked into the library's source for it.\n\n"),
    }
    let also = run.reports.iter().filter(|other| other.case != report.case && fails(other, id)).count();
    let others = if also > 0 { format!(", and {also} more") } else { String::new() };
    let _ = writeln!(
        page,
        "Scenario `{}`{others}. To reproduce: `cargo xtask client --client {} --exact {}`\n\n\
         <details><summary>What was asked, sent and told</summary>\n\n```text\n{}```\n\n</details>",
        report.case,
        client.name,
        report.case,
        shortened(&explain(report))
    );
}

fn fails(report: &Report, id: &str) -> bool {
    matches!(&report.verdict, Verdict::Fail(mismatch) if mismatch.requirement == id)
}

/// An explanation without most of its bytes.
fn shortened(text: &str) -> String {
    let (mut rows, mut lines) = (0, 0);
    let mut short = String::new();
    for line in text.lines() {
        let is_row = line.starts_with("        0") && line.get(12..14) == Some("  ");
        rows = if is_row { rows + 1 } else { 0 };
        if rows > ROWS || line.contains("steps omitted") {
            continue;
        }
        lines += 1;
        if lines > SHOWN {
            short.push_str("[...]\n");
            break;
        }
        short.push_str(line);
        short.push('\n');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut_and_words_are_not() {
        let rows: String = (0..9).map(|n| format!("        {:04x}  00 00\n", n * 16)).collect();
        let text = format!("a\n{rows}b\n");
        assert_eq!(shortened(&text).lines().count(), 2 + ROWS);
        assert_eq!(shortened(&"x\n".repeat(200)).lines().count(), SHOWN + 1);
    }
}
