//! What a scenario works with: the kernel's part, played by script, and a client library that meets it.
//!
//! The kernel is the target that cases judge otherwise; here it is trusted. All that passes is noted: what
//! the library's caller asked for and was told, and, by a tap, the datagrams in between.

mod family;
mod handle;
mod later;
mod told;

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::NETLINK_GENERIC;

pub use family::{
    ATTRIBUTES, CANARY, DO, DUMP, FAMILY, GROUP, answering, doing, dumping, number, numbered, record,
};
pub use handle::{BRIEF, Handle, WAIT};
pub use later::{answer_later, complete_later, reply, silent};
pub use told::Told;

use crate::client::protocol::{Call, Opened, Options};
use crate::client::{Adapter, Library};
use crate::outcome::{Failure, Outcome, mismatch};
use crate::port::provider::{LogEntry, On, Unable};
use crate::port::{Tap, Target};
use crate::scene::bus::Bus;
use crate::scene::threads::joined;
use crate::spec::{Profile, Requirement};

/// A kernel and a client library, as one scenario sees them.
pub struct Stage<'t> {
    bus: Bus<'t>,
    library: &'t Library,
    adapter: OnceLock<Result<Adapter, Failure>>,
    tap: OnceLock<Result<Box<dyn Tap>, Unable>>,
    /// One at a time tells what has passed.
    telling: Mutex<()>,
}

impl<'t> Stage<'t> {
    /// A stage for a scenario that checks these requirements.
    pub fn new(
        target: &'t dyn Target,
        library: &'t Library,
        profile: Profile,
        requirements: Vec<&'static Requirement>,
    ) -> Stage<'t> {
        let bus = Bus::new(target, profile, requirements);
        Stage { bus, library, adapter: OnceLock::new(), tap: OnceLock::new(), telling: Mutex::new(()) }
    }

    /// The kernel's side.
    pub fn bus(&self) -> &Bus<'t> {
        &self.bus
    }

    /// Opens the library for NETLINK_GENERIC.
    pub fn generic(&self) -> Result<Handle<'_>, Failure> {
        self.open(NETLINK_GENERIC, Options::default())
    }

    /// Opens the library for NETLINK_GENERIC with wishes.
    pub fn generic_with(&self, options: Options) -> Result<Handle<'_>, Failure> {
        self.open(NETLINK_GENERIC, options)
    }

    /// The wish for a buffer that is soon full, where the library can be asked for one.
    pub fn small_buffer(&self) -> Options {
        let can = self.library.identity().lacks("receive-buffer").is_none();
        Options { buffer: can.then_some(8192), ..Options::default() }
    }

    /// Opens the library for a netlink protocol.
    ///
    /// # Errors
    /// `Skip` where the library has no means for one of the wishes.
    pub fn open(&self, protocol: i32, options: Options) -> Result<Handle<'_>, Failure> {
        let call = Call::Open { protocol, options };
        let opened: Opened = self.ask(&call)?;
        self.told(&call, &format!("handle {}, ignored: {:?}", opened.handle, opened.ignored));
        match opened.ignored.first() {
            Some(wish) => Err(Failure::Skip(format!("the library has no means for the option {wish}"))),
            None => Ok(Handle::new(self, opened)),
        }
    }

    /// Waits until the kernel has called this callback for this command.
    ///
    /// # Errors
    /// A mismatch when it does not.
    pub fn called(&self, on: On, command: u8) -> Result<LogEntry, Failure> {
        let deadline = Instant::now() + Duration::from_millis(WAIT);
        while Instant::now() < deadline {
            let mut calls = self.bus.log()?.into_iter();
            if let Some(call) = calls.find(|call| call.on == on && call.subject == u32::from(command)) {
                return Ok(call);
            }
            // The library is to have the processor.
            thread::sleep(Duration::from_millis(1));
        }
        mismatch("requests that the kernel got", format_args!("command {command}"), "none")
    }

    /// Waits until a callback waits in its script, does `act`, and lets it go on.
    pub fn while_blocked(&self, act: impl FnOnce() -> Outcome) -> Outcome {
        if self.bus.provider()?.blocked(WAIT)? == 0 {
            return mismatch("requests that the kernel got", "one", "none");
        }
        let acted = act();
        self.bus.provider()?.release()?;
        acted
    }

    /// Stops the library's process while `act` is done, as a busy machine may.
    pub fn while_paused<T>(&self, act: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let Some(Ok(adapter)) = self.adapter.get() else { return act() };
        adapter.pause(true)?;
        let acted = act();
        adapter.pause(false)?;
        acted
    }

    /// Asks the adapter, which is started when it is first asked.
    fn ask<T: serde::de::DeserializeOwned>(&self, call: &Call) -> Result<T, Failure> {
        let adapter = self.adapter.get_or_init(|| {
            self.tap.get_or_init(|| self.bus.tap());
            self.library.start()
        });
        let answer = adapter.as_ref().map_err(Clone::clone)?.ask(call);
        if let Err(failure) = &answer {
            self.told(call, &format!("no answer: {failure:?}"));
        }
        answer
    }

    /// Notes what the caller of the library was told, after what has passed meanwhile.
    fn told(&self, call: &Call, answer: &str) {
        let _turn = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        match self.tap.get() {
            Some(Ok(tap)) => self.bus.note_passed(&tap.take()),
            Some(Err(Unable::Unsupported(fact) | Unable::Failed(fact))) if self.bus.journal().is_empty() => {
                self.bus.journal().note("no tap shows what passes", fact, None);
            }
            _ => {}
        }
        self.bus.journal().note(format!("library: {call}"), answer, None);
    }
}

/// Makes a call of the library in a thread of its own, and does `act` meanwhile: what the call gave.
pub fn meanwhile<T: Send>(
    call: impl FnOnce() -> Result<T, Failure> + Send,
    act: impl FnOnce() -> Outcome,
) -> Result<T, Failure> {
    thread::scope(|scope| {
        let call = scope.spawn(call);
        let acted = act();
        let told = joined(call);
        acted.and(told)
    })
}
