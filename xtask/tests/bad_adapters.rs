//! An adapter that cannot be used is named in one line, with what is wrong; one that misbehaves later costs its
//! scenario. No guest is left either way.

mod scripts;

use std::path::Path;
use std::process::Command;

/// An answer to a greeting, of this version and role.
fn greeting(version: u32, role: &str) -> String {
    let identity =
        format!(r#"{{"role":"{role}","name":"x","version":"0","capabilities":{{"generic":null}}}}"#);
    let ok = format!(r#"{{"version":{version},"language":"sh","identity":{identity}}}"#);
    format!("#!/bin/sh\nread hello\necho '{{\"seq\":1,\"ok\":{ok}}}'\n")
}

/// What the command writes, to standard output and standard error, for an adapter with this text; its exit status.
fn run(folder: &Path, name: &str, text: &str, filters: &[&str]) -> (String, String, Option<i32>) {
    let file = folder.join(name);
    scripts::write(&file, text);
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("client").arg("--adapter").arg(&file).arg("--results").arg(folder.join("results"));
    let output = command.args(filters).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
#[ignore = "boots the kernel of client runs; CI runs it"]
fn one_that_does_not_greet_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let script = |body: &str| format!("#!/bin/sh\n{body}\n");
    for (name, text, expected) in [
        ("banner", script("echo Welcome to my adapter; exec sleep 60"), "Welcome to my adapter"),
        (
            "dead",
            script("echo 'no module named netlink' >&2; exit 3"),
            "(exit status: 3), its last words: no module named netlink",
        ),
        ("parent", script("sleep 60 & exit 3"), "(exit status: 3)"),
        ("closer", script("exec sleep 60 >&-"), "closed its standard output"),
        ("silent", script("exec sleep 600"), "the adapter did not say hello within 60 s"),
        ("endless", script("exec tr '\\0' x < /dev/zero"), "wrote a line of more than 8388608 bytes"),
        ("garbage", script("printf '\\377\\000\\n'; exec sleep 60"), "wrote a line that is not an answer"),
        (
            "hasty",
            script("read hello; echo '{\"seq\":7,\"ok\":null}'; exec sleep 60"),
            "answered call 7 instead of 1",
        ),
        ("sparse", script("echo '{\"seq\":1,\"ok\":null}'; exec sleep 60"), "its greeting: "),
        ("old", greeting(0, "client"), "it speaks version 0"),
        ("target", greeting(1, "target"), "it is the adapter of a target"),
        ("lost", "#!/nonexistent/interpreter\n".to_owned(), "the interpreter that it names"),
        ("data", "no program".to_owned(), "is not a program"),
    ] {
        let (_, said, status) = run(folder.path(), name, &text, &[]);
        let errors: Vec<_> = said.lines().filter(|line| line.contains(name)).collect();
        assert!(errors.len() == 1 && errors[0].starts_with("error: "), "{name}: {said}");
        assert!(errors[0].contains(expected), "{name}: {said}");
        assert_eq!(status, Some(2), "{name}: {said}");
    }
}

#[test]
#[ignore = "boots the kernel of client runs; CI runs it"]
fn one_that_misbehaves_costs_its_scenario() {
    let folder = tempfile::tempdir().unwrap();
    // The second scenario runs whatever the adapter did in the first.
    let scenarios = [
        "--exact",
        "client::requests::reply_without_acknowledgement",
        "client::requests::acknowledgement_alone",
    ];
    let nibbles =
        r#"exec perl -e 'while (1) { push @a, "x" x (4 << 20); select(undef, undef, undef, 0.05); }'"#;
    for (name, body, expected) in [
        ("ends", "exit 3", "the adapter ended (exit status: 3)"),
        ("leaves", "sleep 60 & exit 3", "the adapter ended (exit status: 3)"),
        ("hangs", "trap '' TERM; sleep 60", "no verdict after 5000 ms"),
        ("shouts", "yes why >&2", "no verdict after 5000 ms"),
        ("closes", "exec sleep 60 >&-", "closed its standard output"),
        ("repeats", "echo '{\"seq\":1,\"ok\":null}'; sleep 60", "answered call 1 instead of 2"),
        ("slays", "kill -9 -1; sleep 60", "SIGKILL"),
        ("crowds", "b() { b | b & }; b; sleep 60", "processes without end were started"),
        ("devours", "exec tail /dev/zero", "of memory"),
        ("nibbles", nibbles, "the adapter ended (stopped when it had taken "),
    ] {
        let text = format!("{}read question\n{body}\n", greeting(1, "client"));
        let (shown, said, status) = run(folder.path(), name, &text, &scenarios);
        assert!(shown.contains(expected), "{name}: {shown}{said}");
        let verdicts = scenarios[1..].iter().filter(|scenario| shown.contains(**scenario)).count();
        assert_eq!((verdicts, status), (2, Some(1)), "{name}: {shown}{said}");
    }
}
