//! What the lab does when its standard output cannot be written.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use nix::fcntl::OFlag;
use nix::libc::SIGPIPE;
use nix::unistd::pipe2;

fn xtask(args: &[&str], stdout: impl Into<Stdio>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).stdout(stdout).output().unwrap()
}

#[test]
fn a_full_disk_is_one_error() {
    for args in [&["test", "--list"][..], &["client", "--list"], &["cache"], &["doctor"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ended = xtask(args, full);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {said}");
        assert_eq!(said, "error: standard output: No space left on device (os error 28)\n", "{args:?}");
    }
}

/// What runs guests goes on, and its verdicts decide; what only prints ends as other programs do.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    for (args, signal) in [(&["test", "--list"][..], None), (&["cache"], Some(SIGPIPE))] {
        let (reading, writing) = pipe2(OFlag::O_CLOEXEC).unwrap();
        drop(reading);
        let ended = xtask(args, writing);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.signal(), said.as_ref()), (signal, ""), "{args:?}");
        assert!(signal.is_some() || ended.status.success(), "{args:?}");
    }
}
