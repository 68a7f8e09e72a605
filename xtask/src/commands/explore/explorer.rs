//! Guests of one kernel in which the explorer runs: the program that makes sequences and says what it finds.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nlconform::event::Identity;
use nlconform::explore::call::Call;
use nlconform::explore::campaign::News;
use nlconform::explore::command::profile;
use nlconform::explore::seen::Observed;
use nlconform::explore::system::HANGS;
use nlconform::explore::{Features, Finding, sequence, shrink};
use nlconform::program::Program as Argv;
use tempfile::NamedTempFile;

use super::campaign::Guests;
use crate::making::lab::{Bootable, Lab};
use crate::making::program::Built;
use crate::running::conversation::{End, converse};
use crate::running::kept::Kept;
use crate::running::session::say_notes;
use crate::vm::{Place, Settings};

/// Time for which a guest may be silent: it has news of each sequence, also while one is shrunk, which takes
/// seconds at most, and a call that hangs is given up by the guest itself.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Where the explorer finds a file.
const FILE: &str = "/program/sequences.json";

/// Exploration of one kernel.
pub struct Explorer<'a> {
    settings: Settings,
    lab: &'a Lab,
    built: &'a Bootable,
    explorer: &'a Built,
}

impl<'a> Explorer<'a> {
    /// Explores this kernel in guests with these settings.
    pub fn new(settings: Settings, lab: &'a Lab, built: &'a Bootable, explorer: &'a Built) -> Explorer<'a> {
        Explorer { settings, lab, built, explorer }
    }

    /// Makes sequences in one guest until one differs; returns the number of that one, and what became of it.
    /// A guest that does not come up differs, too.
    pub fn first_difference(&self, seed: u64, sequences: u64) -> Option<(u64, String)> {
        let words =
            [format!("--seed={seed}"), format!("--sequences={sequences}"), "--differences=1".to_owned()];
        let (mut running, mut found) = (0, None);
        let ended = self.run(&words, None, &mut |_, news| {
            match news {
                News::Started { number, .. } => running = number,
                News::Found(finding) => {
                    found = Some((finding.number, format!("{} calls", finding.calls.len())))
                }
                _ => {}
            }
            Ok(())
        });
        match ended {
            _ if found.is_some() => found,
            Ok((_, End::Exited(HANGS))) => Some((running, "a call does not return".to_owned())),
            Ok((_, End::Exited(_))) => None,
            Ok((_, End::Lost { why, .. })) => Some((running, first_line(&why).to_owned())),
            Err(why) => Some((running, first_line(&why.to_string()).to_owned())),
        }
    }

    /// Runs the explorer in a fresh guest, with a file if it needs one. Its news go to `tell`, with what the guest says
    /// it is.
    fn run(
        &self,
        words: &[String],
        file: Option<&Path>,
        tell: &mut dyn FnMut(&Identity, News) -> Result<()>,
    ) -> Result<(Identity, End)> {
        let machine = self.lab.machine(self.built, &self.settings, |image| {
            image.dir("program")?;
            image.file("program/explore", &self.explorer.path)?;
            file.map_or(Ok(()), |file| image.file(FILE.trim_start_matches('/'), file))
        })?;
        let kept = Kept::default();
        let argv = ["/program/explore", "--json", "--here"]
            .map(str::to_owned)
            .into_iter()
            .chain(words.iter().cloned());
        let program = Argv::here(argv.collect());
        converse(&Place::Machine(machine), program, SILENCE_TIMEOUT, &mut say_notes, &mut |identity, line| {
            match serde_json::from_str(line) {
                Ok(news) => {
                    // Beginnings are not kept.
                    if !matches!(news, News::Started { .. }) {
                        kept.take(line.len(), "findings")?;
                    }
                    tell(identity, news)
                }
                // What it says on standard error is for people.
                Err(_) => {
                    eprintln!("{line}");
                    Ok(())
                }
            }
        })
    }

    /// What the kernel says it is.
    ///
    /// # Errors
    /// Its guest does not come up.
    pub fn identity(&self) -> Result<Identity> {
        Ok(self.each(&[], &mut |_, _| {})?.0)
    }

    /// What the kernel shows of each of these sequences, in as many guests as it takes.
    ///
    /// # Errors
    /// A guest does not come up, or the explorer leaves sequences out.
    pub fn observe(&self, sequences: &[Vec<Call>]) -> Result<Vec<Observed>> {
        let mut all: Vec<Observed> = Vec::with_capacity(sequences.len());
        while all.len() < sequences.len() {
            let (_, lost) = self.each(&sequences[all.len()..], &mut |_, observed| all.push(observed))?;
            match lost {
                Some(why) => {
                    all.push(Observed { seen: Vec::new(), trouble: Some(first_line(&why).to_owned()) })
                }
                None if all.len() < sequences.len() => bail!("the explorer has left out sequences"),
                None => {}
            }
        }
        Ok(all)
    }

    /// Has a fresh guest make each of these sequences; returns also why the guest was lost, if it was.
    fn each(
        &self,
        sequences: &[Vec<Call>],
        seen: &mut dyn FnMut(usize, Observed),
    ) -> Result<(Identity, Option<String>)> {
        let mut file = NamedTempFile::new()?;
        file.write_all(&serde_json::to_vec(sequences)?)?;
        let words = ["--each".to_owned(), FILE.to_owned()];
        let mut left = sequences.len();
        let (identity, end) = self.run(&words, Some(file.path()), &mut |_, news| {
            if let News::Observed { number, observed } = news {
                left =
                    left.checked_sub(1).context("the explorer has observed more sequences than there are")?;
                seen(number as usize, observed);
            }
            Ok(())
        })?;
        match end {
            End::Exited(0) => Ok((identity, None)),
            End::Exited(HANGS) => Ok((identity, Some("a call does not return".to_owned()))),
            End::Exited(status) => bail!("the explorer ended with status {status}"),
            End::Lost { why, console } => Ok((identity, Some(format!("{why}\n{console}")))),
        }
    }

    /// Makes the calls of a file and shows what comes of them; returns whether they do not differ.
    ///
    /// # Errors
    /// The guest does not come up, or the explorer refuses the file.
    pub fn replay(&self, file: &Path) -> Result<bool> {
        let words = ["--replay".to_owned(), FILE.to_owned()];
        let mut finding = None;
        let (identity, end) = self.run(&words, Some(file), &mut |_, news| {
            if let News::Found(found) = news {
                finding = Some(found);
            }
            Ok(())
        })?;
        match (finding, end) {
            (Some(finding), _) => {
                print!("{}", finding.explain(profile(&identity)));
                Ok(finding.difference().is_none())
            }
            (None, End::Lost { why, console }) => {
                println!("the guest is lost: {why}\n{console}");
                Ok(false)
            }
            (None, End::Exited(status)) => bail!("the explorer ended with status {status}"),
        }
    }

    /// The first of these sequences that a fresh guest does not survive, and why.
    fn first_lost(&self, candidates: &[Vec<Call>], reason: &mut String) -> Result<Option<usize>> {
        if candidates.is_empty() {
            return Ok(None);
        }
        let mut survived = 0;
        let (_, lost) = self.each(candidates, &mut |_, _| survived += 1)?;
        Ok(lost.map(|why| {
            *reason = why;
            survived
        }))
    }
}

impl Guests for Explorer<'_> {
    fn label(&self) -> String {
        self.built.kernel.label.clone()
    }

    fn explore(
        &self,
        words: &[String],
        tell: &mut dyn FnMut(&Identity, News) -> Result<()>,
    ) -> Result<(Identity, End)> {
        self.run(words, None, tell)
    }

    fn lost(&self, seed: u64, number: u64, features: &Features, why: String) -> Result<Finding> {
        let calls = sequence(seed, number, features);
        let from = calls.len();
        self.lab
            .progress
            .note(&format!("sequence {number} costs its guest ({}): it is shrunk", first_line(&why)));
        let mut reason = why;
        let alone = self.first_lost(std::slice::from_ref(&calls), &mut reason)?.is_some();
        let mut failure = None;
        let calls = if alone {
            shrink(calls, &mut |candidates| match self.first_lost(candidates, &mut reason) {
                Ok(lost) => lost,
                Err(error) => {
                    failure.get_or_insert(error);
                    None
                }
            })
        } else {
            reason = format!("{reason}\n(only after the sequences before it: by itself it does not)");
            calls
        };
        if let Some(error) = failure {
            return Err(error);
        }
        let sides = ["a guest that lives".to_owned(), self.built.kernel.label.clone()];
        let lives = Observed { seen: Vec::new(), trouble: None };
        let dies = Observed { seen: Vec::new(), trouble: Some(reason) };
        Ok(Finding { seed, number, from, sides, calls, observed: Box::new([lives, dies]) })
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
