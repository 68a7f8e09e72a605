//! What a run leaves when something ends it, and what it writes to a reader that is late.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::{Pid, pipe2};
use nlconform::event::Verdict;
use nlconform::report::{Record, UNFINISHED};
use nlconform::spec::Profile;
use tempfile::TempDir;

/// On a target that has NETLINK_ROUTE only, cases that are skipped, one that is not, and more that are.
const FILTERS: [&str; 3] = [
    "netlink::sockets::protocols::socket_holds",
    "netlink::sockets::options_describe_the_socket::raw",
    "connector::user::groups",
];
const HANGS: &str = "netlink::sockets::options_describe_the_socket::raw";

/// A target behind an adapter, and the file of its results.
struct Place(TempDir);

impl Place {
    /// The adapter greets, and then does this.
    fn new(then: &str) -> Place {
        let place = Place(TempDir::new().unwrap());
        place.then(then);
        place
    }

    fn then(&self, then: &str) {
        let identity = r#"{"role":"target","name":"x","version":"1","capabilities":{"route":null}}"#;
        let hello = format!(r#"read ask; echo '{{"seq":1,"ok":{{"version":1,"identity":{identity}}}}}'"#);
        fs::write(self.0.path().join("adapter.sh"), format!("{hello}\n{then}\n")).unwrap();
    }

    fn results(&self) -> PathBuf {
        self.0.path().join("results.json")
    }

    /// `nlconform run` on it.
    fn run(&self, more: &[&str]) -> Command {
        let mut command = nlconform("run");
        command.arg("--adapter").arg(format!("sh {}", self.0.path().join("adapter.sh").display()));
        command.arg("--output").arg(self.results()).args(more);
        if !more.contains(&"--format") {
            command.args(["--format", "results"]);
        }
        command
    }

    /// Starts it, and waits until the case that hangs runs.
    fn run_until_it_hangs(&self, more: &[&str]) -> Child {
        let mut command = self.run(more);
        let mut child = command.args(FILTERS).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == HANGS), "it ended");
        child
    }
}

fn nlconform(command: &str) -> Command {
    let mut nlconform = Command::new(env!("CARGO_BIN_EXE_nlconform"));
    nlconform.arg(command);
    nlconform
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

fn status(command: &mut Command) -> ExitStatus {
    command.output().unwrap().status
}

fn error(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn read(file: &Path) -> Record {
    Record::read(file).unwrap()
}

#[test]
fn resuming_with_an_empty_file_starts_a_run() {
    let place = Place::new("");
    fs::write(place.results(), "").unwrap();
    status(place.run(&["--resume", FILTERS[0]]).stderr(Stdio::null()));
    assert!(!Record::read(&place.results()).unwrap().runs[0].reports.is_empty());
}

#[test]
fn a_killed_run_leaves_what_finished_and_goes_on_in_the_same_file() {
    let place = Place::new("exec sleep 30");
    let mut child = place.run_until_it_hangs(&[]);
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let [run] = &read(&place.results()).runs[..] else { panic!("one run") };
    assert_eq!(run.errors, [UNFINISHED]);
    let (last, before) = run.reports.split_last().unwrap();
    assert_eq!(last.case, HANGS);
    assert!(matches!(&last.verdict, Verdict::Crash { reason } if reason.contains("while this case ran")));
    assert!(!before.is_empty());
    // A reader of any other program finds a whole document, too.
    let _: serde_json::Value = serde_json::from_slice(&fs::read(place.results()).unwrap()).unwrap();

    // What was the target's end is not run again.
    assert_eq!(status(place.run(&["--resume"]).args(FILTERS)).code(), Some(1));
    let whole = &read(&place.results()).runs[0];
    assert!(whole.errors.is_empty() && whole.reports.len() > run.reports.len(), "{whole:?}");
    assert_eq!(whole.reports[..run.reports.len()], run.reports);
    let mut names: Vec<_> = whole.reports.iter().map(|report| &report.case).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), whole.reports.len());
}

#[test]
fn an_interrupted_run_completes_its_report() {
    for sent in [Signal::SIGINT, Signal::SIGHUP] {
        let place = Place::new("read ask; echo '{\"seq\":2,\"ok\":1}'; exec sleep 30");
        let child = place.run_until_it_hangs(&["--deadline", "2000"]);
        signal(&child, sent);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{sent}");
        let [run] = &read(&place.results()).runs[..] else { panic!("one run") };
        assert_eq!(run.errors, [UNFINISHED]);
        let last = run.reports.last().unwrap();
        assert_eq!(last.exchange[0].action, "socket 1: open protocol 0");
        assert_eq!((last.case.as_str(), &last.verdict), (HANGS, &Verdict::Timeout { after_ms: 2000 }));
    }
}

/// An adapter of which a process moves to a session of its own, at its greeting and in a case, and writes its ID.
#[test]
fn nothing_that_an_adapter_starts_outlives_the_run() {
    let place = Place::new("");
    let pids = place.0.path().join("pids");
    let leave = format!("setsid sh -c 'echo $$ >> {}; exec sleep 600' > /dev/null 2>&1 &", pids.display());
    // The case begins when both processes of both adapters are there.
    let wait = format!("while [ $(wc -l < {}) -lt $n ]; do :; done", pids.display());
    let greeted = fs::read_to_string(place.0.path().join("adapter.sh")).unwrap();
    let adapter = format!(
        "n=$(($(cat {0} 2> /dev/null | wc -l) + 1))\n: >> {0}\n{leave}\n{wait}\n{greeted}exit 3\n",
        pids.display()
    );
    fs::write(place.0.path().join("adapter.sh"), adapter).unwrap();
    let mut run = place.run(&["--deadline", "60000", HANGS]);
    assert_eq!(run.output().unwrap().status.code(), Some(1));
    let started = fs::read_to_string(pids).unwrap();
    assert_eq!(started.lines().count(), 2, "{started}");
    for pid in started.lines() {
        let left = kill(Pid::from_raw(pid.parse().unwrap()), None);
        assert_eq!(left, Err(Errno::ESRCH), "process {pid} is still there");
    }
}

#[test]
fn a_run_goes_on_only_with_its_own_results() {
    let place = Place::new("exit");
    assert!(error(place.run(&["--resume", "--format", "json"]).args(FILTERS)).contains("--format results"));
    // Nothing to go on with.
    assert_eq!(status(place.run(&["--resume"]).arg("connector::user::groups")).code(), Some(0));
    let (oldest, newest) = (Profile::oldest().to_string(), format!("expected: {}", Profile::newest()));
    let others: [(&[&str], &str); 2] =
        [(&["--profile", &oldest], &newest), (&["--name", "y"], "it is about x 1 on")];
    for (argument, complaint) in others {
        let error = error(place.run(&["--resume"]).args(argument).args(FILTERS));
        assert!(error.contains(complaint) && error.lines().count() <= 2, "{error}");
    }
    fs::write(place.results(), "nonsense").unwrap();
    let said = error(place.run(&["--resume"]).args(FILTERS));
    assert!(said.contains("results.json: "), "{said}");
    assert_eq!(fs::read(place.results()).unwrap(), b"nonsense");
}

#[test]
fn reports_of_parts_are_joined_in_any_format() {
    let place = Place::new("exit");
    let mut files = Vec::new();
    for filter in ["connector::user::groups", "netlink::sockets::protocols::socket_holds"] {
        status(&mut place.run(&[filter]));
        files.push(place.0.path().join(filter));
        fs::rename(place.results(), files.last().unwrap()).unwrap();
    }
    let joined = place.0.path().join("joined");
    let mut report = nlconform("report");
    assert!(status(report.args(&files).args(["--format", "results", "--output"]).arg(&joined)).success());
    let [run] = &read(&joined).runs[..] else { panic!("one run") };
    let of_parts: usize = files.iter().map(|file| read(file).runs[0].reports.len()).sum();
    assert_eq!(run.reports.len(), of_parts);
    let html = nlconform("report").arg(&joined).args(["--format", "html"]).output().unwrap();
    assert!(html.stdout.starts_with(b"<!doctype html>"));
    assert!(error(nlconform("report").arg("/nowhere")).contains("/nowhere"));
}

#[test]
fn a_reader_that_goes_away_has_seen_enough() {
    for args in [&["list"][..], &["explain", "NL-ACK-003"]] {
        let (reading, writing) = pipe2(OFlag::O_CLOEXEC).unwrap();
        drop(reading);
        let mut command = nlconform(args[0]);
        let output = command.args(&args[1..]).stdout(writing).output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{args:?}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_one_error() {
    let place = Place::new("exit");
    status(&mut place.run(&[FILTERS[0]]));
    let adapter = format!("sh {}", place.0.path().join("adapter.sh").display());
    let results = place.results().display().to_string();
    for args in [
        &["list"][..],
        &["explain", "NL-ACK-003"],
        &["report", &results],
        &["run", "--adapter", &adapter, FILTERS[0]],
        &["explore", "--adapter", &adapter, "--sequences", "1"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let said = error(nlconform(args[0]).args(&args[1..]).stdout(full));
        let last = said.lines().last().unwrap();
        assert!(
            last.starts_with("nlconform: ") && last.contains("No space left on device"),
            "{args:?}: {said}"
        );
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    }
}

/// A command whose files can have so many bytes, as on a disk that is nearly full.
fn with_room(mut command: Command, bytes: u64) -> Command {
    let limit = move || {
        // By default the signal ends the process.
        // SAFETY: no handler is installed.
        unsafe {
            sigaction(Signal::SIGXFSZ, &SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty()))
        }?;
        Ok(setrlimit(Resource::RLIMIT_FSIZE, bytes, bytes)?)
    };
    // SAFETY: sigaction and setrlimit are async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(limit) };
    command
}

#[test]
fn a_full_disk_leaves_no_half_of_a_document() {
    let place = Place::new("exit");
    let cases = "genetlink::registration";
    status(&mut place.run(&[cases]));
    let all = read(&place.results()).runs[0].reports.len();
    let room = fs::metadata(place.results()).unwrap().len() / 2;
    error(&mut with_room(place.run(&[cases]), room));
    // By itself, as any program reads it: Record::read() makes do with a torn one.
    let written: Record = serde_json::from_str(&fs::read_to_string(place.results()).unwrap()).unwrap();
    let written = written.runs[0].reports.len();
    assert!(0 < written && written < all, "{written} of {all}");

    fs::write(place.results(), "old").unwrap();
    for format in ["junit", "markdown", "html"] {
        error(&mut with_room(place.run(&["--format", format, cases]), 100));
        assert_eq!(fs::read_to_string(place.results()).unwrap(), "old", "{format}");
    }
}

#[test]
fn a_reader_that_is_late_loses_nothing() {
    for format in ["json", "results"] {
        let place = Place::new("exit");
        let (reading, writing) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).unwrap();
        let mut command = nlconform("run");
        command.arg("--adapter").arg(format!("sh {}", place.0.path().join("adapter.sh").display()));
        command.args(["--format", format, "genetlink"]).stderr(Stdio::null());
        let mut child = command.stdout(writing.try_clone().unwrap()).spawn().unwrap();
        drop(command);
        while poll(&mut [PollFd::new(writing.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(1) {
            assert!(child.try_wait().unwrap().is_none(), "it wrote less than a pipe holds");
            thread::sleep(Duration::from_millis(5));
        }
        drop(writing);
        let (mut reading, mut text, mut chunk) = (File::from(reading), Vec::new(), [0; 4096]);
        loop {
            poll(&mut [PollFd::new(reading.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            match reading.read(&mut chunk).unwrap() {
                0 => break,
                taken => text.extend(&chunk[..taken]),
            }
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "{format}");
        let text = String::from_utf8(text).unwrap();
        match format {
            "json" => assert!(text.ends_with("{\"event\":\"bye\"}\n"), "{text}"),
            _ => drop(serde_json::from_str::<Record>(&text).unwrap()),
        }
    }
}
