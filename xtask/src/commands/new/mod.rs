//! `cargo xtask new`: a requirement and its case, to be filled in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use nlconform::spec;

use super::Ended;

/// A case that fails until it is written.
const CASE: &str = include_str!("case.txt");

/// Names that no function can have.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield",
];

/// Arguments of `cargo xtask new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// What the requirement's ID begins with, such as NL-ACK
    #[arg(value_name = "PREFIX")]
    prefix: String,
    /// The case's name: a sentence that holds when it passes, such as error_echoes_the_request
    #[arg(value_name = "NAME")]
    name: String,
}

/// Writes the entry and the case, and says what else there is to do.
pub fn new(args: &NewArgs) -> Result<Ended> {
    if !args.name.starts_with(|c: char| c.is_ascii_lowercase())
        || !args.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    {
        bail!("{:?} cannot be the name of a case: use lower-case letters, digits and _", args.name);
    }
    if KEYWORDS.contains(&args.name.as_str()) {
        bail!("{:?} cannot be the name of a case: it is a keyword of Rust", args.name);
    }
    let (topic, id) = next_id(&args.prefix)?;
    let entries = crate::project_root().join("conformance/spec").join(topic).with_extension("toml");
    let cases = file_of_cases(&args.prefix)?;
    let spec_text = read(&entries)?;
    let case_text = with_case(&read(&cases)?, &args.name, &id)
        .with_context(|| format!("cannot add a case to {}", cases.display()))?;
    let line = spec_text.lines().count() + 2;
    write(&entries, &format!("{}{}", spec_text.trim_end(), entry(&id)))?;
    write(&cases, &case_text)?;
    let case = format!("{}::{}", module(&cases)?, args.name);
    println!(
        "{id}\n  1. write its statement:   {}:{line}\n  2. write the case:        {} ({})\n  3. see its verdict:       \
         cargo xtask test {case}\n  4. see it fail: add a defect to conformance/reference/src/defect.rs, and\n     \
         cargo test -p nlconform-reference\n  5. update the book:       cargo xtask book\ndocs/writing-a-case.md \
         explains each step.",
        shown(&entries),
        shown(&cases),
        args.name
    );
    Ok(Ended::Well)
}

/// The topic whose IDs begin like this, and the first ID that is free there.
fn next_id(prefix: &str) -> Result<(&'static str, String)> {
    let number = |id: &str| id.strip_prefix(prefix)?.strip_prefix('-')?.parse::<u32>().ok();
    let of_prefix = |topic: &&spec::Topic| topic.requirements.iter().any(|one| number(&one.id).is_some());
    let Some(topic) = spec::topics().iter().find(of_prefix) else {
        let mut prefixes: Vec<_> = spec::all().filter_map(|one| Some(one.id.rsplit_once('-')?.0)).collect();
        // Two topics may share one.
        prefixes.sort_unstable();
        prefixes.dedup();
        bail!("no requirement begins with {prefix}; there are {}", prefixes.join(", "));
    };
    let last = spec::all().filter_map(|one| number(&one.id)).max().unwrap_or(0);
    Ok((topic.name, format!("{prefix}-{:03}", last + 1)))
}

/// The file with most cases of requirements whose IDs begin like this.
fn file_of_cases(prefix: &str) -> Result<PathBuf> {
    let below = crate::project_root().join("conformance/src/cases");
    let wanted = format!("\"{prefix}-");
    let mut best = None;
    let mut folders = vec![below];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = file?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let count = read(&path)?.matches(&wanted).count();
                best = best.max(Some((count, path)));
            }
        }
    }
    match best {
        Some((count, path)) if count > 0 => Ok(path),
        _ => bail!("no case checks a requirement of {prefix} yet: write the first by hand"),
    }
}

/// The text of a file of cases with one more, which fails until it is written.
fn with_case(text: &str, name: &str, id: &str) -> Result<String> {
    if text.contains(&format!("fn {name}(")) {
        bail!("there is a case {name} already");
    }
    let tables = [("\ncases! {\n", "bus: &Bus<'_>"), ("\nscenarios! {\n", "stage: &Stage<'_>")];
    let found = tables.iter().find_map(|(head, side)| Some((text.find(head)?, side)));
    let (table, side) = found.context("it has no table of cases")?;
    let end = table + text[table + 1..].find("\n}").context("its table has no end")? + 1;
    // Further files of the topic come last in a table.
    let row_at = text[table..end].find("\n    + ").map_or(end, |at| table + at);
    let case_at = text.find("\n#[cfg(test)]").unwrap_or(text.len());
    let case = CASE.replace("{name}", name).replace("{side}", side);
    Ok(format!(
        "{}\n    {name} => \"{id}\";{}{case}{}",
        &text[..row_at],
        &text[row_at..case_at],
        &text[case_at..]
    ))
}

fn entry(id: &str) -> String {
    format!(
        "\n\n[[requirement]]\nid = \"{id}\"\nlevel = \"must\"\nstatement = \"What must hold, in one assertion; {{errno}} \
         is a value.\"\nsources = [\"function() path/of/the/file.c\"]\nvalues = {{ errno = \"EINVAL\" }}\n"
    )
}

/// The name of a file's module below `cases`.
fn module(file: &Path) -> Result<String> {
    let below = file.strip_prefix(crate::project_root().join("conformance/src/cases"))?.with_extension("");
    Ok(below.to_string_lossy().replace('/', "::"))
}

/// A path as somebody types it in the project's directory.
fn shown(file: &Path) -> String {
    file.strip_prefix(crate::project_root()).unwrap_or(file).display().to_string()
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_goes_to_the_end_of_table_and_file() {
        let file = "use x;\n\ncases! {\n    first => \"X-1\";\n    + more;\n}\n\nfn first() {}\n";
        let text = with_case(file, "second", "X-2").unwrap();
        assert!(text.contains("    first => \"X-1\";\n    second => \"X-2\";\n    + more;\n}\n"), "{text}");
        assert!(text.contains("fn first() {}\n\nfn second(_bus: &Bus<'_>) -> Outcome {\n"), "{text}");
        assert!(text.ends_with("}\n"), "{text}");
        let scenarios = with_case(&file.replace("cases!", "scenarios!"), "second", "X-2").unwrap();
        assert!(scenarios.contains("fn second(_stage: &Stage<'_>) -> Outcome {\n"), "{scenarios}");
        assert!(with_case(&text, "second", "X-3").is_err());
        assert!(with_case("fn first() {}", "second", "X-2").is_err());
    }

    #[test]
    fn each_prefix_has_a_free_id_and_a_file() {
        for requirement in spec::all().filter(|requirement| requirement.unchecked.is_none()) {
            let (prefix, _) = requirement.id.rsplit_once('-').unwrap();
            let (_, id) = next_id(prefix).unwrap();
            assert!(spec::find(&id).is_none(), "{id}");
            assert!(file_of_cases(prefix).is_ok(), "{prefix}");
        }
        assert!(next_id("XX").unwrap_err().to_string().contains("NL-ACK"));
    }
}
