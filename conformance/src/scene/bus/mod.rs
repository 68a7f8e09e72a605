//! What a case works with: a netlink bus, seen from both sides.
//!
//! A bus opens sockets and registers families on a target, records everything that passes, and undoes
//! everything when it is dropped.

mod connector;
mod controller;
mod diag;
mod family;
mod memory;
mod needs;
mod processes;
mod protocol;
mod socket;

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::journal::{Entry, Journal};
use crate::outcome::{Failure, broken};
use crate::port::capability::Capability;
use crate::port::provider::{Provider, Unable};
use crate::port::{MessageQueue, ModuleRequests, Passed, Sizes, Tap, Target, Who};
use crate::spec::{FromValue, Profile, Requirement};
use crate::wire::message::{Message, NLM_F_REQUEST};
pub use controller::Controller;
pub use family::Registered;
pub use processes::{Event, NO_OPERATION, Observer, Process};
pub use socket::{Answer, Datagram, Socket, WAIT};

/// A target as one case sees it.
pub struct Bus<'t> {
    target: &'t dyn Target,
    profile: Profile,
    requirements: Vec<&'static Requirement>,
    provider: OnceLock<Result<Box<dyn Provider>, Unable>>,
    journal: Journal,
    sockets: AtomicU32,
}

impl<'t> Bus<'t> {
    /// A bus for a case that checks these requirements.
    pub fn new(target: &'t dyn Target, profile: Profile, requirements: Vec<&'static Requirement>) -> Self {
        Bus {
            target,
            profile,
            requirements,
            provider: OnceLock::new(),
            journal: Journal::default(),
            sockets: AtomicU32::new(0),
        }
    }

    /// The record of what passed.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The value of this name in the case's requirements, for the profile.
    ///
    /// # Errors
    /// `Broken` if none of them has it.
    pub fn expected<T: FromValue>(&self, name: &str) -> Result<T, Failure> {
        let values =
            self.requirements.iter().map(|requirement| requirement.value(name, self.profile.version));
        let mut reasons = Vec::new();
        for value in values {
            match value {
                Ok(value) => return Ok(value),
                Err(reason) => reasons.push(reason),
            }
        }
        broken(reasons.join("; "))
    }

    /// The sizes that the target's answers depend on.
    pub fn sizes(&self) -> Sizes {
        self.target.sizes()
    }

    /// The provider side.
    ///
    /// # Errors
    /// `Skip` if the target has none.
    pub fn provider(&self) -> Result<&dyn Provider, Failure> {
        self.need(Capability::Probe)?;
        match self.provider.get_or_init(|| self.target.provider()) {
            Ok(provider) => Ok(provider.as_ref()),
            Err(unable) => Err(unable.clone().into()),
        }
    }

    /// Runs `step` as another user, with this bus. What it opens ends with it; what was opened
    /// before can be used.
    pub fn run_as<T: Serialize + DeserializeOwned>(
        &self,
        who: Who,
        step: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.need_user(who)?;
        let before = self.journal.take();
        let mut step = Some(step);
        let answer = self.target.run_as(who, &mut || {
            let result =
                step.take().map(|step| step()).unwrap_or_else(|| broken("run_as ran its step twice"));
            // If the task is this same process, the journal is shared; it is then passed like any other.
            serde_json::to_string(&(result, self.journal.take())).unwrap_or_default()
        });
        self.journal.append(before);
        self.journal.note(format!("as {who:?}:"), "", None);
        let (result, entries): (Result<T, Failure>, Vec<Entry>) = serde_json::from_str(&answer?)
            .map_err(|error| Failure::Broken(format!("a task's answer: {error}")))?;
        self.journal.append(entries);
        result
    }

    /// Runs `step`; returns its result, and what the trace event of this name reported meanwhile.
    pub fn trace<T>(&self, event: &str, step: impl FnOnce() -> T) -> Result<(T, Vec<String>), Failure> {
        self.need(Capability::Tracing)?;
        let (mut step, mut given) = (Some(step), None);
        let lines = self.target.trace(event, &mut || given = step.take().map(|step| step()))?;
        for line in &lines {
            self.journal.note(format!("trace event {event}"), line.trim(), None);
        }
        given.map_or_else(|| broken("tracing did not run its step"), |given| Ok((given, lines)))
    }

    /// A new POSIX message queue.
    pub fn message_queue(&self) -> Result<Box<dyn MessageQueue>, Unable> {
        self.target.message_queue()
    }

    /// Sees what passes in the network namespace from now on.
    pub fn tap(&self) -> Result<Box<dyn Tap>, Unable> {
        self.target.tap()
    }

    /// Notes what a tap has seen.
    pub fn note_passed(&self, passed: &[Passed]) {
        for Passed { protocol, size, bytes } in passed {
            let is_request =
                Message::decode(bytes).is_some_and(|(first, _)| first.flags & NLM_F_REQUEST != 0);
            let action = if is_request { "tap: request" } else { "tap: answer or notification" };
            self.journal.note(action, format!("{size} bytes"), Some((*protocol, bytes.as_slice())));
        }
    }

    /// Takes over the loading of modules on demand, until the returned guard is dropped.
    pub fn module_requests(&self) -> Result<Box<dyn ModuleRequests>, Failure> {
        self.need(Capability::ModuleRequests)?;
        Ok(self.target.module_requests()?)
    }

    /// A text file of the target, such as /proc/net/netlink.
    pub fn file(&self, path: &str) -> Result<String, Failure> {
        self.need_file(path)?;
        let text = self.target.file(path)?;
        self.journal.note(format!("read {path}"), format!("{} lines", text.lines().count()), None);
        Ok(text)
    }
}
