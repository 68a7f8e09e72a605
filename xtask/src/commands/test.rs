//! `cargo xtask test`: the suite on one kernel or several, shown as a test run.

use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nlconform::cases;
use nlconform::event::{Report, Role, Verdict};
use nlconform::report::known::Known;
use nlconform::report::pretty::explain;
use nlconform::report::{Record, Run, counts};
use nlconform::spec::Profile;

use super::{Ended, compat};
use crate::commands::args::{KernelArgs, MachineArgs};
use crate::making::kbuild::KernelSpec;
use crate::making::sandbox;
use crate::running::results;
use crate::running::schedule::{self, Job, Pending, Results};
use crate::vm::Place;

/// Arguments of `cargo xtask test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    kernels: KernelArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// Test another implementation instead of a kernel
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(sandbox::names()), conflicts_with = "which")]
    target: Option<String>,
    /// Test what this command line starts: a sandbox or an emulator that takes a static program as its last
    /// word, such as "runsc --network=none do --"
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["which", "target"])]
    target_command: Option<String>,
    /// A file of known differences [default: that of the target in docs/compat, if there is one]
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Write the results to this folder [default: one of its own below target/results]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Run the cases in an order of their own: the same for the same number
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
    #[command(flatten)]
    harness: Arguments,
}

impl TestArgs {
    /// The known differences of what is tested.
    fn known(&self) -> Result<Known> {
        let of_target = self.target.as_deref().map(compat::known_file).filter(|file| file.exists());
        match self.known.clone().or(of_target) {
            Some(file) => Known::read(&file).map_err(|error| anyhow!(error)),
            None => Ok(Known::default()),
        }
    }
}

/// Runs the suite and shows it.
pub fn test(mut args: TestArgs) -> Result<Ended> {
    // Verdicts come from guests; a second thread here would only mix up the lines.
    args.harness.test_threads = Some(1);
    let Some(mut cases) = selected(&args.harness, Role::Target)? else { return Ok(Ended::Well) };
    if let Some(seed) = args.shuffle {
        fastrand::Rng::with_seed(seed).shuffle(&mut cases);
    }
    let made = make(&args, &cases)?;
    let known = args.known()?;
    run(&args.harness, &args.machine, &made, &cases, known, args.results.as_deref())
}

/// Runs what was made, shows each verdict as it comes, and keeps all in the folder of results.
pub(super) fn run(
    harness: &Arguments,
    machine: &MachineArgs,
    made: &Made,
    cases: &[String],
    known: Known,
    results: Option<&Path>,
) -> Result<Ended> {
    let shown = show(harness, machine.jobs(), &made.jobs, cases, &known);
    let (surprised, errors) = record(results, made, &shown, &known)?;
    if !errors.is_empty() {
        bail!("{}", errors.join("\n"));
    }
    Ok(if shown.failed || surprised { Ended::Failed } else { Ended::Well })
}

/// What there is to run, and what could not be made.
#[derive(Default)]
pub(super) struct Made {
    pub jobs: Vec<Job>,
    /// Kernels that could not be made, as the record keeps them.
    unmade: Vec<Run>,
    /// Entries of the cache that are in use, and so not pruned.
    pub held: Vec<Box<dyn Any>>,
}

impl Made {
    /// Adds a job for each kernel that can be made.
    ///
    /// # Errors
    /// When none can.
    pub fn kernels(
        mut self,
        specs: &[KernelSpec],
        job: impl Fn(&KernelSpec) -> Result<(Job, Box<dyn Any>)>,
    ) -> Result<Made> {
        for spec in specs {
            match job(spec) {
                Ok((job, held)) => {
                    self.jobs.push(job);
                    self.held.push(held);
                }
                Err(error) => self.unmade.push(unmade(spec, &error)),
            }
        }
        if self.jobs.is_empty() {
            let errors: Vec<_> = self.unmade.into_iter().flat_map(|run| run.errors).collect();
            bail!("{}", errors.join("\n"));
        }
        Ok(self)
    }
}

/// Makes what was asked for: kernels, or another implementation with its runner.
fn make(args: &TestArgs, cases: &[String]) -> Result<Made> {
    let specs = args.kernels.specs()?;
    let lab = args.kernels.open_lab()?;
    let mut made = Made::default();
    if let Some(name) = &args.target {
        let kind = sandbox::find(name)?;
        let (sandbox, built) = kind.obtain(&lab, !args.kernels.no_install)?;
        let plan = schedule::plan(kind.profile, cases.to_vec());
        made.jobs.push(Job { target: kind.title.to_owned(), place: Place::Sandbox(sandbox), plan });
        made.held.push(Box::new(built));
        return Ok(made);
    }
    if let Some(command) = &args.target_command {
        let (sandbox, built) = sandbox::custom(command, &lab)?;
        let plan = schedule::plan(&Profile::newest().to_string(), cases.to_vec());
        made.jobs.push(Job { target: command.clone(), place: Place::Sandbox(sandbox), plan });
        made.held.push(Box::new(built));
        return Ok(made);
    }
    lab.explain_accel(args.machine.accel)?;
    made.kernels(&specs, |spec| {
        let built = lab.build(spec)?;
        let machine = lab.machine(&built, &args.machine.settings(), |_| Ok(()))?;
        let plan = schedule::plan(&schedule::profile(&built.kernel.release), cases.to_vec());
        let target = built.kernel.label.clone();
        Ok((Job { target, place: Place::Machine(machine), plan }, Box::new(built) as Box<dyn Any>))
    })
}

/// The run of a kernel that there is not: without a verdict, and with the reason.
fn unmade(spec: &KernelSpec, error: &anyhow::Error) -> Run {
    let (target, profile) = match spec {
        KernelSpec::Named { name, .. } | KernelSpec::Patched { name, .. } => {
            (format!("kernel {name}"), schedule::profile(name))
        }
        KernelSpec::Tree { dir: path, .. } | KernelSpec::Image { image: path, .. } => {
            (path.display().to_string(), Profile::newest().to_string())
        }
    };
    Run {
        target,
        platform: "not booted".to_owned(),
        profile,
        identity: None,
        reports: Vec::new(),
        errors: vec![format!("{error:#}")],
        surprises: Vec::new(),
    }
}

/// What a run came to.
struct Shown {
    started: SystemTime,
    results: Vec<Results>,
    failed: bool,
    /// Time until a first guest was up.
    boot: Duration,
    taken: Duration,
}

/// Runs the jobs and shows each verdict as it comes.
fn show(harness: &Arguments, slots: usize, jobs: &[Job], cases: &[String], known: &Known) -> Shown {
    let started = SystemTime::now();
    let start = Instant::now();
    let (mut running, pending) = schedule::start(jobs, slots);
    let up = running.wait_for_a_guest();
    let boot = start.elapsed();
    let known: Vec<_> = running.versions().map(|version| Arc::new(known.of_version(version))).collect();
    let trials = trials(jobs, cases, &up, pending, &known);
    let failed = !trials.is_empty() && libtest_mimic::run(harness, trials).has_failed();
    let results = running.finish();
    Shown { started, results, failed, boot, taken: start.elapsed() }
}

/// Writes the folder of results and sums them up: whether a known difference is not as the list has
/// it, and what the lab could not do.
fn record(folder: Option<&Path>, made: &Made, shown: &Shown, known: &Known) -> Result<(bool, Vec<String>)> {
    let consoles: Vec<_> = shown.results.iter().map(|results| results.consoles.as_slice()).collect();
    let runs = made.jobs.iter().zip(&shown.results).map(|(job, results)| results.to_run(job, known));
    let record = Record::new(shown.started, runs.chain(made.unmade.iter().cloned()).collect());
    let folder = results::write(&record, &consoles, folder)?;
    let mut errors = Vec::new();
    for run in &record.runs {
        let words: Vec<_> =
            counts(&run.reports).iter().map(|(word, count)| format!("{count} {word}")).collect();
        eprintln!("{} ({}): {}", run.target, run.platform, words.join(", "));
        run.surprises.iter().for_each(|surprise| eprintln!("unexpected: {surprise}"));
        errors.extend(run.errors.iter().map(|error| format!("{}: {error}", run.target)));
    }
    let (taken, boot) = (shown.taken.as_secs_f32(), shown.boot.as_secs_f32());
    eprintln!("{taken:.2} s, of which {boot:.2} s until a guest was up");
    eprintln!("{}", folder.join("report.html").display());
    Ok((record.runs.iter().any(|run| !run.surprises.is_empty()), errors))
}

/// The names of the cases that judge this side and that the filters leave; nothing when they are only to be
/// listed, which is done.
///
/// # Errors
/// When none is left: a name that is mistyped must not look like success to a bisection or to CI.
pub(super) fn selected(harness: &Arguments, role: Role) -> Result<Option<Vec<String>>> {
    let names = cases::of(role).iter().map(|case| case.name.clone());
    let left: Vec<_> = names.filter(|name| !harness.is_filtered_out(&Trial::test(name, || Ok(())))).collect();
    if harness.list {
        let trials = left.into_iter().map(|case| Trial::test(case, || Ok(()))).collect();
        let _listed = libtest_mimic::run(harness, trials);
        return Ok(None);
    }
    if left.is_empty() {
        bail!("no case matches these filters; --list instead of them shows all");
    }
    Ok(Some(left))
}

/// One trial for each case and target that goes on; it waits for the guest's verdict.
fn trials(
    jobs: &[Job],
    cases: &[String],
    up: &[bool],
    mut pending: HashMap<(usize, String), Pending>,
    known: &[Arc<Known>],
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (number, job) in jobs.iter().enumerate().filter(|(number, _)| up[*number]) {
        for case in cases {
            let verdict = pending.remove(&(number, case.clone())).expect("each case has its place");
            let known = Arc::clone(&known[number]);
            let trial = Trial::ignorable_test(case, move || match verdict.recv() {
                Ok(mut report) => {
                    known.mark(&mut report);
                    complete(&report)
                }
                Err(_) => Err("no verdict: the lab could not go on".into()),
            });
            let several = jobs.len() > 1;
            trials.push(if several { trial.with_kind(job.target.clone()) } else { trial });
        }
    }
    trials
}

fn complete(report: &Report) -> Result<Completion, Failed> {
    match &report.verdict {
        Verdict::Pass => Ok(Completion::Completed),
        Verdict::Skip { reason } => Ok(Completion::ignored_with(reason)),
        _ if report.known.is_some() => {
            Ok(Completion::ignored_with(format!("known: {}", report.known.as_deref().unwrap_or_default())))
        }
        _ => Err(explain(report).into()),
    }
}
