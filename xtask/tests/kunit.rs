//! KTAP as the kernel's own tool reads it: `kunit.py parse` of each tree in the cache that knows KTAP.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nlconform::report::{Record, ktap};
use xtask::host::cache::Cache;

/// The parsers of the trees in the cache. Before "KTAP" they read another format.
fn parsers() -> Vec<PathBuf> {
    let sources = fs::read_dir(Cache::open().unwrap().root().join("sources")).into_iter().flatten();
    let tools = sources.map(|source| source.unwrap().path().join("linux/tools/testing/kunit"));
    let knows_ktap = |tool: &PathBuf| {
        let parser = fs::read_to_string(tool.join("kunit_parser.py"));
        parser.is_ok_and(|text| text.contains("KTAP version"))
    };
    tools.filter(knows_ktap).map(|tool| tool.join("kunit.py")).collect()
}

#[test]
fn kunit_reads_each_verdict() {
    let golden = xtask::project_root().join("conformance/tests/golden/results.json");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("results.ktap");
    fs::write(&file, ktap::ktap(&Record::read(&golden).unwrap())).unwrap();
    let parsers = parsers();
    if parsers.is_empty() {
        eprintln!("no kernel tree is in the cache: tests/forms.rs of nlconform alone checks the grammar");
    }
    for parser in parsers {
        // It writes beside itself what it has compiled, and the tree is not ours to change.
        let mut python = Command::new("python3");
        let output =
            python.arg("-B").arg(&parser).arg("parse").arg(&file).current_dir(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let parser = parser.display();
        assert!(!said.contains("[ERROR]"), "{parser}:\n{said}");
        assert!(said.contains("Ran 11 tests: passed: 2, failed: 6, skipped: 3"), "{parser}:\n{said}");
        assert!(!said.contains("[CRASHED]"), "{parser}:\n{said}");
    }
}
