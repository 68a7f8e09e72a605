//! Calls in which each allocation fails in turn.

use std::fmt::Debug;

use nix::errno::Errno;

use super::{Bus, Datagram, Socket};
use crate::outcome::{Failure, Outcome, broken};
use crate::port::capability::Capability;
use crate::port::provider::Call;
use crate::wire::message::Message;

/// More allocations than any call makes.
const MOST: u32 = 500;

impl Bus<'_> {
    /// Has `attempt` make a provider call whose first allocation fails, then one whose second fails,
    /// and so on, up to the first call in which none failed.
    ///
    /// # Errors
    /// Those of an attempt. `Broken` if the call allocates nothing, or if there is no end.
    pub fn fail_each_of_call(&self, mut attempt: impl FnMut(&Call) -> Outcome) -> Outcome {
        self.need(Capability::FailNth)?;
        self.fail_each(|nth| {
            attempt(&Call { fail_nth: nth, ..Call::default() })?;
            Ok(self.provider()?.allocation_failed()?)
        })
    }

    /// Fails each allocation of one system call of the user side in the same way: `prepare` gets
    /// ready, `step` makes only that call, and `judge` checks the result.
    ///
    /// # Errors
    /// See [`Bus::fail_each_of_call`].
    pub fn fail_each_of_step<S, T: Debug>(
        &self,
        mut prepare: impl FnMut() -> Result<S, Failure>,
        mut step: impl FnMut(&S) -> T,
        mut judge: impl FnMut(S, T) -> Outcome,
    ) -> Outcome {
        self.need(Capability::FailNth)?;
        self.fail_each(|nth| {
            let prepared = prepare()?;
            let mut done = None;
            let failed = self.target.failing(nth, &mut || done = Some(step(&prepared)))?;
            let Some(done) = done else { return broken("the target ran no step") };
            let reached = if failed { "failing" } else { "not reached" };
            self.journal.note(format!("call, allocation {nth} {reached}"), format!("{done:?}"), None);
            judge(prepared, done)?;
            Ok(failed)
        })
    }

    /// The same for the first receive of a dump into so much room, through a new socket: it has the dump fill the next
    /// portion.
    ///
    /// # Errors
    /// See [`Bus::fail_each_of_call`].
    pub fn fail_each_of_rest(
        &self,
        request: &Message,
        room: usize,
        judge: impl FnMut(Socket, Result<Datagram, Errno>) -> Outcome,
    ) -> Outcome {
        let prepare = || {
            let socket = self.generic()?;
            socket.send(request)?;
            Ok(socket)
        };
        self.fail_each_of_step(prepare, |socket| socket.receive_now(room, 0), judge)
    }

    fn fail_each(&self, mut attempt: impl FnMut(u32) -> Result<bool, Failure>) -> Outcome {
        for nth in 1..=MOST {
            match (attempt(nth)?, nth) {
                (true, _) => {}
                (false, 1) => return broken("no allocation was made"),
                (false, _) => return Ok(()),
            }
        }
        broken(format!("the call makes more than {MOST} allocations"))
    }
}
