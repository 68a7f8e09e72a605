//! Answers that come after the request's handler has returned.

use nix::errno::Errno;

use super::{DO, doing, number};
use crate::outcome::Outcome;
use crate::port::provider::{Action, Capture, Family, KernelSend, LogEntry, Verb};
use crate::scene::bus::Registered;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK, NLMSG_ERROR};

/// [`DO`] is not answered: no reply, and no acknowledgement whether one was asked for or not.
pub fn silent(family: Family) -> Family {
    let capture = doing(Action::Capture(Capture::Message));
    family.step(capture).step(doing(Action::Return(-(Errno::EINTR as i64))))
}

/// Answers a request whose handler has returned.
///
/// # Errors
/// When it cannot be sent.
pub fn answer_later(family: &Registered<'_>, request: &LogEntry, answer: Message) -> Outcome {
    let LogEntry { portid, seq, .. } = *request;
    let answer = answer.seq(seq).portid(portid);
    family.send(KernelSend { portid, ..KernelSend::messages(Verb::Unicast, &[answer]) }).map(drop)
}

/// Answers a request to a family that is [`silent`] with all that it has asked for: a reply with a number, and the
/// acknowledgement.
///
/// # Errors
/// When it cannot be sent.
pub fn complete_later(family: &Registered<'_>, request: &LogEntry, value: u32) -> Outcome {
    answer_later(family, request, reply(family, value))?;
    let flags = Message::decode(&request.bytes).map_or(0, |(request, _)| request.flags);
    if flags & NLM_F_ACK == 0 {
        return Ok(());
    }
    let success = Message::new(NLMSG_ERROR).bytes(&[0; 4]).bytes(&Message::request(0).header());
    answer_later(family, request, success)
}

/// A reply to [`DO`] with a number.
pub fn reply(family: &Registered<'_>, value: u32) -> Message {
    Message::new(family.id).bytes(&genl::header(DO, 1)).bytes(&number(value))
}
