//! Who is given a message that has come: a request, a subscription, or nobody.

use serde_json::{Value, json};

use crate::broken::broken;
use crate::handle::{GENL_ID_CTRL, Handle, NETLINK_CONNECTOR, Pending, Until, lazy};
use crate::message::*;
use crate::socket::Datagram;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
/// What the switch `done-is-again` takes for no error of the dump.
const AGAIN: [i32; 3] = [libc::EAGAIN, libc::EINTR, libc::ENOBUFS];

impl Handle {
    pub fn datagram(&mut self, datagram: &Datagram) {
        if broken("deadline-restarts") {
            self.extend_deadlines();
        }
        let mut messages = messages(&datagram.bytes, datagram.sender);
        if broken("first-message-only") {
            messages.truncate(1);
        }
        if broken("done-drops-its-datagram") && messages.iter().any(|message| message.kind == NLMSG_DONE) {
            messages.retain(|message| message.kind == NLMSG_DONE);
        }
        for (nth, message) in messages.into_iter().enumerate() {
            let alone = nth == 0 || !broken("done-comes-alone");
            if self.protocol == NETLINK_CONNECTOR && !broken("done-is-done") {
                self.connector(message);
            } else if self.protocol != NETLINK_CONNECTOR && self.is_event(datagram.group, &message) {
                self.notification(message);
            } else if datagram.sender == 0 || broken("any-sender") {
                self.answer(message, alone);
            }
        }
        if broken("stop-at-first-datagram") {
            self.end_where(|pending| pending.until == Until::Dump, &json!({ "end": "done" }));
        }
    }

    fn is_event(&self, group: u32, message: &Message) -> bool {
        let answers = |pending: &Pending| pending.until != Until::Event && pending.request.seq == message.seq;
        let taken = broken("ignore-group") && self.pending.iter().any(answers);
        let waits = self.pending.iter().any(|pending| pending.until != Until::Event);
        group != 0 && !taken && !(broken("events-are-replies") && waits)
    }

    fn notification(&mut self, message: Message) {
        let waits = self.pending.iter().any(|pending| pending.until != Until::Event);
        let unfinished = broken("multi-until-done") && message.flags & NLM_F_MULTI != 0;
        let anothers = broken("events-of-port-0") && message.port != 0;
        let flagged = broken("known-flags-of-events") && message.flags >= 0x20;
        if !(unfinished || anothers || flagged || waits && broken("drop-events")) {
            let times = if broken("events-twice") { 2 } else { 1 };
            (0..times).for_each(|_| self.event(json!({ "end": "done" }), vec![message.clone()]));
        }
        if broken("strict-seq") {
            self.end_where(|pending| pending.until != Until::Event, &json!({ "end": "foreign" }));
        }
    }

    /// A message of the connector: neither its type nor its flags say anything.
    fn connector(&mut self, message: Message) {
        let field = |at| u32_at(&message.payload, at);
        if (field(0), field(4)) != (Some(1), Some(1)) {
            let asks = |pending: &Pending| {
                pending.until == Until::Reply && pending.request.payload.get(..8) == message.payload.get(..8)
            };
            match self.pending.iter().position(asks) {
                Some(at) => {
                    self.pending[at].messages.push(message);
                    self.finish(at, json!({ "end": "done" }));
                }
                None => self.event(json!({ "end": "done" }), vec![message]),
            }
        } else if field(20) == Some(0) {
            // An acknowledgement, which all listeners see: ours has our `ack` plus one. Its `seq` is an event's.
            let ack = field(12);
            let own = |pending: &Pending| {
                let sent = u32_at(&pending.request.payload, 12);
                let answered = ack == sent.map(|ack| ack.wrapping_add(1));
                pending.until == Until::Listening && (answered || broken("any-ack"))
            };
            let outcome = match field(36) {
                Some(0) | None => json!({ "end": "done" }),
                Some(errno) => json!({ "end": "error", "errno": errno }),
            };
            self.end_where(own, &outcome);
        } else {
            if broken("ack-comes-first") {
                let end = json!({ "end": "library", "words": "an event, and no acknowledgement" });
                self.end_where(|pending| pending.until == Until::Listening, &end);
            }
            self.event(json!({ "end": "done" }), vec![message]);
        }
    }

    fn answer(&mut self, message: Message, alone: bool) {
        let unknown = match message.kind {
            NLMSG_ERROR => false,
            NLMSG_DONE => broken("known-flags-of-done"),
            _ => broken("known-flags"),
        };
        if unknown && message.flags >= 0x20 {
            return;
        }
        if broken("replies-to-pid") && message.port != std::process::id() {
            return;
        }
        let own = |pending: &Pending| {
            let matches = pending.request.seq == message.seq
                || broken("numbers-of-16-bits") && pending.request.seq as u16 == message.seq as u16
                || broken("events-are-replies") && message.seq == 0
                || broken("any-error") && message.kind == NLMSG_ERROR
                || broken("any-done") && message.kind == NLMSG_DONE;
            pending.until != Until::Event && (lazy() || matches)
        };
        let Some(at) = self.pending.iter().position(own) else {
            if broken("strict-seq") {
                self.end_where(|pending| pending.until != Until::Event, &json!({ "end": "foreign" }));
            }
            return;
        };
        let pending = &mut self.pending[at];
        assert!(!(broken("dies-at-dump-intr") && message.flags & NLM_F_DUMP_INTR != 0), "NLM_F_DUMP_INTR");
        pending.interrupted |= message.flags & NLM_F_DUMP_INTR != 0 && !broken("ignore-dump-intr");
        match message.kind {
            NLMSG_NOOP if !broken("noop-is-data") => {}
            NLMSG_OVERRUN => self.overrun(),
            NLMSG_ERROR if broken("errors-answer-acks") && pending.until == Until::Reply => {}
            NLMSG_ERROR if broken("parts-have-no-errors") && !pending.messages.is_empty() => {}
            NLMSG_ERROR if broken("eagain-is-no-end") && end(&message, false).0 == libc::EAGAIN => {}
            NLMSG_ERROR if broken("enobufs-is-no-end") && end(&message, false).0 == libc::ENOBUFS => {}
            NLMSG_ERROR if broken("acks-are-data") => pending.messages.push(message),
            NLMSG_ERROR => self.acknowledged(at, &message),
            NLMSG_DONE if broken("done-is-again") && AGAIN.contains(&end(&message, true).0) => {}
            NLMSG_DONE if alone && !(broken("dumps-have-data") && pending.messages.is_empty()) => {
                let outcome = outcome(&message, true);
                let ignored = broken("ignore-done-error").then(|| json!({ "end": "done" }));
                self.finish(at, ignored.unwrap_or(outcome));
            }
            NLMSG_DONE => {}
            _ => self.data(at, message),
        }
    }

    fn acknowledged(&mut self, at: usize, message: &Message) {
        let mut outcome = outcome(message, false);
        if broken("keeps-texts") && outcome["end"] == "error" {
            match outcome.get("message") {
                Some(text) => self.text = text.clone(),
                None => outcome["message"] = self.text.clone(),
            }
        }
        let pending = &mut self.pending[at];
        pending.acked = true;
        // The data may come after the acknowledgement.
        let whole = pending.until != Until::Both || !pending.messages.is_empty() || broken("end-at-ack");
        if outcome["end"] != "done" || whole {
            self.finish(at, outcome);
        }
    }

    fn data(&mut self, at: usize, message: Message) {
        let pending = &mut self.pending[at];
        if broken("drop-empty") && message.payload.len() <= 4 {
            return;
        }
        let same = message.payload.first() == pending.request.payload.first();
        if broken("replies-have-the-command") && !same && message.kind > GENL_ID_CTRL {
            return;
        }
        let single = message.flags & NLM_F_MULTI == 0 || broken("parts-are-replies");
        if broken("replies-twice") {
            pending.messages.push(message.clone());
        }
        pending.messages.push(message);
        let whole = match pending.until {
            Until::Reply => single && !broken("waits-for-an-ack"),
            Until::Both => pending.acked || broken("one-reply") || broken("no-ack-after-reply"),
            Until::Dump => broken("stop-at-dump-intr") && pending.interrupted,
            _ => false,
        };
        if whole {
            self.finish(at, json!({ "end": "done" }));
        }
    }
}

/// What NLMSG_ERROR or NLMSG_DONE says.
fn outcome(message: &Message, done: bool) -> Value {
    let (errno, mut ack) = end(message, done);
    if broken("ignore-ext-ack") {
        ack.clear();
    }
    let succeeded = errno == 0 || broken("ignore-error") || broken("known-errno") && errno > 133;
    let warned = !ack.is_empty() && broken("warnings-are-errors");
    if succeeded && !warned {
        let warnings: Vec<_> =
            ack.get("message").map(|text| json!({ "warning": text })).into_iter().collect();
        return json!({ "end": "done", "notices": warnings });
    }
    ack.insert("end".into(), "error".into());
    ack.insert("errno".into(), if broken("negative-errno") { -errno } else { errno }.into());
    Value::Object(ack)
}
