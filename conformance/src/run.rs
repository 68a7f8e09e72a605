//! One case, run and judged in this very process.

use std::panic::{self, AssertUnwindSafe};
use std::time::Instant;

use crate::bus::Bus;
use crate::cases::Case;
use crate::event::{Mismatch, Report, Verdict};
use crate::outcome::{Failure, Outcome};
use crate::spec::{self, Profile};
use crate::target::Target;

/// Runs `case` against `target`, judged by `profile`.
pub fn run(case: &Case, target: &dyn Target, profile: Profile) -> Report {
    let report = |verdict| Report {
        case: case.name.clone(),
        verdict,
        micros: 0,
        exchange: Vec::new(),
        console: String::new(),
    };
    if let Some(reason) = reason_to_skip(case, target, profile) {
        return report(Verdict::Skip { reason });
    }
    let start = Instant::now();
    let bus = Bus::new(target, profile, case.specification());
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| case.call(&bus))).unwrap_or_else(|_| {
        Err(Failure::Broken("the case panicked; its message is on standard error".into()))
    });
    let verdict = judge(case, profile, outcome);
    let exchange = match verdict {
        Verdict::Pass | Verdict::Skip { .. } => Vec::new(),
        _ => bus.journal().explain(),
    };
    // Undoing what the case made is part of its time.
    drop(bus);
    Report { micros: start.elapsed().as_micros() as u64, exchange, ..report(verdict) }
}

/// Why a case does not apply to a target, if it does not.
fn reason_to_skip(case: &Case, target: &dyn Target, profile: Profile) -> Option<String> {
    let capabilities = &target.identity().capabilities;
    for requirement in case.specification() {
        if !requirement.holds_for(profile.version) {
            let from = requirement.since.map(|version| format!(" from {version} on")).unwrap_or_default();
            let until = requirement.until.map(|version| format!(" before {version}")).unwrap_or_default();
            return Some(format!("{} holds{from}{until}, not for {profile}", requirement.id));
        }
        for need in &requirement.needs {
            match capabilities.get(need) {
                Some(None) => {}
                Some(Some(fact)) => return Some(format!("needs {need}: {fact}")),
                None => return Some(format!("needs {need}, which the target does not know")),
            }
        }
    }
    None
}

fn judge(case: &Case, profile: Profile, outcome: Outcome) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Pass,
        Err(Failure::Skip(reason)) => Verdict::Skip { reason },
        Err(Failure::Broken(reason)) => Verdict::Broken { reason },
        Err(Failure::Mismatch { requirement, what, expected, got }) => {
            let id = requirement.unwrap_or_else(|| case.requirements[0].into());
            let statement = spec::find(&id).map(|found| found.statement(profile.version)).unwrap_or_default();
            Verdict::Fail(Mismatch { requirement: id, statement, what, expected, got })
        }
    }
}
