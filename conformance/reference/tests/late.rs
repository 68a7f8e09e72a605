//! The suite assumes no answer to be there when the send of its request returns.

mod each;

use std::sync::Arc;
use std::time::Duration;

use nlconform::cases;
use nlconform::event::Verdict;
use nlconform::inprocess::run_case;
use nlconform::port::Target;
use nlconform::report::pretty::explain;
use nlconform::spec::Profile;

use each::each;
use nlconform_reference::{Netlink, Setup};

/// What is said of the moment of an answer, which cannot hold here.
const OF_THE_MOMENT: [&str; 2] = ["NL-SEND-009", "NL-DMP-004"];
/// Time that no case needs, however slow the machine is.
const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn what_is_answered_late_is_answered() {
    let setup = Setup { late: true, ..Setup::default() };
    let make = Arc::new(move || Box::new(Netlink::with(setup)) as Box<dyn Target>);
    let reports = each(&cases::all().iter().collect::<Vec<_>>(), |case| {
        run_case(case, &make, Profile::newest(), DEADLINE)
    });
    let well = |verdict: &Verdict| matches!(verdict, Verdict::Pass | Verdict::Skip { .. });
    let of_the_moment = |verdict: &Verdict| match verdict {
        Verdict::Fail(mismatch) => OF_THE_MOMENT.contains(&mismatch.requirement.as_str()),
        _ => false,
    };
    let wrong = reports.iter().filter(|report| !well(&report.verdict) && !of_the_moment(&report.verdict));
    let wrong: Vec<_> = wrong.collect();
    for report in &wrong {
        println!("{}", explain(report));
    }
    let names: Vec<_> = wrong.iter().map(|report| &report.case).collect();
    assert!(names.is_empty(), "{} cases: {names:#?}", names.len());
    let passed = reports.iter().filter(|report| report.verdict == Verdict::Pass).count();
    assert!(passed > 1000, "{passed} cases pass only");
}
