//! The run of the suite against one mutant after the other, likely cases first.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nlconform::cases;
use nlconform::event::{Plan, Report, Role, Verdict};

use super::find::Mutant;
use super::reach::Reach;
use super::record::{Fate, Record};
use crate::host::progress::say;
use crate::making::kbuild::tested;
use crate::running::schedule;
use crate::running::session::{self, News};
use crate::running::workers::{for_each, locked};
use crate::vm::{Machine, Place};

/// A case has this long on the plain kernel, in milliseconds: a mutant that blocks costs no more.
const DEADLINE_MS: u64 = 4_000;
/// A guest has this long to come up with the plain kernel, ten times what a healthy one takes on a busy host: dozens
/// of mutants never do.
const BOOT_TIMEOUT: Duration = Duration::from_secs(10);
/// So many cases run first on a kernel that looks for lost memory, which it does after the last one.
const FEW: usize = 40;
/// So many times as long has a case that ran into its deadline, once more: on a busy host it may have been late.
const SECOND_DEADLINE_FACTOR: u64 = 10;
/// How often a guest may fail to come up before its mutant is the reason.
const ATTEMPTS: usize = 2;
/// Mutants are numbered from 1 on.
const NO_MUTANT: usize = 0;

/// A mutant was seen.
struct Seen {
    /// By this case.
    case: String,
    /// Only because it ran into its deadline.
    is_late: bool,
}

/// What is the same for all mutants.
pub struct Hunt {
    /// Boots the kernel that has them all.
    pub machine: Machine,
    /// The profile of that kernel.
    pub profile: String,
    /// Guests at once.
    pub slots: usize,
    /// Which cases can see a mutant at all.
    pub reach: Reach,
    /// Cases that are skipped without a mutant, too.
    pub skipped: HashSet<String>,
    /// Cases in which memory is lost without a mutant, too: a failed allocation of something else than netlink may
    /// have that effect. They are left out.
    pub lossy: HashSet<String>,
    /// How many times as long as the plain kernel this one takes.
    pub slower: u32,
}

impl Hunt {
    /// The first case that sees this mutant, in words.
    ///
    /// # Errors
    /// When the lab cannot do its work.
    fn first_to_see(&self, mutant: &Mutant, cases: &[String]) -> Result<Option<String>> {
        let few = if self.slower > 1 { cases.len().min(FEW) } else { 0 };
        let (few, rest) = cases.split_at(few);
        for cases in [few, rest].into_iter().filter(|cases| !cases.is_empty()) {
            if let Some(case) = self.first_of(mutant, cases)? {
                return Ok(Some(case));
            }
        }
        Ok(None)
    }

    /// The first of these that sees it.
    ///
    /// # Errors
    /// When the lab cannot do its work.
    fn first_of(&self, mutant: &Mutant, cases: &[String]) -> Result<Option<String>> {
        // A kernel that does not come up is seen by everybody, unless it is the host that was too busy.
        for _ in 0..ATTEMPTS {
            match self.attempt(mutant.number, cases) {
                (Some(case), _) => return Ok(Some(case)),
                (None, Ok(())) => return Ok(None),
                (None, Err(_)) => self.check_host()?,
            }
        }
        Ok(Some("the guest's start".to_owned()))
    }

    /// Whether a guest without a mutant comes up and passes its first case.
    ///
    /// # Errors
    /// When it does not, and nothing can be said of mutants.
    fn check_host(&self) -> Result<()> {
        match self.attempt(NO_MUTANT, &names(cases::of(Role::Target).iter().take(1))) {
            (None, Ok(())) => Ok(()),
            (Some(case), _) => bail!("{case} does not pass although no mutant is alive"),
            (None, Err(error)) => {
                Err(error).context("a guest without a mutant does not come up either: is the host too busy?")
            }
        }
    }

    /// Runs cases with this mutant: the first that sees it, and whether all could be run. One that is late sees it only
    /// if it is late with more time, too; else those after it are run.
    fn attempt(&self, number: usize, cases: &[String]) -> (Option<String>, Result<()>) {
        let mut rest = cases;
        loop {
            let (seen, ended) = self.run_with(number, rest, DEADLINE_MS);
            let Some(Seen { case, is_late: true }) = &seen else {
                return (seen.map(|seen| seen.case), ended);
            };
            let late = std::slice::from_ref(case);
            if let (Some(seen), _) = self.run_with(number, late, DEADLINE_MS * SECOND_DEADLINE_FACTOR) {
                return (Some(seen.case), Ok(()));
            }
            match rest.iter().position(|name| name == case) {
                Some(at) if at + 1 < rest.len() => rest = &rest[at + 1..],
                _ => return (None, Ok(())),
            }
        }
    }

    /// Runs cases with this mutant, each with so many milliseconds on the plain kernel: the first that sees it, and
    /// whether all could be run.
    fn run_with(&self, number: usize, cases: &[String], deadline_ms: u64) -> (Option<Seen>, Result<()>) {
        let mut machine = self.machine.clone();
        machine.boot_timeout = BOOT_TIMEOUT * self.slower;
        machine.settings.append += &format!(" {}", super::switch(number));
        let place = Place::Machine(machine);
        let deadline_ms = deadline_ms * u64::from(self.slower);
        let plan = Plan { deadline_ms, ..schedule::plan(&self.profile, cases.to_vec(), self.slower) };
        let mut seen = None;
        let ended = session::run_until_a_failure(&place, &plan, &mut |news| {
            if let News::Finished(report) = news
                && self.is_seen(&report)
            {
                seen.get_or_insert_with(|| Seen {
                    case: losers(&report).next().unwrap_or(&report.case).to_owned(),
                    is_late: matches!(report.verdict, Verdict::Timeout { .. }),
                });
            }
        });
        (seen, ended)
    }

    /// Runs all cases without a mutant, and learns which are skipped: one that is skipped because of a mutant,
    /// which took away what it needs, has seen it. Learns, too, in which memory is lost.
    ///
    /// # Errors
    /// When one fails.
    pub fn check_healthy(&mut self) -> Result<()> {
        let plan = schedule::plan(&self.profile, names(cases::of(Role::Target).iter()), self.slower);
        let (mut skipped, mut lossy, mut failed) = (HashSet::new(), HashSet::new(), None);
        let place = Place::Machine(self.machine.clone());
        session::run_until_a_failure(&place, &plan, &mut |news| {
            if let News::Finished(report) = news {
                match report.verdict {
                    Verdict::Pass => {}
                    Verdict::Skip { .. } => drop(skipped.insert(report.case)),
                    _ if losers(&report).next().is_some() => {
                        lossy.extend(losers(&report).map(str::to_owned));
                    }
                    _ => drop(failed.get_or_insert(report.case)),
                }
            }
        })?;
        if let Some(case) = failed {
            bail!("{case} does not pass although no mutant is alive");
        }
        for case in &lossy {
            say(format_args!("left out, for memory is lost without a mutant, too: {case}"));
        }
        (self.skipped, self.lossy) = (skipped, lossy);
        Ok(())
    }

    fn is_seen(&self, report: &Report) -> bool {
        match report.verdict {
            Verdict::Pass => false,
            Verdict::Skip { .. } => !self.skipped.contains(&report.case),
            _ => true,
        }
    }

    /// Finds the fate of each of these mutants, and keeps it.
    ///
    /// # Errors
    /// When the lab cannot do its work; what was found until then is kept.
    pub fn run(&self, mutants: &[&Mutant], record: &Mutex<Record>) -> Result<()> {
        let left = AtomicUsize::new(mutants.len());
        for_each(self.slots, mutants.iter().copied(), |mutant| {
            let mut order = order(mutant, &self.reach, &locked(record));
            order.retain(|case| !self.lossy.contains(case));
            let fate = match order.is_empty() {
                true => Fate::Unreached,
                false => match self.first_to_see(mutant, &order)? {
                    Some(case) => Fate::Killed(case),
                    None => Fate::Survived,
                },
            };
            let left = left.fetch_sub(1, Ordering::Relaxed) - 1;
            say(format_args!("{}: {fate} ({left} left)", mutant.at_place()));
            locked(record).keep(mutant, fate)
        })
        .context("the mutants that have no fate yet are tried by the next run")
    }
}

/// The cases that allocated what is lost: the last case of a guest has the report of kmemleak (guest/src/leaks.rs).
fn losers(report: &Report) -> impl Iterator<Item = &str> {
    report.console.lines().filter_map(|line| line.trim_start().strip_prefix("allocated by ")).map(str::trim)
}

fn names<'c>(cases: impl Iterator<Item = &'c cases::Case>) -> Vec<String> {
    cases.map(|case| case.name.clone()).collect()
}

/// The cases that run the place of a mutant, and then those that run its function: first those that have killed
/// neighbours of it, then those of its file's areas.
fn order(mutant: &Mutant, reach: &Reach, record: &Record) -> Vec<String> {
    let mut kills: HashMap<&str, usize> = HashMap::new();
    for (other, case) in record.kills() {
        let worth = match (other.file == mutant.file, other.function == mutant.function) {
            (true, true) => 1000,
            (true, false) => 1,
            _ => 0,
        };
        *kills.entry(case).or_default() += worth;
    }
    let tested = tested::files().iter().find(|file| file.path == mutant.file);
    let areas = tested.map_or(&[][..], |file| &file.cases);
    let place = |name: &str| areas.iter().position(|area| name.starts_with(area)).unwrap_or(areas.len());
    let near = |case: &'static cases::Case| Some((reach.of(case.file, mutant)?, case));
    let mut cases: Vec<_> = cases::of(Role::Target).iter().filter_map(near).collect();
    cases.sort_by_cached_key(|(nearness, case)| {
        let killed = kills.get(case.name.as_str()).copied().unwrap_or_default();
        (*nearness, case.traits.waits, std::cmp::Reverse(killed), place(&case.name))
    });
    names(cases.into_iter().map(|(_, case)| case))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_killers_come_first_and_then_the_files_own_cases() {
        let mutant = |number, function: &str| Mutant {
            number,
            file: "net/netlink/policy.c".into(),
            line: 1,
            last: 1,
            function: function.into(),
            around: (1, 9),
            was: format!("{number}"),
            becomes: String::new(),
        };
        let (last, other) =
            (cases::of(Role::Target).iter().rev().find(|case| !case.traits.waits).unwrap(), "x");
        let mut record = Record::in_memory();
        record.keep(&mutant(1, "f"), Fate::Killed(last.name.clone())).unwrap();
        let ordered = order(&mutant(2, "f"), &Reach::default(), &record);
        assert_eq!(ordered[0], last.name);
        assert!(ordered[1].starts_with("genetlink::controller"), "{}", ordered[1]);
        assert_eq!(ordered.len(), cases::of(Role::Target).len());
        assert_eq!(order(&mutant(3, other), &Reach::default(), &record)[0], last.name);
    }
}
