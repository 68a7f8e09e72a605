//! One socket, the requests that wait on it, and the events that nobody has asked for yet.

use std::collections::{HashMap, VecDeque};
use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::broken::broken;
use crate::message::*;
use crate::socket::Socket;

pub const NETLINK_CONNECTOR: i32 = 11;
pub const NETLINK_GENERIC: i32 = 16;
/// The type of nlctrl, which knows the other families.
pub const GENL_ID_CTRL: u16 = 16;

/// What a question waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Until {
    Reply,
    Ack,
    Both,
    Dump,
    Listening,
    Event,
}

/// A question that has no answer yet.
pub struct Pending {
    question: u64,
    pub until: Until,
    deadline: Instant,
    /// What was sent; empty for events.
    pub request: Message,
    pub messages: Vec<Message>,
    pub interrupted: bool,
    pub acked: bool,
}

/// The answer to a question.
pub struct Finished {
    pub question: u64,
    /// `end` and its members.
    pub outcome: Value,
    pub messages: Vec<Message>,
}

pub struct Handle {
    pub socket: Socket,
    pub protocol: i32,
    /// ID and groups of the families that have been resolved.
    pub families: HashMap<String, (u16, Map<String, Value>)>,
    pub finished: Vec<Finished>,
    pub pending: Vec<Pending>,
    /// Messages of one datagram with one end, or an end without messages.
    pub events: VecDeque<(Value, Vec<Message>)>,
    joined: bool,
    seq: u32,
    /// Of the switches `deaf-after-enobufs`, `close-deafens-all` and `enobufs-for-ever`.
    pub deaf: bool,
    overrun_for_ever: bool,
    /// Of the switches `keeps-records`, `keeps-interruptions` and `keeps-texts`.
    kept: Vec<Message>,
    interrupted: bool,
    pub text: Value,
}

impl Handle {
    pub fn new(socket: Socket, protocol: i32) -> Handle {
        let (families, finished) = (HashMap::new(), Vec::new());
        let (pending, events) = (Vec::new(), VecDeque::new());
        // Notifications have 0.
        let seq = (std::process::id() << 16).max(1);
        let (joined, deaf, overrun_for_ever) = (false, false, false);
        let (kept, interrupted, text) = (Vec::new(), false, Value::Null);
        Handle {
            socket,
            protocol,
            families,
            finished,
            pending,
            events,
            joined,
            seq,
            deaf,
            overrun_for_ever,
            kept,
            interrupted,
            text,
        }
    }

    pub fn next_seq(&mut self) -> u32 {
        if broken("same-seq") {
            return self.seq;
        }
        self.seq = self.seq.checked_add(1).unwrap_or(1);
        self.seq
    }

    pub fn set_membership(&mut self, option: i32, group: u32) -> Result<(), Error> {
        self.joined = true;
        let ends_others = match option {
            libc::NETLINK_ADD_MEMBERSHIP => broken("one-group"),
            _ => broken("leaves-all-groups"),
        };
        if ends_others {
            for other in 1..=256 {
                // Those that it is not in are refused.
                let _ = self.socket.set(libc::SOL_NETLINK, libc::NETLINK_DROP_MEMBERSHIP, other);
            }
        }
        let set = self.socket.set(libc::SOL_NETLINK, option, group);
        if broken("joins-succeed") { Ok(()) } else { set }
    }

    /// Sends a request; `finished` will have the answer.
    pub fn ask(&mut self, question: u64, request: Message, until: Until, deadline: Instant) {
        if broken("drains-before-requests") {
            self.receive();
            self.events.clear();
        }
        match self.socket.send(&request.bytes()) {
            Ok(()) => self.wait(question, request, until, deadline),
            Err(_) if broken("ignore-send-errors") => self.wait(question, request, until, deadline),
            Err(error) => {
                let outcome = system_error(&error);
                self.finished.push(Finished { question, outcome, messages: Vec::new() });
            }
        }
    }

    pub fn wait(&mut self, question: u64, request: Message, until: Until, deadline: Instant) {
        let (mut messages, mut interrupted, acked) = (Vec::new(), false, false);
        if until == Until::Dump {
            messages.append(&mut self.kept);
            interrupted = self.interrupted;
        }
        self.pending.push(Pending { question, until, deadline, request, messages, interrupted, acked });
        self.hand_over_events();
    }

    pub fn earliest_deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.deadline).min()
    }

    /// Of the switch `deadline-restarts`.
    pub fn extend_deadlines(&mut self) {
        let later = Instant::now() + Duration::from_millis(200);
        self.pending.iter_mut().for_each(|pending| pending.deadline = pending.deadline.max(later));
    }

    /// Ends what has waited long enough. An answer that comes later finds nobody with its number.
    pub fn expire(&mut self, now: Instant) {
        if broken("eintr-is-an-error") && crate::socket::interrupted() {
            self.end_where(|_| true, &json!({ "end": "error", "errno": libc::EINTR }));
        }
        if !broken("no-deadline") {
            self.end_where(|pending| pending.deadline <= now, &json!({ "end": "timeout" }));
        }
    }

    pub fn end_where(&mut self, which: impl Fn(&Pending) -> bool, outcome: &Value) {
        while let Some(at) = self.pending.iter().position(&which) {
            self.finish(at, outcome.clone());
        }
    }

    pub fn close(&mut self) {
        self.end_where(|_| true, &json!({ "end": "error", "errno": libc::EBADF }));
    }

    pub fn finish(&mut self, at: usize, mut outcome: Value) {
        let mut pending = self.pending.remove(at);
        if broken("drop-last-record") && pending.until == Until::Dump {
            pending.messages.pop();
        }
        if pending.interrupted && outcome["end"] == "done" {
            outcome = json!({ "end": "interrupted" });
            if broken("retry-for-ever") {
                pending.request.seq = self.next_seq();
                return self.ask(pending.question, pending.request, pending.until, pending.deadline);
            }
            if broken("drop-interrupted") {
                pending.messages.clear();
            }
        }
        if outcome["end"] == "error" && broken("drop-failed") {
            pending.messages.clear();
        }
        if outcome["end"] == "error" && pending.until == Until::Dump && broken("keeps-records") {
            self.kept.clone_from(&pending.messages);
        }
        self.interrupted |= pending.interrupted && broken("keeps-interruptions");
        self.finished.push(Finished { question: pending.question, outcome, messages: pending.messages });
    }

    /// Whether what comes is received at once.
    pub fn receives(&self) -> bool {
        let late = lazy() || LATE.into_iter().any(broken);
        !self.deaf && (!late || !self.pending.is_empty())
    }

    /// Receives all that is there.
    pub fn receive(&mut self) {
        while self.receives() {
            match self.socket.receive() {
                Ok(datagram) => self.datagram(&datagram),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.overrun(),
                Err(error) => return self.end_where(|_| true, &system_error(&error)),
            }
        }
    }

    /// What was lost may have been an answer or an event: all who wait are told.
    pub fn overrun(&mut self) {
        if broken("ignore-enobufs") {
            return;
        }
        self.deaf = broken("deaf-after-enobufs");
        self.overrun_for_ever |= broken("enobufs-for-ever");
        let error = json!({ "end": "error", "errno": libc::ENOBUFS });
        let outcome = if broken("enobufs-is-an-error") { error } else { json!({ "end": "overrun" }) };
        if broken("enobufs-is-an-end") {
            self.end_where(|pending| pending.until != Until::Event, &json!({ "end": "done" }));
        }
        self.end_where(|pending| pending.until != Until::Event, &outcome);
        if self.joined {
            self.event(outcome, Vec::new());
        }
    }

    pub fn event(&mut self, outcome: Value, messages: Vec<Message>) {
        if broken("latest-event-only") {
            self.events.clear();
        }
        if !broken("no-events") {
            match broken("young-events-first") {
                true => self.events.push_front((outcome, messages)),
                false => self.events.push_back((outcome, messages)),
            }
        }
        self.hand_over_events();
    }

    fn hand_over_events(&mut self) {
        while let Some(at) = self.pending.iter().position(|pending| pending.until == Until::Event) {
            let next = self.events.pop_front();
            let again = self.overrun_for_ever.then(|| (json!({ "end": "overrun" }), Vec::new()));
            let Some((outcome, messages)) = again.or(next) else { return };
            self.pending[at].messages = messages;
            self.finish(at, outcome);
        }
    }
}

/// Switches about what comes while nobody waits: it stays in the socket for the next call.
const LATE: [&str; 6] = ["ack-comes-first", "any-ack", "any-done", "any-error", "same-seq", "strict-seq"];

/// Whether what is left of an answer is taken for the next one's.
pub fn lazy() -> bool {
    ["any-seq", "no-ack-after-reply", "stop-at-dump-intr", "stop-at-first-datagram"].into_iter().any(broken)
}

pub fn system_error(error: &Error) -> Value {
    json!({ "end": "error", "errno": error.raw_os_error().unwrap_or(libc::EIO) })
}
