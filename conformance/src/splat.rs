//! What a kernel prints when something is wrong with it ([`signs`](crate::signs)). During a case it fails the
//! case, unless the case's requirements say that the kernel warns of just this.

use crate::cases::Case;
use crate::event::{Mismatch, Report, Verdict};
use crate::signs::{is_known_order, is_last_word, is_sign};
use crate::spec::{self, Profile};

/// Threads that do what others have caused, some time ago.
const LATE: [&str; 5] = ["Comm: kworker/", "Comm: swapper", "Comm: ksoftirqd", "Comm: rcu", "Workqueue:"];

/// The lines of a log that begin a splat.
fn signs(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter(move |line| is_sign(line) && !is_known_order(line, log))
}

/// The line of a log with which a checker of the kernel began its only report: it says nothing more, so that only
/// another guest is watched as well as this one was.
pub fn last_word(log: &str) -> Option<&str> {
    log.lines().find(|line| is_last_word(line))
}

/// The first line of trouble in a log that none of the case's requirements announces.
fn unannounced<'a>(case: Option<&Case>, log: &'a str) -> Option<&'a str> {
    let requirements = case.map(Case::specification).unwrap_or_default();
    let is_announced = |line: &str| {
        let mut files = requirements.iter().flat_map(|requirement| &requirement.warns);
        line.contains("WARNING:") && files.any(|file| line.contains(&format!("{file}:")))
    };
    signs(log).find(|line| !is_announced(line))
}

/// The first line of trouble in a log that no requirement announces.
pub fn unannounced_by_any(log: &str) -> Option<&str> {
    let announced = |line: &str| {
        let mut files = spec::all().flat_map(|requirement| &requirement.warns);
        line.contains("WARNING:") && files.any(|file| line.contains(&format!("{file}:")))
    };
    signs(log).find(|line| !announced(line))
}

/// How the lines of a splat name what the suite tests.
const TESTED: [&str; 5] = ["netlink", "genl", "nla_", "connector", "cn_proc"];

/// Of the log of a boot, the first trouble that no requirement announces and what follows it, if it names netlink's
/// code. What else is wrong with a kernel or its machine is none of the suite's business.
pub fn of_netlink(log: &str) -> &str {
    let start = unannounced_by_any(log).and_then(|line| log.find(line)).unwrap_or(log.len());
    let trouble = &log[start..];
    if TESTED.iter().any(|name| trouble.contains(name)) { trouble } else { "" }
}

/// Takes what the kernel has logged since the case began into its report, and fails the case for a
/// splat. `when` says when it was logged, such as `while the case ran`.
pub fn judge(report: &mut Report, case: Option<&Case>, profile: Profile, log: &str, when: &str) {
    report.console.push_str(log);
    if !matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. }) {
        return;
    }
    let Some(splat) = unannounced(case, log) else { return };
    let mut what = format!("the kernel's log {when}");
    if LATE.iter().any(|thread| log.contains(thread)) {
        what += " (printed by a thread of the kernel, so that an earlier case may be the cause)";
    }
    let requirement = case.and_then(|case| case.specification().into_iter().next());
    report.verdict = Verdict::Fail(Mismatch {
        requirement: requirement.map(|requirement| requirement.id.clone()).unwrap_or_default(),
        statement: requirement.map(|requirement| requirement.statement(profile.version)).unwrap_or_default(),
        what,
        expected: "no warning, BUG or other splat".to_owned(),
        got: splat.trim().to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    fn judged(case: Option<&Case>, log: &str) -> Report {
        let mut report = Report::new("a::b", Verdict::Pass);
        judge(&mut report, case, Profile::newest(), log, "while the case ran");
        report
    }

    fn got(report: &Report) -> &str {
        match &report.verdict {
            Verdict::Fail(mismatch) => &mismatch.got,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_splat_fails_the_case_and_a_notice_does_not() {
        let notice = "netlink: 3 bytes leftover after parsing attributes in process `init'.\n";
        assert_eq!(judged(None, notice).verdict, Verdict::Pass);
        assert_eq!(judged(None, notice).console, notice);
        let splat = "------------[ cut here ]------------\nrefcount_t: underflow; use-after-free.\n\
                     WARNING: CPU: 0 PID: 1 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110\n";
        let report = judged(None, splat);
        assert_eq!(got(&report), "refcount_t: underflow; use-after-free.");
        assert_eq!(report.console, splat);
    }

    #[test]
    fn only_netlinks_trouble_counts_before_the_first_case() {
        let noise = "netlink: hello\nspeculation mitigated\n";
        let splat = "WARNING: suspicious RCU usage\nnet/netlink/genetlink.c:1995 RCU-list traversed\n";
        assert_eq!(of_netlink(&format!("{noise}{splat}")), splat);
        assert_eq!(of_netlink("WARNING: CPU: 0 PID: 1 at drivers/pci/msi.c:1\n"), "");
        assert_eq!(of_netlink(noise), "");
    }

    #[test]
    fn a_warning_that_the_requirement_announces_is_none() {
        let warns =
            |case: &&Case| case.specification().iter().any(|requirement| !requirement.warns.is_empty());
        let case = cases::all().iter().find(warns).expect("some requirement announces a warning");
        let file = case.specification().into_iter().find_map(|requirement| requirement.warns.first());
        let announced = format!("WARNING: CPU: 0 PID: 1 at {}:576 f+0x1/0x2\n", file.unwrap());
        assert_eq!(judged(Some(case), &announced).verdict, Verdict::Pass);
        let both = format!("{announced}BUG: sleeping function called from invalid context at mm/slab.h:1\n");
        assert!(got(&judged(Some(case), &both)).starts_with("BUG: sleeping"));
        assert!(got(&judged(None, &announced)).starts_with("WARNING:"));
    }

    #[test]
    fn a_race_of_a_healthy_kernel_is_none_of_the_cases() {
        let race = |functions: &str| format!("BUG: KCSAN: data-race in {functions}\n");
        let known = race("proc_exit_connector+0x4d/0x1a0");
        assert_eq!(judged(None, &known).verdict, Verdict::Pass);
        let pair = race("netlink_connect / sk_diag_fill.constprop.0");
        assert_eq!(judged(None, &pair).verdict, Verdict::Pass);
        assert_eq!(judged(None, &race("netlink_connect / sk_diag_fill")).verdict, Verdict::Pass);
        let other = "proc_exit_connector / netlink_bind";
        assert!(got(&judged(None, &race(other))).ends_with(other));
        let both = known + &pair + &race("netlink_bind / netlink_getname");
        assert!(got(&judged(None, &both)).ends_with("netlink_bind / netlink_getname"));
    }

    #[test]
    fn an_order_of_locks_that_is_known_blinds_and_fails_no_case() {
        let report = |chain: &str| {
            format!(
                "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected\nChain exists of:\\x0a  {chain}\\x0a\n"
            )
        };
        let known = report("interrupts_lock --> nl_table_lock --> clock-AF_NETLINK");
        assert_eq!(judged(None, &known).verdict, Verdict::Pass);
        assert!(last_word(&known).is_some());
        let other = report("interrupts_lock --> nl_table_lock --> slock-AF_NETLINK");
        assert!(got(&judged(None, &other)).ends_with("lock order detected"));
        let both = format!("{known}BUG: sleeping function called from invalid context at mm/slab.h:1\n");
        assert!(got(&judged(None, &both)).starts_with("BUG: sleeping"));
        assert_eq!(last_word("BUG: sleeping function called from invalid context at mm/slab.h:1\n"), None);
    }

    #[test]
    fn what_a_thread_of_the_kernel_prints_may_be_late() {
        let log = "BUG: KASAN: slab-use-after-free in f\nCPU: 0 PID: 9 Comm: kworker/0:1\n";
        let report = judged(None, log);
        let Verdict::Fail(mismatch) = &report.verdict else { panic!("{report:?}") };
        assert!(mismatch.what.contains("earlier case"), "{}", mismatch.what);
    }

    #[test]
    fn another_verdict_stays() {
        let mut report = Report::new("a::b", Verdict::Timeout { after_ms: 1 });
        judge(&mut report, None, Profile::newest(), "BUG: x\n", "while the case ran");
        assert_eq!(report.verdict, Verdict::Timeout { after_ms: 1 });
        assert_eq!(report.console, "BUG: x\n");
    }
}
