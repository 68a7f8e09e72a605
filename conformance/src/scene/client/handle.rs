//! A handle of the library, and the verbs that its adapter knows.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::family::CANARY_NUMBER;
use super::{CANARY, DUMP, FAMILY, GROUP, Stage, Told};
use crate::client::protocol::{Attribute, Body, Call, Expects, Group, Opened, Outcome};
use crate::outcome::{self, Failure};
use crate::scene::bus::Registered;

/// Time for what must come, in milliseconds.
pub const WAIT: u64 = 2000;
/// Time for what must not come, in milliseconds.
pub const BRIEF: u64 = 60;

/// A handle that the library has open.
pub struct Handle<'s> {
    stage: &'s Stage<'s>,
    opened: Opened,
    deadline_ms: u64,
}

impl<'s> Handle<'s> {
    pub(super) fn new(stage: &'s Stage<'_>, opened: Opened) -> Handle<'s> {
        Handle { stage, opened, deadline_ms: WAIT }
    }

    /// The same handle, whose calls have this time, in milliseconds.
    pub fn within(&self, deadline_ms: u64) -> Handle<'s> {
        Handle { stage: self.stage, opened: self.opened.clone(), deadline_ms }
    }

    /// Makes a call that the kernel refuses with an errno that a system call may give, too, and mean something else by: it
    /// must be a failure, before the deadline.
    pub fn must_fail(
        &self,
        what: &str,
        errno: Errno,
        call: impl FnOnce(&Self) -> Result<Told, Failure>,
    ) -> outcome::Outcome {
        let asked = Instant::now();
        let told = call(self)?;
        // To the library's caller EAGAIN may be a timeout.
        let failed = told.is_failure() && asked.elapsed() < Duration::from_millis(self.deadline_ms);
        told.must(what, failed, &format!("error {errno}, or another failure, before the deadline"))?;
        self.canary()
    }

    /// Requests a command of the client family.
    pub fn request(&self, command: u8, expects: Expects) -> Result<Told, Failure> {
        self.request_with(command, Vec::new(), expects)
    }

    /// Requests a command of the client family, with attributes.
    pub fn request_with(
        &self,
        command: u8,
        attributes: Vec<Attribute>,
        expects: Expects,
    ) -> Result<Told, Failure> {
        self.request_of(Body::Family { family: FAMILY.into(), command, attributes }, expects)
    }

    /// Any request.
    pub fn request_of(&self, body: Body, expects: Expects) -> Result<Told, Failure> {
        let (handle, deadline_ms) = (self.opened.handle, self.deadline_ms);
        self.call(Call::Request { handle, body, expects, deadline_ms })
    }

    /// Dumps by the client family's command for it.
    pub fn dump(&self) -> Result<Told, Failure> {
        self.dump_of(DUMP)
    }

    /// Dumps by this command of the client family.
    pub fn dump_of(&self, command: u8) -> Result<Told, Failure> {
        let (handle, deadline_ms) = (self.opened.handle, self.deadline_ms);
        let body = Body::Family { family: FAMILY.into(), command, attributes: Vec::new() };
        self.call(Call::Dump { handle, body, deadline_ms })
    }

    /// Asks for a family.
    pub fn resolve(&self, family: &str) -> Result<Told, Failure> {
        let (handle, deadline_ms) = (self.opened.handle, self.deadline_ms);
        self.call(Call::Resolve { handle, family: family.into(), deadline_ms })
    }

    /// Joins the client family's usual group, which must be possible.
    ///
    /// # Errors
    /// A mismatch when it is not.
    pub fn subscribe(&self, family: &Registered<'_>) -> outcome::Outcome {
        let joined = self.join(GROUP, family.groups[0])?;
        joined.must("joining the group", joined.is_done(), "done")
    }

    /// What the library hands over of multicasts, up to the one with this number: it must come.
    ///
    /// # Errors
    /// A mismatch when it does not.
    pub fn until_event(&self, number: u32) -> Result<Vec<Told>, Failure> {
        const MOST: usize = 100;
        let mut events = Vec::new();
        loop {
            let told = self.next_event()?;
            let came = told.numbers().contains(&number);
            let gone = told.is_timeout() || events.len() == MOST;
            events.push(told);
            if came || gone {
                let last = &events[events.len() - 1];
                last.must("notification that was sent last", came, &format!("one with number {number}"))?;
                return Ok(events);
            }
        }
    }

    /// All that the library hands over of multicasts, until nothing comes for a while. A queue that was
    /// full takes nothing new before it is empty (netlink_rcv_wake()).
    ///
    /// # Errors
    /// A mismatch when there is no end.
    pub fn drain_events(&self) -> Result<Vec<Told>, Failure> {
        const MOST: usize = 1000;
        let mut events = Vec::new();
        while events.len() < MOST {
            let told = self.within(BRIEF).next_event()?;
            if told.is_timeout() {
                return Ok(events);
            }
            events.push(told);
        }
        outcome::mismatch("events", "an end of them", format_args!("{MOST}, and more"))
    }

    /// Joins a group of the client family.
    pub fn join(&self, name: &str, number: u32) -> Result<Told, Failure> {
        let (handle, deadline_ms) = (self.opened.handle, self.deadline_ms);
        self.call(Call::Join { handle, group: group(name, number), deadline_ms })
    }

    /// Leaves a group of the client family.
    pub fn leave(&self, name: &str, number: u32) -> Result<Told, Failure> {
        let (handle, deadline_ms) = (self.opened.handle, self.deadline_ms);
        self.call(Call::Leave { handle, group: group(name, number), deadline_ms })
    }

    /// Joins a group of another protocol.
    pub fn join_number(&self, number: u32) -> Result<Told, Failure> {
        let (handle, deadline_ms) = (self.opened.handle, self.deadline_ms);
        self.call(Call::Join { handle, group: Group { family: None, group: None, number }, deadline_ms })
    }

    /// Subscribes to process events.
    pub fn listen(&self) -> Result<Told, Failure> {
        let (handle, deadline_ms) = (self.opened.handle, self.deadline_ms);
        self.call(Call::Listen { handle, deadline_ms })
    }

    /// What the library hands over next of multicasts.
    pub fn next_event(&self) -> Result<Told, Failure> {
        let (handle, deadline_ms) = (self.opened.handle, self.deadline_ms);
        self.call(Call::NextEvent { handle, deadline_ms })
    }

    /// Closes it.
    pub fn close(&self) -> Result<(), Failure> {
        let call = Call::Close { handle: self.opened.handle };
        self.stage.ask::<()>(&call)?;
        self.stage.told(&call, "closed");
        Ok(())
    }

    /// The next request on the handle must work, whatever came before it.
    ///
    /// # Errors
    /// A mismatch when it does not.
    pub fn canary(&self) -> outcome::Outcome {
        let told = self.within(WAIT).request(CANARY, Expects::Reply)?;
        let sings = told.is_done() && told.numbers() == [CANARY_NUMBER];
        told.must("the next request on the handle", sings, &format!("done, with number {CANARY_NUMBER}"))
    }

    fn call(&self, call: Call) -> Result<Told, Failure> {
        let outcome: Outcome = self.stage.ask(&call)?;
        self.stage.told(&call, &outcome.to_string());
        Ok(Told(outcome))
    }
}

fn group(name: &str, number: u32) -> Group {
    Group { family: Some(FAMILY.into()), group: Some(name.into()), number }
}
