//! `nlconform run`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use nlconform::adapters::json::Adapter;
use nlconform::adapters::linux::{LINUX, Linux};
use nlconform::cases::Case;
use nlconform::event::{Event, Identity, PROTOCOL, Report, Role, Verdict};
use nlconform::port::Target;
use nlconform::report::known::Known;
use nlconform::report::{Record, Run};
use nlconform::run::run_isolated;
use nlconform::selection::Selection;
use nlconform::spec::Profile;

use crate::output::{Format, Output};

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
    /// Skip all cases up to this one, to continue after a target died
    #[arg(long, value_name = "CASE")]
    resume_after: Option<String>,
    /// A file of known differences
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Time limit for a case, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    deadline: u64,
    /// Test through this adapter, a command that speaks the protocol of docs/adapter.md, instead of
    /// this system
    #[arg(long, value_name = "COMMAND")]
    adapter: Option<String>,
    /// Format of the report
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
    /// Write the report to this file; the line before each case still goes to standard error
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the cases; whether nobody has to look at the outcome.
pub fn run(args: &RunArgs) -> Result<bool, String> {
    let mut cases = args.selection.cases(Role::Target)?;
    if let Some(last) = &args.resume_after {
        let at = cases.iter().position(|case| case.name == *last);
        let at = at.ok_or_else(|| format!("--resume-after: {last} is not among the selected cases"))?;
        cases.drain(..=at);
    }
    let known = args.known.as_deref().map(Known::read).transpose()?.unwrap_or_default();
    let target: Box<dyn Target> = match &args.adapter {
        Some(command) => Box::new(Adapter::new(command.split_whitespace().map(str::to_owned).collect())?),
        None => Box::new(Linux::new()),
    };
    let identity = identity(target.as_ref(), args);
    let profile = profile(&identity, args);
    let known = known.of_version(&identity.version);
    let mut output = Output::open(args.format, args.output.as_deref())?;
    let started = SystemTime::now();
    output.event(&Event::Hello { protocol: PROTOCOL, identity: identity.clone() })?;
    let mut reports = Vec::new();
    for case in cases {
        output.event(&Event::Started { case: case.name.clone() })?;
        let mut report = run_case(case, target.as_ref(), profile, args);
        known.mark(&mut report);
        output.event(&Event::Finished(report.clone()))?;
        reports.push(report);
    }
    let run = Run {
        target: format!("{} {}", identity.name, identity.version).trim_end().to_owned(),
        platform: args.adapter.clone().unwrap_or_else(|| "this system".to_owned()),
        profile: profile.to_string(),
        identity: Some(identity),
        surprises: known.surprises(&reports),
        reports,
        errors: Vec::new(),
    };
    let well = run.is_well();
    output.finish(&Record::new(started, vec![run]))?;
    Ok(well)
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
        let who = format!("{} {}", identity.name, identity.version);
        eprintln!("nlconform: {} is judged by {profile}; --profile chooses another", who.trim_end());
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
