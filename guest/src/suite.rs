//! The run of a plan.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nlconform::adapters::linux::Linux;
use nlconform::cases;
use nlconform::client::Library;
use nlconform::event::{Event, PROTOCOL, Plan, Report, Verdict};
use nlconform::isolate::{cut_short, set_apart};
use nlconform::port::Target;
use nlconform::run::{self, reason_to_skip};
use nlconform::spec::Profile;

use crate::channel::Channel;
use crate::fault::Fault;
use crate::kernel_log::KernelLog;
use crate::worker::{Lost, Worker, Workers};

/// Runs the cases of a plan, in order: against the target, or against a client library.
pub fn run(plan: &Plan, target: &Linux, library: Option<&Library>, channel: &mut Channel) -> Result<()> {
    let profile: Profile =
        plan.profile.parse().map_err(|error: String| anyhow!(error)).context("the plan")?;
    let deadline = Duration::from_millis(plan.deadline_ms);
    if let Some(library) = library {
        channel.say(&Event::Hello { protocol: PROTOCOL, identity: library.identity().clone() })?;
    }
    let mut suite = Suite { plan, profile, deadline, target, library, channel, log: KernelLog::open() };
    let workers = Workers::new()?;
    let mut next = 0;
    while let Some(lost) = workers.run(|worker| suite.run_from(next, worker))? {
        next = lost.case + 1;
        suite.report_lost(&lost)?;
    }
    Ok(())
}

struct Suite<'a> {
    plan: &'a Plan,
    profile: Profile,
    /// Time that each case has.
    deadline: Duration,
    target: &'a Linux,
    library: Option<&'a Library>,
    channel: &'a mut Channel,
    log: KernelLog,
}

impl Suite<'_> {
    /// Runs and reports the cases from this number on.
    fn run_from(&mut self, first: usize, worker: &mut Worker<'_>) -> Result<()> {
        for (number, name) in self.plan.cases.iter().enumerate().skip(first) {
            self.channel.say(&Event::Started { case: name.clone() })?;
            let mut report = self.report(number, name, worker)?;
            report.console = self.log.take();
            // Goes with the next event: each write waits for the host.
            self.channel.queue(&Event::Finished(report))?;
        }
        self.channel.flush()
    }

    fn report(&mut self, number: usize, name: &str, worker: &mut Worker<'_>) -> Result<Report> {
        let (target, library, profile, deadline) = (self.target, self.library, self.profile, self.deadline);
        if let Some(case) = cases::find(name) {
            // A process costs more than most cases do.
            let under_test = library.map_or(target.identity(), Library::identity);
            return match reason_to_skip(case, under_test, profile) {
                Some(reason) => Ok(Report::new(name, Verdict::Skip { reason })),
                None => worker.lend(number, deadline, || {
                    set_apart(!case.traits.initial_net);
                    run::run_with(case, target, library, profile)
                }),
            };
        }
        let Some(fault) = Fault::named(name) else {
            let reason = "the guest has no such case; its init is of another version".into();
            return Ok(Report::new(name, Verdict::Broken { reason }));
        };
        fault.break_channel(self.channel)?;
        worker.lend(number, deadline, || fault.report(name))
    }

    fn report_lost(&mut self, lost: &Lost) -> Result<()> {
        let verdict = match lost.micros >= self.deadline.as_micros() as u64 {
            true => Verdict::Timeout { after_ms: self.plan.deadline_ms },
            false => cut_short(lost.status),
        };
        let report = Report::new(&self.plan.cases[lost.case], verdict);
        self.channel.say(&Event::Finished(Report { micros: lost.micros, console: self.log.take(), ..report }))
    }
}
