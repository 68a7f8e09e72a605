//! An adapter's process: started for each case, driven by lines of JSON, never trusted. The adapters of
//! targets and of client libraries have different calls and answers; this is what they share.

mod buffer;
mod forkserver;
mod output;
mod process;
mod running;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;

pub use buffer::{Buffer, LONGEST, TooLong};
pub use forkserver::ForkServer;
pub use process::Process;

/// The time that an answer may take beyond the time that the call itself waits.
pub const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// An answer, as a protocol has it.
pub trait Answer: DeserializeOwned {
    /// The number of the question.
    fn seq(&self) -> u64;
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// None came in time.
    Late,
    /// The adapter has ended; how.
    Ended(String),
    /// The adapter wrote something else; what.
    Garbled(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silence::Late => f.write_str("the adapter did not answer in time"),
            Silence::Ended(how) => write!(f, "the adapter ended ({how})"),
            Silence::Garbled(what) => write!(f, "the adapter {what}"),
        }
    }
}

impl From<TooLong> for Silence {
    fn from(what: TooLong) -> Silence {
        Silence::Garbled(format!("wrote {what}"))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
