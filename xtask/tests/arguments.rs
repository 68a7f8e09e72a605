//! Invalid arguments of the lab.

use std::process::{Command, Output};

fn xtask(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).output().unwrap()
}

#[test]
fn filter_that_leaves_no_case() {
    let mistyped = xtask(&["test", "genetlink::registraton"]);
    assert_eq!(mistyped.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&mistyped.stderr).contains("no case matches these filters"));
    assert_eq!(xtask(&["test", "--list", "genetlink::registraton"]).status.code(), Some(0));
}

#[test]
fn quote_that_is_left_open() {
    let open = xtask(&["test", "--append", "a=\"b c"]);
    assert_eq!(open.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&open.stderr).contains("double quote is left open"));
}
