//! Memory that the kernel has lost: kmemleak, where the kernel has it.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nlconform::{cases, signs};

const FILE: &str = "/sys/kernel/debug/kmemleak";
/// What is younger than 5 seconds (MSECS_MIN_AGE in mm/kmemleak.c) may still be on its way.
const AGE: Duration = Duration::from_millis(5_200);
/// How a report on one object begins.
const SIGN: &str = "unreferenced object";

/// Which case a process belongs to: process IDs rise, and each case begins with one of its own.
#[derive(Debug, Default)]
pub struct Leaks(Vec<(i32, String)>);

impl Leaks {
    /// Forgets what was lost until now, so that only what the suite loses is reported.
    pub fn forget() -> Result<Leaks> {
        if Path::new(FILE).exists() {
            fs::write(FILE, "clear").with_context(|| format!("writing to {FILE}"))?;
        }
        Ok(Leaks::default())
    }

    /// From this process ID on, it is this case that allocates.
    pub fn began(&mut self, pid: i32, case: &str) {
        self.0.push((pid, case.to_owned()));
    }

    /// Has kmemleak look twice, because it distrusts what has changed since the last time. Returns what it
    /// reports, each object with its stack and with the case that allocated it.
    pub fn look(&self) -> Result<String> {
        if !Path::new(FILE).exists() {
            return Ok(String::new());
        }
        sleep(AGE);
        for _ in 0..2 {
            fs::write(FILE, "scan").with_context(|| format!("writing to {FILE}"))?;
        }
        let report = fs::read_to_string(FILE).with_context(|| format!("reading {FILE}"))?;
        Ok(self.explain(&report))
    }

    fn explain(&self, report: &str) -> String {
        let mut objects: Vec<String> = Vec::new();
        for line in report.split_inclusive('\n') {
            match objects.last_mut() {
                Some(object) if !line.starts_with(SIGN) => *object += line,
                _ => objects.push(line.to_owned()),
            }
        }
        objects.iter().filter_map(|object| self.explain_object(object)).collect()
    }

    /// An object with the case that allocated it; nothing if that it is lost is known.
    fn explain_object(&self, object: &str) -> Option<String> {
        let pid = object.lines().find_map(pid);
        let case = pid.and_then(|pid| self.0.iter().rev().find(|(first, _)| *first <= pid));
        let name = case.map(|(_, name)| name.as_str());
        let loses = name.and_then(cases::find).is_some_and(|case| case.traits.loses);
        if loses && signs::is_known_loss(object) {
            return None;
        }
        let sign = if object.starts_with(SIGN) { String::new() } else { format!("{SIGN}\n") };
        Some(format!("{sign}{object}  allocated by {}\n", name.unwrap_or("another process than a case")))
    }
}

/// The process ID of a line such as `  comm "init", pid 56, jiffies 4294892345`.
fn pid(line: &str) -> Option<i32> {
    let (_, rest) = line.trim_start().strip_prefix("comm ")?.split_once(", pid ")?;
    rest.split(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_with_the_case_that_allocated_it() {
        let mut leaks = Leaks::default();
        leaks.began(10, "a::first");
        leaks.began(20, "a::second");
        let report = "unreferenced object 0xffff8880 (size 64):\n  comm \"init\", pid 19, jiffies 42\n";
        assert_eq!(leaks.explain(report), format!("{report}  allocated by a::first\n"));
        let early = report.replace("19", "9");
        assert!(leaks.explain(&early).ends_with("allocated by another process than a case\n"));
        assert_eq!(leaks.explain(""), "");
    }

    #[test]
    fn a_known_loss_is_no_news_of_a_case_that_says_so() {
        let case = |loses| &cases::all().iter().find(|case| case.traits.loses == loses).unwrap().name;
        let mut leaks = Leaks::default();
        leaks.began(10, case(true));
        leaks.began(20, case(false));
        let lost = |pid, function| {
            format!(
                "{SIGN} 0xffff8880 (size 8):\n  comm \"init\", pid {pid}, jiffies 42\n    {function}+0x1/0x2\n"
            )
        };
        assert_eq!(leaks.explain(&lost(10, "cn_proc_mcast_ctl")), "");
        let all = [lost(20, "cn_proc_mcast_ctl"), lost(10, "cn_proc_mcast_ctl"), lost(10, "genl_bind")];
        let told = leaks.explain(&all.concat());
        assert_eq!(told.matches(SIGN).count(), 2, "{told}");
        assert!(told.contains("genl_bind"), "{told}");
    }
}
