//! Which cases run which lines of the kernel: a mutant on a line that a case does not run cannot be seen by it.
//! gcov counts, once for the cases of each source file of the suite.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use nlconform::cases;
use nlconform::event::Role;
use serde::{Deserialize, Serialize};

use super::find::Mutant;
use crate::commands::coverage;
use crate::commands::coverage::table::Covered;
use crate::host::content::{Key, sha256};
use crate::host::progress::say;
use crate::running::schedule;
use crate::running::session::{self, Losses, News};
use crate::running::workers::{for_each, locked};
use crate::vm::{Machine, Place};

/// Numbers of lines, by file.
type Lines = BTreeMap<String, BTreeSet<u64>>;

/// The lines that each file of cases runs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Reach {
    /// What it was measured with.
    identity: String,
    /// Lines that have a counter.
    counted: Lines,
    /// Lines that ran, by the suite's source file.
    reached: BTreeMap<String, Lines>,
}

/// What cases run of a mutant's surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nearness {
    /// Its line.
    Line,
    /// Its function.
    Function,
}

/// How it is measured.
pub struct Meter {
    /// Boots the kernel that counts.
    pub machine: Machine,
    /// Where that kernel was built.
    pub build_dir: PathBuf,
    /// The profile of that kernel.
    pub profile: String,
    /// Guests at once.
    pub slots: usize,
}

impl Reach {
    /// Measures, unless `folder` has what the same kernel and the same cases have reached.
    ///
    /// # Errors
    /// When the lab cannot do its work.
    pub fn measure(meter: &Meter, folder: &Path) -> Result<Reach> {
        let image = format!("/proc/self/fd/{}", meter.machine.initramfs.as_raw_fd());
        let image = sha256(Path::new(&image))?;
        let identity =
            Key::new().part("image", image).part("kernel", meter.build_dir.to_string_lossy().as_bytes());
        let identity = identity.finish();
        let file = folder.join("reach.json");
        let known = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Reach>(&bytes).ok());
        if let Some(known) = known.filter(|known| known.identity == identity) {
            return Ok(known);
        }
        say("finding out which cases run which lines");
        let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for case in cases::of(Role::Target) {
            topics.entry(case.file).or_default().push(case.name.clone());
        }
        let reach = Mutex::new(Reach { identity, ..Reach::default() });
        for_each(meter.slots, topics.into_iter().enumerate(), |(number, (topic, cases))| {
            let covered = meter.run(cases, &folder.join(format!("reach-{number}")))?;
            locked(&reach).add(topic, &covered);
            Ok(())
        })?;
        let reach = reach.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        fs::write(&file, serde_json::to_vec(&reach)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(reach)
    }

    fn add(&mut self, topic: &str, covered: &Covered) {
        for (file, line, count) in covered.counts() {
            self.counted.entry(file.to_owned()).or_default().insert(line);
            if count > 0 {
                let lines = self.reached.entry(topic.to_owned()).or_default();
                lines.entry(file.to_owned()).or_default().insert(line);
            }
        }
    }

    /// How near the cases of this source file come to a mutant, the nearest first, if at all. The compiler may
    /// have no counter for a line that continues another: then that one counts. Nor does it count each line that
    /// runs, such as what follows assembly that jumps; so those that run another line of the function count, too.
    pub fn of(&self, topic: &str, mutant: &Mutant) -> Option<Nearness> {
        let Some(counted) = self.counted.get(&mutant.file) else { return Some(Nearness::Line) };
        let (first, last) = (mutant.line as u64, mutant.last as u64);
        let Some(first) = counted.range(..=first).next_back() else { return Some(Nearness::Line) };
        let reached = self.reached.get(topic).and_then(|lines| lines.get(&mutant.file))?;
        let any = |first: u64, last: u64| reached.range(first..=last).next().is_some();
        let function = (mutant.around.0 as u64, mutant.around.1 as u64);
        match (any(*first, last), any(function.0, function.1)) {
            (true, _) => Some(Nearness::Line),
            (false, true) => Some(Nearness::Function),
            (false, false) => None,
        }
    }
}

impl Meter {
    /// What these cases reach, in one guest.
    fn run(&self, cases: Vec<String>, folder: &Path) -> Result<Covered> {
        let mut plan = schedule::plan(&self.profile, cases, 1);
        plan.counters = true;
        let mut counters = Vec::new();
        session::run(&Place::Machine(self.machine.clone()), &plan, &Losses::at_most(5), &mut |news| {
            if let News::Counters { file, bytes } = news {
                counters.push((file, bytes));
            }
        })?;
        let counts = coverage::gcov(&coverage::gather(&counters, &self.build_dir, folder)?)?;
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        Ok(Covered::of(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(line: usize, last: usize) -> Mutant {
        Mutant {
            number: 1,
            file: "a.c".into(),
            line,
            last,
            function: "f".into(),
            around: (5, 12),
            was: "a".into(),
            becomes: "b".into(),
        }
    }

    #[test]
    fn a_line_without_a_counter_belongs_to_the_one_before() {
        let lines = |lines: &[u64]| Lines::from([("a.c".to_owned(), lines.iter().copied().collect())]);
        let reach = Reach {
            counted: lines(&[10, 12, 13, 20]),
            reached: BTreeMap::from([("x.rs".to_owned(), lines(&[10, 13]))]),
            ..Reach::default()
        };
        let of = |line, last| reach.of("x.rs", &mutant(line, last));
        for (line, last) in [(10, 10), (11, 11), (12, 13), (15, 16)] {
            assert_eq!(of(line, last), Some(Nearness::Line), "{line}");
        }
        assert_eq!(of(12, 12), Some(Nearness::Function));
        let elsewhere = Mutant { around: (20, 30), ..mutant(21, 30) };
        assert_eq!(reach.of("x.rs", &elsewhere), None);
        assert_eq!(reach.of("y.rs", &mutant(10, 10)), None);
        // Of what has no counters nothing is known.
        assert_eq!(of(9, 9), Some(Nearness::Line));
        let uncounted = Mutant { file: "b.c".into(), ..mutant(1, 1) };
        assert_eq!(reach.of("x.rs", &uncounted), Some(Nearness::Line));
    }
}
