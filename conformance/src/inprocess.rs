//! The cases as tests of a crate that implements netlink: in its own `cargo test`, in its own process.
//!
//! The crate implements [`Target`] for its bus, and a test without the standard harness runs the cases:
//!
//! ```no_run
//! # use nlconform::{inprocess, spec::Profile, port::Target};
//! # fn my_bus() -> Box<dyn Target> { unimplemented!() }
//! // Cargo.toml: [[test]] name = "netlink", harness = false
//! fn main() -> std::process::ExitCode {
//!     inprocess::main(my_bus, Profile::newest())
//! }
//! ```
//!
//! Each case gets a new bus. conformance/reference is a complete implementation.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::cases::{self, Case};
use crate::event::{Report, Verdict};
use crate::port::Target;
use crate::report::pretty;
use crate::run::run;
use crate::spec::Profile;

/// The time that a case may take. No case of the suite waits longer than a few seconds in total.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Creates a new bus.
pub trait Factory: Fn() -> Box<dyn Target> + Send + Sync + 'static {}

impl<F: Fn() -> Box<dyn Target> + Send + Sync + 'static> Factory for F {}

/// Runs the cases that the program's arguments select; these are those of libtest.
pub fn main(make: impl Factory, profile: Profile) -> ExitCode {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials(make, profile)).exit_code()
}

/// All cases, each as a test against a new bus, judged by `profile`. A case that the bus cannot
/// pass for want of a capability is ignored, with the reason.
pub fn trials(make: impl Factory, profile: Profile) -> Vec<Trial> {
    let make = Arc::new(make);
    let trial = |case: &'static Case| {
        let make = make.clone();
        Trial::ignorable_test(&case.name, move || told(&run_case(case, &make, profile, DEADLINE)))
    };
    cases::all().iter().map(trial).collect()
}

/// A report as libtest wants it.
fn told(report: &Report) -> Result<Completion, Failed> {
    match &report.verdict {
        Verdict::Pass => Ok(Completion::Completed),
        Verdict::Skip { reason } => Ok(Completion::ignored_with(reason)),
        _ => Err(pretty::explain(report).into()),
    }
}

/// Runs one case against a new bus, in a new thread. A case that does not end in time is
/// abandoned: its thread keeps running.
pub fn run_case<F: Factory>(
    case: &'static Case,
    make: &Arc<F>,
    profile: Profile,
    deadline: Duration,
) -> Report {
    let (tell, told) = mpsc::channel();
    let factory = make.clone();
    let thread = thread::Builder::new().name(case.name.clone());
    let started = thread.spawn(move || {
        // There is no receiver any more after the deadline.
        let _ = tell.send(run(case, factory().as_ref(), profile));
    });
    let verdict = match started.map(|_| told.recv_timeout(deadline)) {
        Ok(Ok(report)) => return report,
        Ok(Err(RecvTimeoutError::Timeout)) => Verdict::Timeout { after_ms: deadline.as_millis() as u64 },
        Ok(Err(RecvTimeoutError::Disconnected)) => {
            Verdict::Crash { reason: "creating or dropping the bus panicked".into() }
        }
        Err(error) => Verdict::Broken { reason: format!("cannot start a thread for the case: {error}") },
    };
    Report::new(&case.name, verdict)
}
