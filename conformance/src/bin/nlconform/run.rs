//! `nlconform run`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use nlconform::adapters::json::Adapter;
use nlconform::adapters::linux::Linux;
use nlconform::cases::Case;
use nlconform::event::{Event, PROTOCOL, Report, Verdict};
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
    /// The profile that the cases are judged by
    #[arg(long, value_name = "PROFILE", default_value_t = Profile::newest())]
    profile: Profile,
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
    let mut cases = args.selection.cases()?;
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
    let identity = target.identity().clone();
    let mut output = Output::open(args.format, args.output.as_deref())?;
    let started = SystemTime::now();
    output.event(&Event::Hello { protocol: PROTOCOL, identity: identity.clone() })?;
    let mut reports = Vec::new();
    for case in cases {
        output.event(&Event::Started { case: case.name.clone() })?;
        let mut report = run_case(case, target.as_ref(), args);
        known.mark(&mut report);
        output.event(&Event::Finished(report.clone()))?;
        reports.push(report);
    }
    let run = Run {
        target: format!("{} {}", identity.name, identity.version),
        platform: args.adapter.clone().unwrap_or_else(|| "this system".to_owned()),
        profile: args.profile.to_string(),
        identity: Some(identity),
        surprises: known.surprises(&reports),
        reports,
        errors: Vec::new(),
    };
    let well = run.is_well();
    output.finish(&Record::new(started, vec![run]))?;
    Ok(well)
}

fn run_case(case: &Case, target: &dyn Target, args: &RunArgs) -> Report {
    if case.traits.invasive && !args.invasive {
        let reason = "needs --invasive: not for a system in use".to_owned();
        return Report::new(&case.name, Verdict::Skip { reason });
    }
    run_isolated(case, target, args.profile, Duration::from_millis(args.deadline))
}
