//! The run of a plan.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::libc;
use nix::unistd::Pid;
use nlconform::adapters::linux::{KernelLog, Linux};
use nlconform::cases;
use nlconform::client::Library;
use nlconform::event::{Event, PROTOCOL, Plan, Report, Verdict};
use nlconform::isolate::{cut_short, set_apart};
use nlconform::journal;
use nlconform::journal::black_box::{self, BlackBox};
use nlconform::port::Target;
use nlconform::run::{reason_to_skip, run_watched, state};
use nlconform::scene::threads;
use nlconform::spec::Profile;
use nlconform::splat;

use crate::channel::Channel;
use crate::counters;
use crate::fault::Fault;
use crate::leaks;
use crate::worker::{self, Lost, Worker, Workers};

/// From linux/membarrier.h.
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Runs the cases of a plan, in order: against the target, or against a client library.
pub fn run(plan: &Plan, target: &Linux, library: Option<&Library>, channel: &mut Channel) -> Result<()> {
    let profile: Profile =
        plan.profile.parse().map_err(|error: String| anyhow!(error)).context("the plan")?;
    let deadline = Duration::from_millis(plan.deadline_ms);
    threads::repeat_races_within(deadline);
    if let Some(library) = library {
        channel.say(&Event::Hello { protocol: PROTOCOL, identity: library.identity().clone() })?;
    }
    let exchange = black_box::keep().context("making room for what passes")?;
    if plan.steps {
        journal::send_steps_to(channel.share()?);
    }
    let (log, boot) = KernelLog::open();
    if let Some(word) = splat::last_word(&boot) {
        let text =
            format!("a checker of the kernel reported during boot and watches no case: {}", word.trim());
        channel.say(&Event::Note { text })?;
    }
    let boot = splat::of_netlink(&boot).to_owned();
    leaks::forget()?;
    let server = library.and_then(Library::server).map(|pid| Pid::from_raw(pid as i32));
    if library.is_some() {
        worker::go_first();
    }
    let workers = &Workers::new(plan.cases.len(), deadline, server)?;
    let blind = false;
    let mut suite =
        Suite { plan, profile, deadline, target, library, channel, workers, log, boot, exchange, blind };
    let mut next = 0;
    while !suite.blind
        && let Some(lost) = workers.run(|worker| suite.run_from(next, worker))?
    {
        next = lost.case + 1;
        suite.report_lost(&lost)?;
        if lost.status.is_none() {
            bail!("a case's process does not end when it is killed");
        }
    }
    if plan.counters { counters::send(suite.channel) } else { Ok(()) }
}

struct Suite<'a> {
    plan: &'a Plan,
    profile: Profile,
    /// Time that each case has.
    deadline: Duration,
    target: &'a Linux,
    library: Option<&'a Library>,
    channel: &'a mut Channel,
    workers: &'a Workers,
    log: KernelLog,
    /// Trouble with netlink before the first case, which is reported with that one.
    boot: String,
    /// What has passed in the case that runs.
    exchange: &'static BlackBox,
    /// Whether a checker of the kernel does not watch any more. Other cases are left to another guest.
    blind: bool,
}

impl Suite<'_> {
    /// Runs and reports the cases from this number on.
    fn run_from(&mut self, first: usize, worker: &mut Worker<'_>) -> Result<()> {
        for (number, name) in self.plan.cases.iter().enumerate().skip(first) {
            self.channel.say(&Event::Started { case: name.clone() })?;
            let mut report = self.report_fairly(number, name, worker)?;
            self.blind |= splat::last_word(&report.console).is_some();
            let (log, is_last) = self.log_after(number)?;
            let case = cases::find(name);
            splat::judge(&mut report, case, self.profile, &log, "after the case");
            let boot = self.boot_before(number);
            splat::judge(&mut report, case, self.profile, boot, "of the boot, before any case");
            // Goes with the next event: each write waits for the host.
            self.channel.queue(&Event::Finished(report))?;
            if is_last {
                break;
            }
        }
        self.channel.flush()
    }

    /// What the kernel has logged since this case, and whether none follows it here. After the last one the kernel is
    /// asked for what it says late, and for what it has lost.
    fn log_after(&mut self, number: usize) -> Result<(String, bool)> {
        let mut log = self.log.take();
        self.blind |= splat::last_word(&log).is_some();
        let is_last = self.blind || number + 1 == self.plan.cases.len();
        if is_last {
            settle();
            log += &self.log.take();
            let name = |number: usize| self.plan.cases[number].as_str();
            log += &leaks::look(|pid| self.workers.case_of(pid).map(name))?;
        }
        Ok((log, is_last))
    }

    /// Trouble of the boot, which goes to the first case.
    fn boot_before(&self, number: usize) -> &str {
        if number == 0 { &self.boot } else { "" }
    }

    /// What a copy of an adapter may be to blame for is judged by an adapter that was started for the scenario.
    fn report_fairly(&mut self, number: usize, name: &str, worker: &mut Worker<'_>) -> Result<Report> {
        let report = self.report(number, name, worker)?;
        let Some(library) = self.library.filter(|library| library.server().is_some()) else {
            return Ok(report);
        };
        if !matches!(report.verdict, Verdict::Crash { .. } | Verdict::Timeout { .. } | Verdict::Broken { .. })
        {
            return Ok(report);
        }
        library.start_anew(true);
        let report = self.report(number, name, worker);
        library.start_anew(false);
        report
    }

    fn report(&mut self, number: usize, name: &str, worker: &mut Worker<'_>) -> Result<Report> {
        let (target, library, profile) = (self.target, self.library, self.profile);
        let log = &mut self.log;
        self.exchange.clear();
        if let Some(case) = cases::find(name) {
            // A process costs more than most cases do.
            let under_test = library.map_or(target.identity(), Library::identity);
            return match reason_to_skip(case, under_test, profile) {
                Some(reason) => Ok(Report::new(name, Verdict::Skip { reason })),
                None => worker.lend(number, || {
                    set_apart(!case.traits.initial_net);
                    run_watched(case, target, library, profile, &mut || log.take())
                }),
            };
        }
        let Some(fault) = Fault::named(name) else {
            let reason = "the guest has no such case; its init is of another version".into();
            return Ok(Report::new(name, Verdict::Broken { reason }));
        };
        fault.break_channel(self.channel)?;
        worker.lend(number, || fault.report(name))
    }

    fn report_lost(&mut self, lost: &Lost) -> Result<()> {
        let in_time = lost.micros < self.deadline.as_micros() as u64;
        let verdict = match lost.status {
            _ if lost.crowded => Verdict::Crash { reason: "processes without end were started".into() },
            Some(status) if in_time => cut_short(status),
            _ => Verdict::Timeout { after_ms: self.plan.deadline_ms },
        };
        let report = state(Report::new(&self.plan.cases[lost.case], verdict), self.profile);
        let (log, _) = self.log_after(lost.case)?;
        let boot = self.boot_before(lost.case);
        self.channel.say(&Event::Finished(Report {
            micros: lost.micros,
            console: format!("{boot}{}{log}", lost.stood),
            exchange: self.exchange.explain(),
            ..report
        }))
    }
}

/// Gives the kernel time for what it does late: the end of an RCU grace period at least.
fn settle() {
    // SAFETY: has no pointers. A kernel without it answers ENOSYS, and has had less time.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
}
