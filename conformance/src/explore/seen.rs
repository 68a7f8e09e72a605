//! What a user can observe of a call.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::port::Incoming;
use crate::port::provider::{LogEntry, Returned};

/// The observation of one call, with IDs put in relation (see `names.rs`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// It names what is not there, so it was not made.
    NotMade,
    /// The target cannot make such a call: nothing to compare.
    Inexpressible(String),
    /// It succeeded.
    Ok,
    /// It failed with this errno.
    Errno(i32),
    /// Bytes sent.
    Sent(usize),
    /// What was written, and the length reported.
    Filled(Vec<u8>, usize),
    /// What was received.
    Received(Incoming),
    /// `POLL*`.
    Events(i16),
    /// A return value of kernel code.
    Returned(Returned),
    /// What the callbacks have logged.
    Log(Vec<LogEntry>),
}

impl Seen {
    /// The errno of a failure.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Seen::Errno(errno) => Some(Errno::from_raw(*errno)),
            Seen::Returned(value) if *value < 0 => Some(Errno::from_raw(value.unsigned_abs() as i32)),
            _ => None,
        }
    }
}

impl From<Errno> for Seen {
    fn from(errno: Errno) -> Seen {
        Seen::Errno(errno as i32)
    }
}

/// What a whole sequence has shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Observed {
    /// Of each call, in order; then, after everything is closed, of the log.
    pub seen: Vec<Seen>,
    /// The target died or warned, and so the observations may end early: how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}
