//! The requirement book: one Markdown page per file of the specification.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nlconform::cases;
use nlconform::event::Role;
use nlconform::report::Run;
use nlconform::report::matrix::{Cell, matrix};
use nlconform::spec::{self, Requirement};

/// The pages, by file name. With the verdicts of `runs`, if there are some: the pages that are committed have
/// none, because they would be those of whoever ran last.
pub fn pages(runs: &[Run]) -> BTreeMap<String, String> {
    let rows: BTreeMap<&str, Vec<Cell<'_>>> =
        matrix(runs).into_iter().map(|row| (row.requirement.id.as_str(), row.cells)).collect();
    let mut pages = BTreeMap::new();
    let mut contents = String::from(
        "# Requirements\n\nWhat Linux netlink promises, one statement each, made from conformance/spec by \
         `cargo xtask book`; and what a client library must make of it.\n",
    );
    let mut role = None;
    for file in spec::topics() {
        if role.replace(file.role()) != Some(file.role()) {
            contents.push_str(match file.role() {
                Role::Target => "\n## Implementations\n",
                Role::Client => "\n## Client libraries\n",
            });
            contents.push_str("\n| page | requirements | about |\n| --- | --- | --- |\n");
        }
        let mut page = format!("# {}\n", file.title);
        for requirement in &file.requirements {
            let cells = rows.get(requirement.id.as_str()).map_or(&[][..], Vec::as_slice);
            entry(requirement, runs, cells, &mut page);
        }
        let name = format!("{}.md", file.name);
        let _ = writeln!(contents, "| [{0}]({0}) | {1} | {2} |", name, file.requirements.len(), file.title);
        pages.insert(name, page);
    }
    pages.insert("README.md".to_owned(), contents);
    pages
}

fn entry(requirement: &Requirement, runs: &[Run], cells: &[Cell<'_>], page: &mut String) {
    let _ = writeln!(page, "\n## {}\n\n{}\n", requirement.id, requirement.named_statement());
    let _ = writeln!(page, "* Level: {}", requirement.level.word());
    if let Some(since) = requirement.since {
        let _ = writeln!(page, "* Holds from {since} on");
    }
    if let Some(until) = requirement.until {
        let _ = writeln!(page, "* Holds before {until}");
    }
    for (name, values) in requirement.value_texts() {
        let _ = writeln!(page, "* `{name}`: {values}");
    }
    let _ = writeln!(page, "* Source: {}", requirement.sources.join("; "));
    if !requirement.needs.is_empty() {
        let _ = writeln!(page, "* The library needs: {}", requirement.needs.join(", "));
    }
    if let Some(why) = &requirement.unintended {
        let _ = writeln!(page, "* Looks unintended: {why}");
    }
    if let Some(why) = &requirement.unchecked {
        let _ = writeln!(page, "* Not checked: {why}");
    }
    let words: Vec<_> = runs
        .iter()
        .zip(cells)
        .map(|(run, cell)| format!("{} on {}", cell.standing.word(), run.target))
        .collect();
    if !words.is_empty() && requirement.unchecked.is_none() {
        let _ = writeln!(page, "* Verdict: {}", words.join(", "));
    }
    let links = functions(requirement).into_iter().map(|((file, function), count)| {
        let rows = if count > 1 { format!(" ({count} cases)") } else { String::new() };
        format!("[{function}](../../{file}){rows}")
    });
    let links: Vec<_> = links.collect();
    if !links.is_empty() {
        let _ = writeln!(page, "* Checked by: {}", links.join(", "));
    }
}

/// The functions that check a requirement, each with its file and the number of its cases.
fn functions(requirement: &Requirement) -> Vec<((&'static str, &'static str), usize)> {
    let mut functions: Vec<((&str, &str), usize)> = Vec::new();
    for case in cases::of(requirement.role())
        .iter()
        .filter(|case| case.requirements.contains(&requirement.id.as_str()))
    {
        let place = (case.file, case.function);
        match functions.iter_mut().find(|(known, _)| *known == place) {
            Some((_, count)) => *count += 1,
            None => functions.push((place, 1)),
        }
    }
    functions
}

/// Writes the pages, and removes those of an older book from the folder.
pub fn write(pages: &BTreeMap<String, String>, folder: &Path) -> Result<()> {
    let unwritable = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(unwritable)?;
    for entry in fs::read_dir(folder).with_context(unwritable)? {
        let path = entry?.path();
        let is_page = path.extension().is_some_and(|extension| extension == "md");
        let is_current = path.file_name().is_some_and(|name| pages.contains_key(&*name.to_string_lossy()));
        if is_page && !is_current {
            fs::remove_file(path).with_context(unwritable)?;
        }
    }
    pages.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text)).with_context(unwritable)
}

/// What the folder has other than these pages: names of files.
pub fn differences(pages: &BTreeMap<String, String>, folder: &Path) -> Vec<String> {
    let is_page = |name: &String| name.ends_with(".md");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let there: BTreeSet<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(is_page).collect();
    let surplus = there.iter().filter(|name| !pages.contains_key(*name)).cloned();
    let stale = pages
        .iter()
        .filter(|(name, text)| fs::read_to_string(folder.join(name)).map_or(true, |there| there != **text));
    stale.map(|(name, _)| name.clone()).chain(surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_has_its_place_and_every_case_its_code() {
        let pages = pages(&[]);
        let text: String = pages.values().cloned().collect();
        for requirement in spec::all() {
            assert_eq!(text.matches(&format!("\n## {}\n", requirement.id)).count(), 1, "{}", requirement.id);
        }
        for case in cases::of_both() {
            assert!(text.contains(&format!("[{}](../../{})", case.function, case.file)), "{}", case.name);
            let source = fs::read_to_string(crate::project_root().join(case.file)).expect(case.file);
            assert!(source.contains(&format!("fn {}(", case.function)), "{} in {}", case.name, case.file);
        }
    }

    #[test]
    fn a_page_that_is_stale_missing_or_surplus_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let pages = BTreeMap::from(["a.md", "b.md", "c.md"].map(|name| (name.to_owned(), "new".to_owned())));
        fs::write(folder.path().join("a.md"), "new").unwrap();
        fs::write(folder.path().join("b.md"), "old").unwrap();
        fs::write(folder.path().join("d.md"), "new").unwrap();
        assert_eq!(differences(&pages, folder.path()), ["b.md", "c.md", "d.md"]);
    }
}
