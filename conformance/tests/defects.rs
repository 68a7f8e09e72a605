//! The suite tests itself: each case that the example bus passes must fail on a bus with some defect, and
//! each defect must be found by some case.

#[path = "../examples/bus/main.rs"]
#[allow(dead_code)] // its main() is for the other test
mod bus;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nlconform::cases::{self, Case};
use nlconform::event::Verdict;
use nlconform::inprocess::run_case;
use nlconform::spec::Profile;
use nlconform::target::Target;

use bus::{Defect, Netlink};

/// Time that a case has on a broken bus. Hanging is one way to notice.
const DEADLINE: Duration = Duration::from_secs(5);
/// Cases that run at once: most of those that fail wait for what does not come.
const THREADS: usize = 32;

/// Cases that no defect makes fail, and why.
const UNCAUGHT: &[(&str, &str)] = &[];

fn verdict(case: &'static Case, defect: Option<Defect>) -> Verdict {
    let make = Arc::new(move || Box::new(Netlink::new(defect)) as Box<dyn Target>);
    run_case(case, &make, Profile::newest(), DEADLINE).verdict
}

/// Does something for each of these, a few at a time, and gives what came of it.
fn each<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<(usize, T)> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    let result = work(item);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results
}

fn is_pass(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Pass)
}

/// The cases that the healthy bus passes.
fn passed() -> Vec<&'static Case> {
    let all: Vec<&'static Case> = cases::all().iter().collect();
    let verdicts = each(&all, |case| verdict(case, None));
    verdicts.into_iter().filter(|(_, verdict)| is_pass(verdict)).map(|(index, _)| all[index]).collect()
}

#[test]
fn each_case_finds_a_defect_and_each_defect_is_found() {
    // What a defect makes panic is told by the verdict.
    std::panic::set_hook(Box::new(|_| {}));
    let passed = passed();
    assert!(passed.len() > 300, "the healthy bus passes {} cases", passed.len());
    let mut found: BTreeMap<&str, Defect> = BTreeMap::new();
    let mut unfound = Vec::new();
    for defect in Defect::ALL {
        // A case that has proved itself need not do so again, unless nobody else finds the defect.
        let (proved, unproved): (Vec<&Case>, Vec<&Case>) =
            passed.iter().partition(|case| found.contains_key(case.name.as_str()));
        let failing = |cases: &[&'static Case]| -> Vec<&'static str> {
            let verdicts = each(cases, |case| verdict(case, Some(*defect)));
            let failed = verdicts.into_iter().filter(|(_, verdict)| !is_pass(verdict));
            failed.map(|(index, _)| cases[index].name.as_str()).collect()
        };
        let finders = failing(&unproved);
        if finders.is_empty() && failing(&proved).is_empty() {
            unfound.push(defect);
        }
        found.extend(finders.into_iter().map(|name| (name, *defect)));
    }
    println!("{} cases, {} defects", passed.len(), Defect::ALL.len());
    let excused = |name: &str| UNCAUGHT.iter().any(|(case, reason)| *case == name && !reason.is_empty());
    let blind: Vec<&str> = passed
        .iter()
        .map(|case| case.name.as_str())
        .filter(|name| !found.contains_key(name) && !excused(name))
        .collect();
    let needless: Vec<&str> =
        UNCAUGHT.iter().map(|(case, _)| *case).filter(|case| found.contains_key(case)).collect();
    assert!(blind.is_empty(), "{} cases find no defect: {blind:#?}", blind.len());
    assert!(needless.is_empty(), "these cases do find a defect: {needless:#?}");
    assert!(unfound.is_empty(), "no case finds these defects: {unfound:?}");
}
