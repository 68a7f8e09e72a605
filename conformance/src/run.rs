//! Runs and judges one case, in this process or in its own.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::cases::{self, Case};
use crate::client::Library;
use crate::event::{Identity, Mismatch, Report, Stated, Verdict};
use crate::isolate::isolate;
use crate::journal::Journal;
use crate::journal::black_box::{self, BlackBox};
use crate::outcome::{Failure, Outcome};
use crate::port::capability::Capability;
use crate::port::{Died, Inexpressible, Target};
use crate::scene::bus::Bus;
use crate::scene::client::Stage;
use crate::spec::{self, Profile};
use crate::splat;

/// Runs `case` against `target`, judged by `profile`, in a new process and, unless it needs the
/// initial one, in a new network namespace, with `deadline` to end. The caller must have only one
/// thread.
pub fn run_isolated(case: &Case, target: &dyn Target, profile: Profile, deadline: Duration) -> Report {
    // A process costs more than most cases.
    if let Some(reason) = reason_to_skip(case, target.identity(), profile) {
        return Report::new(&case.name, Verdict::Skip { reason });
    }
    let exchange = black_box::keep().ok();
    exchange.inspect(|exchange| exchange.clear());
    let mut report = isolate(&case.name, !case.traits.initial_net, deadline, || run(case, target, profile));
    if report.exchange.is_empty() && matches!(report.verdict, Verdict::Crash { .. } | Verdict::Timeout { .. })
    {
        report.exchange = exchange.map(BlackBox::explain).unwrap_or_default();
    }
    state(report, profile)
}

/// Runs `case` against `target`, judged by `profile`.
pub fn run(case: &Case, target: &dyn Target, profile: Profile) -> Report {
    run_watched(case, target, None, profile, &mut String::new)
}

/// Runs `case`: against `target`, or, if it is a scenario, against `library`, with `target` in the part of
/// the kernel. Judged by `profile`. `log` takes what the target's kernel has logged since the last call: a
/// splat there fails the case.
pub fn run_watched(
    case: &Case,
    target: &dyn Target,
    library: Option<&Library>,
    profile: Profile,
    log: &mut dyn FnMut() -> String,
) -> Report {
    let under_test = library.map_or(target.identity(), Library::identity);
    if let Some(reason) = reason_to_skip(case, under_test, profile) {
        return Report::new(&case.name, Verdict::Skip { reason });
    }
    let start = Instant::now();
    let caught = |call: &dyn Fn() -> Outcome| match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => judge(case, target.identity(), profile, outcome),
        Err(thrown) => thrown_by(thrown),
    };
    // What the case made is undone before the time is taken: that is part of it, and the kernel may warn of it.
    let (journal, verdict) = match (&case.run, library) {
        (cases::Run::Target(run), _) => {
            let bus = Bus::new(target, profile, case.specification());
            let verdict = caught(&|| run(&bus));
            (bus.journal().clone(), verdict)
        }
        (cases::Run::Client(run), Some(library)) => {
            let stage = Stage::new(target, library, profile, case.specification());
            let verdict = caught(&|| run(&stage));
            (stage.bus().journal().clone(), verdict)
        }
        (cases::Run::Client(_), None) => {
            let reason = "a scenario judges a client library, and there is none".to_owned();
            (Journal::default(), Verdict::Broken { reason })
        }
    };
    let known = known_bug(&verdict, target.identity());
    let mut report = Report { known, ..Report::new(&case.name, verdict) };
    splat::judge(&mut report, Some(case), profile, &log(), "while the case ran");
    if !matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. }) {
        report.exchange = journal.explain();
    }
    Report { micros: start.elapsed().as_micros() as u64, ..state(report, profile) }
}

/// Adds to a report what the case was to check, where its verdict does not say so.
pub fn state(mut report: Report, profile: Profile) -> Report {
    if matches!(report.verdict, Verdict::Crash { .. } | Verdict::Timeout { .. } | Verdict::Broken { .. }) {
        let requirements = cases::find(&report.case).map(Case::specification).unwrap_or_default();
        let stated = requirements.into_iter().map(|requirement| Stated {
            requirement: requirement.id.clone(),
            statement: requirement.statement(profile.version),
        });
        report.requirements = stated.collect();
    }
    report
}

/// Why a case does not apply to what is under test, if it does not.
pub fn reason_to_skip(case: &Case, under_test: &Identity, profile: Profile) -> Option<String> {
    for requirement in case.specification() {
        if !requirement.holds_for(profile.version) {
            let from = requirement.since.map(|version| format!(" from {version} on")).unwrap_or_default();
            let until = requirement.until.map(|version| format!(" before {version}")).unwrap_or_default();
            return Some(format!("{} holds{from}{until}, not for {profile}", requirement.id));
        }
        if let Some(reason) = requirement.needs.iter().find_map(|need| under_test.lacks(need)) {
            return Some(reason);
        }
    }
    case.traits.parallel.then(|| under_test.lacks(Capability::ParallelCalls)).flatten()
}

/// What is said of a failure that is a known bug of this release of Linux.
fn known_bug(verdict: &Verdict, target: &Identity) -> Option<String> {
    let Verdict::Fail(mismatch) = verdict else { return None };
    spec::find(&mismatch.requirement)?.bug_of(&target.version)
}

/// What is said of a case that a panic has ended.
fn thrown_by(thrown: Box<dyn Any + Send>) -> Verdict {
    if let Some(Died(reason)) = thrown.downcast_ref() {
        return Verdict::Crash { reason: reason.clone() };
    }
    if let Some(Inexpressible(reason)) = thrown.downcast_ref() {
        return Verdict::Skip { reason: reason.clone() };
    }
    Verdict::Broken { reason: "the case panicked; its message is on standard error".into() }
}

fn judge(case: &Case, target: &Identity, profile: Profile, outcome: Outcome) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Pass,
        Err(Failure::Unexpected(errno)) => unexpected(Errno::from_raw(errno), target),
        Err(Failure::Skip(reason)) => Verdict::Skip { reason },
        Err(Failure::Broken(reason)) => Verdict::Broken { reason },
        Err(Failure::Crash(reason)) => Verdict::Crash { reason },
        Err(Failure::Timeout(after_ms)) => Verdict::Timeout { after_ms },
        Err(Failure::Mismatch { requirement, what, expected, got }) => {
            let id = requirement.unwrap_or_else(|| case.requirements[0].into());
            let statement = spec::find(&id).map(|found| found.statement(profile.version)).unwrap_or_default();
            Verdict::Fail(Mismatch { requirement: id, statement, what, expected, got })
        }
    }
}

/// The verdict for a preparatory call that failed: it is skipped if the target lacks the protocol or
/// the caller lacks privileges.
fn unexpected(errno: Errno, target: &Identity) -> Verdict {
    match (errno, target.lacks(Capability::NetAdmin)) {
        (Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT, _) => {
            let reason =
                format!("its preparation opens a protocol that the target does not have ({errno:?})");
            Verdict::Skip { reason }
        }
        (Errno::EPERM | Errno::EACCES, Some(reason)) => {
            Verdict::Skip { reason: format!("its preparation fails with {errno:?}: {reason}") }
        }
        _ => Verdict::Broken { reason: format!("unexpected {errno:?}") },
    }
}
