//! Calls of kernel code: families, protocols, what they send, and the scripts of their callbacks.

use std::rc::Rc;

use nix::libc;

use super::user::{join, set_number};
use super::{FAMILIES, Fam, Generator, PROTOCOLS, Proto, Sock, group, pick};
use crate::explore::call::{Call, Object, Port};
use crate::port::capability::Capability;
use crate::port::provider::{
    Action, AttrKind, Capture, Check, DONT_VALIDATE_DUMP, DONT_VALIDATE_DUMP_STRICT, DONT_VALIDATE_STRICT,
    Family, KernelSend, On, Op, OpKind, Policy, PolicyEntry, Protocol, Step, Verb,
};
use crate::wire::attr::Attrs;
use crate::wire::genl::{GENL_ADMIN_PERM, GENL_CMD_CAP_DO, GENL_CMD_CAP_DUMP, GENL_UNS_ADMIN_PERM};
use crate::wire::message::{NLM_F_ACK, NLM_F_ECHO, NLM_F_MULTI};

/// The first protocol number of the sequence's own.
const OWN: i32 = 24;

impl Generator {
    pub(super) fn register(&mut self) -> Option<Call> {
        if self.families.len() >= FAMILIES {
            return self.unregister();
        }
        let spec = self.family();
        let name = self.new_name();
        let family = Fam { name, spec: Rc::new(spec.clone()), registered: true };
        self.families.push(family.clone());
        self.arrived(libc::NETLINK_GENERIC);
        if !self.one_in(4) {
            self.ask(&family);
        }
        Some(Call::Register { family: name, spec })
    }

    /// What a family's callbacks do is seen only if it is asked for something.
    fn ask(&mut self, family: &Fam) {
        let Some(Sock { name: socket, .. }) = self.socket_of(libc::NETLINK_GENERIC) else { return };
        let mut request = self.request_of(family);
        request.flags |= self.among(&[NLM_F_ACK, NLM_F_ECHO, NLM_F_ACK | NLM_F_ECHO]);
        let messages = vec![self.headed(request)];
        let receive = Call::Receive { socket, room: 65_536, flags: 0 };
        if !family.spec.groups.is_empty() && self.one_in(4) {
            self.follow.push_back(join(socket, family.name));
        }
        self.follow.extend([
            set_number(socket, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1),
            Call::Send { socket, to: None, flags: 0, messages },
            receive.clone(),
            receive,
        ]);
    }

    pub(super) fn register_again(&mut self) -> Option<Call> {
        let family = pick(&mut self.random, &self.families)?.name;
        self.families
            .iter_mut()
            .filter(|known| known.name == family)
            .for_each(|known| known.registered = true);
        Some(Call::RegisterAgain { family })
    }

    pub(super) fn unregister(&mut self) -> Option<Call> {
        let family = pick(&mut self.random, &self.families)?.name;
        self.families
            .iter_mut()
            .filter(|known| known.name == family)
            .for_each(|known| known.registered = false);
        self.arrived(libc::NETLINK_GENERIC);
        Some(Call::Unregister { family })
    }

    fn family(&mut self) -> Family {
        let name = self.among(&["alpha", "beta", "gamma", "delta", "fifteen-letters"]);
        let mut family = Family::named(name).version(self.among(&[0, 1, 2, 300]));
        if self.one_in(24) {
            family.name = self.among(&["", "nlctrl", "Alpha"]).into();
        }
        family.hdrsize = self.among(&[0, 0, 0, 4, 6, 8]);
        family.parallel_ops = self.one_in(3);
        family.pre_post = self.one_in(4);
        family.bind = self.one_in(4) && self.features.has(Capability::FamilyBind);
        family.id = if self.one_in(8) { self.among(&[16, 20, 999]) } else { 0 };
        if self.features.has(Capability::ResvStartOp) {
            family.resv_start_op = self.among(&[0, 0, 3, 255]);
        }
        for _ in 0..self.random.u32(0..=2) {
            let policy = self.policy(family.policies.len());
            family.policies.push(policy);
        }
        if !family.policies.is_empty() && self.one_in(2) {
            let index = self.random.usize(0..family.policies.len());
            family.policy = Some(index as u32);
            family.maxattr = highest(&family.policies[index]);
        }
        for _ in 0..self.random.u32(0..=3) {
            let op = self.op(&family);
            family.ops.push(op.clone());
            // The other half of a command, which follows the first.
            if op.kind == OpKind::Split && op.doit && self.one_in(3) {
                let flags = op.flags & !GENL_CMD_CAP_DO | GENL_CMD_CAP_DUMP;
                let (doit, dumpit, pre_post) = (false, true, false);
                family.ops.push(Op { flags, doit, dumpit, pre_post, ..op });
            }
        }
        if self.one_in(12) {
            // In order, as split ops must be.
            family.ops.sort_by_key(|op| (op.cmd, op.flags));
        }
        for _ in 0..self.among(&[0, 1, 1, 2, 3]) {
            let mut group = group(self.among(&["events", "config", "x", "sixteen-letters!"]));
            group.name.truncate(if self.one_in(24) { 16 } else { 15 });
            group.net_admin = self.one_in(8);
            group.sys_admin = self.one_in(12);
            family.groups.push(group);
        }
        family.script = self.script(&family);
        family
    }

    fn op(&mut self, family: &Family) -> Op {
        let split = self.features.has(Capability::SplitOps);
        let kind = match self.random.u32(0..4) {
            0 => OpKind::Small,
            1 if split => OpKind::Split,
            _ => OpKind::Full,
        };
        let taken: Vec<u8> = family.ops.iter().map(|op| op.cmd).collect();
        let free = (1..=8).find(|cmd| !taken.contains(cmd)).unwrap_or(8);
        let cmd = if self.one_in(16) { self.random.u8(0..=8) } else { free };
        let dumps = self.one_in(2);
        let both = kind != OpKind::Split && self.one_in(3);
        let mut op = Op { kind, cmd, doit: !dumps || both, dumpit: dumps || both, ..Op::default() };
        // What split ops promise by their flags, the core does not check.
        if kind != OpKind::Split && self.one_in(24) {
            (op.doit, op.dumpit) = (false, false);
        }
        if kind == OpKind::Split {
            op.flags = if dumps { GENL_CMD_CAP_DUMP } else { GENL_CMD_CAP_DO };
            op.pre_post = !dumps && self.one_in(4);
        }
        if self.one_in(8) {
            op.flags |= self.among(&[GENL_ADMIN_PERM, GENL_UNS_ADMIN_PERM]);
        }
        op.internal_flags = self.among(&[0, 0, 1, 0x80]);
        if self.one_in(3) {
            op.validate =
                self.among(&[DONT_VALIDATE_STRICT, DONT_VALIDATE_DUMP, DONT_VALIDATE_DUMP_STRICT, 7]);
        }
        if kind != OpKind::Small {
            (op.start, op.done) = (op.dumpit && self.one_in(2), op.dumpit && self.one_in(2));
            if !family.policies.is_empty() && self.one_in(2) {
                let index = self.random.usize(0..family.policies.len());
                op.policy = Some(index as u32);
                op.maxattr = highest(&family.policies[index]);
            }
        }
        op
    }

    /// A policy; those before it can be nested in it.
    fn policy(&mut self, before: usize) -> Policy {
        let mut entries = Vec::new();
        // An empty policy is none: Linux warns when the controller is asked for one.
        let last = self.random.u16(1..=5);
        for attr in 1..=last {
            if attr == last || !self.one_in(5) {
                entries.push(self.policy_entry(attr, before));
            }
        }
        let strict_start_type = if self.one_in(6) { self.random.u16(1..=5) } else { 0 };
        Policy { entries, strict_start_type }
    }

    fn policy_entry(&mut self, attr: u16, before: usize) -> PolicyEntry {
        let mut kind = self.among(&[
            AttrKind::U8,
            AttrKind::U16,
            AttrKind::U32,
            AttrKind::U64,
            AttrKind::S8,
            AttrKind::S16,
            AttrKind::S32,
            AttrKind::S64,
            AttrKind::Be16,
            AttrKind::Be32,
            AttrKind::Uint,
            AttrKind::Sint,
            AttrKind::Msecs,
            AttrKind::String,
            AttrKind::NulString,
            AttrKind::Flag,
            AttrKind::Binary,
            AttrKind::Nested,
            AttrKind::Nested,
            AttrKind::NestedArray,
            AttrKind::Bitfield32,
            AttrKind::Reject,
        ]);
        if matches!(kind, AttrKind::Uint | AttrKind::Sint) && !self.features.has(Capability::Uint) {
            kind = AttrKind::U32;
        }
        let mut entry = PolicyEntry::new(attr, kind);
        match kind {
            AttrKind::String | AttrKind::NulString | AttrKind::Binary => {
                entry.len = self.among(&[0, 4, 10]);
            }
            AttrKind::Nested if self.one_in(2) => {
                // In itself.
                entry.check = Check::Nested(before as u32);
                entry.len = 5;
            }
            AttrKind::Nested | AttrKind::NestedArray if before > 0 => {
                entry.check = Check::Nested(self.random.usize(0..before) as u32);
                entry.len = 5;
            }
            AttrKind::Bitfield32 => entry.check = Check::Mask(self.among(&[1, 0xff])),
            AttrKind::Reject if self.one_in(2) => entry.check = Check::Message("not this one".into()),
            AttrKind::U8
            | AttrKind::U16
            | AttrKind::U32
            | AttrKind::U64
            | AttrKind::Uint
            | AttrKind::Be16
            | AttrKind::Be32 => {
                entry.check = match self.random.u32(0..8) {
                    0 => Check::Min(5),
                    1 => Check::Max(10),
                    2 => Check::Range(1, 10),
                    3 => Check::Mask(0xf),
                    4 if kind == AttrKind::U64 || kind == AttrKind::U32 => Check::WideRange(2, 1000),
                    _ => Check::None,
                }
            }
            AttrKind::S8 | AttrKind::S16 | AttrKind::S32 | AttrKind::S64 | AttrKind::Sint => {
                entry.check = match self.random.u32(0..8) {
                    0 => Check::Min(-5),
                    1 => Check::Max(10),
                    2 => Check::Range(-1, 10),
                    3 if kind == AttrKind::S64 || kind == AttrKind::S32 => Check::WideRangeSigned(-2, 1000),
                    _ => Check::None,
                }
            }
            _ => {}
        }
        entry
    }

    fn script(&mut self, family: &Family) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..self.random.u32(0..=5) {
            let on = self.among(&[
                On::Doit,
                On::Doit,
                On::Doit,
                On::Dumpit,
                On::Dumpit,
                On::Start,
                On::Done,
                On::PreDoit,
                On::PostDoit,
                On::Bind,
            ]);
            let Some(action) = self.action(on, family) else { continue };
            // What is missing is said only of a failure.
            let fails = matches!(action, Action::MissAttr(..) | Action::BadAttr(_)) && self.one_in(2);
            let mut step = Step::new(on, action);
            if self.one_in(6) {
                step = step.call(self.random.u32(1..=2));
            }
            steps.push(step);
            if fails {
                steps.push(Step::new(on, Action::Return(-i64::from(libc::EINVAL))));
            }
        }
        if family.ops.iter().any(|op| op.dumpit) && self.one_in(2) {
            let (until, size) = (self.random.u32(0..=40), self.among(&[0, 4, 100, 1000]));
            steps.insert(0, Step::new(On::Dumpit, Action::Records { until, size, emsgsize: self.one_in(3) }));
            if family.ops.iter().any(|op| op.start) && self.one_in(3) {
                let least = self.among(&[100, 10_000, 40_000]);
                steps.insert(0, Step::new(On::Start, Action::MinDumpAlloc(least)));
            }
            // What is dumped changes meanwhile.
            if self.one_in(3) {
                for call in 1..=2 {
                    steps.insert(0, Step::new(On::Dumpit, Action::DumpSeq(call)).call(call));
                }
            }
        }
        if self.one_in(4) {
            let on = self.among(&[On::Doit, On::PreDoit, On::PostDoit, On::Start, On::Dumpit, On::Done]);
            // The port ID in it is found only if nothing else is captured.
            steps.retain(|step| step.on != on || !matches!(step.action, Action::Capture(_)));
            steps.insert(0, Step::new(on, Action::Capture(Capture::Info)));
        }
        steps
    }

    fn action(&mut self, on: On, family: &Family) -> Option<Action> {
        let failure = |generator: &mut Self| {
            -i64::from(generator.among(&[libc::EINVAL, libc::EPERM, libc::ENOENT, libc::EBUSY]))
        };
        let policy = self.pick(&family.policies);
        let known = policy.and_then(|policy| self.pick(&policy.entries)).map(|entry| entry.attr);
        let attr = known.unwrap_or_else(|| self.random.u16(1..=4));
        let small = self.random.usize(0..=12);
        let payload = Attrs::new().put(1, &vec![9; small]).as_bytes().to_vec();
        let action = match (self.random.u32(0..10), on) {
            (_, On::Bind) => Action::Return(failure(self)),
            (0, On::Doit) => Action::Return(if self.one_in(4) { 5 } else { failure(self) }),
            (0..=2, On::PreDoit) => Action::Return(failure(self)),
            (0, On::Start) => Action::Return(failure(self)),
            (1, On::Doit | On::Start | On::Dumpit) => Action::ErrMsg("no".into()),
            (2, On::Doit | On::Start | On::Dumpit) => {
                if !self.features.has(Capability::ErrMsgFmt) {
                    return None;
                }
                let len = self.among(&[3, 78, 79, 80, 100]);
                Action::ErrMsgFmt("m".repeat(len))
            }
            (3, On::Doit | On::Dumpit) => Action::Cookie(self.random.u64(..)),
            (4 | 9, On::Doit) => Action::BadAttr(attr),
            (5, On::Doit) if self.features.has(Capability::MissAttr) => {
                let nest = self.one_in(3).then(|| self.random.u16(1..=4));
                Action::MissAttr(self.random.u16(1..=4), nest)
            }
            (6, On::Doit | On::PostDoit | On::PreDoit | On::Dumpit | On::Done) => {
                // What is captured after the state of a dump cannot be related.
                let message = if on == On::Dumpit { Capture::AttrsPresent } else { Capture::Message };
                let of_request = [message, Capture::AttrsPresent, Capture::Attr(1)];
                let captured = if self.one_in(4) { Capture::InternalFlags } else { self.among(&of_request) };
                Action::Capture(captured)
            }
            (7, On::Doit) if !family.groups.is_empty() => Action::Notify(0, 1, payload),
            (_, On::Doit) => Action::Reply(1, 0, payload),
            (7, On::Dumpit) => Action::AnswerFlags(self.among(&[0x10, 0x20])),
            (9, On::Dumpit) => Action::Capture(Capture::DumpState),
            (8, On::Dumpit | On::Start) => Action::DumpSeq(self.random.u32(1..=3)),
            (5..=9, On::Start) => Action::MinDumpAlloc(self.among(&[100, 10_000, 40_000])),
            (0, On::Dumpit) => Action::Return(failure(self)),
            (_, On::Dumpit) => Action::Put(1, NLM_F_MULTI, payload),
            _ => return None,
        };
        Some(action)
    }

    pub(super) fn create(&mut self) -> Option<Call> {
        if self.protocols.len() >= PROTOCOLS {
            return self.release();
        }
        let name = self.new_name();
        let taken = |number: &i32| self.protocols.iter().any(|protocol| protocol.number == *number);
        let free = (OWN..).find(|number| !taken(number)).unwrap_or(OWN);
        let number = if self.one_in(16) { self.among(&[-1, 0, 32]) } else { free };
        let mut spec = Protocol::with_groups(number, self.among(&[0, 1, 32, 33, 40]));
        spec.input = !self.one_in(4);
        spec.nonroot_recv = self.one_in(2);
        spec.nonroot_send = self.one_in(2);
        spec.bind = self.one_in(2);
        for _ in 0..self.random.u32(0..=2) {
            let (on, action) = match self.random.u32(0..6) {
                0 => (On::Input, Action::Return(-i64::from(libc::EINVAL))),
                1 => (On::Input, Action::Capture(Capture::Message)),
                2 => (On::Input, Action::StartDump),
                3 => (On::Bind, Action::Return(-i64::from(libc::EBUSY))),
                4 => (On::Dumpit, Action::records(self.random.u32(1..=8), 300)),
                _ => (On::Input, Action::Reply(17, 0, vec![5; 8])),
            };
            let mut step = Step::new(on, action);
            if self.one_in(3) {
                step = step.call(self.random.u32(1..=2));
            }
            spec.script.push(step);
        }
        if number == free {
            self.protocols.push(Proto { name, number });
        }
        Some(Call::Create { protocol: name, spec })
    }

    pub(super) fn release(&mut self) -> Option<Call> {
        // With a socket left its module must stay, and the protocol's group table with it.
        let open: Vec<i32> = self.sockets.iter().map(|socket| socket.protocol).collect();
        let unused = |protocol: &&Proto| !open.contains(&protocol.number);
        let candidates: Vec<_> = self.protocols.iter().filter(unused).cloned().collect();
        let protocol = self.pick(&candidates)?.name;
        self.protocols.retain(|other| other.name != protocol);
        Some(Call::Release { protocol })
    }

    pub(super) fn kernel_send(&mut self) -> Option<Call> {
        let from_protocol = self.one_in(4);
        let family = pick(&mut self.random, &self.families);
        let protocol = pick(&mut self.random, &self.protocols);
        let (from, protocol, groups) = match (from_protocol, family, protocol) {
            (true, _, Some(protocol)) => (Object::Protocol(protocol.name), protocol.number, 6),
            (_, Some(family), _) => {
                let groups = family.spec.groups.len() as u32;
                (Object::Family(family.name), libc::NETLINK_GENERIC, groups)
            }
            _ => return None,
        };
        let of_family = matches!(from, Object::Family(_));
        let verb = match self.random.u32(0..10) {
            _ if groups == 0 => self.among(&[Verb::Unicast, Verb::PutInto(24)]),
            0 | 1 => Verb::Unicast,
            2 => Verb::SetErr(self.among(&[libc::ENOBUFS, libc::EIO])),
            3 => Verb::HasListeners,
            4 if of_family => Verb::PutInto(self.among(&[0, 15, 16, 19, 20, 24, 28, 100])),
            5 if of_family => Verb::MulticastAll,
            6 if of_family && self.features.has(Capability::FilteredMulticast) => Verb::MulticastFiltered(0),
            4..=6 if !of_family => Verb::Notify(self.one_in(2)),
            _ => Verb::Multicast,
        };
        let to_port = matches!(verb, Verb::Unicast | Verb::Notify(true));
        // A family counts its groups from 0, a protocol from 1.
        let group = match of_family {
            true if groups == 0 => 0,
            // Now and then the first that it does not have.
            true => self.random.u32(0..=8 * groups) / 8,
            false => self.random.u32(1..=groups),
        };
        let port = match self.socket_of(protocol) {
            Some(socket) if to_port || self.one_in(3) => Port::Of(socket.name),
            _ if to_port => Port::Number(self.among(&[1, 77])),
            _ => Port::Number(0),
        };
        let len = if self.one_in(8) { self.random.usize(0..=3000) } else { self.random.usize(0..=40) };
        let send =
            KernelSend { group, payload: vec![4; len], seq: self.among(&[0, 5]), ..KernelSend::new(verb) };
        self.arrived(protocol);
        Some(Call::FromKernel { from, port, send })
    }
}

/// The highest attribute type of a policy.
fn highest(policy: &Policy) -> u32 {
    policy.entries.iter().map(|entry| entry.attr.into()).max().unwrap_or(0)
}
