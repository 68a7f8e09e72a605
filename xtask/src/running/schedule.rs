//! The suite on several kernels at once: each kernel's plan is dealt out to shards, and each shard is
//! the run of its part in guests of its own.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use anyhow::Result;
use nlconform::cases;
use nlconform::event::{Identity, Plan, Report};
use nlconform::program::Program;
use nlconform::report::Run;
use nlconform::report::known::Known;
use nlconform::spec::Profile;

use crate::running::session::{self, News};
use crate::vm::Place;

/// Time limit for a case, in milliseconds. Cases that wait have shorter deadlines of their own.
const CASE_DEADLINE_MS: u64 = 10_000;

/// Time that a scenario may take, in milliseconds: its calls have shorter deadlines of their own, but an
/// adapter may take long to start.
const SCENARIO_DEADLINE_MS: u64 = 120_000;

/// Fewer cases than this are not worth the boot of another guest.
const SMALLEST_SHARD: usize = 50;

/// So many cases are done in the second that a case waits for.
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

/// The plan for a target of this profile.
pub fn plan(profile: &str, cases: Vec<String>) -> Plan {
    Plan { cases, profile: profile.to_owned(), deadline_ms: CASE_DEADLINE_MS, client: None }
}

/// The plan for a client library, on a target of this profile.
pub fn client_plan(profile: &str, cases: Vec<String>, client: Program) -> Plan {
    let deadline_ms = SCENARIO_DEADLINE_MS;
    Plan { cases, profile: profile.to_owned(), deadline_ms, client: Some(client) }
}

/// What a kernel's guests have told, in the order of [`Job`]s given to [`start`].
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
    /// Why the lab could not do all of its work.
    pub errors: Vec<String>,
}

impl Results {
    /// The version that the target says it has; nothing when it did not get as far.
    pub fn version(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.version)
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
            profile: job.plan.profile.clone(),
            identity: self.identity.clone(),
            surprises: known.surprises(&reports),
            reports,
            errors: self.errors.clone(),
        }
    }
}

/// A suite that runs in threads of its own.
#[derive(Debug)]
pub struct Running {
    shards: JoinHandle<()>,
    /// Number of the job, and what a shard of it tells; an error is its end.
    news: Receiver<(usize, Result<News>)>,
    kernels: Vec<Results>,
}

/// A part of a job, which runs in guests of its own, and where its verdicts go.
#[derive(Debug)]
struct Shard {
    /// Number of the job.
    job: usize,
    place: Place,
    plan: Plan,
    verdicts: HashMap<String, Sender<Report>>,
}

/// One verdict that will come, unless the other end goes first: then there will never be one.
pub type Pending = Receiver<Report>;

/// Starts the jobs in `slots` guests at once. Returns what comes, and where each verdict will be
/// found by number of the job and case.
pub fn start(jobs: &[Job], slots: usize) -> (Running, HashMap<(usize, String), Pending>) {
    let mut pending = HashMap::new();
    let shards = shards(jobs, slots, &mut pending);
    let (tell, news) = mpsc::channel();
    let shards = thread::spawn(move || run_all(shards, slots, &tell));
    let kernels = jobs.iter().map(|_| Results::default()).collect();
    (Running { shards, news, kernels }, pending)
}

/// Runs the shards in order, so many at once.
fn run_all(shards: Vec<Shard>, slots: usize, tell: &Sender<(usize, Result<News>)>) {
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
fn shards(jobs: &[Job], slots: usize, pending: &mut HashMap<(usize, String), Pending>) -> Vec<Shard> {
    let mut shards = Vec::new();
    for (number, job) in jobs.iter().enumerate() {
        let cases = &job.plan.cases;
        let hands = hands(number, jobs.len(), slots).min(cases.len() / SMALLEST_SHARD).max(1);
        for cases in deal(cases, hands) {
            let mut verdicts = HashMap::new();
            for case in &cases {
                let (sender, receiver) = mpsc::channel();
                verdicts.insert(case.clone(), sender);
                pending.insert((number, case.clone()), receiver);
            }
            let plan = Plan { cases, ..job.plan.clone() };
            shards.push(Shard { job: number, place: job.place.clone(), plan, verdicts });
        }
    }
    shards
}

/// Card by card, so that slow neighbours do not end up in one hand. A last case that waits goes to the first
/// hand, which gets none of those before it that others do in that time.
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
    /// The slot is given back early when a case begins that waits: the next guest can boot meanwhile. Not if they would have to share a debugger.
    fn run(mut self, slot: Slot, tell: &Sender<(usize, Result<News>)>) {
        let mut slot = Some(slot);
        // Nobody listens any more once a run has been given up.
        let ended = session::run(&self.place, &self.plan, &mut |news| {
            match &news {
                News::Started { case, .. } if waits(case) && self.place.has_deadlines() => slot = None,
                News::Finished(report) => {
                    if let Some(verdict) = self.verdicts.remove(&report.case) {
                        let _ = verdict.send(report.clone());
                    }
                }
                _ => {}
            }
            let _ = tell.send((self.job, Ok(news)));
        });
        if let Err(error) = ended {
            let _ = tell.send((self.job, Err(error)));
        }
    }
}

impl Running {
    /// The version of each job's target, as far as it is known yet.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().map(Results::version)
    }

    /// Waits until a first guest is up, or all have failed to come up: which jobs go on.
    pub fn wait_for_a_guest(&mut self) -> Vec<bool> {
        let is_up = |kernel: &Results| kernel.identity.is_some();
        let has_failed = |kernel: &Results| !kernel.errors.is_empty();
        while !self.kernels.iter().any(is_up) && !self.kernels.iter().all(has_failed) && self.take_one() {}
        self.kernels.iter().map(|kernel| is_up(kernel) || !has_failed(kernel)).collect()
    }

    /// Takes in all that comes, to the end.
    pub fn finish(mut self) -> Vec<Results> {
        while self.take_one() {}
        if self.shards.join().is_err() {
            let error = "a thread of the lab has panicked".to_owned();
            self.kernels.iter_mut().for_each(|kernel| kernel.errors.push(error.clone()));
        }
        self.kernels
    }

    /// Takes in one piece of news; false when there will be no more.
    fn take_one(&mut self) -> bool {
        let Ok((number, told)) = self.news.recv() else { return false };
        let kernel = &mut self.kernels[number];
        match told {
            Ok(News::Hello { identity, platform }) => {
                kernel.identity = Some(identity);
                if !kernel.platforms.contains(&platform) {
                    kernel.platforms.push(platform);
                }
            }
            Ok(News::Note(note)) => eprintln!("{note}"),
            Ok(News::Started { .. }) => {}
            Ok(News::Finished(report)) => kernel.reports.push(report),
            Ok(News::Console(text)) => kernel.consoles.push(text),
            Err(error) => kernel.errors.push(format!("{error:#}")),
        }
        true
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
