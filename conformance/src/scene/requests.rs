//! What any target can be asked, over whichever protocol it has.

use nix::libc;

use super::bus::{Bus, Socket};
use super::dumps;
use crate::outcome::{Failure, Outcome, broken, expect_eq, mismatch};
use crate::wire::genl;
use crate::wire::message::{self, Message, NLM_F_ACK, NLMSG_NOOP};
use crate::wire::route::{self, Link};

/// The protocols that answer requests on every system that has them.
pub const ANSWERING: &[(&str, i32)] = &[("generic", libc::NETLINK_GENERIC), ("route", libc::NETLINK_ROUTE)];

/// A request that each implementation of the protocol refuses.
pub fn refused(protocol: i32, seq: u32) -> Message {
    match protocol {
        libc::NETLINK_ROUTE => route::refused(seq),
        _ => Message::request(message::UNKNOWN).seq(seq),
    }
}

/// A request with one reply: for the controller, or for the loopback, which the initial network namespace
/// of each system has.
pub fn get(protocol: i32) -> Message {
    match protocol {
        libc::NETLINK_ROUTE => route::link(route::RTM_GETLINK, Link { index: 1, ..Link::default() }),
        _ => dumps::controller(),
    }
}

/// The type of the reply to [`get`].
pub fn reply_kind(protocol: i32) -> u16 {
    match protocol {
        libc::NETLINK_ROUTE => route::RTM_NEWLINK,
        _ => genl::GENL_ID_CTRL,
    }
}

/// A request for a dump that has something to say in the initial network namespace of each system.
pub fn dump(protocol: i32) -> Message {
    match protocol {
        libc::NETLINK_ROUTE => dumps::links(),
        _ => dumps::families(),
    }
}

impl Bus<'_> {
    /// A bound socket of a protocol that answers requests, whichever the target has.
    pub fn asking(&self) -> Result<Socket, Failure> {
        let answers = |protocol: &i32| self.need_protocol(*protocol).is_ok();
        let protocol = ANSWERING.iter().rev().map(|(_, protocol)| *protocol).find(answers);
        self.bound(protocol.unwrap_or(libc::NETLINK_ROUTE))
    }

    /// A request to a `NETLINK_ROUTE` socket that this target acknowledges. Not everybody acknowledges
    /// NLMSG_NOOP (NL-FRM-007), and what is said of acknowledgements is not judged by that.
    ///
    /// # Errors
    /// Those of asking.
    pub fn acknowledged(&self) -> Result<Message, Failure> {
        let noop = Message::request(NLMSG_NOOP).with(NLM_F_ACK);
        Ok(if self.acknowledges_noop()? { noop } else { get(libc::NETLINK_ROUTE).with(NLM_F_ACK) })
    }

    /// Goes on only where NLMSG_NOOP is acknowledged, for what no other request can ask.
    ///
    /// # Errors
    /// `Skip` where it is not.
    pub fn need_noop(&self) -> Outcome {
        match self.acknowledges_noop()? {
            true => Ok(()),
            false => Err(Failure::Skip("the target does not acknowledge NLMSG_NOOP (NL-FRM-007)".into())),
        }
    }

    /// Whether a NLMSG_NOOP is answered with success, before the refusal of the request that follows it.
    fn acknowledges_noop(&self) -> Result<bool, Failure> {
        const REFUSED: u32 = 2;
        let socket = self.bound(libc::NETLINK_ROUTE)?;
        socket.send(&Message::request(NLMSG_NOOP).with(NLM_F_ACK).seq(1))?;
        socket.send(&refused(libc::NETLINK_ROUTE, REFUSED))?;
        match socket.receive()?.messages.first() {
            Some(answer) => Ok(answer.seq != REFUSED && answer.status() == Some(0)),
            None => broken("an answer without a message"),
        }
    }
}

impl Socket {
    /// Sends [`get`], or a request like it, that asks for an acknowledgement: its reply and that. They may
    /// share a datagram.
    ///
    /// # Errors
    /// A mismatch when they do not come.
    pub fn reply_and_acknowledgement(&self, request: &Message) -> Result<(Message, Message), Failure> {
        self.send(request)?;
        let mut messages = self.receive()?.messages;
        if messages.len() == 1 {
            messages.extend(self.receive()?.messages);
        }
        match <[Message; 2]>::try_from(messages) {
            Ok([reply, ack]) => Ok((reply, ack)),
            Err(messages) => mismatch("messages of the answer", 2, messages.len()),
        }
    }

    /// What this request is acknowledged with, which follows its reply if it has one.
    ///
    /// # Errors
    /// A mismatch when no acknowledgement comes.
    pub fn acknowledgement(&self, request: &Message) -> Result<Message, Failure> {
        let answer = match *request == get(self.protocol()).with(NLM_F_ACK).seq(request.seq) {
            true => self.reply_and_acknowledgement(request)?.1,
            false => {
                self.send(request)?;
                self.receive_one()?
            }
        };
        expect_eq("type of the acknowledgement", answer.kind, message::NLMSG_ERROR)?;
        Ok(answer)
    }
}
