//! The run of a plan.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::wait;
use nix::unistd::Pid;
use nlconform::cases;
use nlconform::event::{Event, Plan, Report, Verdict};
use nlconform::run::run_isolated;
use nlconform::spec::Profile;
use nlconform::target::linux::Linux;

use crate::channel::Channel;
use crate::fault::Fault;
use crate::kernel_log::KernelLog;

/// Runs the cases of a plan, in order.
pub fn run(plan: &Plan, target: &Linux, channel: &mut Channel) -> Result<()> {
    let profile: Profile =
        plan.profile.parse().map_err(|error: String| anyhow!(error)).context("the plan")?;
    let deadline = Duration::from_millis(plan.deadline_ms);
    let mut log = KernelLog::open();
    for name in &plan.cases {
        channel.say(&Event::Started { case: name.clone() })?;
        let mut report = match (cases::find(name), Fault::named(name)) {
            (Some(case), _) => run_isolated(case, target, profile, deadline),
            (None, Some(fault)) => fault.run(name, deadline, channel)?,
            (None, None) => unknown(name),
        };
        bury();
        report.console = log.take();
        // Goes with the next event: each write waits for the host.
        channel.queue(&Event::Finished(report))?;
    }
    Ok(())
}

/// A case that this guest does not have: the host was built from other sources.
fn unknown(name: &str) -> Report {
    let reason = "the guest has no such case; its init is of another version".into();
    Report::new(name, Verdict::Broken { reason })
}

/// Ends and reaps every process that the case has left behind.
fn bury() {
    let start = Instant::now();
    // To PID 1, -1 is everybody else.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    while wait().is_ok() && start.elapsed() < Duration::from_secs(5) {}
}
