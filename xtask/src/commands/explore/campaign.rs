//! A campaign of exploration, in several guests of one kernel at once.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use nlconform::event::Identity;
use nlconform::explore::campaign::{News, Summary, kind};
use nlconform::explore::command::{ExploreArgs, cut_short, in_words, profile};
use nlconform::explore::system::HANGS;
use nlconform::explore::{Features, Finding};

use crate::host::progress::{Progress, Step};
use crate::running::conversation::End;
use crate::running::workers::{for_each, locked};

/// Sequences that a guest makes at most: what the probe keeps of files that were closed has an end (MAX_BURIED in
/// guest/probe/session.c), to which 50,000 sequences come.
const SHARE: u64 = 10_000;

/// Guests of one kernel, each started anew. Tests have some that are no machines.
pub trait Guests: Sync {
    /// What the kernel is called.
    fn label(&self) -> String;

    /// Has one guest explore, with these arguments. Its news go to `tell`, with what the guest says it is, until `tell`
    /// fails.
    ///
    /// # Errors
    /// The guest does not come up; or that of `tell`.
    fn explore(
        &self,
        words: &[String],
        tell: &mut dyn FnMut(&Identity, News) -> Result<()>,
    ) -> Result<(Identity, End)>;

    /// What is left of this sequence when it is shrunk as long as it costs a guest. `why` the first one was lost is
    /// for people.
    ///
    /// # Errors
    /// A guest does not come up.
    fn lost(&self, seed: u64, number: u64, features: &Features, why: String) -> Result<Finding>;
}

/// The sequences of one seed, on one kernel.
struct Campaign<'a, G> {
    guests: &'a G,
    wanted: &'a ExploreArgs,
    seed: u64,
    start: Instant,
    progress: &'a Progress,
    step: Step,
    so_far: Mutex<SoFar>,
}

/// What came of it so far, in all guests.
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

/// What one guest has said so far.
#[derive(Default)]
struct Heard {
    features: Option<Features>,
    /// Number of the sequence that it began last.
    running: Option<u64>,
    /// Differences.
    found: u64,
    ended: Option<Summary>,
    /// It was stopped, because no more sequences are wanted.
    is_stopped: bool,
}

/// Explores in so many guests at once; returns whether no difference was found.
///
/// # Errors
/// The lab cannot do its work, or a difference cannot be kept.
pub fn campaign(
    guests: &impl Guests,
    wanted: &ExploreArgs,
    jobs: usize,
    progress: &Progress,
) -> Result<bool> {
    let campaign = Campaign {
        guests,
        wanted,
        seed: wanted.seed(),
        start: Instant::now(),
        progress,
        step: progress.step(format!("exploring {}", guests.label())),
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

impl<G: Guests> Campaign<'_, G> {
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
            let Some(lost) = self.make_in_one_guest(start..end)? else { break };
            start = lost + 1;
        }
        Ok(())
    }

    /// Returns the number of the sequence that cost the guest, if one did: those after it have not been made.
    fn make_in_one_guest(&self, numbers: Range<u64>) -> Result<Option<u64>> {
        let mut heard = Heard::default();
        let explored = self.guests.explore(&self.words(&numbers), &mut |identity, news| {
            self.hear(&mut heard, &numbers, identity, news)
        });
        let lost = match explored {
            Err(_) if heard.is_stopped => None,
            explored => {
                let (identity, end) = explored?;
                let why = match end {
                    End::Exited(0 | 1) if heard.ended.is_some() => None,
                    End::Exited(HANGS) => Some("a call does not return".to_owned()),
                    End::Exited(status) => bail!("the explorer ended with status {status}"),
                    End::Lost { why, console } => Some(format!("{why}\n{console}")),
                };
                why.map(|why| (identity, why))
            }
        };
        // Sequences and calls were counted as they began.
        let of_guest = match heard.ended {
            Some(summary) => Summary { sequences: 0, calls: 0, ..summary },
            None => Summary { differing: heard.found + u64::from(lost.is_some()), ..Summary::default() },
        };
        self.add(&of_guest);
        let Some((identity, why)) = lost else { return Ok(None) };
        let (Some(number), Some(features)) = (heard.running, heard.features) else { bail!("{why}") };
        let finding = self.guests.lost(self.seed, number, &features, why)?;
        self.show(&mut locked(&self.so_far), &finding, &identity)?;
        Ok(Some(number))
    }

    /// Takes what a guest says that was asked for the sequences of these `numbers`.
    fn hear(&self, heard: &mut Heard, numbers: &Range<u64>, identity: &Identity, news: News) -> Result<()> {
        match news {
            News::Began { features } => heard.features = Some(features),
            News::Started { number, calls } => {
                if !numbers.contains(&number) {
                    bail!("the explorer has begun sequence {number}, which it was not asked for");
                }
                // Another guest may have found the last difference that is wanted.
                if self.is_over() {
                    heard.is_stopped = true;
                    bail!("no more sequences are wanted");
                }
                heard.running = Some(number);
                self.count(calls);
            }
            News::Found(finding) => {
                heard.found += 1;
                self.found(&finding, identity)?;
            }
            News::Unsteady(finding) => self.wanted.mention(&finding).map_err(|error| anyhow!(error))?,
            News::Cut { number, fact } => self.cut(number, fact),
            News::Ended(summary) => heard.ended = Some(summary),
            News::Shrinking { .. } | News::Observed { .. } => {}
        }
        Ok(())
    }

    fn add(&self, of_guest: &Summary) {
        let mut so_far = locked(&self.so_far);
        so_far.total = so_far.total.plus(of_guest);
    }

    /// The explorer's arguments.
    fn words(&self, numbers: &Range<u64>) -> Vec<String> {
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
            self.progress.note(&cut_short(number, &fact));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;
    use std::sync::Barrier;

    use clap::{Args, Command, FromArgMatches};
    use nlconform::event::Role;
    use nlconform::explore::call::Call;
    use nlconform::explore::seen::{Observed, Seen};

    use super::*;

    type Tell<'t> = &'t mut dyn FnMut(&Identity, News) -> Result<()>;

    /// Guests of which each tells what `script` says of the sequences that it is asked for.
    struct Scripted<F> {
        script: F,
        asked: Mutex<Vec<Vec<String>>>,
    }

    impl<F: Fn(Range<u64>, &mut dyn FnMut(News) -> Result<()>) -> Result<()> + Sync> Guests for Scripted<F> {
        fn label(&self) -> String {
            "a kernel".to_owned()
        }

        fn explore(&self, words: &[String], tell: Tell<'_>) -> Result<(Identity, End)> {
            let identity = identity();
            locked(&self.asked).push(words.to_vec());
            let first = number(words, "--first");
            let mut tell = |news| tell(&identity, news);
            tell(News::Began { features: Features::of(&identity, &identity) })?;
            (self.script)(first..first + number(words, "--sequences"), &mut tell)?;
            tell(News::Ended(Summary { differing: 1, ..Summary::default() }))?;
            Ok((identity, End::Exited(1)))
        }

        fn lost(&self, _: u64, number: u64, _: &Features, why: String) -> Result<Finding> {
            bail!("sequence {number} has cost no guest: {why}")
        }
    }

    fn identity() -> Identity {
        let (name, version) = ("Linux".to_owned(), "6.12".to_owned());
        Identity { role: Role::Target, name, version, capabilities: BTreeMap::new() }
    }

    /// The value of an option.
    fn number(words: &[String], name: &str) -> u64 {
        let at = words.iter().position(|word| word == name).expect("the option is given");
        words[at + 1].parse().expect("its value is a number")
    }

    /// A difference; two errnos are two kinds.
    fn found(number: u64, errno: i32) -> News {
        let observed = |seen| Observed { seen: vec![seen], trouble: None };
        News::Found(Box::new(Finding {
            seed: 1,
            number,
            from: 1,
            sides: ["the model".to_owned(), "a kernel".to_owned()],
            calls: vec![Call::Close { socket: 0 }],
            observed: Box::new([observed(Seen::Ok), observed(Seen::Errno(errno))]),
        }))
    }

    fn started(number: u64) -> News {
        News::Started { number, calls: 10 }
    }

    fn wanted(words: &[&str], keep: &Path) -> ExploreArgs {
        let command = ExploreArgs::augment_args(Command::new("explore").no_binary_name(true));
        let keep = ["--seed=1", "--keep", keep.to_str().unwrap()];
        ExploreArgs::from_arg_matches(&command.get_matches_from(words.iter().chain(&keep))).unwrap()
    }

    fn kept(folder: &Path) -> Vec<String> {
        let files = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What is shown is what is kept: one function does both.
    #[test]
    fn a_kind_that_two_guests_find_is_shown_once() {
        let folder = tempfile::tempdir().unwrap();
        let (both, end) = (Barrier::new(2), 2 * SHARE + 5);
        let guests = Scripted {
            script: |numbers: Range<u64>, tell: &mut dyn FnMut(News) -> Result<()>| {
                let first = numbers.start;
                tell(started(first))?;
                if first < 2 * SHARE {
                    both.wait();
                }
                tell(found(first, 22))?;
                tell(started(first + 1))?;
                if first == SHARE {
                    tell(found(first + 1, 1))?;
                }
                if first < 2 * SHARE {
                    both.wait();
                }
                Ok(())
            },
            asked: Mutex::default(),
        };
        let sequences = format!("--sequences={end}");
        let wanted = wanted(&[&sequences, "--differences=5"], folder.path());
        assert!(!campaign(&guests, &wanted, 2, &Progress::new()).unwrap());

        let kept = kept(folder.path());
        let other_kind = format!("1-{}.json", SHARE + 1);
        assert_eq!(kept.len(), 2, "two kinds: {kept:?}");
        assert!(kept.contains(&other_kind), "{kept:?}");
        let asked = guests.asked.into_inner().unwrap();
        let last = asked.iter().find(|words| number(words, "--first") == 2 * SHARE).unwrap();
        assert_eq!(number(last, "--sequences"), 5);
        assert_eq!(number(last, "--differences"), 3, "those that others have shown count");
    }

    #[test]
    fn the_last_difference_that_is_wanted_stops_all_guests() {
        let folder = tempfile::tempdir().unwrap();
        let (both, went_on) = (Barrier::new(2), Mutex::new(false));
        let guests = Scripted {
            script: |numbers: Range<u64>, tell: &mut dyn FnMut(News) -> Result<()>| {
                tell(started(numbers.start))?;
                both.wait();
                if numbers.start == 0 {
                    tell(found(0, 22))?;
                    both.wait();
                } else {
                    both.wait();
                    tell(started(numbers.start + 1))?;
                    *locked(&went_on) = true;
                }
                Ok(())
            },
            asked: Mutex::default(),
        };
        let wanted = wanted(&["--sequences=100000", "--differences=1"], folder.path());
        assert!(!campaign(&guests, &wanted, 2, &Progress::new()).unwrap());
        assert!(!*locked(&went_on), "a guest goes on");
        assert_eq!(guests.asked.into_inner().unwrap().len(), 2, "no guest is started any more");
        assert_eq!(kept(folder.path()), ["1-0.json"]);
    }

    #[test]
    fn the_last_difference_that_is_wanted_is_kept_or_it_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let guests = Scripted {
            script: |numbers: Range<u64>, tell: &mut dyn FnMut(News) -> Result<()>| {
                tell(started(numbers.start))?;
                fs::remove_dir(folder.path()).unwrap();
                tell(found(numbers.start, 22))
            },
            asked: Mutex::default(),
        };
        let wanted = wanted(&["--differences=1"], folder.path());
        let error = campaign(&guests, &wanted, 1, &Progress::new()).unwrap_err();
        assert!(error.to_string().starts_with("cannot write"), "{error}");
    }
}
