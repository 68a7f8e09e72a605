//! What a guest makes the lab keep has a limit. The guest is a script that acts as the runner in a sandbox.

use std::fs;

use nlconform::event::{Event, Identity, PROTOCOL, Plan, Report, Role, Verdict};
use nlconform::lines::LONGEST;
use nlconform::program::Program;
use tempfile::TempDir;
use xtask::running::conversation::exec;
use xtask::running::kept::MOST;
use xtask::running::schedule::plan;
use xtask::running::session::{Losses, News, run};
use xtask::vm::{Place, Sandbox};

fn line(event: &Event) -> String {
    serde_json::to_string(event).unwrap() + "\n"
}

fn hello() -> Event {
    let identity = Identity {
        role: Role::Target,
        name: "x".into(),
        version: "1".into(),
        capabilities: [("route".to_owned(), None)].into(),
    };
    Event::Hello { protocol: PROTOCOL, identity }
}

/// A guest that says hello and these events in answer to the request, and the last of them without end.
fn guest(events: &[Event]) -> (TempDir, Place) {
    let dir = tempfile::tempdir().unwrap();
    let (last, before) = events.split_last().unwrap();
    let write = |name: &str, text: String| fs::write(dir.path().join(name), text).unwrap();
    write("hello", line(&hello()));
    write("before", before.iter().map(line).collect());
    write("last", line(last));
    write("runner", "cd ${0%/*}; cat hello; read request; cat before; while cat last; do :; done".into());
    let sandbox = Sandbox {
        command: vec!["sh".into()],
        runner: dir.path().join("runner").into(),
        name: "x".into(),
        version: "1".into(),
    };
    (dir, Place::Sandbox(sandbox))
}

fn counters() -> Event {
    // Almost the longest line. A name takes no time to be decoded.
    Event::Counters { file: "f".repeat(LONGEST - 100), bytes: "00".into() }
}

/// The error of a run of these cases, of whose counters and consoles no more than the limit are kept.
fn given_up(place: &Place, cases: Vec<String>) -> String {
    let plan = Plan { counters: true, ..plan("linux-6.12", cases, 6) };
    let mut kept = 0;
    let error = run(place, &plan, &Losses::at_most(100), &mut |news| {
        kept += match news {
            News::Counters { file, .. } => file.len(),
            News::Finished(report) => report.console.len(),
            _ => 0,
        };
        assert!(kept <= MOST, "{kept}");
    });
    error.unwrap_err().to_string()
}

#[test]
fn counters_without_end() {
    let case = "fault::pass";
    let report = Report::new(case, Verdict::Pass);
    let (_dir, place) = guest(&[Event::Started { case: case.into() }, Event::Finished(report), counters()]);
    let error = given_up(&place, vec![case.into()]);
    assert!(error.starts_with("given up: more than 256 MiB of reports and counters"), "{error}");
}

#[test]
fn reports_that_are_long_and_many() {
    let case = "fault::pass";
    let console = "x".repeat(LONGEST - 1000);
    let report = Event::Finished(Report { console, ..Report::new(case, Verdict::Pass) });
    let (dir, place) = guest(&[report]);
    let both =
        line(&Event::Started { case: case.into() }) + &fs::read_to_string(dir.path().join("last")).unwrap();
    fs::write(dir.path().join("last"), both).unwrap();
    let error = given_up(&place, vec![case.into(); 100]);
    assert!(error.starts_with("given up: more than 256 MiB of reports and counters"), "{error}");
}

#[test]
fn counters_of_a_program_without_end() {
    let (_dir, place) = guest(&[Event::Exited { status: 0 }, counters()]);
    let mut kept = 0;
    let program = Program::here(vec!["/x".into()]);
    let tell = &mut |news| {
        if let News::Counters { file, .. } = news {
            kept += file.len();
            assert!(kept <= MOST, "{kept}");
        }
    };
    let error = exec(&place, program, tell, &mut |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("given up: more than 256 MiB of counters"), "{error}");
}

#[test]
fn event_out_of_turn_is_quoted_in_part() {
    let case = "fault::pass";
    let started = Event::Started { case: case.into() };
    let (_dir, place) = guest(&[started, Event::Output { text: "x".repeat(LONGEST / 2) }]);
    let plan = plan("linux-6.12", vec![case.into()], 6);
    let mut reasons = Vec::new();
    run(&place, &plan, &Losses::at_most(100), &mut |news| {
        if let News::Finished(Report { verdict: Verdict::Crash { reason }, .. }) = news {
            reasons.push(reason);
        }
    })
    .unwrap();
    let [reason] = &reasons[..] else { panic!("{} crashes", reasons.len()) };
    assert!(reason.starts_with("the guest sent Output") && reason.len() < 1000, "{} bytes", reason.len());
}
