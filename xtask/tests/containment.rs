//! Whatever a guest does, each case gets one verdict and nothing keeps running. Each test boots the
//! default kernel; the faults are cases of the guest that only these tests select.

mod lab;

use std::sync::{LazyLock, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nlconform::event::{Report, Verdict};
use nlconform::splat;
use xtask::running::session::{Losses, News, run};
use xtask::vm::{Machine, Place, Settings};

use lab::{Built, plan};

// Another architecture's guests are broken when its name is given.
static BUILT: LazyLock<Built> = LazyLock::new(|| Built::of(std::env::var("NLCONFORM_TEST_ARCH").ok()));

/// The outcome of a run.
#[derive(Default)]
struct Outcome {
    reports: Vec<Report>,
    notes: Vec<String>,
    guests: usize,
    pids: Vec<u32>,
}

fn run_cases(cases: &[&str], deadline_ms: u64, meanwhile: impl Fn(&News)) -> Outcome {
    run_cases_with("", cases, deadline_ms, meanwhile)
}

/// The same with more words on the kernel's command line, which the kernel logs.
fn run_cases_with(append: &str, cases: &[&str], deadline_ms: u64, meanwhile: impl Fn(&News)) -> Outcome {
    // One at a time: side by side they would need longer deadlines yet.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let plan = plan(cases, deadline_ms);
    let settings = Settings { append: append.into(), ..BUILT.machine.settings.clone() };
    let machine = Machine { settings, ..BUILT.machine.clone() };
    let mut outcome = Outcome::default();
    run(&Place::Machine(machine), &plan, &Losses::at_most(100), &mut |news| {
        meanwhile(&news);
        match news {
            News::Hello { .. } => outcome.guests += 1,
            News::Started { pid, .. } => outcome.pids.push(pid),
            News::Finished(report) => outcome.reports.push(report),
            News::Note(note) => outcome.notes.push(note),
            News::Console(_) | News::Counters { .. } => {}
        }
    })
    .unwrap();
    let told: Vec<_> = outcome.reports.iter().map(|report| report.case.as_str()).collect();
    assert_eq!(told, cases, "each case has one verdict, in order");
    for &pid in &outcome.pids {
        assert!(!alive(pid), "QEMU {pid} is still there");
    }
    outcome
}

fn alive(pid: u32) -> bool {
    kill(Pid::from_raw(pid as i32), None).is_ok()
}

/// A fault between two passing cases; returns the report on the fault, and how many guests it took.
fn contained(fault: &str, deadline_ms: u64) -> (Report, usize) {
    let outcome = run_cases(&["fault::pass", fault, "fault::pass"], deadline_ms, |_| {});
    let [before, report, after] = outcome.reports.try_into().unwrap();
    for bystander in [before, after] {
        assert_eq!(bystander.verdict, Verdict::Pass, "{bystander:?}");
    }
    (report, outcome.guests)
}

fn crash(report: &Report) -> &str {
    match &report.verdict {
        Verdict::Crash { reason } => reason,
        other => panic!("no crash: {other:?}"),
    }
}

#[test]
fn a_kernel_that_panics() {
    let (report, guests) = contained("fault::panic", 60_000);
    assert!(crash(&report).contains("Kernel panic - not syncing"), "{report:?}");
    assert!(report.console.lines().next().unwrap().contains("Kernel panic"), "{}", report.console);
    assert!(report.console.to_lowercase().contains("call trace"), "{}", report.console);
    let steps: Vec<_> = report.exchange.iter().map(|step| step.action.as_str()).collect();
    assert_eq!(steps, ["another run of the case, until its guest was lost, too", "lab: panic"]);
    assert_eq!(guests, 2);
}

#[test]
fn a_kernel_that_oopses() {
    let (report, guests) = contained("fault::oops", 60_000);
    assert!(crash(&report).contains("Kernel panic"), "{report:?}");
    // As x86 begins to say it, and as others do.
    let begins = |words: &&str| report.console.lines().next().is_some_and(|line| line.contains(words));
    assert!(["BUG:", "Unable to handle kernel"].iter().any(begins), "{}", report.console);
    assert_eq!(guests, 2);
}

#[test]
fn a_kernel_that_spins_with_interrupts_off() {
    let (report, guests) = contained("fault::spin", 5_000);
    assert_eq!(report.verdict, Verdict::Timeout { after_ms: 5_000 });
    assert!(report.console.contains("processor 0 stands "), "the kernel's function: {}", report.console);
    assert_eq!(guests, 2);
}

#[test]
fn a_case_that_hangs() {
    let (report, guests) = contained("fault::hang", 5_000);
    assert!(matches!(report.verdict, Verdict::Timeout { .. }), "{report:?}");
    assert!(report.console.contains(", and waits in "), "the kernel's function: {}", report.console);
    assert!(report.console.contains("nanosleep("), "the call that did not return: {}", report.console);
    assert_eq!(report.exchange.len(), 1, "what passed until then: {report:?}");
    assert_eq!(guests, 1, "the guest ends such a case by itself");
}

#[test]
fn a_kernel_that_warns() {
    let (report, guests) = contained("fault::warn", 60_000);
    let Verdict::Fail(mismatch) = &report.verdict else { panic!("{report:?}") };
    assert!(mismatch.got.starts_with("WARNING: CPU: 0 PID: 1 at lab/fault.c:1"), "{mismatch:?}");
    assert!(report.console.contains(&mismatch.got), "{}", report.console);
    assert_eq!(guests, 1);
}

#[test]
fn a_kernel_whose_checker_reports_once() {
    let (report, guests) = contained("fault::warn-once", 60_000);
    let Verdict::Fail(mismatch) = &report.verdict else { panic!("{report:?}") };
    assert!(mismatch.got.starts_with("BUG: KASAN:"), "{mismatch:?}");
    assert_eq!(guests, 2, "another case has a kernel that is watched");
    let (report, guests) = contained("fault::warn-once-and-die", 60_000);
    assert!(crash(&report).contains("SIGKILL"), "{report:?}");
    assert_eq!(guests, 2, "another case has a kernel that is watched");
}

#[test]
fn a_kernel_that_warns_of_netlink_while_it_boots() {
    let outcome = run_cases_with(
        "WARNING:netlink",
        &["fault::pass", "fault::kill-worker", "fault::pass"],
        60_000,
        |_| {},
    );
    let [first, _, last] = outcome.reports.try_into().unwrap();
    let Verdict::Fail(mismatch) = &first.verdict else { panic!("{first:?}") };
    assert_eq!(mismatch.what, "the kernel's log of the boot, before any case");
    assert_eq!(last.verdict, Verdict::Pass, "the boot is reported once, whatever becomes of the worker");
    let lost_first =
        run_cases_with("WARNING:netlink", &["fault::kill-worker", "fault::pass"], 60_000, |_| {});
    let [lost, after] = lost_first.reports.try_into().unwrap();
    assert!(lost.console.contains("WARNING:netlink"), "{}", lost.console);
    assert_eq!(after.verdict, Verdict::Pass);
    assert_eq!(outcome.notes.len() + lost_first.notes.len(), 0);
}

#[test]
fn a_kernel_whose_checker_reported_while_it_booted() {
    let outcome = run_cases_with("KASAN:driver", &["fault::pass"], 60_000, |_| {});
    assert_eq!(outcome.reports[0].verdict, Verdict::Pass, "a driver is not tested");
    let [note] = outcome.notes.try_into().unwrap();
    assert!(note.contains("watches no case") && note.contains("KASAN:driver"), "{note}");
}

#[test]
fn a_case_that_kills_its_process() {
    let (report, guests) = contained("fault::kill-child", 60_000);
    assert!(crash(&report).contains("SIGKILL"), "{report:?}");
    assert_eq!(guests, 1);
}

#[test]
fn a_case_that_kills_its_worker() {
    let (report, guests) = contained("fault::kill-worker", 60_000);
    assert!(crash(&report).contains("SIGKILL"), "{report:?}");
    assert_eq!(guests, 1);
}

#[test]
fn a_case_that_overflows_its_stack() {
    let (report, guests) = contained("fault::overflow", 60_000);
    assert!(crash(&report).contains("SIGSEGV"), "{report:?}");
    assert_eq!(guests, 1);
}

#[test]
fn a_case_that_leaves_a_thread() {
    let (report, guests) = contained("fault::leave-thread", 60_000);
    assert!(crash(&report).contains("status 1"), "{report:?}");
    assert_eq!(guests, 1);
}

#[test]
fn a_guest_that_ends_early() {
    let (report, guests) = contained("fault::exit-guest", 60_000);
    assert!(crash(&report).contains("the guest ended"), "{report:?}");
    assert_eq!(guests, 2);
}

#[test]
fn a_qemu_that_is_killed() {
    let outcome = run_cases(&["fault::pass", "fault::sleep", "fault::pass"], 60_000, |news| {
        if let News::Started { case, pid } = news
            && case == "fault::sleep"
        {
            kill(Pid::from_raw(*pid as i32), Signal::SIGKILL).unwrap();
        }
    });
    assert!(crash(&outcome.reports[1]).contains("was killed by signal 9"), "{:?}", outcome.reports);
    assert_eq!(outcome.guests, 2);
}

#[test]
fn garbage_on_the_channel() {
    let (report, guests) = contained("fault::garbage", 60_000);
    assert!(crash(&report).contains("this is no JSON"), "{report:?}");
    assert_eq!(guests, 2);
}

#[test]
fn half_a_line_on_the_channel() {
    let (report, guests) = contained("fault::half-line", 5_000);
    assert_eq!(report.verdict, Verdict::Timeout { after_ms: 5_000 });
    assert_eq!(guests, 2);
}

#[test]
fn a_line_without_end_on_the_channel() {
    let (report, guests) = contained("fault::long-line", 60_000);
    assert!(crash(&report).contains("a line of more than"), "{report:?}");
    assert_eq!(guests, 2);
}

#[test]
fn a_console_that_floods() {
    let (report, guests) = contained("fault::flood", 300_000);
    assert!(crash(&report).contains("Kernel panic"), "{report:?}");
    assert!(report.console.lines().count() <= 60, "the flood is kept out of the report");
    assert_eq!(guests, 2);
}

#[test]
fn a_probe_that_is_given_nonsense() {
    // Thousands of ioctls with random bytes, and with arguments that are valid except for one field.
    let (report, guests) = contained("fault::fuzz-probe", 300_000);
    assert!(matches!(report.verdict, Verdict::Pass | Verdict::Fail(_)), "{report:?}");
    // In one byte order the bytes make a family that generic netlink warns of, as requirements say it does.
    assert_eq!(splat::unannounced_by_any(&report.console), None, "{}", report.console);
    assert_eq!(guests, 1);
}

#[test]
fn a_guest_without_the_case_says_so() {
    let (report, guests) = contained("fault::unheard-of", 60_000);
    assert!(matches!(report.verdict, Verdict::Broken { .. }), "{report:?}");
    assert_eq!(guests, 1);
}

#[test]
fn a_hopeless_kernel_is_given_up() {
    ["fault::panic", "fault::warn-once"].into_iter().for_each(is_given_up);
}

fn is_given_up(fault: &str) {
    let plan = plan(&[fault; 9], 5_000);
    let mut lost = 0;
    let place = Place::Machine(BUILT.machine.clone());
    let error = run(&place, &plan, &Losses::at_most(2), &mut |news| {
        lost += u32::from(matches!(news, News::Finished(_)));
    });
    assert_eq!(lost, 2);
    let told = error.unwrap_err().to_string();
    assert!(
        told.contains("giving up: 2 guests lost to crashes,") && told.contains("7 cases have no verdict"),
        "{told}"
    );
}

#[test]
fn a_guest_that_never_gets_as_far_as_a_case_is_the_labs_failure() {
    // No init: the kernel panics if it finds none.
    let settings =
        Settings { append: "rdinit=/absent init=/absent".into(), ..BUILT.machine.settings.clone() };
    let machine = Machine { settings, ..BUILT.machine.clone() };
    let plan = plan(&["fault::pass"], 1_000);
    let error = run(&Place::Machine(machine), &plan, &Losses::at_most(100), &mut |news| {
        assert!(!matches!(news, News::Finished(_)))
    })
    .unwrap_err();
    assert!(format!("{error:#}").contains("Kernel panic"), "{error:#}");
}
