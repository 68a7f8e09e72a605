//! `nlconform run`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use nlconform::adapters::json::{Adapter, START};
use nlconform::adapters::linux::{LINUX, Linux};
use nlconform::cases::Case;
use nlconform::event::{Event, Identity, PROTOCOL, Report, Role, Verdict};
use nlconform::port::Target;
use nlconform::report::known::Known;
use nlconform::report::{Record, Run, UNFINISHED};
use nlconform::run::run_isolated;
use nlconform::selection::Selection;
use nlconform::spec::Profile;

use crate::descendants::Descendants;
use crate::output::{Format, Output};
use crate::{init, interrupt};

/// Arguments of `nlconform run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    selection: Selection,
    /// The expectations that hold [default: on a Linux kernel those of its version, else the newest]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<Profile>,
    /// What is tested, where it does not say so itself
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Its version
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Also run cases that are not for a system in use: they use up IDs, or flood
    #[arg(long)]
    invasive: bool,
    /// Go on in the file of --output, which a run with --format results wrote that did not end: cases that
    /// it has are not run again. Without the file, begin
    #[arg(long, requires = "output")]
    resume: bool,
    /// Skip all cases up to this one, to continue after a target died where no file was left
    #[arg(long, value_name = "CASE")]
    resume_after: Option<String>,
    /// A file of known differences
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Time limit for a case, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    deadline: u64,
    /// Test through this adapter, a command that speaks the protocol of docs/adapter.md, instead of
    /// this system
    #[arg(long, value_name = "COMMAND")]
    adapter: Option<String>,
    /// Format of the report
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
    /// Write the report to this file; the name of each case goes to standard error before it runs
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the cases; whether nobody has to look at the outcome.
pub fn run(args: &RunArgs) -> Result<bool, String> {
    if args.resume && args.format != Format::Results {
        return Err("--resume goes on with a file of results: add --format results".to_owned());
    }
    let mut selection = args.selection.clone();
    if init::is_init() {
        selection.leave_out_unknown();
    }
    let mut cases =
        selection.cases(Role::Target).map_err(|none| format!("{none}; `nlconform list` shows all"))?;
    if let Some(last) = &args.resume_after {
        let at = cases.iter().position(|case| case.name == *last);
        let at = at.ok_or_else(|| format!("--resume-after: {last} is not among the selected cases"))?;
        cases.drain(..=at);
    }
    let known = args.known.as_deref().map(Known::read).transpose()?.unwrap_or_default();
    let descendants = args.adapter.as_ref().map(|_| Descendants::adopt()).transpose()?;
    let target: Box<dyn Target> = match &args.adapter {
        Some(command) => {
            let argv = command.split_whitespace().map(str::to_owned).collect();
            // One that needs longer than a case has could run none.
            Box::new(Adapter::new(argv, START.max(Duration::from_millis(args.deadline)))?)
        }
        None => Box::new(Linux::new()),
    };
    let identity = identity(target.as_ref(), args);
    let profile = profile(&identity, args);
    let known = known.of_version(&identity.version);
    let run = Run {
        target: identity.title(),
        platform: args.adapter.clone().unwrap_or_else(|| "this system".to_owned()),
        arch: None,
        profile: profile.to_string(),
        identity: Some(identity.clone()),
        surprises: Vec::new(),
        reports: Vec::new(),
        errors: vec![UNFINISHED.to_owned()],
    };
    let (mut record, mut output) = begin(run, args)?;
    let run = &mut record.runs[0];
    let done: BTreeSet<_> = run.reports.iter().map(|report| report.case.clone()).collect();
    cases.retain(|case| !done.contains(&case.name));
    interrupt::watch()?;
    output.event(&Event::Hello { protocol: PROTOCOL, identity })?;
    let mut left = cases.len();
    for case in cases {
        if interrupt::came() {
            break;
        }
        output.event(&Event::Started { case: case.name.clone() })?;
        let mut report = run_case(case, target.as_ref(), profile, args);
        descendants.as_ref().map(Descendants::kill);
        known.mark(&mut report);
        output.event(&Event::Finished(report.clone()))?;
        run.reports.push(report);
        left -= 1;
    }
    run.surprises = known.surprises(&run.reports);
    if left == 0 {
        run.errors.clear();
    }
    let well = run.is_well();
    output.finish(&record)?;
    descendants.as_ref().map_or(Ok(()), Descendants::end)?;
    match left {
        0 => Ok(well),
        left => Err(format!("interrupted; {left} cases have no verdict")),
    }
}

/// Opens the report on a run, which may go on with what is in its file.
fn begin(run: Run, args: &RunArgs) -> Result<(Record, Output), String> {
    let mut record = Record::new(SystemTime::now(), vec![run]);
    match args.output.as_deref() {
        Some(file) if args.resume && !is_blank(file) => {
            take_up(file, &mut record)?;
            let output = Output::resume(file, &record)?;
            Ok((record, output))
        }
        file => {
            let output = Output::open(args.format, file, &record)?;
            Ok((record, output))
        }
    }
}

/// Whether a file is not there, or is empty, as one is whose run has died before it wrote anything.
fn is_blank(file: &Path) -> bool {
    fs::metadata(file).map_or(true, |file| file.len() == 0)
}

/// Takes over what a file has of a run like this one.
fn take_up(file: &Path, record: &mut Record) -> Result<(), String> {
    let earlier = Record::read(file)?;
    let what = |run: &Run| format!("{} on {}, expected: {}", run.target, run.platform, run.profile);
    let other = |why: String| Err(format!("{}: {why}; --output names another file", file.display()));
    let [run] = earlier.runs.as_slice() else {
        return other(format!("it has {} runs, and --resume goes on with one", earlier.runs.len()));
    };
    let begun = &mut record.runs[0];
    if earlier.suite != record.suite {
        return other(format!("it was written by nlconform {}, and this is {}", earlier.suite, record.suite));
    }
    if what(run) != what(begun) {
        return other(format!("it is about {}, and this run about {}", what(run), what(begun)));
    }
    if run.identity != begun.identity {
        return other("the target had other capabilities then".to_owned());
    }
    begun.reports.clone_from(&run.reports);
    record.started = earlier.started;
    Ok(())
}

/// What is tested: what it says of itself, unless the user knows better.
fn identity(target: &dyn Target, args: &RunArgs) -> Identity {
    let mut identity = target.identity().clone();
    if let Some(name) = &args.name {
        // Its version is not that of the kernel beneath.
        (identity.name, identity.version) = (name.clone(), String::new());
    }
    if let Some(version) = &args.version {
        identity.version.clone_from(version);
    }
    identity
}

/// The expectations that hold. One line says by which a target is judged that has none of its own.
fn profile(identity: &Identity, args: &RunArgs) -> Profile {
    if let Some(profile) = args.profile {
        return profile;
    }
    let version =
        Some(&identity.version).filter(|_| identity.name == LINUX).and_then(|text| text.parse().ok());
    let profile = version.map_or_else(Profile::newest, Profile::nearest);
    if version != Some(profile.version) {
        eprintln!("nlconform: {} is judged by {profile}; --profile chooses another", identity.title());
    }
    profile
}

fn run_case(case: &Case, target: &dyn Target, profile: Profile, args: &RunArgs) -> Report {
    if case.traits.invasive && !args.invasive {
        let reason = "needs --invasive: not for a system in use".to_owned();
        return Report::new(&case.name, Verdict::Skip { reason });
    }
    run_isolated(case, target, profile, Duration::from_millis(args.deadline))
}
