//! QEMU does not outlive the lab, however that ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use nlconform::report::Record;

/// Starts a guest that waits for a debugger forever, and finds its QEMU.
fn lab_with_guest() -> (Child, u32) {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_xtask"));
    lab.args(["test", "--gdb", "--qemu-arg=-gdb", "--qemu-arg=none"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // A background process of a shell ignores SIGINT, and so do its children.
    // SAFETY: sets no handler.
    unsafe { lab.pre_exec(|| Ok(signal(Signal::SIGINT, SigHandler::SigDfl).map(drop)?)) };
    let mut lab = lab.spawn().unwrap();
    // Forwards the lab's output while it builds, and keeps its pipe empty.
    let said = BufReader::new(lab.stderr.take().unwrap());
    std::thread::spawn(move || said.lines().map_while(Result::ok).for_each(|line| eprintln!("{line}")));
    loop {
        if let Some(qemu) = qemu_below(lab.id()) {
            return (lab, qemu);
        }
        assert!(lab.try_wait().unwrap().is_none(), "the lab ended without a guest");
        sleep(Duration::from_millis(50));
    }
}

fn qemu_below(parent: u32) -> Option<u32> {
    fs::read_dir("/proc").unwrap().find_map(|entry| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let (head, tail) = stat.rsplit_once(") ")?;
        let (pid, name) = head.split_once(" (")?;
        let ppid = tail.split(' ').nth(1)?;
        (ppid == parent.to_string() && name.starts_with("qemu")).then(|| pid.parse().unwrap())
    })
}

fn gone_soon(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(120);
    while Instant::now() < deadline {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie is not running any more.
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        sleep(Duration::from_millis(10));
    }
    false
}

/// A lab that runs cases, and has shown the verdict of one.
fn lab_at_work(results: &Path) -> Child {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_xtask"));
    lab.args(["test", "--accel", "tcg", "--results"]).arg(results);
    lab.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    // SAFETY: sets no handler.
    unsafe { lab.pre_exec(|| Ok(signal(Signal::SIGINT, SigHandler::SigDfl).map(drop)?)) };
    let mut lab = lab.spawn().unwrap();
    let mut line = String::new();
    let mut shown = BufReader::new(lab.stdout.take().unwrap());
    shown.read_line(&mut line).unwrap();
    assert!(line.contains("::"), "{line:?}");
    // Nobody reads what else it shows: that must not cost the results either.
    drop(shown);
    lab
}

#[test]
fn results_of_what_finished_are_left() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let results = tempfile::tempdir().unwrap();
        let mut lab = lab_at_work(results.path());
        kill(Pid::from_raw(lab.id() as i32), signal).unwrap();
        assert_eq!(lab.wait().unwrap().code(), Some(2), "{signal}");
        let record = Record::read(results.path()).unwrap();
        let [run] = record.runs.as_slice() else { panic!("{record:?}") };
        assert!(!run.reports.is_empty());
        let told = format!("stopped by {signal}: ");
        assert!(run.errors.iter().any(|error| error.starts_with(&told)), "{:?}", run.errors);
        assert!(fs::read_to_string(results.path().join("junit.xml")).unwrap().contains(&told));
    }
}

#[test]
fn a_reader_that_goes_away_costs_no_results() {
    let results = tempfile::tempdir().unwrap();
    let mut lab = lab_at_work(results.path());
    // Beside other work a case may be late, which is not what this is about.
    assert!(matches!(lab.wait().unwrap().code(), Some(0 | 1)));
    assert!(Record::read(results.path()).unwrap().runs[0].reports.len() > 1000);
}

fn ends_with(signal: Signal) {
    let (mut lab, qemu) = lab_with_guest();
    kill(Pid::from_raw(lab.id() as i32), signal).unwrap();
    lab.wait().unwrap();
    let gone = gone_soon(qemu);
    if !gone {
        kill(Pid::from_raw(qemu as i32), Signal::SIGKILL).unwrap();
    }
    assert!(gone, "QEMU outlives a lab that got {signal}");
}

#[test]
fn when_it_is_interrupted() {
    ends_with(Signal::SIGINT);
}

#[test]
fn when_it_is_terminated() {
    ends_with(Signal::SIGTERM);
}

#[test]
fn when_it_is_killed() {
    ends_with(Signal::SIGKILL);
}
