//! The requirement book: one Markdown page per file of the specification.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nlconform::cases;
use nlconform::report::Run;
use nlconform::report::matrix::{Cell, matrix};
use nlconform::spec::{self, Requirement};

/// The pages, by file name. `runs` gives the verdicts.
pub fn pages(runs: &[Run]) -> Result<BTreeMap<String, String>> {
    let rows: BTreeMap<&str, Vec<Cell<'_>>> =
        matrix(runs).into_iter().map(|row| (row.requirement.id.as_str(), row.cells)).collect();
    let mut pages = BTreeMap::new();
    let mut contents = String::from(
        "# Requirements\n\nWhat Linux netlink promises, one statement each, made from conformance/spec by \
         `cargo xtask book`.\n\n| page | requirements | about |\n| --- | --- | --- |\n",
    );
    for file in spec::topics() {
        let mut page = format!("# {}\n", file.title);
        for requirement in &file.requirements {
            entry(requirement, runs, &rows[requirement.id.as_str()], &mut page)?;
        }
        let name = format!("{}.md", file.name);
        let _ = writeln!(contents, "| [{0}]({0}) | {1} | {2} |", name, file.requirements.len(), file.title);
        pages.insert(name, page);
    }
    pages.insert("README.md".to_owned(), contents);
    Ok(pages)
}

fn entry(requirement: &Requirement, runs: &[Run], cells: &[Cell<'_>], page: &mut String) -> Result<()> {
    let _ = writeln!(page, "\n## {}\n\n{}\n", requirement.id, requirement.statement);
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
        let _ = writeln!(page, "* Needs: {}", requirement.needs.join(", "));
    }
    if let Some(why) = &requirement.unintended {
        let _ = writeln!(page, "* Looks unintended: {why}");
    }
    if let Some(why) = &requirement.unchecked {
        let _ = writeln!(page, "* Not checked: {why}");
    }
    let told: Vec<_> = runs
        .iter()
        .zip(cells)
        .map(|(run, cell)| format!("{} on {}", cell.standing.word(), run.target))
        .collect();
    if !told.is_empty() && requirement.unchecked.is_none() {
        let _ = writeln!(page, "* Verdict: {}", told.join(", "));
    }
    for code in sources_of_cases(requirement)? {
        let _ = write!(page, "\n```rust\n{code}```\n");
    }
    Ok(())
}

/// The code of the cases that check a requirement. Rows of one table share their function.
fn sources_of_cases(requirement: &Requirement) -> Result<Vec<String>> {
    let mut functions = Vec::new();
    for case in cases::all().iter().filter(|case| case.requirements.contains(&requirement.id.as_str())) {
        let mut parts = case.name.split("::");
        let place = (parts.next(), parts.next(), parts.next());
        if let (Some(area), Some(topic), Some(function)) = place
            && !functions.contains(&(area, topic, function))
        {
            functions.push((area, topic, function));
        }
    }
    functions
        .into_iter()
        .map(|(area, topic, function)| {
            let file = format!("conformance/src/cases/{area}/{topic}.rs");
            let text = fs::read_to_string(crate::project_root().join(&file))
                .with_context(|| format!("cannot read {file}"))?;
            function_source(&text, function).with_context(|| format!("{file} has no function {function}"))
        })
        .collect()
}

/// A function of a formatted file: its comments, its head, and all up to the brace that closes it.
fn function_source(text: &str, function: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let head = lines.iter().position(|line| {
        line.strip_prefix("fn ")
            .is_some_and(|rest| rest.strip_prefix(function).is_some_and(|rest| rest.starts_with(['(', '<'])))
    })?;
    let comments = lines[..head].iter().rev().take_while(|line| line.starts_with("//")).count();
    let length = lines[head..].iter().position(|line| line.starts_with('}'))?;
    Some(lines[head - comments..=head + length].iter().flat_map(|line| [line, "\n"]).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_has_its_place_and_every_case_its_code() {
        let pages = pages(&[]).unwrap();
        let text: String = pages.values().cloned().collect();
        for requirement in spec::all() {
            assert_eq!(text.matches(&format!("\n## {}\n", requirement.id)).count(), 1, "{}", requirement.id);
        }
        for case in cases::all() {
            let function = case.name.split("::").nth(2).unwrap();
            assert!(text.contains(&format!("fn {function}")), "{}", case.name);
        }
    }
}
