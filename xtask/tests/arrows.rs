//! The arrows of docs/design.md: which part of the code may use which, checked by the paths in the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules of its crate that it may use besides itself.
type Room = (&'static str, &'static [&'static str]);

/// The lab: `running` never imports `making`, and nothing imports `commands`.
const LAB: &[Room] = &[
    ("commands", &["running", "making", "vm", "host", "project_root"]),
    ("running", &["vm", "host", "project_root"]),
    ("making", &["vm", "host", "project_root"]),
    ("vm", &["host"]),
    ("host", &[]),
];

/// The suite: bytes know no sockets, the port no cases, and cases no adapter.
const SUITE: &[Room] = &[
    ("wire", &[]),
    ("program", &[]),
    ("lines", &[]),
    ("text", &[]),
    ("lend", &[]),
    ("signs", &[]),
    ("event", &["program"]),
    ("port", &["event", "wire"]),
    ("spec", &["event"]),
    ("outcome", &["port", "wire"]),
    ("client", &["event", "lines", "outcome", "program", "wire"]),
    ("journal", &["event", "wire"]),
    ("scene", &["client", "journal", "outcome", "port", "spec", "wire"]),
    ("cases", &["client", "event", "outcome", "port", "scene", "spec", "wire"]),
    ("explore", &["adapters", "event", "isolate", "port", "report", "spec", "splat", "text", "wire"]),
    ("adapters", &["event", "lend", "lines", "port", "signs", "wire"]),
];

#[test]
fn rooms_of_the_lab_use_only_those_below() {
    check("xtask/src", LAB);
}

#[test]
fn rooms_of_the_suite_use_only_those_below() {
    check("conformance/src", SUITE);
}

/// The table in the reference implementation's lib.rs is the order.
#[test]
fn files_of_the_reference_use_only_those_above() {
    let source = xtask::project_root().join("conformance/reference/src");
    let read = |file: &str| fs::read_to_string(source.join(file)).expect("source files can be read");
    let lib = read("lib.rs");
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | ")?.split_once(" | "));
    let order: Vec<&str> =
        rows.flat_map(|(names, _)| names.split(", ")).filter_map(|name| name.strip_suffix(".rs")).collect();
    let there = files(&source).len() - ["lib", "main", "bin/explore"].len();
    assert_eq!(order.len(), there, "the table has each file");
    for (place, file) in order.iter().enumerate() {
        let used = used(&read(&format!("{file}.rs")), "super::");
        let wrong: Vec<_> = used.iter().filter(|name| order[place..].contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{file}.rs uses {wrong:?}, which stand below it");
    }
}

/// Fails for each forbidden use of one module by another.
fn check(source: &str, rooms: &[Room]) {
    let source = xtask::project_root().join(source);
    let mut wrong = Vec::new();
    for (room, below) in rooms {
        let files = files(&source.join(room));
        assert!(!files.is_empty(), "the room {room} has no file");
        for file in files {
            let text = fs::read_to_string(&file).expect("source files can be read");
            let used = used(&text, "crate::");
            // What is no room of this crate stands in a text that is written elsewhere.
            let is_room = |used: &&String| {
                source.join(used).is_dir() || source.join(used).with_extension("rs").is_file()
            };
            let foreign =
                used.iter().filter(is_room).filter(|used| *used != room && !below.contains(&used.as_str()));
            wrong.extend(foreign.map(|used| format!("{} uses {used}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "arrows that docs/design.md does not have:\n{}", wrong.join("\n"));
}

/// The first names after a prefix, such as `crate::`, in a text, outside of comments.
fn used(text: &str, prefix: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(prefix).skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .filter(|name: &String| !name.is_empty())
        .collect()
}

/// The Rust files of a room: `room.rs`, or all below `room/`.
fn files(room: &Path) -> Vec<PathBuf> {
    let alone = room.with_extension("rs");
    if alone.is_file() {
        return vec![alone];
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(room).expect("rooms are folders") {
        let path = entry.expect("folders can be read").path();
        match path.extension() {
            Some(extension) if extension == "rs" => files.push(path),
            None if path.is_dir() => files.extend(self::files(&path)),
            _ => {}
        }
    }
    files
}

#[test]
fn uses_are_found_in_code_and_not_in_comments() {
    let text =
        "use crate::vm::Vm;\n// crate::making\nfn f() { crate::host::cache::open(crate::running::x()) }\n";
    assert_eq!(used(text, "crate::"), ["vm", "host", "running"].map(str::to_owned).into());
}
