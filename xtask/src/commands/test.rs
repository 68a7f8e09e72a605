//! `cargo xtask test`: the suite on one kernel or several, shown as a test run.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nlconform::cases;
use nlconform::event::{Report, Verdict};

use super::Ended;
use crate::explain::explain;
use crate::lab::{KernelArgs, Lab, MachineArgs};
use crate::suite::{self, Job, Pending, Results};

/// Arguments of `cargo xtask test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    kernels: KernelArgs,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    harness: Arguments,
}

/// Runs the suite and shows it.
pub fn test(mut args: TestArgs) -> Result<Ended> {
    // Verdicts come from guests; a second thread here would only mix up the lines.
    args.harness.test_threads = Some(1);
    let cases = selected(&args.harness);
    if args.harness.list || cases.is_empty() {
        let trials = cases.into_iter().map(|case| Trial::test(case, || Ok(()))).collect();
        let _listed = libtest_mimic::run(&args.harness, trials);
        return Ok(Ended::Well);
    }
    let specs = args.kernels.specs()?;
    let lab = Lab::open(&args.kernels)?;
    lab.explain_accel(&args.machine);
    let mut jobs = Vec::new();
    let mut errors = Vec::new();
    // Held until the end: what is in use is not pruned.
    let mut held = Vec::new();
    for spec in &specs {
        let built = lab.build(spec).and_then(|built| {
            let machine = lab.machine(&built, &args.machine, |_| Ok(()))?;
            let plan = suite::plan(&built.kernel.release, cases.clone());
            jobs.push(Job { kernel: built.kernel.label.clone(), machine, plan });
            Ok(built)
        });
        match built {
            Ok(built) => held.push(built),
            Err(error) => errors.push(format!("{error:#}")),
        }
    }

    let start = Instant::now();
    let (mut running, pending) = suite::start(&jobs, args.machine.jobs());
    let up = running.wait_for_guests();
    let boot = start.elapsed();
    let trials = trials(&jobs, &cases, &up, pending);
    let failed = !trials.is_empty() && libtest_mimic::run(&args.harness, trials).has_failed();
    let results = running.finish();

    for (job, results) in jobs.iter().zip(&results) {
        eprintln!("{}", summary(job, results));
        errors.extend(results.errors.iter().map(|error| format!("{}: {error}", job.kernel)));
    }
    eprintln!("boot {:.2} s, cases {:.2} s", boot.as_secs_f32(), (start.elapsed() - boot).as_secs_f32());
    if !errors.is_empty() {
        anyhow::bail!("{}", errors.join("\n"));
    }
    Ok(if failed { Ended::Failed } else { Ended::Well })
}

/// The names of the cases that the filters leave.
fn selected(harness: &Arguments) -> Vec<String> {
    let names = cases::all().iter().map(|case| case.name.clone());
    names.filter(|name| !harness.is_filtered_out(&Trial::test(name, || Ok(())))).collect()
}

/// One trial for each case and kernel that is up; it waits for the guest's verdict.
fn trials(
    jobs: &[Job],
    cases: &[String],
    up: &[bool],
    mut pending: HashMap<(usize, String), Pending>,
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (number, job) in jobs.iter().enumerate().filter(|(number, _)| up[*number]) {
        for case in cases {
            let verdict = pending.remove(&(number, case.clone())).expect("each case has its place");
            let trial = Trial::ignorable_test(case, move || match verdict.recv() {
                Ok(report) => complete(&report),
                Err(_) => Err("no verdict: the lab could not go on".into()),
            });
            let several = jobs.len() > 1;
            trials.push(if several { trial.with_kind(job.kernel.clone()) } else { trial });
        }
    }
    trials
}

fn complete(report: &Report) -> Result<Completion, Failed> {
    match &report.verdict {
        Verdict::Pass => Ok(Completion::Completed),
        Verdict::Skip { reason } => Ok(Completion::ignored_with(reason)),
        _ => Err(explain(report).into()),
    }
}

fn summary(job: &Job, results: &Results) -> String {
    let mut counts =
        [("passed", 0), ("failed", 0), ("broken", 0), ("crashed", 0), ("timed out", 0), ("skipped", 0)];
    for report in &results.reports {
        let index = match report.verdict {
            Verdict::Pass => 0,
            Verdict::Fail(_) => 1,
            Verdict::Broken { .. } => 2,
            Verdict::Crash { .. } => 3,
            Verdict::Timeout { .. } => 4,
            Verdict::Skip { .. } => 5,
        };
        counts[index].1 += 1;
    }
    let told = counts.iter().filter(|(word, count)| *count > 0 || *word == "passed");
    let told: Vec<_> = told.map(|(word, count)| format!("{count} {word}")).collect();
    format!("{} ({}): {}", job.kernel, job.machine.accel.name(), told.join(", "))
}
