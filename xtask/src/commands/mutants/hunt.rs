//! The run of the suite against one mutant after the other, likely cases first.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use nlconform::cases;
use nlconform::event::{Report, Role, Verdict};

use super::find::Mutant;
use super::record::{Fate, Record};
use crate::host::progress::say;
use crate::running::schedule;
use crate::running::session::{self, Losses, News};
use crate::vm::{Machine, Place};

/// A case has this long, in milliseconds: a mutant that blocks costs no more.
const DEADLINE_MS: u64 = 4_000;

/// Where the cases for a file are, the likeliest first.
const AREAS: [(&str, &[&str]); 8] = [
    ("cn_proc.c", &["connector::process"]),
    ("cn_queue.c", &["connector::kernel", "connector::user"]),
    ("connector.c", &["connector::user", "connector::kernel"]),
    ("diag.c", &["netlink::introspection"]),
    ("genetlink.c", &["genetlink::"]),
    ("nlattr.c", &["genetlink::attributes", "netlink::framing"]),
    ("policy.c", &["genetlink::controller"]),
    ("af_netlink.c", &["netlink::"]),
];

/// What is the same for all mutants.
pub struct Hunt {
    /// Boots the kernel that has them all.
    pub machine: Machine,
    /// The profile of that kernel.
    pub profile: String,
    /// Guests at once.
    pub slots: usize,
}

impl Hunt {
    /// The first case whose verdict is not a pass with this mutant alive, or with none, in words.
    ///
    /// # Errors
    /// When the lab cannot do its work.
    fn first_to_see(&self, mutant: Option<&Mutant>, cases: Vec<String>) -> Result<Option<String>> {
        let mut machine = self.machine.clone();
        if let Some(mutant) = mutant {
            machine.append += &format!(" nlmut={}", mutant.number);
        }
        let place = Place::Machine(machine);
        let mut plan = schedule::plan(&self.profile, cases);
        plan.deadline_ms = DEADLINE_MS;
        let mut seen = None;
        let ended = session::run(&place, &plan, &Losses::until_a_failure(), &mut |news| {
            if let News::Finished(report) = news
                && sees(&report)
            {
                seen.get_or_insert(report.case);
            }
        });
        match (seen, ended) {
            (Some(case), _) => Ok(Some(case)),
            (None, Ok(())) => Ok(None),
            // A kernel that does not come up is seen by everybody.
            (None, Err(_)) if mutant.is_some() => Ok(Some("the guest's start".to_owned())),
            (None, Err(error)) => Err(error),
        }
    }

    /// Runs all cases without a mutant.
    ///
    /// # Errors
    /// When one does not pass.
    pub fn check_healthy(&self) -> Result<()> {
        match self.first_to_see(None, names(cases::of(Role::Target).iter()))? {
            Some(case) => bail!("{case} does not pass although no mutant is alive"),
            None => Ok(()),
        }
    }

    /// Finds the fate of each of these mutants, and keeps it.
    ///
    /// # Errors
    /// When the lab cannot do its work; what was found until then is kept.
    pub fn run(&self, mutants: &[&Mutant], record: &Mutex<Record>) -> Result<()> {
        let todo: Mutex<VecDeque<_>> = Mutex::new(mutants.iter().copied().collect());
        let work = || -> Result<()> {
            loop {
                let Some(mutant) = locked(&todo).pop_front() else { return Ok(()) };
                let order = order(mutant, &locked(record));
                let fate = match self.first_to_see(Some(mutant), order)? {
                    Some(case) => Fate::Killed(case),
                    None => Fate::Survived,
                };
                let (left, place) = (locked(&todo).len(), format!("{}:{}", mutant.file, mutant.line));
                say(format_args!("{place}: {}: {fate} ({left} left)", mutant.name()));
                locked(record).keep(mutant, fate)?;
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.slots).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| {
                worker.join().map_err(|_| anyhow!("a thread of the lab has panicked")).flatten()
            })
        })
        .context("the mutants that have no fate yet are tried by the next run")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn sees(report: &Report) -> bool {
    !matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. })
}

fn names<'c>(cases: impl Iterator<Item = &'c cases::Case>) -> Vec<String> {
    cases.map(|case| case.name.clone()).collect()
}

/// All cases, those first that have killed neighbours of a mutant, then those of its file's areas.
fn order(mutant: &Mutant, record: &Record) -> Vec<String> {
    let mut kills: HashMap<&str, usize> = HashMap::new();
    for (other, case) in record.kills() {
        let worth = match (other.file == mutant.file, other.function == mutant.function) {
            (true, true) => 1000,
            (true, false) => 1,
            _ => 0,
        };
        *kills.entry(case).or_default() += worth;
    }
    let areas =
        AREAS.iter().find(|(file, _)| mutant.file.ends_with(file)).map_or(&[][..], |(_, areas)| areas);
    let place = |name: &str| areas.iter().position(|area| name.starts_with(area)).unwrap_or(areas.len());
    let mut cases: Vec<_> = cases::of(Role::Target).iter().collect();
    cases.sort_by_cached_key(|case| {
        let killed = kills.get(case.name.as_str()).copied().unwrap_or_default();
        (case.traits.waits, std::cmp::Reverse(killed), place(&case.name))
    });
    names(cases.into_iter())
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
            function: function.into(),
            was: format!("{number}"),
            becomes: String::new(),
        };
        let (last, other) =
            (cases::of(Role::Target).iter().rev().find(|case| !case.traits.waits).unwrap(), "x");
        let mut record = Record::in_memory();
        record.keep(&mutant(1, "f"), Fate::Killed(last.name.clone())).unwrap();
        let ordered = order(&mutant(2, "f"), &record);
        assert_eq!(ordered[0], last.name);
        assert!(ordered[1].starts_with("genetlink::controller"), "{}", ordered[1]);
        assert_eq!(ordered.len(), cases::of(Role::Target).len());
        assert_eq!(order(&mutant(3, other), &record)[0], last.name);
    }
}
