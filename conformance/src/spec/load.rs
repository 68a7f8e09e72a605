//! The files of the specification: read once, checked as a whole, their errors named by file and line.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::sync::LazyLock;

use nix::errno::Errno;
use serde::Deserialize;

use super::template::{self, Blank};
use super::{FromValue, Requirement, Scalar, Value};
use crate::event::Role;

/// One file of the specification.
#[derive(Debug)]
pub struct Topic {
    /// Its name, such as `genetlink-registration`.
    pub name: &'static str,
    /// What it is about, as a heading.
    pub title: String,
    /// Its requirements, in order.
    pub requirements: Vec<Requirement>,
}

impl Topic {
    /// The side of the bus that its requirements are about.
    pub fn role(&self) -> Role {
        if self.name.starts_with("client-") { Role::Client } else { Role::Target }
    }
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../spec/", $name, ".toml")))),*]
    };
}

/// The files, in the order of the book.
const FILES: &[(&str, &str)] = files![
    "netlink-sockets",
    "netlink-binding",
    "netlink-groups",
    "netlink-sending",
    "netlink-framing",
    "netlink-acks",
    "netlink-receiving",
    "netlink-dumps",
    "netlink-permissions",
    "netlink-introspection",
    "netlink-memory",
    "genetlink-registration",
    "genetlink-groups",
    "genetlink-dispatch",
    "genetlink-attributes",
    "genetlink-controller",
    "genetlink-format",
    "genetlink-memory",
    "connector-kernel",
    "connector-user",
    "connector-process",
    "client-requests",
    "client-errors",
    "client-dumps",
    "client-interruptions",
    "client-multicast",
    "client-overruns",
    "client-lifecycle",
    "client-connector",
    "client-strangers",
];

/// A file, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    #[serde(default)]
    requirement: Vec<Requirement>,
}

static TOPICS: LazyLock<Result<Vec<Topic>, String>> = LazyLock::new(|| read(FILES));

/// Whether the specification can be used. Programs ask first, so that somebody who writes a requirement
/// sees what is wrong with it, and nothing else.
///
/// # Errors
/// What is wrong, a line for each fault: `conformance/spec/FILE.toml:LINE: ...`.
pub fn check() -> Result<(), String> {
    TOPICS.as_ref().map(drop).map_err(Clone::clone)
}

/// The files, in their order.
///
/// # Panics
/// When [`check`] fails.
pub fn topics() -> &'static [Topic] {
    match &*TOPICS {
        Ok(topics) => topics,
        Err(faults) => panic!("{faults}"),
    }
}

/// The requirements of every topic, in the order of their files.
pub fn all() -> impl Iterator<Item = &'static Requirement> {
    topics().iter().flat_map(|topic| &topic.requirements)
}

/// The requirement with this ID.
pub fn find(id: &str) -> Option<&'static Requirement> {
    static BY_ID: LazyLock<HashMap<&str, &Requirement>> =
        LazyLock::new(|| all().map(|requirement| (requirement.id.as_str(), requirement)).collect());
    BY_ID.get(id).copied()
}

fn read(files: &[(&'static str, &str)]) -> Result<Vec<Topic>, String> {
    let mut ids = BTreeSet::new();
    let mut topics = Vec::new();
    let mut faults = Vec::new();
    for (name, text) in files {
        let mut fault = |line: usize, why: &dyn Display| {
            faults.push(format!("conformance/spec/{name}.toml:{line}: {why}"));
        };
        let file: File = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                fault(line_at(text, error.span().map_or(0, |span| span.start)), &error.message());
                continue;
            }
        };
        for requirement in &file.requirement {
            // Each guest reads all of them, and the line is for somebody who made a fault.
            let line = || line_of(text, &requirement.id);
            faults_of(requirement).for_each(|why| fault(line(), &why));
            if !ids.insert(requirement.id.clone()) {
                fault(line(), &format_args!("{} is there twice", requirement.id));
            }
        }
        topics.push(Topic { name, title: file.title, requirements: file.requirement });
    }
    if faults.is_empty() { Ok(topics) } else { Err(faults.join("\n")) }
}

/// What is wrong with a requirement that can be read.
fn faults_of(requirement: &Requirement) -> impl Iterator<Item = String> {
    let id = &requirement.id;
    let blanks = template::blanks(&requirement.statement);
    let without_value = blanks.iter().filter(|blank| !requirement.values.contains_key(blank.name));
    let unnamed = requirement.values.keys().filter(|name| !blanks.iter().any(|blank| blank.name == *name));
    let wordless = blanks.iter().filter(|blank| {
        let is_flag = requirement.values.get(blank.name).is_some_and(is_flag);
        is_flag != blank.words.is_some()
    });
    let unknown = requirement.values.values().flat_map(texts).filter(|text| {
        let is_name = text.starts_with('E') && text.chars().all(|c| c.is_ascii_uppercase() || c.is_numeric());
        is_name && Errno::from_value(text).is_none()
    });
    let faults: Vec<String> = requirement
        .sources
        .is_empty()
        .then(|| format!("{id} has no source"))
        .into_iter()
        .chain(without_value.map(|blank| format!("{id}: {{{}}} has no value", blank.name)))
        .chain(wordless.map(|Blank { name, .. }| {
            format!("{id}: write {{{name}?yes|no}} for a value that is true or false, else {{{name}}}")
        }))
        .chain(unnamed.map(|name| format!("{id}: the value `{name}` is not in the statement")))
        .chain(unknown.map(|text| format!("{id}: {text} is not an errno")))
        .collect();
    faults.into_iter()
}

/// A value, for all versions.
fn scalars(value: &Value) -> Vec<&Scalar> {
    match value {
        Value::Same(scalar) => vec![scalar],
        Value::From(by_version) => by_version.values().collect(),
    }
}

fn is_flag(value: &Value) -> bool {
    scalars(value).iter().any(|scalar| matches!(scalar, Scalar::Flag(_)))
}

/// The texts of a value, for all versions.
fn texts(value: &Value) -> Vec<&str> {
    let texts = scalars(value).into_iter();
    texts.filter_map(|scalar| if let Scalar::Text(text) = scalar { Some(&**text) } else { None }).collect()
}

/// The number of the line that this byte is in.
fn line_at(text: &str, byte: usize) -> usize {
    text[..byte].matches('\n').count() + 1
}

/// The number of the line on which the requirement with this ID begins.
fn line_of(text: &str, id: &str) -> usize {
    let wanted = format!("id = \"{id}\"");
    text.lines().position(|line| line.trim() == wanted).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"title = "x"

[[requirement]]
id = "X-1"
level = "must"
statement = "It fails with {errno}."
sources = ["here"]
values = { errno = "EPERM" }
"#;

    fn faults(text: &str) -> String {
        read(&[("x", text)]).map(drop).unwrap_err()
    }

    #[test]
    fn specification_has_no_fault() {
        assert_eq!(check(), Ok(()));
    }

    #[test]
    fn fault_has_its_file_and_line() {
        assert!(read(&[("x", GOOD)]).is_ok());
        let misspelt = GOOD.replace("level", "levle");
        assert!(faults(&misspelt).starts_with("conformance/spec/x.toml:5: unknown field `levle`"));
        let level = GOOD.replace("must", "may");
        assert!(faults(&level).starts_with("conformance/spec/x.toml:5: unknown variant `may`"));
        let list = GOOD.replace("\"EPERM\"", "[1]");
        assert!(
            faults(&list).starts_with("conformance/spec/x.toml:8: a value is true or false"),
            "{}",
            faults(&list)
        );
    }

    #[test]
    fn values_fit_their_statement() {
        let at = "conformance/spec/x.toml:4: X-1";
        assert_eq!(faults(&GOOD.replace("EPERM", "EPREM")), format!("{at}: EPREM is not an errno"));
        assert_eq!(
            faults(&GOOD.replace("{errno}", "it")),
            format!("{at}: the value `errno` is not in the statement")
        );
        assert_eq!(faults(&GOOD.replace("{errno}", "{errno} {x}")), format!("{at}: {{x}} has no value"));
        assert_eq!(faults(&GOOD.replace("[\"here\"]", "[]")), format!("{at} has no source"));
        let flag = faults(&GOOD.replace("\"EPERM\"", "true"));
        assert!(flag.starts_with(&format!("{at}: write {{errno?yes|no}}")), "{flag}");
    }

    #[test]
    fn topics_on_client_libraries_have_their_requirements() {
        let page = include_str!("../../../docs/client-adapter.md");
        for topic in topics() {
            for requirement in &topic.requirements {
                assert_eq!(requirement.role(), topic.role(), "{} in {}", requirement.id, topic.name);
                for need in &requirement.needs {
                    assert!(page.contains(&format!("| `{need}` |")), "{} needs {need}", requirement.id);
                    assert_eq!(requirement.role(), Role::Client, "{} needs {need}", requirement.id);
                }
            }
        }
    }

    #[test]
    fn ids_are_unique() {
        let twice = read(&[("x", GOOD), ("y", GOOD)]).map(drop).unwrap_err();
        assert_eq!(twice, "conformance/spec/y.toml:4: X-1 is there twice");
    }
}
