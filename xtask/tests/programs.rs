//! `cargo xtask run`: programs that are not static run in a guest, from the host's files.

mod scripts;

use std::fs;
use std::process::Command;

/// What a program writes, and its exit status.
fn run(words: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["run", "--"]).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the guest sees the host's files"), "{said}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

#[test]
#[ignore = "boots the kernel of client runs; CI runs it"]
fn programs_end_with_their_status_and_leave_nothing() {
    // A dynamic program, by its name. It is not waited for its children.
    assert_eq!(run(&["sh", "-c", "sleep 600 & echo left; exit 3"]), ("left\n".to_owned(), Some(3)));
    // A script, by its path.
    let folder = tempfile::tempdir().unwrap();
    let (script, victim) = (folder.path().join("script"), folder.path().join("victim"));
    scripts::write(&script, &format!("#!/bin/sh\necho \"$1\"; echo overwritten > {}\n", victim.display()));
    fs::write(&victim, "as it was").unwrap();
    let (said, status) = run(&[script.to_str().unwrap(), "an argument"]);
    assert!(said.starts_with("an argument\n") && status != Some(0), "{said} {status:?}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
}
