//! Runs and judges one case, in this process or in its own.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::cases::{self, Case};
use crate::client::Library;
use crate::event::{Exchange, Identity, Mismatch, Report, Verdict};
use crate::isolate::isolate;
use crate::outcome::{Failure, Outcome};
use crate::port::capability::Capability;
use crate::port::{Died, Inexpressible, Target};
use crate::scene::bus::Bus;
use crate::scene::client::Stage;
use crate::spec::{self, Profile};

/// Runs `case` against `target`, judged by `profile`, in a new process and, unless it needs the
/// initial one, in a new network namespace, with `deadline` to end. The caller must have only one
/// thread.
pub fn run_isolated(case: &Case, target: &dyn Target, profile: Profile, deadline: Duration) -> Report {
    // A process costs more than most cases.
    if let Some(reason) = reason_to_skip(case, target.identity(), profile) {
        return Report::new(&case.name, Verdict::Skip { reason });
    }
    isolate(&case.name, !case.traits.initial_net, deadline, || run(case, target, profile))
}

/// Runs `case` against `target`, judged by `profile`.
pub fn run(case: &Case, target: &dyn Target, profile: Profile) -> Report {
    run_with(case, target, None, profile)
}

/// Runs `case`: against `target`, or, if it is a scenario, against `library`, with `target` in the part of
/// the kernel. Judged by `profile`.
pub fn run_with(case: &Case, target: &dyn Target, library: Option<&Library>, profile: Profile) -> Report {
    let under_test = library.map_or(target.identity(), Library::identity);
    if let Some(reason) = reason_to_skip(case, under_test, profile) {
        return Report::new(&case.name, Verdict::Skip { reason });
    }
    let start = Instant::now();
    let caught = |call: &dyn Fn() -> Outcome| match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => judge(case, target.identity(), profile, outcome),
        Err(thrown) => thrown_by(thrown),
    };
    // What the case made is undone before the time is taken: that is part of it.
    let (exchange, verdict) = match (&case.run, library) {
        (cases::Run::Target(run), _) => {
            let bus = Bus::new(target, profile, case.specification());
            let verdict = caught(&|| run(&bus));
            (exchange(&verdict, &bus), verdict)
        }
        (cases::Run::Client(run), Some(library)) => {
            let stage = Stage::new(target, library, profile, case.specification());
            let verdict = caught(&|| run(&stage));
            (exchange(&verdict, stage.bus()), verdict)
        }
        (cases::Run::Client(_), None) => {
            let reason = "a scenario judges a client library, and there is none".to_owned();
            (Vec::new(), Verdict::Broken { reason })
        }
    };
    let micros = start.elapsed().as_micros() as u64;
    let known = known_bug(&verdict, target.identity());
    Report { micros, exchange, known, ..Report::new(&case.name, verdict) }
}

/// What passed, where that explains a verdict.
fn exchange(verdict: &Verdict, bus: &Bus<'_>) -> Vec<Exchange> {
    match verdict {
        Verdict::Pass | Verdict::Skip { .. } => Vec::new(),
        _ => bus.journal().explain(),
    }
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
