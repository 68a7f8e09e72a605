//! The suite tests itself: each case that the reference implementation passes must fail with some defect.

mod each;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nlconform::cases::{self, Case};
use nlconform::event::Verdict;
use nlconform::inprocess::run_case;
use nlconform::port::Target;
use nlconform::spec::Profile;

use each::{each, lock};
use nlconform_reference::{Defect, Netlink};

/// Time that a case has on a broken bus. Hanging is one way to notice.
const DEADLINE: Duration = Duration::from_secs(5);
/// Time that a case which ran into its deadline has once more, when most of those that run with it hang: on a busy host it
/// may have been late.
const ONCE_MORE: Duration = Duration::from_secs(30);
/// The same on one that is not: more than any needs, however slow the machine is.
const LONG: Duration = Duration::from_secs(120);

fn verdict(case: &'static Case, defect: Option<Defect>, deadline: Duration) -> Verdict {
    let make = Arc::new(move || Box::new(Netlink::new(defect)) as Box<dyn Target>);
    run_case(case, &make, Profile::newest(), deadline).verdict
}

/// How a case noticed a defect.
#[derive(Clone, Copy)]
struct Finding {
    defect: Defect,
    /// Only by running into its deadline.
    is_late: bool,
}

/// The first of these that the case notices.
fn first(case: &'static Case, defects: impl IntoIterator<Item = Defect>) -> Option<Finding> {
    defects.into_iter().find_map(|defect| match verdict(case, Some(defect), DEADLINE) {
        Verdict::Pass => None,
        verdict => Some(Finding { defect, is_late: matches!(verdict, Verdict::Timeout { .. }) }),
    })
}

/// For each topic the defects in the order in which they are tried: what one case found is likely to be
/// found by its neighbours.
#[derive(Default)]
struct Order(Mutex<BTreeMap<String, Vec<Defect>>>);

impl Order {
    fn topic(case: &Case) -> String {
        case.name.split("::").take(2).collect::<Vec<_>>().join("::")
    }

    fn of(&self, case: &Case) -> Vec<Defect> {
        lock(&self.0).get(&Order::topic(case)).cloned().unwrap_or_else(|| Defect::ALL.to_vec())
    }

    fn found(&self, case: &Case, defect: Defect) {
        let mut orders = lock(&self.0);
        let order = orders.entry(Order::topic(case)).or_insert_with(|| Defect::ALL.to_vec());
        if let Some(at) = order.iter().position(|other| *other == defect) {
            order[..=at].rotate_right(1);
        }
    }
}

#[test]
fn each_case_finds_a_defect() {
    // If a defect makes a case panic, the verdict says so.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let all: Vec<&'static Case> = cases::all().iter().collect();
    let healthy = each(&all, |case| verdict(case, None, LONG) == Verdict::Pass);
    let passed: Vec<_> =
        all.iter().zip(healthy).filter(|(_, passed)| *passed).map(|(case, _)| *case).collect();

    let order = Order::default();
    let findings = each(&passed, |case| {
        let found = first(case, order.of(case));
        if let Some(finding) = found {
            order.found(case, finding.defect);
        }
        found
    });
    let tried: Vec<_> = passed.iter().copied().zip(findings).collect();
    let findings = each(&tried, |(case, found)| match found {
        Some(Finding { defect, is_late: true }) => {
            (verdict(case, Some(*defect), ONCE_MORE) != Verdict::Pass).then_some(*defect)
        }
        found => found.map(|finding| finding.defect),
    });
    // On a busy host a call can be so late that it seems to wait, and two threads may not meet: who has found nothing
    // may try again, alone.
    let try_all =
        |case: &'static Case| first(case, Defect::ALL.iter().copied()).map(|finding| finding.defect);
    let alone = |case: &'static Case| (0..3).find_map(|_| try_all(case));
    let findings: Vec<_> =
        passed.iter().zip(findings).map(|(case, found)| found.or_else(|| alone(case))).collect();
    let blind: Vec<_> = passed
        .iter()
        .zip(&findings)
        .filter(|(_, found)| found.is_none())
        .map(|(case, _)| &case.name)
        .collect();
    let finders: BTreeSet<_> = findings.iter().flatten().collect();
    let late = tried.iter().filter(|(_, found)| found.is_some_and(|finding| finding.is_late)).count();
    println!("{late} cases ran into their deadline");
    println!("{} cases, {} defects tried, {} needed", passed.len(), Defect::ALL.len(), finders.len());
    std::panic::set_hook(hook);
    assert!(blind.is_empty(), "{} cases find no defect: {blind:#?}", blind.len());
    assert!(passed.len() > 1000, "the healthy bus passes {} cases only", passed.len());
}

#[test]
fn parallel_ops_that_do_nothing_leave_other_families_serial() {
    let serial =
        cases::all().iter().filter(|case| case.name.contains("::request_waits_for_another_request::"));
    let serial: Vec<_> = serial.collect();
    assert!(!serial.is_empty());
    assert!(
        serial.into_iter().all(|case| verdict(case, Some(Defect::ParallelIsSerial), LONG) == Verdict::Pass)
    );
}
