//! What the caller of the library was told, and whether it is acceptable.

use nix::errno::Errno;

use crate::client::protocol::{Attribute, End, Message, Notice, Outcome};
use crate::outcome::{self, mismatch};
use crate::wire::message::NLM_F_DUMP_INTR;

/// The outcome of a call.
#[derive(Debug, Clone)]
pub struct Told(pub Outcome);

impl Told {
    /// Success.
    pub fn is_done(&self) -> bool {
        self.0.end == End::Done
    }

    /// An error that the kernel, or a system call, gave.
    pub fn is_error(&self, wanted: Errno) -> bool {
        matches!(self.0.end, End::Error { errno, .. } if errno == wanted as i32)
    }

    /// Any end that is not success: the caller knows that something is missing.
    pub fn is_failure(&self) -> bool {
        !self.is_done()
    }

    /// The deadline passed.
    pub fn is_timeout(&self) -> bool {
        self.0.end == End::Timeout
    }

    /// The caller knows that the dump was interrupted, or can see it in the flags of a message.
    pub fn is_interrupted(&self) -> bool {
        let flagged = |message: &Message| message.flags.is_some_and(|flags| flags & NLM_F_DUMP_INTR != 0);
        self.0.end == End::Interrupted
            || self.0.notices.contains(&Notice::Interrupted)
            || self.0.messages.iter().any(flagged)
    }

    /// The caller knows that messages were lost.
    pub fn is_overrun(&self) -> bool {
        self.0.end == End::Overrun || self.0.notices.contains(&Notice::Overrun)
    }

    /// The caller knows that a datagram was cut short.
    pub fn is_truncated(&self) -> bool {
        self.0.end == End::Truncated
    }

    /// The caller knows that somebody else's message came.
    pub fn is_foreign(&self) -> bool {
        self.0.end == End::Foreign
    }

    /// The messages that the caller was given.
    pub fn messages(&self) -> &[Message] {
        &self.0.messages
    }

    /// The text of the extended ack of an error.
    pub fn text(&self) -> Option<&str> {
        if let End::Error { message, .. } = &self.0.end { message.as_deref() } else { None }
    }

    /// The offset of the extended ack of an error.
    pub fn offset(&self) -> Option<u32> {
        if let End::Error { offset, .. } = self.0.end { offset } else { None }
    }

    /// The text of an extended ack on success.
    pub fn warning(&self) -> Option<&str> {
        self.0
            .notices
            .iter()
            .find_map(|notice| if let Notice::Warning(text) = notice { Some(text.as_str()) } else { None })
    }

    /// The number that each message has first; messages without one are left out.
    pub fn numbers(&self) -> Vec<u32> {
        let number = |message: &Message| {
            message.attributes.iter().flatten().find_map(|attribute| {
                if let Attribute::Number(number) = attribute { Some(*number) } else { None }
            })
        };
        self.0.messages.iter().filter_map(number).collect()
    }

    /// Success, with just these numbers, one a message.
    pub fn gave(&self, numbers: &[u32]) -> bool {
        self.is_done() && self.messages().len() == numbers.len() && self.numbers() == numbers
    }

    /// What the caller was told must be acceptable; `acceptable` says what is, all of it.
    pub fn must(&self, what: &str, holds: bool, acceptable: &str) -> outcome::Outcome {
        if holds { Ok(()) } else { mismatch(what, acceptable, &self.0) }
    }
}
