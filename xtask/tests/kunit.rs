//! KTAP as the kernel's own tool reads it: `kunit.py parse` of the default kernel.

use std::fs;
use std::process::Command;

use nlconform::report::{Record, ktap};
use xtask::host::cache::Cache;
use xtask::host::progress::Progress;
use xtask::making::source::Kernels;

#[test]
fn kunit_reads_each_verdict() {
    let golden = xtask::project_root().join("conformance/tests/golden/results.json");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("results.ktap");
    fs::write(&file, ktap::ktap(&Record::read(&golden).unwrap())).unwrap();
    let kernels = Kernels::load().unwrap();
    let kernel = kernels.get(&kernels.default).unwrap();
    let source = kernels.source(&kernel, &Cache::open().unwrap(), &Progress::new()).unwrap();
    // It writes beside itself what it has compiled, and the tree is not ours to change.
    let mut python = Command::new("python3");
    python.arg("-B").arg(source.dir.join("tools/testing/kunit/kunit.py")).arg("parse").arg(&file);
    let output = python.current_dir(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("[ERROR]"), "{said}");
    assert!(said.contains("Ran 11 tests: passed: 2, failed: 6, skipped: 3"), "{said}");
    assert!(!said.contains("[CRASHED]"), "{said}");
}
