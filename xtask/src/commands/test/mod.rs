//! `cargo xtask test`: the suite on one kernel or several, shown as a test run.

mod bisect;
mod terminal;

use std::any::Any;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use nlconform::event::Role;
use nlconform::report::known::Known;
use nlconform::report::ktap::{ktap, tap};
use nlconform::report::{Record, Run, counts};
use nlconform::selection::Selection;
use nlconform::spec::Profile;

use self::terminal::Lines;
use super::{Ended, compat};
use crate::commands::args::{KernelArgs, MachineArgs};
use crate::commands::output::Output;
use crate::host::progress::say;
use crate::making::kbuild::KernelSpec;
use crate::making::lab::Lab;
use crate::making::sandbox::{self, Held};
use crate::running::results::Folder;
use crate::running::schedule::{self, Job, Limits, Results};
use crate::running::session::News;
use crate::vm::{Arch, Place, Sandbox};

/// Arguments of `cargo xtask test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    kernels: KernelArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// Find the first commit of the tree's repository at which a case fails that passes at GOOD and fails at BAD,
    /// in a worktree of its own
    #[arg(long, num_args = 2, value_names = ["GOOD", "BAD"], requires = "kernel_src", conflicts_with = "copy_tree")]
    bisect: Option<Vec<String>>,
    /// Test another implementation instead of a kernel
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(sandbox::names()), conflicts_with = "which")]
    target: Option<String>,
    /// Test what this command line starts: a sandbox or an emulator that takes a static program as its last
    /// word, such as "runsc --network=none do --"
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["which", "target"])]
    target_command: Option<String>,
    /// What --target-command starts [default: its program]
    #[arg(long, value_name = "NAME", requires = "target_command")]
    name: Option<String>,
    /// Its version [default: what its program says to --version]
    #[arg(long, value_name = "VERSION", requires = "target_command")]
    version: Option<String>,
    /// The Linux whose contract is expected, such as linux-6.12 [default: the kernel's own version]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<Profile>,
    /// A file of known differences [default: that of the target in docs/compat, if there is one]
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

/// What can be said of a run, whichever side its cases judge.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Write the results to this folder [default: one of its own below target/results]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Run the cases in an order of their own: the same for the same number
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
    /// Give a kernel up when its cases have cost so many guests: by a crash, by no answer, or by the one report of KASAN or
    /// lockdep
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    max_crashes: u32,
    /// List the cases, with the requirements that they check, and run none
    #[arg(long)]
    pub list: bool,
    /// Show what went wrong, and no line for each case
    #[arg(long, short)]
    quiet: bool,
    /// What goes to standard output: lines for people, or KTAP or TAP when all is done, for the kernel's own tools
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
    #[command(flatten)]
    selection: Selection,
}

/// What a run writes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Lines for people.
    Pretty,
    /// KTAP, and nothing else.
    Ktap,
    /// TAP 13 as the kernel's selftests print it, and nothing else.
    Tap,
}

impl RunArgs {
    /// The cases that judge this side and that the filters leave; nothing when they are only to be listed,
    /// which is done.
    ///
    /// # Errors
    /// When none is left: a name that is mistyped must not look like success to a bisection or to CI.
    pub fn cases(&self, role: Role) -> Result<Option<Vec<String>>> {
        let chosen =
            self.selection.cases(role).map_err(|none| anyhow!("{none}; --list instead of them shows all"))?;
        if self.list {
            let mut output = Output::default();
            for case in chosen {
                output.line(&format!("{}  {}", case.name, case.requirements.join(" ")));
            }
            return output.end().map(|()| None);
        }
        let mut cases: Vec<_> = chosen.iter().map(|case| case.name.clone()).collect();
        if let Some(seed) = self.shuffle {
            fastrand::Rng::with_seed(seed).shuffle(&mut cases);
        }
        Ok(Some(cases))
    }
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
    let Some(cases) = args.run.cases(Role::Target)? else { return Ok(Ended::Well) };
    let known = args.known()?;
    if let Some([good, bad]) = args.bisect.as_deref() {
        return bisect::bisect(&args, &cases, &known, good, bad);
    }
    run(&args.run, &args.machine, &cases, &known, || make(&args, &cases))
}

/// Makes what there is to run, shows each verdict as it comes, and keeps all in the folder of results.
pub(super) fn run(
    args: &RunArgs,
    machine: &MachineArgs,
    cases: &[String],
    known: &Known,
    make: impl FnOnce() -> Result<Made>,
) -> Result<Ended> {
    let started = SystemTime::now();
    let folder = Folder::prepare(args.results.as_deref(), started)?;
    let made = make()?;
    let limits = Limits { slots: machine.jobs(), max_crashes: args.max_crashes };
    let quiet = args.quiet || args.format != Format::Pretty;
    let mut shown = show(&made.jobs, limits, cases, known, quiet);
    // An adapter that does not greet is no result of a library.
    let ungreeted =
        |(job, results): (&Job, &Results)| job.plan.client.is_some() && results.identity.is_none();
    if made.jobs.iter().zip(&shown.results).all(ungreeted) {
        let mut errors: Vec<_> = shown.results.iter().flat_map(|results| &results.errors).cloned().collect();
        errors.dedup();
        bail!("{}", errors.join("\n"));
    }
    let runs = made.jobs.iter().zip(&shown.results).map(|(job, results)| results.to_run(job, known));
    let record = Record::new(started, runs.chain(made.unmade.iter().cloned()).collect());
    let consoles: Vec<_> = shown.results.iter().map(|results| results.consoles.as_slice()).collect();
    let written = folder.write(&record, &consoles).map(|folder| folder.join("report.html"));
    sum_up(&record, &mut shown, args.format);
    say(written?.display());
    shown.output.end()?;
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
        targets: &[(&'static Arch, KernelSpec)],
        job: impl Fn(&'static Arch, &KernelSpec) -> Result<(Job, Box<dyn Any>)>,
    ) -> Result<Made> {
        for (arch, spec) in targets {
            match job(arch, spec) {
                Ok((job, held)) => {
                    self.jobs.push(job);
                    self.held.push(held);
                }
                Err(error) => self.unmade.push(unmade(arch, spec, &error)),
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
    let targets = args.kernels.targets()?;
    let lab = args.kernels.open_lab()?;
    let mut made = Made::default();
    if let Some((sandbox, held)) = sandboxed(args, &lab)? {
        let profile = args.profile.unwrap_or_else(Profile::newest);
        let plan = schedule::plan(&profile.to_string(), cases.to_vec(), 1);
        made.jobs.push(Job { target: sandbox.name.clone(), place: Place::Sandbox(sandbox), plan });
        made.held.push(Box::new(held));
        return Ok(made);
    }
    lab.explain_accel(args.machine.accel)?;
    made.kernels(&targets, |arch, spec| {
        let built = lab.build(arch, spec)?;
        let machine = lab.machine(&built, &args.machine.settings(), |_| Ok(()))?;
        let (profile, slower) = (profile_of(args, &built.kernel.release), built.kernel.needs.factor());
        let plan = schedule::plan(&profile, cases.to_vec(), slower);
        let target = built.kernel.label.clone();
        Ok((Job { target, place: Place::Machine(machine), plan }, Box::new(built) as Box<dyn Any>))
    })
}

/// The implementation that is tested instead of a kernel, if one is asked for.
fn sandboxed(args: &TestArgs, lab: &Lab) -> Result<Option<(Sandbox, Held)>> {
    let arch = || args.kernels.one_arch("the runner is a program of");
    Ok(match (&args.target, &args.target_command) {
        (Some(name), _) => Some(sandbox::find(name)?.obtain(arch()?, lab, !args.kernels.no_install)?),
        (None, Some(command)) => {
            let (name, version) = (args.name.as_deref(), args.version.as_deref());
            Some(sandbox::custom(command, name, version, arch()?, lab)?)
        }
        (None, None) => None,
    })
}

/// The profile that a kernel is judged by. One that is newer than all that the specification was checked
/// against is judged by what is known, and a line says so.
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
fn unmade(arch: &Arch, spec: &KernelSpec, error: &anyhow::Error) -> Run {
    let (target, profile) = match spec {
        KernelSpec::Release { name, .. } => (arch.label(&format!("kernel {name}")), schedule::profile(name)),
        KernelSpec::Tree { dir: path, .. } | KernelSpec::Image { image: path, .. } => {
            (arch.label(&path.display().to_string()), Profile::newest().to_string())
        }
        KernelSpec::Shipped(origin) => (format!("kernel {origin}"), Profile::newest().to_string()),
    };
    Run {
        target,
        platform: "not booted".to_owned(),
        arch: Some(arch.name.to_owned()),
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
    /// What verdicts were written to.
    output: Output,
}

/// Runs the jobs and shows each verdict as it comes.
fn show(jobs: &[Job], limits: Limits, cases: &[String], known: &Known, quiet: bool) -> Shown {
    let start = Instant::now();
    let mut boot = None;
    let targets = jobs.iter().map(|job| job.target.clone()).collect();
    let mut lines = Lines::new(targets, cases, quiet);
    let mut known_of: Vec<_> = jobs.iter().map(|_| known.clone()).collect();
    let results = schedule::run(jobs, limits, &mut |job, news| match news {
        News::Hello { identity, .. } => {
            boot.get_or_insert_with(|| start.elapsed());
            known_of[job] = known.of_version(&identity.version);
        }
        News::Note(note) => say(note),
        News::Finished(report) => {
            let mut report = report.clone();
            known_of[job].mark(&mut report);
            lines.finished(job, &report);
        }
        _ => {}
    });
    Shown { results, boot: boot.unwrap_or_default(), taken: start.elapsed(), output: lines.end() }
}

/// Shows what went wrong, or all in the form that was asked for.
fn show_record(record: &Record, format: Format, output: &mut Output) {
    match format {
        Format::Ktap => output.line(ktap(record).trim_end()),
        Format::Tap => output.line(tap(record).trim_end()),
        Format::Pretty => {
            for run in &record.runs {
                output.line(terminal::troubles(&run.target, &run.reports).trim_end());
            }
        }
    }
}

/// Says what went wrong, and how much went well.
fn sum_up(record: &Record, shown: &mut Shown, format: Format) {
    show_record(record, format, &mut shown.output);
    for run in &record.runs {
        let words: Vec<_> =
            counts(&run.reports).iter().map(|(word, count)| format!("{count} {word}")).collect();
        say(format_args!("{} ({}): {}", run.target, run.platform, words.join(", ")));
        run.surprises.iter().for_each(|surprise| say(format_args!("unexpected: {surprise}")));
    }
    let (taken, boot) = (shown.taken.as_secs_f32(), shown.boot.as_secs_f32());
    say(format_args!("{taken:.2} s, of which {boot:.2} s until a guest was up"));
}
