//! Adapters that end, hang, write too much or answer out of turn.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Debug, Deserialize)]
struct Plain {
    seq: u64,
    ok: u32,
}

impl Answer for Plain {
    fn seq(&self) -> u64 {
        self.seq
    }
}

/// Time that no answer needs, however slow the machine is.
const LONG: Duration = Duration::from_secs(300);

/// What becomes of a question to this script.
fn asked(script: &str) -> (Silence, String) {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stderr(Stdio::piped());
    let process = Process::<Plain>::start(&mut command, false).unwrap();
    let silence = process.ask(&json!({}), LONG).map(|answer| answer.ok).unwrap_err();
    (silence, process.last_words())
}

#[test]
fn an_end_is_seen_whoever_keeps_the_pipes() {
    let ended = Silence::Ended("exit status: 3".to_owned());
    assert_eq!(asked("echo why >&2; sleep 30 & exit 3"), (ended, ", its last words: why".to_owned()));
    let panicked = asked("printf 'panic: why\\n\\ngoroutine 1\\n' >&2; exit 2").1;
    assert_eq!(panicked, ", its last words: panic: why");
    let closed = Silence::Garbled("closed its standard output".to_owned());
    assert_eq!(asked("exec >&-; exec sleep 600").0, closed);
}

/// An adapter that counts its questions, with the fork server preloaded.
#[test]
fn each_copy_goes_on_from_the_first_question() {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("forkserver.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/preload/forkserver.c");
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).args([source, "-ldl"]);
    assert!(cc.status().unwrap().success());
    let script = r#"echo $$ >> started; n=0; while read -r question; do n=$((n + 1))
        printf '{"seq":%s,"ok":%s}\n' "$(expr "$question" : '.*"seq":\([0-9]*\)')" $n; done"#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(dir.path());
    let first = Process::<Plain>::start_server(&mut command, library.to_str().unwrap()).unwrap();
    assert_eq!(first.ask(&json!({}), LONG).unwrap().ok, 1);
    let server = first.server().expect("it can be copied");
    drop(first);
    for _ in 0..3 {
        let copy = Process::<Plain>::copy(&server, false).unwrap();
        assert_eq!(copy.ask(&json!({}), LONG).unwrap().ok, 1);
        assert_eq!(copy.ask(&json!({}), LONG).unwrap().ok, 2);
    }
    // A copy that dies is missed at once, and what it has left unread is not the next one's.
    let copy = Process::<Plain>::copy(&server, false).unwrap();
    kill(Pid::from_raw(copy.id() as i32), Signal::SIGKILL).unwrap();
    let silence = copy.ask(&json!({}), LONG).map(|answer| answer.ok).unwrap_err();
    assert_eq!(silence, Silence::Ended("signal: 9 (SIGKILL)".to_owned()));
    drop(copy);
    let copy = Process::<Plain>::copy(&server, false).unwrap();
    assert_eq!(copy.ask(&json!({}), LONG).unwrap().ok, 1);
    let started = std::fs::read_to_string(dir.path().join("started")).unwrap();
    assert_eq!(started.lines().count(), 1);
}

#[test]
fn what_comes_without_end_is_not_kept() {
    let ended = Silence::Ended("exit status: 4".to_owned());
    let said = asked("yes why | head -c 1000000 >&2; exit 4");
    assert_eq!(said, (ended, ", its last words: why".to_owned()));
    let long = format!("wrote a line of more than {LONGEST} bytes");
    assert_eq!(asked("read a; exec tr '\\0' x < /dev/zero").0, Silence::Garbled(long));
}

#[test]
fn what_comes_unasked_is_not_an_answer() {
    let script = r#"printf '{"seq":1,"ok":1}\n{"seq":2,"ok":2}\n'; read a; exec sleep 600"#;
    let process = Process::<Plain>::start(Command::new("sh").args(["-c", script]), false).unwrap();
    // Whether the first one comes before its question is a race.
    let _ = process.ask(&json!({}), LONG);
    let unasked = Silence::Garbled("wrote a line before it was asked for one".to_owned());
    assert_eq!(process.ask(&json!({}), LONG).map(|answer| answer.ok).unwrap_err(), unasked);
}

#[test]
fn parallel_answers_find_those_who_asked() {
    // Waits for two questions, and answers the second one first.
    let script = r#"read a; read b; printf '%s\n' "$b" "$a" |
        sed 's/.*"seq":\([0-9]*\).*"number":\([0-9]*\).*/{"seq":\1,"ok":\2}/'"#;
    let process = Process::<Plain>::start(Command::new("sh").args(["-c", script]), true).unwrap();
    thread::scope(|scope| {
        for number in [10, 20] {
            let process = &process;
            scope.spawn(move || {
                let answer = process.ask(&json!({ "number": number }), LONG).unwrap();
                assert_eq!(answer.ok, number);
            });
        }
    });
}
