//! An adapter that cannot be used is named in one line, with what is wrong, and no guest is left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A greeting of this version and role.
fn greeting(version: u32, role: &str) -> String {
    let identity = format!(r#"{{"role":"{role}","name":"x","version":"0","capabilities":{{}}}}"#);
    format!(
        "#!/bin/sh\nread hello\necho '{{\"seq\":1,\"ok\":{{\"version\":{version},\"language\":\"sh\",\"identity\":{identity}}}}}'\nsleep 60\n"
    )
}

/// What the command says of an adapter with this text, and its exit status.
fn said_of(folder: &Path, name: &str, text: &str) -> (String, Option<i32>) {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.arg("client").arg("--adapter").arg(&file).output().unwrap();
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
}

#[test]
#[ignore = "boots the kernel of client runs; cargo xtask check runs it"]
fn each_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let banner = "#!/bin/sh\necho Welcome to my adapter\nsleep 60\n";
    let dead = "#!/bin/sh\necho 'no module named netlink' >&2\nexit 3\n";
    for (name, text, expected) in [
        ("banner", banner.to_owned(), "Welcome to my adapter"),
        ("dead", dead.to_owned(), "(exit status: 3), its last words: no module named netlink"),
        ("old", greeting(0, "client"), "it speaks version 0"),
        ("target", greeting(1, "target"), "it is the adapter of a target"),
        ("lost", "#!/nonexistent/interpreter\n".to_owned(), "the interpreter that it names"),
        ("data", "no program".to_owned(), "is not a program"),
    ] {
        let (said, status) = said_of(folder.path(), name, &text);
        let errors: Vec<_> = said.lines().filter(|line| line.contains(name)).collect();
        assert!(errors.len() == 1 && errors[0].starts_with("error: "), "{name}: {said}");
        assert!(errors[0].contains(expected), "{name}: {said}");
        assert_eq!(status, Some(2), "{name}: {said}");
    }
}
