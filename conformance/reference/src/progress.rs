//! How far a dump is.

use nlconform::wire::message::{Message, NLM_F_DUMP_INTR};

use super::defect::Defect;
use super::message::Request;
use super::setup::Setup;

/// How far a dump is (`struct netlink_callback`).
pub struct Progress {
    /// The request.
    pub request: Request,
    /// `seq`.
    pub seq: u32,
    /// `prev_seq`.
    pub prev_seq: u32,
    /// `answer_flags`.
    pub answer_flags: u16,
    /// `min_dump_alloc`.
    pub least: usize,
    /// `strict_check`.
    pub strict: bool,
    /// The state of a scripted dump (`ctx`): calls of dumpit, records put.
    pub calls: u32,
    /// See `calls`.
    pub records: u32,
}

impl Progress {
    /// Marks a message if the dump's sequence changed since the message before
    /// (`nl_dump_check_consistent()`).
    pub fn check_consistent(&mut self, setup: Setup, message: &mut Message) {
        let changed = self.prev_seq != 0 && self.seq != self.prev_seq;
        if (changed && !setup.has(Defect::InterruptionUnreported)) || setup.has(Defect::AlwaysInterrupted) {
            message.flags |= NLM_F_DUMP_INTR;
        }
        self.prev_seq = self.seq;
    }
}
