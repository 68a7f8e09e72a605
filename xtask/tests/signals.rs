//! Signals to a command that has run guests and then builds.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use nix::sys::signal::Signal;
use xtask::host::command::run_logged;
use xtask::host::progress::Progress;
use xtask::host::signals;

/// Set in the process that is to end.
const ENDS: &str = "NLCONFORM_TEST_ENDS";

#[test]
fn signal_ends_a_build_that_follows_a_run() {
    if env::var_os(ENDS).is_some() {
        signals::hand_to(|_| {});
        signals::keep();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut build = Command::new("sh");
        build.args(["-c", "kill -TERM $PPID; exec sleep 60"]);
        run_logged(&mut build, log.path(), &Progress::new().step("building")).unwrap();
        return;
    }
    let mut same = Command::new(env::current_exe().unwrap());
    same.args(["--exact", "signal_ends_a_build_that_follows_a_run"]).env(ENDS, "");
    assert_eq!(same.status().unwrap().signal(), Some(Signal::SIGTERM as i32));
}
