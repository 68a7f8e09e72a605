//! A campaign of exploration, in several guests of one kernel at once.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use nlconform::event::Identity;
use nlconform::explore::Finding;
use nlconform::explore::campaign::{News, Summary, kind};
use nlconform::explore::command::{ExploreArgs, in_words, profile};
use nlconform::explore::system::HANGS;

use super::explore::Explorer;
use crate::host::progress::{Progress, Step};
use crate::running::conversation::End;
use crate::running::workers::{for_each, locked};

/// Sequences that a guest makes at most: what the probe keeps of files that were closed has an end (MAX_BURIED in
/// guest/probe/session.c), to which 50,000 sequences come.
const SHARE: u64 = 10_000;

/// The sequences of one seed, on one kernel.
struct Campaign<'a> {
    explorer: &'a Explorer<'a>,
    wanted: &'a ExploreArgs,
    seed: u64,
    start: Instant,
    progress: &'a Progress,
    step: Step,
    so_far: Mutex<SoFar>,
}

/// What came of it so far.
#[derive(Default)]
struct SoFar {
    /// Sequences that guests were given.
    given: u64,
    /// Differences that were shown.
    shown: u64,
    kinds: BTreeSet<String>,
    /// Why sequences were cut short.
    facts: BTreeSet<String>,
    total: Summary,
}

/// Explores in so many guests at once; returns whether no difference was found.
///
/// # Errors
/// The lab cannot do its work, or a difference cannot be kept.
pub fn campaign(
    explorer: &Explorer<'_>,
    wanted: &ExploreArgs,
    jobs: usize,
    progress: &Progress,
) -> Result<bool> {
    let campaign = Campaign {
        explorer,
        wanted,
        seed: wanted.seed(),
        start: Instant::now(),
        progress,
        step: progress.step(format!("exploring {}", explorer.label())),
        so_far: Mutex::default(),
    };
    let share = wanted.sequences.div_ceil(jobs as u64).min(SHARE);
    for_each(jobs, 0..jobs, |_| {
        while let Some(numbers) = campaign.next(share) {
            campaign.make(numbers)?;
        }
        Ok(())
    })?;
    let Campaign { seed, start, step, so_far, .. } = campaign;
    step.done();
    let so_far = locked(&so_far);
    let total = Summary { millis: start.elapsed().as_millis() as u64, ..so_far.total };
    println!("{}", in_words(seed, &total));
    Ok(so_far.shown == 0)
}

impl Campaign<'_> {
    /// The next sequences to make, if there are any.
    fn next(&self, share: u64) -> Option<Range<u64>> {
        if self.is_over() || self.time_left() == Some(0) {
            return None;
        }
        let mut so_far = locked(&self.so_far);
        let from = so_far.given;
        so_far.given = self.wanted.sequences.min(from.saturating_add(share));
        let numbers = self.wanted.first + from..self.wanted.first + so_far.given;
        (!numbers.is_empty()).then_some(numbers)
    }

    /// Enough differences were shown.
    fn is_over(&self) -> bool {
        locked(&self.so_far).shown >= self.wanted.differences
    }

    /// Milliseconds, where the time has an end.
    fn time_left(&self) -> Option<u128> {
        Some(self.wanted.time?.saturating_sub(self.start.elapsed()).as_millis())
    }

    /// Makes these sequences, in as many guests as it takes.
    fn make(&self, Range { mut start, end }: Range<u64>) -> Result<()> {
        while start < end && !self.is_over() && self.time_left() != Some(0) {
            let (mut running, mut features, mut ended, mut found) = (None, None, None, 0);
            let run = self.explorer.run(&self.words(start..end), None, &mut |identity, news| {
                match news {
                    News::Began { features: has } => features = Some(has),
                    News::Started { number, calls } => {
                        if !(start..end).contains(&number) {
                            bail!("the explorer has begun sequence {number}, which it was not asked for");
                        }
                        // Another guest may have found the last difference that is wanted.
                        if self.is_over() {
                            bail!("no more sequences are wanted");
                        }
                        running = Some(number);
                        self.count(calls);
                    }
                    News::Found(finding) => {
                        found += 1;
                        self.found(&finding, identity)?;
                    }
                    News::Unsteady(finding) => {
                        self.wanted.mention(&finding).map_err(|error| anyhow!(error))?
                    }
                    News::Cut { number, fact } => self.cut(number, fact),
                    News::Ended(summary) => ended = Some(summary),
                    News::Shrinking { .. } | News::Observed { .. } => {}
                }
                Ok(())
            });
            let lost = match (run, &ended) {
                (Err(_), None) if self.is_over() => None,
                (run, _) => {
                    let (identity, end) = run?;
                    let why = match end {
                        End::Exited(0 | 1) if ended.is_some() => None,
                        End::Exited(HANGS) => Some("a call does not return".to_owned()),
                        End::Exited(status) => bail!("the explorer ended with status {status}"),
                        End::Lost { why, console } => Some(format!("{why}\n{console}")),
                    };
                    why.map(|why| (identity, why))
                }
            };
            // Those that began were counted as they did.
            let of_guest = match ended {
                Some(summary) => Summary { sequences: 0, calls: 0, ..summary },
                None => Summary { differing: found + u64::from(lost.is_some()), ..Summary::default() },
            };
            {
                let mut so_far = locked(&self.so_far);
                so_far.total = so_far.total.plus(&of_guest);
            }
            let Some((identity, why)) = lost else { return Ok(()) };
            let (Some(number), Some(features)) = (running, features) else { bail!("{why}") };
            let finding = self.explorer.lost(self.seed, number, &features, why)?;
            let mut so_far = locked(&self.so_far);
            self.show(&mut so_far, &finding, &identity)?;
            start = number + 1;
        }
        Ok(())
    }

    /// What the explorer is told.
    fn words(&self, numbers: Range<u64>) -> Vec<String> {
        let shown = locked(&self.so_far).shown;
        let counts = [
            ("seed", self.seed),
            ("first", numbers.start),
            ("sequences", numbers.end - numbers.start),
            ("differences", self.wanted.differences.saturating_sub(shown).max(1)),
        ];
        let counts = counts.into_iter().flat_map(|(name, value)| [format!("--{name}"), value.to_string()]);
        let users_only = self.wanted.users_only.then(|| "--users-only".to_owned());
        let time = self.time_left().map(|left| format!("--time={}ms", left.max(1)));
        counts.chain(users_only).chain(time).collect()
    }

    /// A sequence of so many calls has begun.
    fn count(&self, calls: u64) {
        let mut so_far = locked(&self.so_far);
        so_far.total.sequences += 1;
        so_far.total.calls = so_far.total.calls.saturating_add(calls);
        let (sequences, shown) = (so_far.total.sequences, so_far.shown);
        self.step.tail(&format!("{sequences} sequences, {shown} differences"));
    }

    /// A guest has found a difference, perhaps one of a kind that another one has found.
    fn found(&self, finding: &Finding, identity: &Identity) -> Result<()> {
        let mut so_far = locked(&self.so_far);
        let Some(difference) = finding.difference() else { bail!("the explorer has found no difference") };
        if so_far.shown < self.wanted.differences && so_far.kinds.insert(kind(&finding.calls, &difference)) {
            self.show(&mut so_far, finding, identity)?;
        }
        Ok(())
    }

    fn show(&self, so_far: &mut SoFar, finding: &Finding, identity: &Identity) -> Result<()> {
        so_far.shown += 1;
        self.wanted.show(finding, profile(identity)).map_err(|error| anyhow!(error))
    }

    fn cut(&self, number: u64, fact: String) {
        if locked(&self.so_far).facts.insert(fact.clone()) {
            self.progress.note(&format!(
                "sequence {number} is compared only up to a call that one side cannot make: {fact}"
            ));
        }
    }
}
