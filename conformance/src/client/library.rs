//! A client library behind the process of its adapter.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use super::protocol::{Answer, Answered, Call, Hello, Part, VERSION};
use crate::event::{Identity, Role, check_version};
use crate::lines::{self, ForkServer, Process, Silence};
use crate::outcome::{Failure, broken};
use crate::program::Program;

impl lines::Answer for Answer {
    fn seq(&self) -> u64 {
        self.seq
    }
}

/// Time that an adapter may take from its start to its first answer: an interpreter with its modules on an emulated
/// processor.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The time that an answer may take beyond its call's deadline, for an adapter that has often exceeded it.
const SHORT_GRACE: Duration = Duration::from_secs(1);
/// Answers that never came until then.
const OFTEN: u32 = 3;
/// The least time that an adapter has to start, however fast it was the first time.
const SHORTEST_START_TIMEOUT: Duration = Duration::from_secs(10);

/// A library whose adapter has greeted once.
#[derive(Debug)]
pub struct Library {
    program: Program,
    hello: Hello,
    /// What copies are made of, where the adapter can be copied.
    server: Option<Arc<ForkServer>>,
    /// Whether the next adapter is started anew.
    anew: AtomicBool,
    /// Time that an adapter has to start.
    start: Duration,
    /// Answers that never came.
    hangs: Arc<AtomicU32>,
}

/// An adapter that does not greet as it must.
struct Ungreeted {
    why: String,
    /// Whether it was no copy's fault: another start would take as long, and come to the same.
    is_final: bool,
}

impl Library {
    /// Starts the adapter for a moment, to learn what it drives.
    ///
    /// # Errors
    /// In one line, when it does not start, or does not greet as docs/client-adapter.md has it.
    pub fn greet(program: Program) -> Result<Library, String> {
        let copied = program.preload().map(|preload| Adapter::start_server(&program, preload));
        match copied.map(|started| Library::greet_at(&program, started)) {
            Some(Ok(library)) => Ok(library),
            Some(Err(Ungreeted { why, is_final: true })) => Err(why),
            // One that cannot be copied after all, as an event loop cannot, is started for each scenario.
            _ => Library::greet_at(&program, Adapter::start(&program, false))
                .map_err(|ungreeted| ungreeted.why),
        }
    }

    fn greet_at(program: &Program, started: Result<Adapter, String>) -> Result<Library, Ungreeted> {
        let name = program.argv.join(" ");
        let wrong = |why: String| Ungreeted {
            why: format!("{name}: {why}; see docs/client-adapter.md"),
            is_final: false,
        };
        let adapter = started.map_err(&wrong)?;
        let since = Instant::now();
        let hello = match adapter.process.ask(&Call::Hello { version: VERSION }, START_TIMEOUT) {
            Ok(Answer { answered: Answered::Ok(value), .. }) => serde_json::from_value::<Hello>(value)
                .map_err(|error| wrong(format!("its greeting: {error}")))?,
            Ok(other) => return Err(wrong(format!("it answered {:?} to hello", other.answered))),
            Err(Silence::Garbled(what)) => {
                return Err(wrong(format!("the adapter {what}; its standard output is for answers only")));
            }
            Err(Silence::Ended(how)) => {
                let words = adapter.process.last_words();
                return Err(wrong(format!("the adapter ended when it was greeted ({how}){words}")));
            }
            Err(Silence::Late) => {
                let words = adapter.process.last_words();
                let why = wrong(format!(
                    "the adapter did not say hello within {} s{words}: it is to answer the first line of its standard \
                     input with one line on its standard output, flushed",
                    START_TIMEOUT.as_secs()
                ));
                return Err(Ungreeted { is_final: adapter.process.server().is_none(), ..why });
            }
        };
        check_version(hello.version, VERSION)
            .and_then(|()| hello.identity.check(Role::Client))
            .map_err(wrong)?;
        let start = (since.elapsed() * 10).clamp(SHORTEST_START_TIMEOUT, START_TIMEOUT);
        let (program, server) = (program.clone(), adapter.process.server());
        let (anew, hangs) = (AtomicBool::new(false), Arc::default());
        Ok(Library { program, hello, server, anew, start, hangs })
    }

    /// The process ID of what copies are made of, if adapters are copies.
    pub fn server(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.id())
    }

    /// Whether the adapter of the next scenario is to be a process that was started for it, and no copy.
    pub fn start_anew(&self, anew: bool) {
        self.anew.store(anew, Relaxed);
    }

    /// What the library is, and what it can do.
    pub fn identity(&self) -> &Identity {
        &self.hello.identity
    }

    /// Whether its caller cannot see this part of a message.
    pub fn hides(&self, part: Part) -> bool {
        self.hello.hidden.contains(&part)
    }

    /// Starts an adapter in this process's namespaces.
    pub fn start(&self) -> Result<Adapter, Failure> {
        let parallel = self.identity().lacks("parallel-calls").is_none();
        let server = self.server.as_ref().filter(|_| !self.anew.load(Relaxed));
        let copy = server.and_then(|server| Process::copy(server, parallel).ok());
        let mut adapter = match copy {
            Some(process) => Adapter::of(process),
            None => Adapter::start(&self.program, parallel).map_err(Failure::Broken)?,
        };
        adapter.hangs = Arc::clone(&self.hangs);
        adapter.ask_within::<Hello>(&Call::Hello { version: VERSION }, self.start)?;
        Ok(adapter)
    }
}

/// A running adapter. It is killed with this value.
#[derive(Debug)]
pub struct Adapter {
    process: Process<Answer>,
    /// Answers that never came, of this adapter and those before it.
    hangs: Arc<AtomicU32>,
}

impl Adapter {
    fn start(program: &Program, parallel: bool) -> Result<Adapter, String> {
        let mut command = program.command()?;
        Ok(Adapter::of(Process::start(command.stderr(Stdio::piped()), parallel)?))
    }

    fn of(process: Process<Answer>) -> Adapter {
        Adapter { process, hangs: Arc::default() }
    }

    fn start_server(program: &Program, preload: &str) -> Result<Adapter, String> {
        Ok(Adapter::of(Process::start_server(&mut program.command()?, preload)?))
    }

    /// Asks, and waits for as long as the call has, and a little longer.
    ///
    /// # Errors
    /// `Skip` where the library has no such thing, `Broken` where the adapter cannot ask it, `Crash` where
    /// it died, `Timeout` where it hangs.
    pub fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Failure> {
        let grace = if self.hangs.load(Relaxed) < OFTEN { lines::ANSWER_GRACE } else { SHORT_GRACE };
        self.ask_within(call, Duration::from_millis(call.deadline_ms()) + grace)
    }

    fn ask_within<T: DeserializeOwned>(&self, call: &Call, time: Duration) -> Result<T, Failure> {
        match self.process.ask(call, time) {
            Ok(Answer { answered: Answered::Ok(value), .. }) => serde_json::from_value(value)
                .or_else(|error| broken(format!("the adapter's answer is of the wrong form: {error}"))),
            Ok(Answer { answered: Answered::Unsupported(fact), .. }) => Err(Failure::Skip(fact)),
            Ok(Answer { answered: Answered::Failed(why), .. }) => broken(format!("the adapter: {why}")),
            Err(Silence::Late) => {
                self.hangs.fetch_add(1, Relaxed);
                Err(Failure::Timeout(time.as_millis() as u64))
            }
            Err(Silence::Ended(how)) => {
                Err(Failure::Crash(format!("the adapter ended ({how}){}", self.process.last_words())))
            }
            Err(Silence::Garbled(what)) => broken(format!("the adapter {what}")),
        }
    }

    /// Stops it where it is, or lets it go on (SIGSTOP, SIGCONT).
    pub fn pause(&self, pause: bool) -> Result<(), Failure> {
        let signal = if pause { Signal::SIGSTOP } else { Signal::SIGCONT };
        Ok(kill(Pid::from_raw(self.process.id() as i32), signal)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_adapter_is_refused_with_both_versions() {
        let identity = r#"{"role":"client","name":"x","version":"0","capabilities":{}}"#;
        let hello =
            format!(r#"{{"version":9,"language":"sh","hidden":[],"own_code":[],"identity":{identity}}}"#);
        let script = format!(r#"read hello; echo '{{"seq":1,"ok":{hello}}}'; read end"#);
        let program = Program::here(["sh", "-c", &script].map(str::to_owned).to_vec());
        let error = Library::greet(program).unwrap_err();
        assert!(
            error.contains("it speaks version 9, this nlconform 1 to 1; see docs/client-adapter.md"),
            "{error}"
        );
    }
}
