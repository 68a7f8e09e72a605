//! Datagrams to send: well-formed requests, mostly, and some that are not.

use nix::libc;

use super::{Fam, Generator, pick};
use crate::explore::call::{Kind, Part, Piece};
use crate::port::provider::{AttrKind, Policy};
use crate::wire::attr::{Attrs, NLA_F_NESTED, NLA_F_NET_BYTEORDER};
use crate::wire::genl::{
    self, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME, CTRL_ATTR_OP, CTRL_CMD_GETFAMILY, CTRL_CMD_GETPOLICY,
    GENL_ID_CTRL, GENL_MAX_ID,
};
use crate::wire::message::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_MATCH, NLM_F_MULTI, NLM_F_REQUEST, NLM_F_ROOT,
    NLMSG_DONE, UNKNOWN,
};

/// A message before it has its headers.
pub(super) struct Draft {
    kind: Kind,
    pub(super) flags: u16,
    payload: Vec<Piece>,
}

impl Draft {
    fn new(kind: Kind, payload: Vec<u8>) -> Draft {
        Draft { kind, flags: 0, payload: vec![Piece::Bytes(payload)] }
    }
}

impl Generator {
    /// What a socket of this protocol sends.
    pub(super) fn datagram(&mut self, protocol: i32) -> Vec<Part> {
        let count = if self.one_in(6) { self.random.usize(2..=4) } else { 1 };
        let mut parts: Vec<Part> = (0..count).map(|_| self.message(protocol)).collect();
        match self.random.u32(0..40) {
            0 => parts.clear(),
            1 => {
                let len = self.random.usize(1..=20);
                parts.push(Part::Bytes(self.bytes(len)));
            }
            _ => {}
        }
        parts
    }

    fn message(&mut self, protocol: i32) -> Part {
        let draft = match protocol {
            libc::NETLINK_GENERIC => self.generic(),
            libc::NETLINK_ROUTE => self.route(),
            libc::NETLINK_CONNECTOR => Draft::new(Kind::Number(NLMSG_DONE), self.connector_message()),
            _ => {
                let len =
                    if self.one_in(10) { self.random.usize(0..=5000) } else { self.random.usize(0..=40) };
                Draft::new(Kind::Number(self.among(&[16, 17, 18, UNKNOWN])), vec![7; len])
            }
        };
        self.headed(draft)
    }

    /// A draft with its headers, which are right, mostly.
    pub(super) fn headed(&mut self, draft: Draft) -> Part {
        let control = self.one_in(30);
        let kind = if control { Kind::Number(self.random.u16(0..16)) } else { draft.kind };
        let mut flags = draft.flags | if self.one_in(16) { 0 } else { NLM_F_REQUEST };
        if self.one_in(3) {
            flags |= NLM_F_ACK;
        }
        if self.one_in(10) {
            flags |= self.among(&[NLM_F_ROOT, NLM_F_MATCH, NLM_F_DUMP, NLM_F_CREATE, NLM_F_MULTI, 0x8000]);
        }
        if self.one_in(6) {
            flags |= NLM_F_ECHO;
        }
        if !self.features.list && asks_controller(&draft, CTRL_CMD_GETFAMILY) {
            flags &= !NLM_F_DUMP;
        }
        self.seq += 1;
        let claims = self.one_in(24).then(|| self.among(&[0, 15, 16, 17, 19, 20, 24, 100, 70_000, u32::MAX]));
        let seq = if self.one_in(8) { self.among(&[0, 1, u32::MAX]) } else { self.seq };
        let portid = if self.one_in(8) { self.among(&[1, 2, 77, u32::MAX]) } else { 0 };
        Part::Message { kind, flags, seq, portid, payload: draft.payload, claims }
    }

    /// A request that is refused: what else there is in rtnetlink is not netlink's.
    fn route(&mut self) -> Draft {
        let len = self.random.usize(0..=24);
        Draft::new(Kind::Number(self.among(&[UNKNOWN, 0x7000])), vec![0; len])
    }

    fn generic(&mut self) -> Draft {
        match self.random.u32(0..12) {
            // No family has these: the last is beyond what a family can have.
            0 => {
                let kind = self.among(&[17, 18, GENL_MAX_ID + 1, UNKNOWN]);
                Draft::new(Kind::Number(kind), genl::header(1, 1).to_vec())
            }
            1..=3 => self.controller(),
            _ => match pick(&mut self.random, &self.families) {
                Some(family) => self.request_of(&family),
                None => self.controller(),
            },
        }
    }

    fn controller(&mut self) -> Draft {
        let cmd = match self.random.u32(0..10) {
            0 => self.random.u8(0..=12),
            1..=3 => CTRL_CMD_GETPOLICY,
            _ => CTRL_CMD_GETFAMILY,
        };
        let version = self.among(&[1, 2]);
        let mut payload = vec![Piece::Bytes(genl::header(cmd, version).to_vec())];
        let family = pick(&mut self.random, &self.families);
        match (self.random.u32(0..8), family) {
            (0, _) => {}
            (1, _) => payload.push(named("nlctrl")),
            (2..=4, Some(family)) => payload.push(named(&family.spec.name)),
            (5 | 6, Some(family)) => payload.push(Piece::FamilyId(CTRL_ATTR_FAMILY_ID, family.name)),
            (2..=6, None) => payload
                .push(Piece::Bytes(Attrs::new().u16(CTRL_ATTR_FAMILY_ID, GENL_ID_CTRL).as_bytes().to_vec())),
            _ => {
                let attrs = match self.random.u32(0..4) {
                    0 => Attrs::new().string(CTRL_ATTR_FAMILY_NAME, "absent"),
                    1 => Attrs::new().string(CTRL_ATTR_FAMILY_NAME, "sixteen-and-more-bytes"),
                    2 => Attrs::new().u32(self.random.u16(0..=12), 1),
                    _ => Attrs::new().u16(CTRL_ATTR_FAMILY_ID, 900),
                };
                payload.push(Piece::Bytes(attrs.as_bytes().to_vec()));
            }
        }
        // A second key, which may name another family.
        if self.one_in(8) {
            payload.push(named("nlctrl"));
        }
        if cmd == CTRL_CMD_GETPOLICY && self.one_in(3) {
            let op = self.random.u32(0..=6);
            payload.push(Piece::Bytes(Attrs::new().u32(CTRL_ATTR_OP, op).as_bytes().to_vec()));
        }
        let dump = if cmd == CTRL_CMD_GETPOLICY { !self.one_in(8) } else { self.one_in(4) };
        Draft { kind: Kind::Number(GENL_ID_CTRL), flags: if dump { NLM_F_DUMP } else { 0 }, payload }
    }

    pub(super) fn request_of(&mut self, family: &Fam) -> Draft {
        let op = self.pick(&family.spec.ops);
        let (cmd, dumps) = match &op {
            Some(op) if !self.one_in(16) => (op.cmd, op.dumpit && (!op.doit || self.one_in(2))),
            _ => (self.random.u8(0..=12), self.one_in(2)),
        };
        let version = self.among(&[0, 1, 1, 2]);
        let mut bytes = genl::header(cmd, version).to_vec();
        if self.one_in(24) {
            bytes[2] = 1;
        }
        let own = family.spec.hdrsize as usize;
        let own = if self.one_in(24) { own.saturating_sub(1) } else { own };
        bytes.extend(vec![3; own]);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let of_op = op.as_ref().and_then(|op| op.policy).or(family.spec.policy);
        let policy = of_op.and_then(|index| family.spec.policies.get(index as usize));
        let attributes = self.attributes(policy, &family.spec.policies, 0);
        bytes.extend(attributes);
        if self.one_in(24) {
            bytes.push(0);
        }
        let flags = if dumps { NLM_F_DUMP } else { 0 };
        Draft { kind: Kind::Family(family.name), flags, payload: vec![Piece::Bytes(bytes)] }
    }

    /// Attributes that the policy mostly accepts.
    fn attributes(&mut self, policy: Option<&Policy>, all: &[Policy], depth: u32) -> Vec<u8> {
        let Some(policy) = policy else {
            let some = self.one_in(3);
            return if some {
                Attrs::new().u32(self.random.u16(0..=4), 1).as_bytes().to_vec()
            } else {
                Vec::new()
            };
        };
        let mut attrs = Attrs::new();
        for _ in 0..self.random.u32(0..=4) {
            let Some(entry) = self.pick(&policy.entries) else { break };
            let kind = if self.one_in(12) { self.random.u16(0..=20) } else { entry.attr };
            let mut raw = kind;
            let data = match entry.kind {
                AttrKind::Flag => Vec::new(),
                AttrKind::U8 | AttrKind::S8 => self.small(1),
                AttrKind::U16 | AttrKind::S16 => self.small(2),
                AttrKind::U32 | AttrKind::S32 => self.small(4),
                AttrKind::Be16 => self.small(2).into_iter().rev().collect(),
                AttrKind::Be32 => self.small(4).into_iter().rev().collect(),
                AttrKind::Uint | AttrKind::Sint => {
                    let len = self.among(&[4, 8]);
                    self.small(len)
                }
                AttrKind::U64 | AttrKind::S64 | AttrKind::Msecs | AttrKind::Bitfield32 => self.small(8),
                AttrKind::String | AttrKind::NulString => {
                    let len = self.random.usize(0..=usize::from(entry.len) + 2);
                    let mut text = vec![b'a'; len];
                    text.extend(if self.one_in(4) { &[][..] } else { &[0] });
                    text
                }
                AttrKind::Nested if self.one_in(2) => {
                    raw |= NLA_F_NESTED;
                    let levels = self.random.u32(8..=13);
                    (0..levels).fold(Vec::new(), |inner, _| Attrs::new().put(raw, &inner).as_bytes().to_vec())
                }
                AttrKind::Nested | AttrKind::NestedArray if depth < 2 => {
                    raw |= if self.one_in(8) { 0 } else { NLA_F_NESTED };
                    let inner = match entry.check {
                        crate::port::provider::Check::Nested(index) => all.get(index as usize),
                        _ => None,
                    };
                    let inner = self.attributes(inner, all, depth + 1);
                    match entry.kind {
                        AttrKind::NestedArray => {
                            Attrs::new().put(1 | NLA_F_NESTED, &inner).as_bytes().to_vec()
                        }
                        _ => inner,
                    }
                }
                _ => {
                    let len = self.random.usize(0..=usize::from(entry.len.min(64)) + 2);
                    self.small(len)
                }
            };
            let data = if self.one_in(12) {
                let len = self.random.usize(0..=10);
                self.small(len)
            } else {
                data
            };
            if self.one_in(24) {
                raw ^= NLA_F_NESTED;
            }
            if self.one_in(12) {
                raw ^= NLA_F_NET_BYTEORDER;
            }
            attrs = match self.one_in(32) {
                true => attrs.put_claiming(raw, self.among(&[0, 3, 200]), &data),
                false => attrs.put(raw, &data),
            };
        }
        attrs.as_bytes().to_vec()
    }

    /// Bytes of a number that is small, mostly.
    fn small(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        if let Some(first) = bytes.first_mut() {
            *first = self.among(&[0, 1, 2, 5, 9, 10, 11, 127, 128, 255]);
        }
        if self.one_in(6)
            && let Some(last) = bytes.last_mut()
        {
            *last = self.among(&[1, 0x7f, 0xff]);
        }
        bytes
    }
}

/// Whether a message asks the controller for this.
fn asks_controller(draft: &Draft, wanted: u8) -> bool {
    let first = draft.payload.first();
    let asked = matches!(first, Some(Piece::Bytes(header)) if header.first() == Some(&wanted));
    asked && matches!(draft.kind, Kind::Number(GENL_ID_CTRL))
}

fn named(name: &str) -> Piece {
    Piece::Bytes(Attrs::new().string(CTRL_ATTR_FAMILY_NAME, name).as_bytes().to_vec())
}
