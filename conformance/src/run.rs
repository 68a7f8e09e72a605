//! Runs and judges one case, in this process or in its own.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::cases::{self, Case};
use crate::event::{Mismatch, Report, Stated, Verdict};
use crate::isolate::isolate;
use crate::outcome::{Failure, Outcome};
use crate::port::capability::Capability;
use crate::port::{Died, Target};
use crate::scene::bus::Bus;
use crate::spec::{self, Profile};
use crate::splat;

/// Runs `case` against `target`, judged by `profile`, in a new process and, unless it needs the
/// initial one, in a new network namespace, with `deadline` to end. The caller must have only one
/// thread.
pub fn run_isolated(case: &Case, target: &dyn Target, profile: Profile, deadline: Duration) -> Report {
    // A process costs more than most cases.
    if let Some(reason) = reason_to_skip(case, target, profile) {
        return Report::new(&case.name, Verdict::Skip { reason });
    }
    let report = isolate(&case.name, !case.traits.initial_net, deadline, || run(case, target, profile));
    state(report, profile)
}

/// Runs `case` against `target`, judged by `profile`.
pub fn run(case: &Case, target: &dyn Target, profile: Profile) -> Report {
    run_watched(case, target, profile, &mut String::new)
}

/// The same on a target whose kernel's log can be read: `log` takes what it has said since the last
/// call. A splat fails the case.
pub fn run_watched(
    case: &Case,
    target: &dyn Target,
    profile: Profile,
    log: &mut dyn FnMut() -> String,
) -> Report {
    if let Some(reason) = reason_to_skip(case, target, profile) {
        return Report::new(&case.name, Verdict::Skip { reason });
    }
    let start = Instant::now();
    let bus = Bus::new(target, profile, case.specification());
    let verdict = match panic::catch_unwind(AssertUnwindSafe(|| case.call(&bus))) {
        Ok(outcome) => judge(case, target, profile, outcome),
        Err(thrown) => match thrown.downcast::<Died>() {
            Ok(died) => Verdict::Crash { reason: died.0 },
            Err(_) => {
                Verdict::Broken { reason: "the case panicked; its message is on standard error".into() }
            }
        },
    };
    let journal = bus.journal().clone();
    // Undoing what the case made is part of its time, and the kernel may warn of it.
    drop(bus);
    let mut report = Report::new(&case.name, verdict);
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

/// Why a case does not apply to a target, if it does not.
pub fn reason_to_skip(case: &Case, target: &dyn Target, profile: Profile) -> Option<String> {
    for requirement in case.specification() {
        if !requirement.holds_for(profile.version) {
            let from = requirement.since.map(|version| format!(" from {version} on")).unwrap_or_default();
            let until = requirement.until.map(|version| format!(" before {version}")).unwrap_or_default();
            return Some(format!("{} holds{from}{until}, not for {profile}", requirement.id));
        }
    }
    case.traits.parallel.then(|| target.identity().lacks(Capability::ParallelCalls)).flatten()
}

fn judge(case: &Case, target: &dyn Target, profile: Profile, outcome: Outcome) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Pass,
        Err(Failure::Unexpected(errno)) => unexpected(Errno::from_raw(errno), target),
        Err(Failure::Skip(reason)) => Verdict::Skip { reason },
        Err(Failure::Broken(reason)) => Verdict::Broken { reason },
        Err(Failure::Mismatch { requirement, what, expected, got }) => {
            let id = requirement.unwrap_or_else(|| case.requirements[0].into());
            let statement = spec::find(&id).map(|found| found.statement(profile.version)).unwrap_or_default();
            Verdict::Fail(Mismatch { requirement: id, statement, what, expected, got })
        }
    }
}

/// The verdict for a preparatory call that failed: it is skipped if the target lacks the protocol or
/// the caller lacks privileges.
fn unexpected(errno: Errno, target: &dyn Target) -> Verdict {
    match (errno, target.identity().lacks(Capability::NetAdmin)) {
        (Errno::EPROTONOSUPPORT, _) => {
            let reason = "its preparation opens a protocol that the target does not have (EPROTONOSUPPORT)";
            Verdict::Skip { reason: reason.into() }
        }
        (Errno::EPERM | Errno::EACCES, Some(reason)) => {
            Verdict::Skip { reason: format!("its preparation fails with {errno:?}: {reason}") }
        }
        _ => Verdict::Broken { reason: format!("unexpected {errno:?}") },
    }
}
