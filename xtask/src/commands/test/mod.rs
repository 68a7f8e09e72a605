//! `cargo xtask test`: the suite on one kernel or several, shown as a test run.

mod terminal;

use std::any::Any;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use nlconform::report::known::Known;
use nlconform::report::{Record, Run, counts};
use nlconform::selection::Selection;
use nlconform::spec::Profile;

use self::terminal::{Lines, Output};
use super::{Ended, compat};
use crate::commands::args::{KernelArgs, MachineArgs};
use crate::host::progress::say;
use crate::making::kbuild::KernelSpec;
use crate::making::sandbox;
use crate::running::results::Folder;
use crate::running::schedule::{self, Job, Limits, Results};
use crate::running::session::News;
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
    /// The Linux whose contract is expected, such as linux-6.12 [default: the kernel's own version]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<Profile>,
    /// The file of known differences [default: that of the target in docs/compat, if there is one]
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Write the results to this folder [default: one of its own below target/results]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Run the cases in an order of their own: the same for the same number
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
    /// Give a kernel up when its cases have crashed so many guests, or kept them from answering
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    max_crashes: u32,
    /// List the cases, with the requirements that they check, and run none
    #[arg(long)]
    list: bool,
    /// Show what went wrong, and no line for each case
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    selection: Selection,
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
pub fn test(args: TestArgs) -> Result<Ended> {
    let chosen =
        args.selection.cases().map_err(|none| anyhow!("{none}; `cargo xtask test --list` shows all"))?;
    if args.list {
        let mut output = Output::default();
        chosen
            .iter()
            .for_each(|case| output.line(&format!("{}  {}", case.name, case.requirements.join(" "))));
        return Ok(Ended::Well);
    }
    let mut cases: Vec<_> = chosen.iter().map(|case| case.name.clone()).collect();
    if let Some(seed) = args.shuffle {
        fastrand::Rng::with_seed(seed).shuffle(&mut cases);
    }
    let known = args.known()?;
    let started = SystemTime::now();
    let folder = Folder::prepare(args.results.as_deref(), started)?;
    let made = make(&args, &cases)?;
    let shown = show(&args, &made.jobs, &cases, &known);
    let runs = made.jobs.iter().zip(&shown.results).map(|(job, results)| results.to_run(job, &known));
    let record = Record::new(started, runs.chain(made.unmade.iter().cloned()).collect());
    let consoles: Vec<_> = shown.results.iter().map(|results| results.consoles.as_slice()).collect();
    let written = folder.write(&record, &consoles).map(|folder| folder.join("report.html"));
    sum_up(&record, &shown);
    say(written?.display());
    let errors: Vec<_> = record
        .runs
        .iter()
        .flat_map(|run| run.errors.iter().map(move |error| format!("{}: {error}", run.target)))
        .collect();
    if !errors.is_empty() {
        bail!("{}", errors.join("\n"));
    }
    Ok(if record.runs.iter().all(Run::is_well) { Ended::Well } else { Ended::Failed })
}

/// What there is to run, and what could not be made.
struct Made {
    jobs: Vec<Job>,
    /// Kernels that could not be made, as the record keeps them.
    unmade: Vec<Run>,
    /// Entries of the cache that are in use, and so not pruned.
    held: Vec<Box<dyn Any>>,
}

/// Makes what was asked for: kernels, or another implementation with its runner.
fn make(args: &TestArgs, cases: &[String]) -> Result<Made> {
    let specs = args.kernels.specs()?;
    let lab = args.kernels.open_lab()?;
    let mut made = Made { jobs: Vec::new(), unmade: Vec::new(), held: Vec::new() };
    if let Some(name) = &args.target {
        let kind = sandbox::find(name)?;
        let (sandbox, built) = kind.obtain(&lab, !args.kernels.no_install)?;
        let profile = args.profile.map_or(kind.profile.to_owned(), |profile| profile.to_string());
        let plan = schedule::plan(&profile, cases.to_vec());
        made.jobs.push(Job { target: kind.title.to_owned(), place: Place::Sandbox(sandbox), plan });
        made.held.push(Box::new(built));
        return Ok(made);
    }
    lab.explain_accel(args.machine.accel)?;
    for spec in &specs {
        let built = lab.build(spec).and_then(|built| {
            let machine = lab.machine(&built, &args.machine.settings(), |_| Ok(()))?;
            Ok((machine, built))
        });
        match built {
            Ok((machine, built)) => {
                let profile = profile_of(args, &built.kernel.release);
                let plan = schedule::plan(&profile, cases.to_vec());
                let target = built.kernel.label.clone();
                made.jobs.push(Job { target, place: Place::Machine(machine), plan });
                made.held.push(Box::new(built));
            }
            Err(error) => made.unmade.push(unmade(spec, &error)),
        }
    }
    Ok(made)
}

/// The profile that a kernel is judged by. One that is newer than all that the specification was checked
/// against is judged by what is known, and people are told.
fn profile_of(args: &TestArgs, release: &str) -> String {
    if let Some(profile) = args.profile {
        return profile.to_string();
    }
    let own = schedule::profile(release);
    let newest = Profile::newest();
    if own.parse().is_ok_and(|own: Profile| own.version > newest.version) {
        say(format_args!(
            "kernel {release} is newer than all that the specification was checked against: it is judged by \
             the contract of {newest} (--profile chooses another)"
        ));
        return newest.to_string();
    }
    own
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
    results: Vec<Results>,
    /// Time until a first guest was up.
    boot: Duration,
    taken: Duration,
}

/// Runs the jobs and shows each verdict as it comes.
fn show(args: &TestArgs, jobs: &[Job], cases: &[String], known: &Known) -> Shown {
    let start = Instant::now();
    let mut boot = None;
    let targets = jobs.iter().map(|job| job.target.clone()).collect();
    let mut lines = Lines::new(targets, cases, args.quiet);
    let limits = Limits { slots: args.machine.jobs(), max_crashes: args.max_crashes };
    let results = schedule::run(jobs, limits, &mut |job, news| match news {
        News::Hello { .. } => {
            boot.get_or_insert_with(|| start.elapsed());
        }
        News::Note(note) => say(note),
        News::Finished(report) => {
            let mut report = report.clone();
            known.mark(&mut report);
            lines.finished(job, &report);
        }
        _ => {}
    });
    lines.end();
    Shown { results, boot: boot.unwrap_or_default(), taken: start.elapsed() }
}

/// Says what went wrong, and how much went well.
fn sum_up(record: &Record, shown: &Shown) {
    let mut output = Output::default();
    for run in &record.runs {
        output.line(terminal::troubles(&run.target, &run.reports).trim_end());
    }
    for run in &record.runs {
        let words: Vec<_> =
            counts(&run.reports).iter().map(|(word, count)| format!("{count} {word}")).collect();
        say(format_args!("{} ({}): {}", run.target, run.platform, words.join(", ")));
        run.surprises.iter().for_each(|surprise| say(format_args!("unexpected: {surprise}")));
    }
    let (taken, boot) = (shown.taken.as_secs_f32(), shown.boot.as_secs_f32());
    say(format_args!("{taken:.2} s, of which {boot:.2} s until a guest was up"));
}
