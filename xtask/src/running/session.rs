//! The run of a plan: over as many guests as it takes, with one verdict for each case.
//!
//! Whatever comes from a guest is checked against what was asked of it. A guest that says something
//! else, says nothing in time, or dies costs the case that ran, and the rest goes to a fresh guest.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nlconform::event::{Event, Identity, PROTOCOL, Plan, Report, Request, Verdict};

use crate::vm::Place;
use crate::vm::{Mark, Silence, Vm};

/// Time from QEMU's start to the guest's first word. A loaded host under TCG takes a few seconds.
const BOOT: Duration = Duration::from_secs(60);
/// Time that a guest gets beyond a case's own deadline to report it. The guest ends a case that
/// takes too long by itself; this is for kernels that no longer run anything.
const GRACE: Duration = Duration::from_secs(5);

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum News {
    /// A guest is up; said for each.
    Hello(Identity),
    /// A case is about to run in the guest that has this process ID.
    Started {
        /// Full name of the case.
        case: String,
        /// Process ID of QEMU, or of the program.
        pid: u32,
    },
    /// A case has its verdict.
    Finished(Report),
    /// A guest has ended; this is what its console said.
    Console(String),
}

/// Runs each case of `plan` once in guests at `place`, and tells `tell` of it in order.
///
/// # Errors
/// When the lab cannot do its work: QEMU does not start, or guests do not get as far as a case. The
/// cases that have had no verdict until then get none.
pub fn run(place: &Place, plan: &Plan, tell: &mut dyn FnMut(News)) -> Result<()> {
    let mut rest: VecDeque<String> = plan.cases.iter().cloned().collect();
    let mut barren = 0;
    while !rest.is_empty() {
        let before = rest.len();
        let mut guest = Guest { vm: place.start()?, place, plan };
        let end = guest.serve(&mut rest, tell)?;
        let lost = guest.settle(end, tell)?;
        if let Some(case) = &lost.case {
            debug_assert_eq!(rest.front(), Some(case));
            rest.pop_front();
        }
        barren = if rest.len() == before { barren + 1 } else { 0 };
        if barren == 2 {
            bail!("guests end before they run a case: {}\n{}", lost.why, lost.console);
        }
    }
    Ok(())
}

/// Runs one program in a guest; its output goes to `output`. Its exit status.
///
/// # Errors
/// When the guest ends before the program has.
pub fn exec(place: &Place, argv: Vec<String>, output: &mut dyn FnMut(&str)) -> Result<i32> {
    let plan = Plan { cases: Vec::new(), profile: String::new(), deadline_ms: 0 };
    let mut guest = Guest { vm: place.start()?, place, plan: &plan };
    let mut status = None;
    let why = match guest.greet() {
        Ok(_) => {
            guest.vm.channel.send(&Request::Exec { argv })?;
            loop {
                match guest.vm.channel.receive(None) {
                    Ok(Event::Output { text }) => output(&text),
                    Ok(Event::Exited { status: code }) => status = Some(code),
                    Ok(Event::Failed { error }) => bail!("{error}"),
                    Ok(Event::Bye) => break String::new(),
                    other => break Silent::from(other).why,
                }
            }
        }
        Err(silent) => silent.why,
    };
    let ended = guest.vm.end()?;
    status.with_context(|| format!("{why}\n{ended}\n{}", guest.vm.console.text()))
}

/// One guest at work on a plan.
struct Guest<'a> {
    vm: Vm,
    place: &'a Place,
    plan: &'a Plan,
}

/// How a guest ended.
struct End {
    running: Option<Running>,
    /// Nothing when it did all that was asked.
    silent: Option<Silent>,
}

/// The case that runs.
struct Running {
    case: String,
    since: Instant,
    mark: Mark,
}

/// A guest that no longer says what it should.
struct Silent {
    why: String,
    deadline: bool,
    /// The lab has to end it.
    alive: bool,
}

/// What a guest's end has cost.
struct Lost {
    case: Option<String>,
    why: String,
    console: String,
}

impl From<Result<Event, Silence>> for Silent {
    fn from(received: Result<Event, Silence>) -> Silent {
        let (why, deadline, alive) = match received {
            Ok(event) => (format!("the guest said {event:?} out of turn"), false, true),
            Err(Silence::Closed) => ("the guest ended".to_owned(), false, false),
            Err(Silence::Deadline) => ("the guest said nothing in time".to_owned(), true, true),
            Err(Silence::Garbled(why)) => (why, false, true),
        };
        Silent { why, deadline, alive }
    }
}

impl Guest<'_> {
    /// Takes the guest's first word.
    fn greet(&mut self) -> Result<Identity, Silent> {
        let deadline = self.deadline(BOOT);
        match self.vm.channel.receive(deadline) {
            Ok(Event::Hello { protocol, identity }) if protocol <= PROTOCOL => Ok(identity),
            Ok(Event::Hello { protocol, .. }) => Err(Silent {
                why: format!("the guest speaks protocol {protocol}, the lab only up to {PROTOCOL}"),
                deadline: false,
                alive: true,
            }),
            Ok(Event::Failed { error }) => Err(Silent { why: error, deadline: false, alive: true }),
            other => Err(other.into()),
        }
    }

    /// Has the guest run `rest`, from which each case goes that has its verdict.
    fn serve(&mut self, rest: &mut VecDeque<String>, tell: &mut dyn FnMut(News)) -> Result<End> {
        let mut running: Option<Running> = None;
        match self.greet() {
            Ok(identity) => tell(News::Hello(identity)),
            Err(silent) => return Ok(End { running, silent: Some(silent) }),
        }
        let plan = Plan { cases: rest.iter().cloned().collect(), ..self.plan.clone() };
        if self.vm.channel.send(&Request::Run(plan)).is_err() {
            let silent = Some(Silent::from(Err(Silence::Closed)));
            return Ok(End { running, silent });
        }
        loop {
            let deadline = self.deadline(Duration::from_millis(self.plan.deadline_ms) + GRACE);
            match (self.vm.channel.receive(deadline), &running) {
                (Ok(Event::Started { case }), None) if rest.front() == Some(&case) => {
                    tell(News::Started { case: case.clone(), pid: self.vm.pid() });
                    let mark = self.vm.console.mark();
                    running = Some(Running { case, since: Instant::now(), mark });
                }
                (Ok(Event::Finished(report)), Some(now)) if now.case == report.case => {
                    tell(News::Finished(report));
                    rest.pop_front();
                    running = None;
                }
                (Ok(Event::Bye), None) if rest.is_empty() => return Ok(End { running, silent: None }),
                (Ok(Event::Failed { error }), _) => {
                    let silent = Some(Silent { why: error, deadline: false, alive: true });
                    return Ok(End { running, silent });
                }
                (other, _) => return Ok(End { running, silent: Some(other.into()) }),
            }
        }
    }

    /// Ends the guest, and gives the case that ran its verdict.
    fn settle(mut self, end: End, tell: &mut dyn FnMut(News)) -> Result<Lost> {
        let Some(silent) = end.silent else {
            // All is said. Only its own end is left, and nothing that could be lost with it.
            self.vm.end()?;
            tell(News::Console(self.vm.console.text()));
            return Ok(Lost { case: None, why: String::new(), console: String::new() });
        };
        let ended = self.vm.end()?;
        let mut why = silent.why;
        if !silent.alive {
            why = format!("{why}; {ended}");
        }
        tell(News::Console(self.vm.console.text()));
        let Some(running) = end.running else {
            return Ok(Lost { case: None, why, console: self.vm.console.text() });
        };
        if let Some(panic) = self.vm.console.panic_since(running.mark) {
            why = format!("{why}: {panic}");
        }
        let console = self.vm.console.since(running.mark);
        let verdict = match silent.deadline {
            true => Verdict::Timeout { after_ms: self.plan.deadline_ms },
            false => Verdict::Crash { reason: why.clone() },
        };
        tell(News::Finished(Report {
            micros: running.since.elapsed().as_micros() as u64,
            console: console.clone(),
            ..Report::new(&running.case, verdict)
        }));
        Ok(Lost { case: Some(running.case), why, console })
    }

    fn deadline(&self, time: Duration) -> Option<Instant> {
        self.place.has_deadlines().then(|| Instant::now() + time)
    }
}
