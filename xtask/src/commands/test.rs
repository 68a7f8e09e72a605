//! `cargo xtask test`: the suite on one kernel or several, shown as a test run.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nlconform::cases;
use nlconform::event::{Report, Verdict};
use nlconform::report::known::Known;
use nlconform::report::pretty::explain;
use nlconform::report::{Record, counts};

use super::{Ended, compat};
use crate::foreign::{self, Foreign, Place};
use crate::lab::{KernelArgs, Lab, MachineArgs};
use crate::results;
use crate::suite::{self, Job, Pending};

/// Arguments of `cargo xtask test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    kernels: KernelArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// Test another implementation instead of a kernel
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(foreign::names()), conflicts_with = "which")]
    target: Option<String>,
    /// The file of known differences [default: that of the target in docs/compat, if there is one]
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Write the results to this folder [default: one of its own below target/results]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
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
    let cases = selected(&args.harness);
    if args.harness.list {
        let trials = cases.into_iter().map(|case| Trial::test(case, || Ok(()))).collect();
        let _listed = libtest_mimic::run(&args.harness, trials);
        return Ok(Ended::Well);
    }
    // A name that is mistyped must not look like success to a bisection or to CI.
    if cases.is_empty() {
        bail!("no case is left by these filters; `cargo xtask test --list` shows all");
    }
    let specs = args.kernels.specs()?;
    let lab = Lab::open(&args.kernels)?;
    let mut jobs = Vec::new();
    let mut errors = Vec::new();
    // Held until the end: what is in use is not pruned.
    let mut held = Vec::new();
    let mut runner = None;
    if let Some(name) = &args.target {
        let (foreign, built) = Foreign::obtain(name, &lab, !args.kernels.no_install)?;
        let plan = suite::plan(foreign.profile(), cases.clone());
        jobs.push(Job { target: foreign.title().to_owned(), place: Place::Foreign(foreign), plan });
        runner = Some(built);
    } else {
        lab.explain_accel(&args.machine)?;
    }
    for spec in specs.iter().filter(|_| runner.is_none()) {
        let built = lab.build(spec).and_then(|built| {
            let machine = lab.machine(&built, &args.machine, |_| Ok(()))?;
            let plan = suite::plan(&suite::profile(&built.kernel.release), cases.clone());
            jobs.push(Job { target: built.kernel.label.clone(), place: Place::Machine(machine), plan });
            Ok(built)
        });
        match built {
            Ok(built) => held.push(built),
            Err(error) => errors.push(format!("{error:#}")),
        }
    }

    if jobs.is_empty() {
        bail!("{}", errors.join("\n"));
    }
    let known = Arc::new(args.known()?);
    let started = SystemTime::now();
    let start = Instant::now();
    let (mut running, pending) = suite::start(&jobs, args.machine.jobs());
    let up = running.wait_for_a_guest();
    let boot = start.elapsed();
    let trials = trials(&jobs, &cases, &up, pending, &known);
    let failed = !trials.is_empty() && libtest_mimic::run(&args.harness, trials).has_failed();
    let results = running.finish();
    let taken = start.elapsed();

    let consoles: Vec<_> = results.iter().map(|results| results.consoles.as_slice()).collect();
    let runs = jobs.iter().zip(&results).map(|(job, results)| results.to_run(job, &known)).collect();
    let record = Record::new(started, runs);
    let folder = results::write(&record, &consoles, args.results.as_deref())?;
    for run in &record.runs {
        let told: Vec<_> =
            counts(&run.reports).iter().map(|(word, count)| format!("{count} {word}")).collect();
        eprintln!("{} ({}): {}", run.target, run.platform, told.join(", "));
        run.surprises.iter().for_each(|surprise| eprintln!("unexpected: {surprise}"));
        errors.extend(run.errors.iter().map(|error| format!("{}: {error}", run.target)));
    }
    eprintln!("{:.2} s, of which {:.2} s until a guest was up", taken.as_secs_f32(), boot.as_secs_f32());
    eprintln!("{}", folder.join("report.html").display());
    if !errors.is_empty() {
        bail!("{}", errors.join("\n"));
    }
    let surprised = record.runs.iter().any(|run| !run.surprises.is_empty());
    Ok(if failed || surprised { Ended::Failed } else { Ended::Well })
}

/// The names of the cases that the filters leave.
fn selected(harness: &Arguments) -> Vec<String> {
    let names = cases::all().iter().map(|case| case.name.clone());
    names.filter(|name| !harness.is_filtered_out(&Trial::test(name, || Ok(())))).collect()
}

/// One trial for each case and target that goes on; it waits for the guest's verdict.
fn trials(
    jobs: &[Job],
    cases: &[String],
    up: &[bool],
    mut pending: HashMap<(usize, String), Pending>,
    known: &Arc<Known>,
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (number, job) in jobs.iter().enumerate().filter(|(number, _)| up[*number]) {
        for case in cases {
            let verdict = pending.remove(&(number, case.clone())).expect("each case has its place");
            let known = Arc::clone(known);
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
