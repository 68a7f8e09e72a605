//! Memory that the kernel has lost: kmemleak, where the kernel has it.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nlconform::spec::Version;
use nlconform::{cases, splat};

const FILE: &str = "/sys/kernel/debug/kmemleak";
/// What is younger than 5 seconds (MSECS_MIN_AGE in mm/kmemleak.c) may still be on its way.
const AGE: Duration = Duration::from_millis(5_200);
/// How a report on one object begins.
const SIGN: &str = "unreferenced object";

/// Forgets what was lost until now, so that only what the suite loses is reported.
pub fn forget() -> Result<()> {
    if Path::new(FILE).exists() {
        fs::write(FILE, "clear").with_context(|| format!("writing to {FILE}"))?;
    }
    Ok(())
}

/// Has kmemleak look twice, because it distrusts what has changed since the last time. Returns what it
/// reports, each object with its stack and with the case that allocated it: `case_of` says to which one a process
/// belongs.
pub fn look<'a>(case_of: impl Fn(i32) -> Option<&'a str>) -> Result<String> {
    if !Path::new(FILE).exists() {
        return Ok(String::new());
    }
    sleep(AGE);
    for _ in 0..2 {
        fs::write(FILE, "scan").with_context(|| format!("writing to {FILE}"))?;
    }
    let report = fs::read_to_string(FILE).with_context(|| format!("reading {FILE}"))?;
    Ok(explain(&report, splat::running(), case_of))
}

fn explain<'a>(report: &str, version: Version, case_of: impl Fn(i32) -> Option<&'a str>) -> String {
    let mut objects: Vec<String> = Vec::new();
    for line in report.split_inclusive('\n') {
        match objects.last_mut() {
            Some(object) if !line.starts_with(SIGN) => *object += line,
            _ => objects.push(line.to_owned()),
        }
    }
    objects
        .iter()
        .filter_map(|object| explain_object(object, version, object.lines().find_map(pid).and_then(&case_of)))
        .collect()
}

/// An object with the case that allocated it; nothing if a Linux of this version is known to lose it in that case.
fn explain_object(object: &str, version: Version, case: Option<&str>) -> Option<String> {
    let loses = case.and_then(cases::find).is_some_and(|case| case.traits.loses);
    if loses && splat::is_known(object, version) {
        return None;
    }
    let sign = if object.starts_with(SIGN) { String::new() } else { format!("{SIGN}\n") };
    Some(format!("{sign}{object}  allocated by {}\n", case.unwrap_or("another process than a case")))
}

/// The process ID of a line such as `  comm "init", pid 56, jiffies 4294892345`.
fn pid(line: &str) -> Option<i32> {
    let (_, rest) = line.trim_start().strip_prefix("comm ")?.split_once(", pid ")?;
    rest.split(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: Version = Version(6, 12);

    #[test]
    fn what_is_lost_is_told_with_the_case_that_allocated_it() {
        let case_of = |pid| (pid >= 10).then_some("a::first");
        let report = "unreferenced object 0xffff8880 (size 64):\n  comm \"init\", pid 19, jiffies 42\n";
        assert_eq!(explain(report, VERSION, case_of), format!("{report}  allocated by a::first\n"));
        let early = report.replace("19", "9");
        assert!(explain(&early, VERSION, case_of).ends_with("allocated by another process than a case\n"));
        assert_eq!(explain("", VERSION, case_of), "");
    }

    #[test]
    fn a_known_loss_is_no_news_of_a_case_that_says_so() {
        let case = |loses| cases::all().iter().find(|case| case.traits.loses == loses).unwrap().name.as_str();
        let case_of = |pid| Some(case(pid == 10));
        let lost = |pid, function| {
            format!(
                "{SIGN} 0xffff8880 (size 8):\n  comm \"init\", pid {pid}, jiffies 42\n    {function}+0x1/0x2\n"
            )
        };
        assert_eq!(explain(&lost(10, "cn_proc_mcast_ctl"), VERSION, case_of), "");
        // This one does not have the bug yet.
        assert_ne!(explain(&lost(10, "cn_proc_mcast_ctl"), Version(6, 1), case_of), "");
        let all = [lost(20, "cn_proc_mcast_ctl"), lost(10, "cn_proc_mcast_ctl"), lost(10, "genl_bind")];
        let told = explain(&all.concat(), VERSION, case_of);
        assert_eq!(told.matches(SIGN).count(), 2, "{told}");
        assert!(told.contains("genl_bind"), "{told}");
    }
}
