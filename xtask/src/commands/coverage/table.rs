//! What gcov counted, by file and function, held against the list of what is known not to be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::making::kbuild::tested;

/// conformance/coverage.toml: lines that no case reaches, with the reasons.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unreached {
    #[serde(rename = "unreached")]
    entries: Vec<Entry>,
}

/// Lines of a function that are not reached for one reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The file, below the kernel's tree.
    file: String,
    function: String,
    /// The lines, without their indentation; all of the function's where there are none.
    #[serde(default)]
    lines: Vec<String>,
    reason: String,
    /// The variant with which they are reached.
    with: Option<String>,
}

impl Unreached {
    /// Reads the file, for a kernel that has these variants too.
    pub fn read(variants: &[String]) -> Result<Unreached> {
        let path = crate::project_root().join("conformance/coverage.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut unreached: Unreached =
            toml::from_str(&text).with_context(|| format!("{} is wrong", path.display()))?;
        unreached.entries.retain(|entry| entry.with.as_ref().is_none_or(|with| !variants.contains(with)));
        Ok(unreached)
    }

    /// Why a line is not reached, if that is known.
    fn reason(&self, file: &str, function: &str, line: &str) -> Option<&str> {
        let fits = |entry: &&Entry| {
            let is_listed = entry.lines.is_empty() || entry.lines.iter().any(|known| known == line.trim());
            entry.file == file && entry.function == function && is_listed
        };
        self.entries.iter().find(fits).map(|entry| entry.reason.as_str())
    }
}

/// Counts by file.
#[derive(Debug, Default)]
pub struct Covered(BTreeMap<&'static str, File>);

#[derive(Debug, Default)]
struct File {
    /// The source as the compiler read it.
    source: Vec<String>,
    lines: BTreeMap<u64, Line>,
}

#[derive(Debug, Default)]
struct Line {
    function: String,
    count: u64,
    branches: Vec<u64>,
}

/// What can be reached, and what is.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Share {
    reached: usize,
    all: usize,
}

impl Share {
    fn add(&mut self, is_reached: bool) {
        self.all += 1;
        self.reached += usize::from(is_reached);
    }

    fn percent(self) -> String {
        match self.all {
            0 => "-".to_owned(),
            all => format!("{:.1} % ({} of {all})", 100.0 * self.reached as f64 / all as f64, self.reached),
        }
    }
}

impl Covered {
    /// Takes in gcov's reports. A line that several functions contain was reached as often as in all of them.
    pub fn of(reports: Vec<Value>) -> Covered {
        let mut covered = Covered::default();
        for report in &reports {
            for file in report["files"].as_array().into_iter().flatten() {
                let path = file["file"].as_str().unwrap_or_default();
                let mut tested = tested::files().iter().map(|file| file.path.as_str());
                if let Some(name) = tested.find(|name| path.ends_with(&format!("/{name}"))) {
                    covered.0.entry(name).or_default().take(path, file);
                }
            }
        }
        covered
    }

    /// Lines of a file.
    fn lines(&self, name: &str) -> Share {
        let mut share = Share::default();
        let lines = self.0.get(name).into_iter().flat_map(|file| file.lines.values());
        lines.for_each(|line| share.add(line.count > 0));
        share
    }

    /// Each line that has a counter, with its file below the kernel's tree and how often it ran.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        self.0
            .iter()
            .flat_map(|(file, of)| of.lines.iter().map(|(number, line)| (*file, *number, line.count)))
    }
}

impl File {
    fn take(&mut self, path: &str, report: &Value) {
        let source = fs::read_to_string(path).unwrap_or_default();
        self.source = source.lines().map(str::to_owned).collect();
        for found in report["lines"].as_array().into_iter().flatten() {
            let line = self.lines.entry(found["line_number"].as_u64().unwrap_or_default()).or_default();
            line.function = found["function_name"].as_str().unwrap_or_default().to_owned();
            line.count += found["count"].as_u64().unwrap_or_default();
            let branches = found["branches"].as_array().into_iter().flatten();
            line.branches.extend(branches.map(|branch| branch["count"].as_u64().unwrap_or_default()));
        }
    }

    fn text(&self, number: u64) -> &str {
        self.source.get(number as usize - 1).map_or("", |line| line.trim())
    }
}

/// The table in two lengths.
#[derive(Debug)]
pub struct Table {
    /// By file, and what nobody explains.
    pub summary: String,
    /// By function, and each line that is not reached.
    pub page: String,
    /// Whether each line that is not reached has its reason.
    pub is_explained: bool,
}

/// Holds what was counted against what is known. `theirs` is what the kernel's own selftest reaches, and each boot.
pub fn render(kernel: &str, covered: &Covered, theirs: &Covered, unreached: &Unreached) -> Table {
    let mut summary =
        format!("{:<32} {:<22} {:<22} {:<22} unexplained\n", "file", "lines", "branches", "selftest's lines");
    let mut page = format!("# What the suite reaches of {kernel}\n\nMade by `cargo xtask coverage`.\n\n");
    page += "| file | lines | branches | lines of the kernel's selftest | lines without a reason |\n";
    page += "| --- | --- | --- | --- | --- |\n";
    let (mut functions, mut missed, mut open) = (String::new(), String::new(), String::new());
    for (name, file) in &covered.0 {
        let (mut lines, mut branches, mut unexplained) = (Share::default(), Share::default(), 0);
        let mut by_function: BTreeMap<&str, (Share, Share)> = BTreeMap::new();
        for (number, line) in &file.lines {
            let shares = by_function.entry(&line.function).or_default();
            for (share, is_reached) in [(&mut lines, line.count > 0), (&mut shares.0, line.count > 0)] {
                share.add(is_reached);
            }
            for count in &line.branches {
                branches.add(*count > 0);
                shares.1.add(*count > 0);
            }
            if line.count == 0 {
                let text = file.text(*number);
                let reason = unreached.reason(name, &line.function, text);
                if reason.is_none() {
                    unexplained += 1;
                    let _ = writeln!(open, "{name}:{number}: {}: {text}", line.function);
                }
                let reason = reason.unwrap_or("**no reason is known**");
                let _ = writeln!(missed, "* {name}:{number} `{}`: `{text}`: {reason}", line.function);
            }
        }
        let (lines, branches) = (lines.percent(), branches.percent());
        let theirs = theirs.lines(name).percent();
        let _ = writeln!(summary, "{name:<32} {lines:<22} {branches:<22} {theirs:<22} {unexplained}");
        let _ = writeln!(page, "| {name} | {lines} | {branches} | {theirs} | {unexplained} |");
        for (function, (lines, branches)) in by_function {
            let (lines, branches) = (lines.percent(), branches.percent());
            let _ = writeln!(functions, "| {name} | `{function}` | {lines} | {branches} |");
        }
    }
    for stale in stale(covered, unreached) {
        let _ = writeln!(open, "conformance/coverage.toml: {stale}");
    }
    page += "\n## By function\n\n| file | function | lines | branches |\n| --- | --- | --- | --- |\n";
    page += &functions;
    page += "\n## Lines that are not reached\n\n";
    page += &missed;
    Table { summary: summary + &open, page, is_explained: open.is_empty() }
}

/// Entries of the list that have nothing to explain: what they name is reached, or is not there.
fn stale(covered: &Covered, unreached: &Unreached) -> BTreeSet<String> {
    let is_missed = |entry: &Entry, text: Option<&str>| {
        covered.0.get(entry.file.as_str()).is_some_and(|file| {
            file.lines.iter().any(|(number, line)| {
                line.count == 0
                    && line.function == entry.function
                    && text.is_none_or(|text| file.text(*number) == text)
            })
        })
    };
    let mut stale = BTreeSet::new();
    for entry in &unreached.entries {
        if entry.lines.is_empty() && !is_missed(entry, None) {
            stale.insert(format!("{} is reached, or is not there", entry.function));
        }
        for text in entry.lines.iter().filter(|text| !is_missed(entry, Some(text))) {
            stale.insert(format!("{}: `{text}` is reached, or is not there", entry.function));
        }
    }
    stale
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn covered() -> Covered {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("net/netlink/genetlink.c");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "int f(int a)\n{\n\tif (a)\n\t\treturn 1;\n\treturn 0;\n}\n").unwrap();
        let line = |number: u64, count: u64, branches: &[u64]| {
            let branches: Vec<_> = branches.iter().map(|count| json!({"count": count})).collect();
            json!({"line_number": number, "function_name": "f", "count": count, "branches": branches})
        };
        let lines = [line(1, 2, &[]), line(3, 2, &[0, 2]), line(4, 0, &[]), line(5, 2, &[])];
        let other = json!({"file": "/tree/include/net/netlink.h", "lines": [line(1, 0, &[])]});
        Covered::of(vec![json!({"files": [{"file": file, "lines": lines}, other]})])
    }

    fn unreached(lines: &str) -> Unreached {
        toml::from_str(&format!(
            "[[unreached]]\nfile = \"net/netlink/genetlink.c\"\nfunction = \"f\"\nlines = {lines}\nreason = \"r\"\n"
        ))
        .unwrap()
    }

    #[test]
    fn a_line_that_is_not_reached_needs_its_reason() {
        let table = render("k", &covered(), &Covered::default(), &Unreached::default());
        assert!(table.page.contains("| 50.0 % (1 of 2) | - | 1 |"), "{}", table.page);
        assert!(table.summary.contains("75.0 % (3 of 4)") && table.summary.contains("50.0 % (1 of 2)"));
        assert!(table.summary.contains("net/netlink/genetlink.c:4: f: return 1;"), "{}", table.summary);
        assert!(!table.is_explained);
        let table = render("k", &covered(), &covered(), &unreached("[\"return 1;\"]"));
        assert!(table.is_explained, "{}", table.summary);
        assert!(table.page.contains("`return 1;`: r"));
    }

    #[test]
    fn a_reason_for_what_is_reached_is_stale() {
        let table = render("k", &covered(), &covered(), &unreached("[\"return 1;\", \"return 0;\"]"));
        assert!(table.summary.contains("f: `return 0;` is reached"), "{}", table.summary);
        assert!(!table.is_explained);
    }

    #[test]
    fn the_projects_own_list_is_read() {
        let count = |variants: &[String]| Unreached::read(variants).unwrap().entries.len();
        assert!(count(&["fault".to_owned()]) < count(&[]));
    }
}
