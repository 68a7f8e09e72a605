//! The run of a plan: over as many guests as it takes, with one verdict for each case.
//!
//! Whatever comes from a guest is checked against what was asked of it. A guest that says something
//! else, says nothing in time, or dies costs the case that ran, and the rest goes to a fresh guest.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nlconform::event::{Event, Identity, Plan, Report, Request, Verdict};
use nlconform::run::state;

use super::guest::{self, Guest, Silent};
use super::kept::Kept;
use super::retrace::retrace;
use super::unhex::unhex;
use crate::host::progress::say;
use crate::vm::{Mark, Place, Silence};

/// Time that a guest gets beyond a case's own deadline to report it. The guest ends a case that
/// takes too long by itself; this is for kernels that no longer run anything.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Time after which a note says that an adapter has not said hello. It has more, for a start on an emulated processor.
const SLOW_START: Duration = Duration::from_secs(10);

/// What a run reports while it goes on.
#[derive(Debug)]
pub enum News {
    /// A guest is up; said for each.
    Hello {
        /// What the guest says it is.
        identity: Identity,
        /// What it runs on, such as `KVM`.
        platform: String,
    },
    /// Something that people should know.
    Note(String),
    /// A case is about to run in the guest that has this process ID.
    Started {
        /// Full name of the case.
        case: String,
        /// Process ID of QEMU, or of the program.
        pid: u32,
    },
    /// A case has its verdict.
    Finished(Report),
    /// A guest has ended; this is what its console said.
    Console(String),
    /// Coverage counters of a guest.
    Counters {
        /// Path that the compiler gave to their file.
        file: String,
        /// The file's content.
        bytes: Vec<u8>,
    },
}

/// How many guests may be lost to cases before a run is given up as hopeless, and how much guests may send. Runs side by
/// side share it.
#[derive(Debug)]
pub struct Losses {
    limit: u32,
    count: AtomicU32,
    /// Of the events.
    kept: Kept,
}

impl Losses {
    /// No more than so many.
    pub fn at_most(limit: u32) -> Losses {
        Losses { limit, count: AtomicU32::new(0), kept: Kept::default() }
    }

    /// Counts a guest that was lost before its cases were done.
    ///
    /// # Errors
    /// When there have been too many; `open` cases get no verdict then.
    fn add(&self, open: usize) -> Result<()> {
        if self.count.fetch_add(1, Ordering::Relaxed) + 1 >= self.limit {
            bail!(
                "giving up: {} guests lost to crashes, timeouts or checker reports; {open} cases have no verdict \
                 (--max-crashes N allows more)",
                self.limit
            );
        }
        Ok(())
    }
}

/// Shows people what they should know, for commands that show nothing else of a run.
pub fn say_notes(news: News) {
    if let News::Note(note) = news {
        say(note);
    }
}

/// Runs each case of `plan` once in guests at `place`, and reports to `tell` what happens, in order.
///
/// # Errors
/// When the lab cannot do its work: QEMU does not start, guests do not get as far as a case, or too many
/// are lost. The cases that have had no verdict until then get none.
pub fn run(place: &Place, plan: &Plan, losses: &Losses, tell: &mut dyn FnMut(News)) -> Result<()> {
    run_to(false, place, plan, losses, tell)
}

/// The same until the first case that does not pass: no other is asked for then.
///
/// # Errors
/// See [`run`].
pub fn run_until_a_failure(place: &Place, plan: &Plan, tell: &mut dyn FnMut(News)) -> Result<()> {
    run_to(true, place, plan, &Losses::at_most(u32::MAX), tell)
}

fn run_to(
    a_failure: bool,
    place: &Place,
    plan: &Plan,
    losses: &Losses,
    tell: &mut dyn FnMut(News),
) -> Result<()> {
    let mut rest: VecDeque<String> = plan.cases.iter().cloned().collect();
    let mut barren = 0;
    while !rest.is_empty() {
        let before = rest.len();
        let (why, console) = match guest::start(place, tell)? {
            Ok(guest) => {
                let mut session = Session { guest, place, plan, losses, until_a_failure: a_failure };
                let end = session.serve(&mut rest, tell)?;
                let lost = session.settle(end, tell)?;
                if let Some(case) = &lost.case {
                    debug_assert_eq!(rest.front(), Some(case));
                    rest.pop_front();
                    if a_failure {
                        return Ok(());
                    }
                }
                if !rest.is_empty() {
                    losses.add(rest.len())?;
                }
                (lost.why, lost.console)
            }
            Err(unready) => {
                tell(News::Console(unready.console.clone()));
                (unready.why, unready.console)
            }
        };
        barren = if rest.len() == before { barren + 1 } else { 0 };
        if barren == 2 {
            bail!("guests end before they run a case: {why}\n{console}");
        }
    }
    Ok(())
}

/// One guest at work on a plan.
struct Session<'a> {
    guest: Guest,
    place: &'a Place,
    plan: &'a Plan,
    losses: &'a Losses,
    until_a_failure: bool,
}

/// How a guest ended.
struct End {
    running: Option<Running>,
    /// Nothing when it did all that was asked.
    silent: Option<Silent>,
}

/// The case that runs.
struct Running {
    case: String,
    since: Instant,
    /// Where the console was when the case before it began. What the lab reads from the channel comes
    /// late on a busy host, and after the oops on the console.
    mark: Mark,
    /// What the kernel had logged of the case before it.
    logged_before: String,
}

/// What a guest's end has cost.
struct Lost {
    case: Option<String>,
    why: String,
    console: String,
}

impl Session<'_> {
    /// Has the guest run `rest`, from which each case goes that has its verdict.
    ///
    /// # Errors
    /// When no guest can do what is asked for, in the guest's own words.
    fn serve(&mut self, rest: &mut VecDeque<String>, tell: &mut dyn FnMut(News)) -> Result<End> {
        let mut running: Option<Running> = None;
        let Guest { identity, platform, .. } = &self.guest;
        let platform = platform.clone();
        // Where a client library is tested, its own greeting comes later.
        if self.plan.client.is_none() {
            tell(News::Hello { identity: self.place.identify(identity.clone()), platform: platform.clone() });
        }
        let vm = &mut self.guest.vm;
        let (mut mark, mut logged) = (vm.console.mark(), String::new());
        let mut greets = self.plan.client.is_some();
        let plan = Plan { cases: rest.iter().cloned().collect(), ..self.plan.clone() };
        let time = Duration::from_millis(self.plan.deadline_ms) + GRACE;
        let deadline = || self.place.has_deadlines().then(|| Instant::now() + time);
        if let Err(silence) = vm.channel.send(&Request::Run(plan), deadline()) {
            return Ok(End { running, silent: Some(silence.into()) });
        }
        let mut slow = greets.then(|| Instant::now() + SLOW_START);
        loop {
            let received = vm.channel.receive(slow.or_else(deadline));
            if slow.take().is_some() && received == Err(Silence::Deadline) {
                tell(News::Note(format!(
                    "no hello from the adapter after {} s; still waiting",
                    SLOW_START.as_secs()
                )));
                continue;
            }
            if received.is_ok() {
                self.losses.kept.take(vm.channel.size(), "reports and counters")?;
            }
            match (received, &running) {
                (Ok(Event::Started { case }), None) if rest.front() == Some(&case) => {
                    tell(News::Started { case: case.clone(), pid: vm.pid() });
                    let before = std::mem::replace(&mut mark, vm.console.mark());
                    let logged_before = std::mem::take(&mut logged);
                    running = Some(Running { case, since: Instant::now(), mark: before, logged_before });
                }
                (Ok(Event::Finished(report)), Some(now)) if now.case == report.case => {
                    logged.clone_from(&report.console);
                    let is_failure = !matches!(report.verdict, Verdict::Pass | Verdict::Skip { .. });
                    let is_over = self.until_a_failure && is_failure;
                    tell(News::Finished(report));
                    rest.pop_front();
                    running = None;
                    if is_over {
                        rest.clear();
                        return Ok(End { running, silent: None });
                    }
                }
                (Ok(Event::Hello { identity, .. }), None) if greets => {
                    greets = false;
                    tell(News::Hello { identity, platform: platform.clone() });
                }
                (Ok(Event::Note { text }), None) => {
                    tell(News::Note(text.chars().filter(|c| !c.is_control()).collect()));
                }
                (Ok(Event::Refused { error }), None) => bail!("{error}"),
                (Ok(Event::Counters { file, bytes }), None) if self.plan.counters => match unhex(&bytes) {
                    Some(bytes) => tell(News::Counters { file, bytes }),
                    None => {
                        return Ok(End {
                            running,
                            silent: Some(Silent::because("the guest sent counters that are not hexadecimal")),
                        });
                    }
                },
                (Ok(Event::Bye), None) => return Ok(End { running, silent: None }),
                (Ok(Event::Failed { error }), _) => {
                    return Ok(End { running, silent: Some(Silent::because(error)) });
                }
                (other, _) => return Ok(End { running, silent: Some(other.into()) }),
            }
        }
    }

    /// Ends the guest, and gives the case that ran its verdict.
    fn settle(mut self, end: End, tell: &mut dyn FnMut(News)) -> Result<Lost> {
        let vm = &mut self.guest.vm;
        let Some(silent) = end.silent else {
            // All is said. Only its own end is left, and nothing that could be lost with it.
            vm.end(false)?;
            tell(News::Console(vm.text()));
            return Ok(Lost { case: None, why: "it says that it is done".to_owned(), console: vm.text() });
        };
        let whereabouts = if silent.deadline { vm.whereabouts() } else { Vec::new() };
        let (mut why, ended) = silent.settle(vm)?;
        tell(News::Console(vm.text()));
        let Some(running) = end.running else {
            return Ok(Lost { case: None, why, console: vm.text() });
        };
        if let Some(panic) = vm.console.panic_since(running.mark) {
            why = format!("{why}: {panic}");
        }
        let mut console = vm.console.since(running.mark, &running.logged_before);
        for line in whereabouts {
            console.push_str(&format!("{}{line}", if console.is_empty() { "" } else { "\n" }));
        }
        let verdict = match silent.deadline && !ended.was_paused {
            true => Verdict::Timeout { after_ms: self.plan.deadline_ms },
            false => Verdict::Crash { reason: why.clone() },
        };
        let report = Report::new(&running.case, verdict);
        // A sandbox's runner sends no steps, and a debugger would have to come back.
        let traceable = matches!(self.place, Place::Machine(_)) && self.place.has_deadlines();
        let exchange = match traceable && !self.until_a_failure {
            true => retrace(self.place, self.plan, &running.case)?,
            false => Vec::new(),
        };
        let report = match self.plan.profile.parse() {
            Ok(profile) => state(report, profile),
            Err(_) => report,
        };
        tell(News::Finished(Report {
            micros: running.since.elapsed().as_micros() as u64,
            console: console.clone(),
            exchange,
            ..report
        }));
        Ok(Lost { case: Some(running.case), why, console })
    }
}
