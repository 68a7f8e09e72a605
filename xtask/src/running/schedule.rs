//! The suite on several kernels at once: each kernel's plan is dealt out to shards, and each shard is
//! the run of its part in guests of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use anyhow::{Result, anyhow};
use nix::sys::signal::Signal;
use nlconform::cases;
use nlconform::event::{Identity, Plan, Report};
use nlconform::program::Program;
use nlconform::report::Run;
use nlconform::report::known::Known;
use nlconform::spec::Profile;

use crate::host::signals;
use crate::running::session::{self, Losses, News};
use crate::vm::Place;

/// Time limit for a case, in milliseconds. Cases that wait have shorter deadlines of their own.
const CASE_DEADLINE_MS: u64 = 10_000;

/// Time that a scenario may take, in milliseconds: its calls have shorter deadlines of their own, but an
/// adapter may take long to start.
const SCENARIO_DEADLINE_MS: u64 = 120_000;

/// Fewer cases than this are not worth the boot of another guest.
const SMALLEST_SHARD: usize = 50;

/// So many cases are done in the second that a case waits for. One case of the suite does (trait `waits`): dealing
/// around it, and giving its slot back early, save up to that second, of the five that a run takes on two processors.
const WORTH_OF_WAIT: usize = 200;

/// The suite on one target.
#[derive(Debug)]
pub struct Job {
    /// The target's name.
    pub target: String,
    /// Where it runs.
    pub place: Place,
    /// What it runs.
    pub plan: Plan,
}

/// The profile of a kernel of this release: the expectations are those of its version, or of the nearest that
/// the specification was checked against.
pub fn profile(release: &str) -> String {
    release.parse().map_or_else(|_| Profile::newest(), Profile::nearest).to_string()
}

/// The plan for a target of this profile that takes `slower` times as long as a plain kernel.
pub fn plan(profile: &str, cases: Vec<String>, slower: u32) -> Plan {
    Plan {
        cases,
        profile: profile.to_owned(),
        deadline_ms: CASE_DEADLINE_MS * u64::from(slower),
        client: None,
        counters: false,
        steps: false,
    }
}

/// The same for a client library.
pub fn client_plan(profile: &str, cases: Vec<String>, slower: u32, client: Program) -> Plan {
    let deadline_ms = SCENARIO_DEADLINE_MS * u64::from(slower);
    Plan { deadline_ms, client: Some(client), ..plan(profile, cases, slower) }
}

/// What a kernel's guests have reported.
#[derive(Debug, Default)]
pub struct Results {
    /// What was tested; nothing when no guest came up.
    pub identity: Option<Identity>,
    /// What guests ran on, each once.
    pub platforms: Vec<String>,
    /// Verdicts, in the order in which they came.
    pub reports: Vec<Report>,
    /// What the consoles said, one a guest.
    pub consoles: Vec<String>,
    /// Coverage counters that came, by file, of one guest after the other.
    pub counters: Vec<(String, Vec<u8>)>,
    /// Why the lab could not do all of its work.
    pub errors: Vec<String>,
}

impl Results {
    /// The version that the target says it has; nothing when it did not get as far.
    pub fn version(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.version)
    }

    /// Takes in one piece of news.
    fn take(&mut self, news: Result<News>) {
        match news {
            Ok(News::Hello { identity, platform }) => {
                self.identity = Some(identity);
                if !self.platforms.contains(&platform) {
                    self.platforms.push(platform);
                }
            }
            Ok(News::Note(_) | News::Started { .. }) => {}
            Ok(News::Finished(report)) => self.reports.push(report),
            Ok(News::Console(text)) => self.consoles.push(text),
            Ok(News::Counters { file, bytes }) => self.counters.push((file, bytes)),
            Err(error) => {
                // Several guests of a kernel may have the same to say.
                let error = format!("{error:#}");
                if !self.errors.contains(&error) {
                    self.errors.push(error);
                }
            }
        }
    }

    /// These results as the record keeps them: in the order of the suite, whichever guest was
    /// first, and with known differences marked.
    pub fn to_run(&self, job: &Job, known: &Known) -> Run {
        let place: HashMap<_, _> = job.plan.cases.iter().zip(0..).collect();
        let known = known.of_version(self.version());
        let mut reports = self.reports.clone();
        reports.sort_by_key(|report| place.get(&report.case).copied());
        reports.iter_mut().for_each(|report| known.mark(report));
        Run {
            target: job.target.clone(),
            platform: if self.platforms.is_empty() {
                job.place.platform()
            } else {
                self.platforms.join(", ")
            },
            arch: job.place.arch().map(str::to_owned),
            profile: job.plan.profile.clone(),
            identity: self.identity.clone(),
            surprises: known.surprises(&reports),
            reports,
            errors: self.errors.clone(),
        }
    }
}

/// A part of a job, which runs in guests of its own.
#[derive(Debug)]
struct Shard {
    /// Number of the job.
    job: usize,
    place: Place,
    plan: Plan,
    losses: Arc<Losses>,
}

/// How a suite runs.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Guests that run at once.
    pub slots: usize,
    /// Guests that each job may lose to its cases before it is given up.
    pub max_crashes: u32,
}

/// What the threads of a run send to the one that keeps its results.
#[expect(clippy::large_enum_variant, reason = "there are few of them, and most are the largest")]
enum Message {
    /// Of a job's shard; an error is its end.
    Shard(usize, Result<News>),
    /// All shards have ended.
    End,
    /// Somebody wants the lab to end.
    Stop(Signal),
}

/// Runs the jobs, and has `tell` know of what comes, by number of the job. SIGINT, SIGTERM and SIGHUP end the run
/// early, with what has come until then; they stay blocked, and so do not keep it from being written.
/// The guests that are left end with this process.
pub fn run(jobs: &[Job], limits: Limits, tell: &mut dyn FnMut(usize, &News)) -> Vec<Results> {
    let (sender, messages) = mpsc::channel();
    let stop = sender.clone();
    signals::hand_to(move |signal| {
        // Without effect once the run is over.
        let _ = stop.send(Message::Stop(signal));
    });
    let shards = shards(jobs, limits);
    thread::spawn(move || {
        let ended = thread::scope(|scope| scope.spawn(|| run_all(shards, limits.slots, &sender)).join());
        if ended.is_err() {
            let panicked = || anyhow!("a thread of the lab has panicked");
            let _ = sender.send(Message::Shard(0, Err(panicked())));
        }
        let _ = sender.send(Message::End);
    });
    let kernels = take_all(jobs, &messages, tell);
    signals::keep();
    kernels
}

/// Takes what the shards send until they have ended, or a signal has come.
fn take_all(jobs: &[Job], messages: &Receiver<Message>, tell: &mut dyn FnMut(usize, &News)) -> Vec<Results> {
    let mut kernels: Vec<_> = jobs.iter().map(|_| Results::default()).collect();
    loop {
        match messages.recv().expect("whoever hands on signals has a sender") {
            Message::End => return kernels,
            Message::Shard(number, news) => {
                if let Ok(news) = &news {
                    tell(number, news);
                }
                kernels[number].take(news);
            }
            Message::Stop(signal) => {
                for (kernel, job) in kernels.iter_mut().zip(jobs) {
                    let open = job.plan.cases.len() - kernel.reports.len();
                    if open > 0 {
                        kernel.errors.push(format!("stopped by {signal}: {open} cases have no verdict"));
                    }
                }
                return kernels;
            }
        }
    }
}

/// Runs the shards in order, so many at once.
fn run_all(shards: Vec<Shard>, slots: usize, tell: &Sender<Message>) {
    let (give, slot) = mpsc::channel();
    (0..slots).for_each(|_| drop(Slot(give.clone())));
    thread::scope(|scope| {
        for shard in shards {
            slot.recv().expect("a sender is at hand");
            let slot = Slot(give.clone());
            scope.spawn(|| shard.run(slot, tell));
        }
    });
}

/// The right to run a guest. It goes back when it is dropped.
struct Slot(Sender<()>);

impl Drop for Slot {
    fn drop(&mut self) {
        // Nobody waits for it any more when the last shard has begun.
        let _ = self.0.send(());
    }
}

/// Deals out each plan.
fn shards(jobs: &[Job], limits: Limits) -> Vec<Shard> {
    let mut shards = Vec::new();
    for (number, job) in jobs.iter().enumerate() {
        let cases = &job.plan.cases;
        let hands = hands(number, jobs.len(), limits.slots).min(cases.len() / SMALLEST_SHARD).max(1);
        let losses = Arc::new(Losses::at_most(limits.max_crashes));
        shards.extend(deal(cases, hands).into_iter().map(|cases| Shard {
            job: number,
            place: job.place.clone(),
            plan: Plan { cases, ..job.plan.clone() },
            losses: Arc::clone(&losses),
        }));
    }
    shards
}

/// Round robin, so that slow neighbours do not share a shard. A last case that waits goes to the first shard, which
/// gets none of those before it that others do in that time.
fn deal(cases: &[String], hands: usize) -> Vec<Vec<String>> {
    let spared = if hands > 1 && cases.last().is_some_and(|last| waits(last)) { WORTH_OF_WAIT } else { 0 };
    let mut dealt = vec![Vec::new(); hands];
    for (n, case) in cases.iter().enumerate() {
        let hand = match cases.len() - n {
            1 if spared > 0 => 0,
            left if left <= spared => 1 + n % (hands - 1),
            _ => n % hands,
        };
        dealt[hand].push(case.clone());
    }
    dealt
}

/// Whether this case waits for a second and does nothing meanwhile.
fn waits(case: &str) -> bool {
    cases::find(case).is_some_and(|case| case.traits.waits)
}

/// Guests for one of several jobs. Each boot costs, so only those jobs are split that would leave slots
/// without work: the last ones.
fn hands(number: usize, jobs: usize, slots: usize) -> usize {
    let left_over = jobs % slots;
    if number < jobs - left_over { 1 } else { slots.div_ceil(left_over) }
}

impl Shard {
    /// The slot is given back early when a case begins that waits: the next guest can boot meanwhile. Not
    /// if they would have to share a debugger.
    fn run(self, slot: Slot, tell: &Sender<Message>) {
        let mut slot = Some(slot);
        // Nobody listens any more once a run has been given up.
        let ended = session::run(&self.place, &self.plan, &self.losses, &mut |news| {
            if let News::Started { case, .. } = &news
                && waits(case)
                && self.place.has_deadlines()
            {
                slot = None;
            }
            let _ = tell.send(Message::Shard(self.job, Ok(news)));
        });
        if let Err(error) = ended {
            let _ = tell.send(Message::Shard(self.job, Err(error)));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_case_is_dealt_once_and_who_waits_gets_fewer() {
        let cases: Vec<_> = super::cases::all().iter().map(|case| case.name.clone()).collect();
        let dealt = super::deal(&cases, 3);
        assert_eq!(dealt[0].last(), cases.last());
        assert!(dealt[0].len() + 50 < dealt[1].len().min(dealt[2].len()));
        let mut all = dealt.concat();
        all.sort_by_key(|case| cases.iter().position(|other| other == case));
        assert_eq!(all, cases);
        assert_eq!(super::deal(&cases, 1).concat(), cases);
        assert_eq!(super::deal(&cases[..60], 2).iter().map(Vec::len).collect::<Vec<_>>(), [30, 30]);
    }

    #[test]
    fn no_slot_is_left_without_work() {
        let hands = |jobs, slots| (0..jobs).map(|job| super::hands(job, jobs, slots)).collect::<Vec<_>>();
        assert_eq!(hands(1, 4), [4]);
        assert_eq!(hands(5, 2), [1, 1, 1, 1, 2]);
        assert_eq!(hands(4, 2), [1, 1, 1, 1]);
        assert_eq!(hands(3, 4), [2, 2, 2]);
        assert_eq!(hands(3, 1), [1, 1, 1]);
    }
}
