//! Shorthand for the data of a provider.

use super::provider::{
    Action, AttrKind, Callback, CbId, Check, Family, Group, KernelSend, On, Op, OpKind, Policy, PolicyEntry,
    Protocol, RawDatagram, Step, Verb,
};
use crate::wire::align;
use crate::wire::message::{Message, batch};

impl Family {
    /// A family of this name, visible in every network namespace (each case has its own).
    pub fn named(name: &str) -> Family {
        Family { name: name.into(), netnsok: true, ..Family::default() }
    }

    /// Adds a command.
    pub fn op(mut self, op: Op) -> Family {
        self.ops.push(op);
        self
    }

    /// Adds a group that any user may join.
    pub fn group(mut self, name: &str) -> Family {
        self.groups.push(Group { name: name.into(), ..Group::default() });
        self
    }

    /// Sets the version.
    pub fn version(mut self, version: u32) -> Family {
        self.version = version;
        self
    }

    /// Sets a family-wide policy, which covers the types up to its highest entry.
    pub fn policy(mut self, policy: Policy) -> Family {
        self.maxattr = policy.entries.iter().map(|entry| entry.attr.into()).max().unwrap_or(0);
        self.policy = Some(self.policies.len() as u32);
        self.policies.push(policy);
        self
    }

    /// Adds a step to a callback of each command.
    pub fn on(mut self, on: On, action: Action) -> Family {
        self.script.push(Step::new(on, action));
        self
    }

    /// Adds a step to the script.
    pub fn step(mut self, step: Step) -> Family {
        self.script.push(step);
        self
    }
}

impl Op {
    /// A command with `doit`.
    pub fn doing(cmd: u8) -> Op {
        Op { cmd, doit: true, ..Op::default() }
    }

    /// A command with `start`, `dumpit` and `done`.
    pub fn dumping(cmd: u8) -> Op {
        Op { cmd, dumpit: true, start: true, done: true, ..Op::default() }
    }

    /// Puts it into the array of this kind. Fields that the kind does not have are dropped.
    pub fn kind(mut self, kind: OpKind) -> Op {
        self.kind = kind;
        if kind == OpKind::Small {
            (self.start, self.done) = (false, false);
        }
        self
    }

    /// Adds flags.
    pub fn flags(mut self, flags: u8) -> Op {
        self.flags |= flags;
        self
    }

    /// Sets the validate flags.
    pub fn validate(mut self, validate: u8) -> Op {
        self.validate = validate;
        self
    }
}

impl Step {
    /// A step of each call of a callback.
    pub fn new(on: On, action: Action) -> Step {
        Step { on, cmd: None, call: None, action }
    }

    /// Only for this command.
    pub fn cmd(mut self, cmd: u8) -> Step {
        self.cmd = Some(cmd);
        self
    }

    /// Only in the n-th call, counting from 1.
    pub fn call(mut self, call: u32) -> Step {
        self.call = Some(call);
        self
    }
}

impl Policy {
    /// A policy with these entries.
    pub fn of(entries: impl Into<Vec<PolicyEntry>>) -> Policy {
        Policy { entries: entries.into(), strict_start_type: 0 }
    }
}

impl PolicyEntry {
    /// An attribute of this kind, without further checks.
    pub const fn new(attr: u16, kind: AttrKind) -> PolicyEntry {
        PolicyEntry { attr, kind, len: 0, check: Check::None }
    }

    /// Sets `len`.
    pub fn len(mut self, len: u16) -> PolicyEntry {
        self.len = len;
        self
    }

    /// Sets the check beyond the type.
    pub fn check(mut self, check: Check) -> PolicyEntry {
        self.check = check;
        self
    }
}

impl Action {
    /// Puts `until` records of `size` bytes of filler; a full buffer ends the call with its length.
    pub fn records(until: u32, size: u32) -> Action {
        Action::Records { until, size, emsgsize: false }
    }
}

impl RawDatagram {
    /// Adds a message that answers the request: sequence number and port ID are the request's.
    pub fn reply(mut self, message: &Message) -> RawDatagram {
        self.seq_of_request |= self.next();
        self.portid_of_request |= self.next();
        self.exactly(message)
    }

    /// Adds a message that answers the request and has its type as well, as replies of a family have.
    pub fn family_reply(mut self, message: &Message) -> RawDatagram {
        self.type_of_request |= self.next();
        self.reply(message)
    }

    /// Adds a message as it is.
    pub fn exactly(mut self, message: &Message) -> RawDatagram {
        self.bytes.resize(align(self.bytes.len()), 0);
        self.bytes.extend(message.encode());
        self
    }

    /// The bit of the message that is added next.
    fn next(&self) -> u64 {
        let place = Message::decode_all(&self.bytes).0.len();
        1u64.checked_shl(place as u32)
            .expect("values of the request can be filled in for 64 messages of a datagram")
    }
}

impl KernelSend {
    /// Command 1, nothing else.
    pub fn new(verb: Verb) -> KernelSend {
        KernelSend { verb, group: 0, portid: 0, cmd: 1, flags: 0, seq: 0, payload: Vec::new(), raw: false }
    }

    /// These messages as one datagram, each with the headers that it has.
    pub fn messages(verb: Verb, messages: &[Message]) -> KernelSend {
        KernelSend { payload: batch(messages), raw: true, ..KernelSend::new(verb) }
    }
}

impl Protocol {
    /// A protocol that receives messages and asks for this many groups.
    pub fn with_groups(protocol: i32, groups: u32) -> Protocol {
        Protocol { protocol, groups, input: true, ..Protocol::default() }
    }
}

impl Callback {
    /// A connector callback that does nothing.
    pub fn named(name: &str, id: CbId) -> Callback {
        Callback { id, name: name.into(), script: Vec::new() }
    }
}
