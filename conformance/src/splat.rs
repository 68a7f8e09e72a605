//! What a kernel prints when something is wrong with it ([`signs`](crate::signs)). During a case it fails the
//! case, unless the case's requirements say that the kernel warns of just this, or it is known of this Linux
//! ([`reports`]).

use std::sync::LazyLock;

use nix::sys::utsname::uname;

use crate::cases::Case;
use crate::event::{Mismatch, Report, Verdict};
use crate::signs::{is_last_word, is_sign};
use crate::spec::{self, Profile, Version, reports};

/// Threads that do what others have caused, some time ago.
const LATE: [&str; 5] = ["Comm: kworker/", "Comm: swapper", "Comm: ksoftirqd", "Comm: rcu", "Workqueue:"];

/// The version of the kernel that this runs on, which is the one that writes the log.
pub fn running() -> Version {
    static RUNNING: LazyLock<Version> = LazyLock::new(|| {
        let release = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
        release.parse().unwrap_or(Profile::newest().version)
    });
    *RUNNING
}

/// What a log has from each sign of trouble to the next.
fn splats(log: &str) -> impl Iterator<Item = &str> {
    let at = |line: &str| line.as_ptr() as usize - log.as_ptr() as usize;
    let starts: Vec<usize> = log.lines().filter(|line| is_sign(line)).map(at).collect();
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([log.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &log[start..end])
}

/// The splats in a log of a Linux of this version that are neither announced, as a warning of one of these files, nor
/// known.
fn news<'a>(log: &'a str, version: Version, warns: &[&String]) -> impl Iterator<Item = &'a str> {
    let is_announced = move |splat: &str| {
        let line = splat.lines().next().unwrap_or_default();
        line.contains("WARNING:") && warns.iter().any(|file| line.contains(&format!("{file}:")))
    };
    splats(log).filter(move |splat| !is_announced(splat) && !is_known(splat, version))
}

/// Whether a Linux of this version is known to make this report, which begins with its sign.
pub fn is_known(report: &str, version: Version) -> bool {
    reports::all().iter().any(|known| known.is(report) && known.holds_for(version))
}

/// The line of a log with which a checker of the kernel began its only report: it says nothing more, so that only
/// another guest is watched as well as this one was.
pub fn last_word(log: &str) -> Option<&str> {
    log.lines().find(|line| is_last_word(line))
}

/// The files of which some requirement announces warnings.
fn announced_by_any() -> Vec<&'static String> {
    spec::all().flat_map(|requirement| &requirement.warns).collect()
}

/// The first line of trouble in the log of the running kernel that no requirement announces.
pub fn unannounced_by_any(log: &str) -> Option<&str> {
    news(log, running(), &announced_by_any()).next()?.lines().next()
}

/// How the lines of a splat name what the suite tests.
const TESTED: [&str; 6] = ["netlink", "genl", "nla_", " cn_", "proc_exit_connector", "drivers/connector/"];

/// Of the log of a boot, the first trouble that no requirement announces and that names netlink's code. What else is
/// wrong with a kernel or its machine is ignored.
pub fn of_netlink(log: &str) -> &str {
    let names_it = |splat: &&str| TESTED.iter().any(|name| splat.contains(name));
    news(log, running(), &announced_by_any()).find(names_it).unwrap_or_default()
}

/// Takes what the kernel has logged since the case began into its report, and fails the case for a
/// splat. `when` says when it was logged, such as `while the case ran`.
pub fn judge(report: &mut Report, case: Option<&Case>, profile: Profile, log: &str, when: &str) {
    report.console.push_str(log);
    if !matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. }) {
        return;
    }
    let requirements = case.map(Case::specification).unwrap_or_default();
    let warns: Vec<_> = requirements.iter().flat_map(|requirement| &requirement.warns).collect();
    let Some(splat) = news(log, running(), &warns).next() else { return };
    let mut what = format!("the kernel's log {when}");
    if LATE.iter().any(|thread| log.contains(thread)) {
        what += " (printed by a thread of the kernel, so that an earlier case may be the cause)";
    }
    let requirement = requirements.first();
    report.verdict = Verdict::Fail(Mismatch {
        requirement: requirement.map(|requirement| requirement.id.clone()).unwrap_or_default(),
        statement: requirement.map(|requirement| requirement.statement(profile.version)).unwrap_or_default(),
        what,
        expected: "no warning, BUG or other splat".to_owned(),
        got: splat.lines().next().unwrap_or_default().trim().to_owned(),
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
        let screen =
            "WARNING: CPU: 0 PID: 1 at drivers/gpu/drm/drm_connector.c:1\n drm_connector_init+0x1/0x2\n";
        assert_eq!(of_netlink(screen), "");
        assert_eq!(of_netlink(&format!("{screen}{splat}")), splat);
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

    /// What is news in this log of a Linux of this version.
    fn found(version: Version, log: &str) -> Option<&str> {
        news(log, version, &[]).next()?.lines().next()
    }

    const NEW: Version = Version(7, 3);
    const OLD: Version = Version(6, 12);

    #[test]
    fn a_race_that_is_known_fails_no_case() {
        let race = |functions: &str| format!("BUG: KCSAN: data-race in {functions}\n");
        let origin =
            |access| format!("\nrace at unknown origin, with {access} to 0xff of 8 bytes by task 9\n");
        let exit = race("proc_exit_connector+0x4d/0x1a0");
        let known = format!("{exit}{}", origin("read"));
        assert_eq!(found(NEW, &known), None);
        assert_eq!(found(NEW, &format!("{exit}{}", origin("write"))), Some(exit.trim()));
        let pair = race("netlink_connect / sk_diag_fill.constprop.0");
        assert_eq!(found(OLD, &pair), None);
        let other = race("proc_exit_connector / netlink_bind");
        assert_eq!(found(NEW, &other), Some(other.trim()));
        let both = known + &pair + &race("netlink_bind / netlink_getname");
        assert!(found(NEW, &both).unwrap().ends_with("netlink_bind / netlink_getname"));
    }

    #[test]
    fn an_order_of_locks_that_is_known_blinds_and_fails_no_case() {
        let report = |chain: &str| {
            format!(
                "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected\nChain exists of:\\x0a  {chain}\\x0a\n"
            )
        };
        let known = report("interrupts_lock --> nl_table_lock --> clock-AF_NETLINK");
        assert_eq!(found(OLD, &known), None);
        assert!(last_word(&known).is_some());
        // Linux takes no such lock any more.
        assert!(found(NEW, &known).unwrap().ends_with("lock order detected"));
        let other = report("interrupts_lock --> nl_table_lock --> slock-AF_NETLINK");
        assert!(found(OLD, &other).unwrap().ends_with("lock order detected"));
        // It is one report that is known.
        assert!(found(OLD, &format!("{other}{known}")).is_some());
        let both = format!("{known}BUG: sleeping function called from invalid context at mm/slab.h:1\n");
        assert!(found(OLD, &both).unwrap().starts_with("BUG: sleeping"));
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
