//! IDs that an implementation chooses, put in relation: the same number for the same thing on each target.

use std::collections::{BTreeMap, BTreeSet};

use nix::libc::{self, NETLINK_GENERIC, SOL_NETLINK};

use super::call::Name;
use crate::port::Incoming;
use crate::port::provider::{Action, Capture, Handle, LogEntry, On, Step};
use crate::wire::ack;
use crate::wire::address::Address;
use crate::wire::genl::{
    self, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_MCAST_GROUPS, CTRL_CMD_NEWFAMILY, FamilyInfo, GENL_HDRLEN,
    GENL_ID_CTRL, GENL_START_ALLOC,
};
use crate::wire::message::{Message, NLM_F_MULTI, NLMSG_ERROR, NLMSG_HDRLEN, batch};
use crate::wire::{align, u16_at, u32_at};

/// What stands for a port ID that the target chose: in the lower half the ID of its process, in the upper
/// half any.
const LOW_PORT: u32 = 0x5000_0000;
const HIGH_PORT: u32 = 0xd000_0000;
/// What stands for the ID of a family, before its name is added.
const FAMILY: u16 = 0x200;
/// Groups of a family that have a number of their own.
const GROUPS: u32 = 4;
/// `CTRL_ATTR_MCAST_GRP_ID`.
const GROUP_ID: u16 = 2;

/// What stands for what.
#[derive(Debug, Default)]
pub struct Names {
    ports: BTreeMap<(i32, u32), u32>,
    families: BTreeMap<u16, u16>,
    groups: BTreeMap<u32, u32>,
    /// Groups of families that are registered.
    live: BTreeSet<u32>,
    handles: BTreeMap<Handle, u32>,
    /// The callbacks that capture nothing but their `genl_info`.
    infos: BTreeSet<(Handle, u8)>,
    /// Messages and datagrams that were sent: with the target's IDs of families, and with what stands for them.
    sent: Vec<[Vec<u8>; 2]>,
}

/// What stands for the ID of a family.
pub fn family_number(family: Name) -> u16 {
    FAMILY + u16::from(family)
}

/// What stands for a group: a number that a mask can hold and that is not reserved.
pub fn group_number(family: Name, index: u32) -> u32 {
    match u32::from(family) * GROUPS + index {
        number @ ..14 => 2 + number,
        number => 5 + number,
    }
}

/// Whether a number stands for a group of a family, if for any.
fn is_of_families(group: u32) -> bool {
    (2..=32).contains(&group) && !(16..=18).contains(&group)
}

impl Names {
    /// The target chose this port ID for this socket.
    pub fn chosen_port(&mut self, protocol: i32, portid: u32, socket: Name) {
        let class = if portid < 0x8000_0000 { LOW_PORT } else { HIGH_PORT };
        self.ports.insert((protocol, portid), class | u32::from(socket));
    }

    /// A family has this ID and these groups. Reserved IDs are the same everywhere.
    pub fn family(&mut self, family: Name, id: u16, groups: &[u32]) {
        if id >= GENL_START_ALLOC {
            self.families.insert(id, family_number(family));
        }
        for (index, group) in (0..GROUPS).zip(groups) {
            self.groups.insert(*group, group_number(family, index));
            self.live.insert(*group);
        }
    }

    /// Messages are sent with the target's IDs of families; this is how they look with what stands for them.
    pub fn sent(&mut self, own: Vec<u8>, related: Vec<u8>) {
        if own != related {
            self.sent.push([own, related]);
        }
    }

    /// Something registered has this handle.
    pub fn handle(&mut self, handle: Handle, number: u32) {
        self.handles.insert(handle, number);
    }

    /// What has this handle has this script.
    pub fn script(&mut self, handle: Handle, script: &[Step]) {
        let infos = script.iter().filter(|step| step.action == Action::Capture(Capture::Info));
        self.infos.extend(infos.map(|step| (handle, step.on as u8)));
    }

    /// A family is gone, and nobody can mean its groups any more.
    pub fn no_family(&mut self, groups: &[u32]) {
        self.live.retain(|group| !groups.contains(group));
    }

    /// The mask of the target's own groups that a mask of the sequence stands for: numbers that could stand for
    /// a group of a family, and do not, are left out.
    pub fn own_mask(&self, mask: u32) -> u32 {
        let own = |number| self.live.iter().find(|own| self.groups.get(own) == Some(&number)).copied();
        permute(mask, |group| if is_of_families(group) { own(group).unwrap_or(u32::MAX) } else { group })
    }

    fn port(&self, protocol: i32, portid: u32) -> u32 {
        self.ports.get(&(protocol, portid)).copied().unwrap_or(portid)
    }

    fn id(&self, id: u16) -> u16 {
        self.families.get(&id).copied().unwrap_or(id)
    }

    fn group(&self, group: u32) -> u32 {
        self.groups.get(&group).copied().unwrap_or(group)
    }

    /// Relates an address of a socket of this protocol.
    pub fn relate_address(&self, protocol: i32, address: &mut [u8]) {
        patch32(address, 4, |portid| self.port(protocol, portid));
        if protocol == NETLINK_GENERIC {
            patch32(address, 8, |mask| permute(mask, |group| self.group(group)));
        }
    }

    /// Relates the bits of `NETLINK_LIST_MEMBERSHIPS`.
    pub fn relate_memberships(&self, bits: &mut [u8]) {
        // Only whole words are written.
        let words = bits.len() & !3;
        let bits = &mut bits[..words];
        let before = bits.to_vec();
        bits.fill(0);
        for bit in (0..8 * before.len()).filter(|bit| before[bit / 8] >> (bit % 8) & 1 != 0) {
            let place = self.group(bit as u32 + 1) as usize - 1;
            if let Some(byte) = bits.get_mut(place / 8) {
                *byte |= 1 << (place % 8);
            }
        }
    }

    /// Relates what was received. In what other sockets have sent, port IDs are theirs
    /// and stay.
    pub fn relate_received(&self, protocol: i32, incoming: &mut Incoming) {
        let from_kernel = Address::decode(&incoming.from).is_some_and(|from| from.portid == 0);
        self.relate_address(protocol, &mut incoming.from);
        if from_kernel && protocol == NETLINK_GENERIC {
            let before = incoming.bytes.len();
            self.leave_out_foreign_families(&mut incoming.bytes);
            incoming.returned -= before - incoming.bytes.len();
            // So it does to the length of a list that was cut.
            let message = u16_at(&incoming.bytes, 4) == Some(GENL_ID_CTRL);
            let of_list = u16_at(&incoming.bytes, 6).is_some_and(|flags| flags & NLM_F_MULTI != 0);
            if message && of_list && incoming.bytes.get(NLMSG_HDRLEN) == Some(&CTRL_CMD_NEWFAMILY) {
                incoming.returned = incoming.bytes.len();
            }
        }
        if from_kernel {
            self.relate_datagram(protocol, &mut incoming.bytes);
        } else {
            self.relate_sent(&mut incoming.bytes);
        }
        for control in &mut incoming.control {
            if protocol == NETLINK_GENERIC
                && (control.level, control.kind) == (SOL_NETLINK, libc::NETLINK_PKTINFO)
            {
                patch32(&mut control.data, 0, |group| self.group(group));
            }
        }
    }

    /// Leaves out of a list of families those that the sequence has not registered.
    fn leave_out_foreign_families(&self, bytes: &mut Vec<u8>) {
        let (messages, rest) = Message::decode_all(bytes);
        let foreign = |message: &Message| {
            let id = FamilyInfo::read(message).id;
            let listed = message.kind == GENL_ID_CTRL && message.flags & NLM_F_MULTI != 0;
            listed
                && genl::cmd(message) == Some(CTRL_CMD_NEWFAMILY)
                && id != GENL_ID_CTRL
                && !self.families.contains_key(&id)
        };
        if messages.iter().any(foreign) {
            let ours: Vec<_> = messages.iter().filter(|message| !foreign(message)).cloned().collect();
            *bytes = [&batch(&ours)[..], rest].concat();
        }
    }

    fn relate_datagram(&self, protocol: i32, mut bytes: &mut [u8]) {
        while let Some(len) = u32_at(bytes, 0).map(|len| len as usize).filter(|len| *len >= NLMSG_HDRLEN) {
            let (message, rest) = bytes.split_at_mut(align(len).min(bytes.len()));
            self.relate_message(protocol, message);
            bytes = rest;
        }
    }

    fn relate_message(&self, protocol: i32, message: &mut [u8]) {
        let kind = u16_at(message, 4).unwrap_or(0);
        patch32(message, 12, |portid| self.port(protocol, portid));
        if protocol == NETLINK_GENERIC {
            patch16(message, 4, |id| self.id(id));
        }
        if kind == NLMSG_ERROR {
            // What follows the copy of the request is the kernel's, though it may look like more of what was sent.
            let flags = u16_at(message, 6).unwrap_or(0);
            let copy = message.get_mut(NLMSG_HDRLEN + 4..).unwrap_or_default();
            let len = ack::copied(flags, copy).min(copy.len());
            self.relate_sent(&mut copy[..len]);
        } else if kind == GENL_ID_CTRL && protocol == NETLINK_GENERIC {
            self.relate_controller(message.get_mut(NLMSG_HDRLEN + GENL_HDRLEN..).unwrap_or_default());
        }
    }

    /// Relates what users have sent, wherever it stands. It need not be well formed, and a number in it may happen
    /// to be the ID of a family on one of the targets only: IDs are just where they were put.
    fn relate_sent(&self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let here = &bytes[at..];
            let alike = |own: &[u8]| own.iter().zip(here).take_while(|(own, here)| own == here).count();
            let found =
                self.sent.iter().map(|[own, related]| (alike(own), related)).max_by_key(|(len, _)| *len);
            match found {
                // A copy may be of the header only, or be cut within it; but a few bytes in the middle look like the
                // beginning of many a message.
                Some((len, related)) if len >= NLMSG_HDRLEN || (at == 0 && len == here.len()) => {
                    bytes[at..at + len].copy_from_slice(&related[..len]);
                    at += len;
                }
                _ => at += 1,
            }
        }
    }

    fn relate_controller(&self, attributes: &mut [u8]) {
        each_attribute(attributes, &mut |kind, data| match kind {
            CTRL_ATTR_FAMILY_ID => patch16(data, 0, |id| self.id(id)),
            CTRL_ATTR_MCAST_GROUPS => each_attribute(data, &mut |_, group| {
                each_attribute(group, &mut |kind, data| {
                    if kind == GROUP_ID {
                        patch32(data, 0, |group| self.group(group));
                    }
                });
            }),
            _ => {}
        });
    }

    /// Relates an entry of the log, without what differs from run to run.
    pub fn relate_log(&self, protocol: i32, entry: LogEntry) -> LogEntry {
        let mut entry = LogEntry { tgid: 0, entered_ns: 0, left_ns: 0, ..entry };
        // Its second word is the port ID of who asked.
        match self.infos.contains(&(entry.handle, entry.on as u8)) {
            true => patch32(&mut entry.bytes, 4, |portid| self.port(protocol, portid)),
            false => self.relate_sent(&mut entry.bytes),
        }
        entry.handle = self.handles.get(&entry.handle).copied().unwrap_or(entry.handle);
        let protocol = if entry.on == On::Release { entry.subject as i32 } else { protocol };
        entry.portid = self.port(protocol, entry.portid);
        entry
    }
}

/// Moves each bit of a mask of groups to where its group goes. One that goes beyond the mask is lost.
fn permute(mask: u32, to: impl Fn(u32) -> u32) -> u32 {
    let groups = (1..=32).filter(|group| mask >> (group - 1) & 1 != 0);
    groups.map(to).filter(|group| *group <= 32).fold(0, |mask, group| mask | 1 << (group - 1))
}

fn each_attribute(mut bytes: &mut [u8], seen: &mut dyn FnMut(u16, &mut [u8])) {
    while let (Some(len), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        // A datagram that was cut ends within an attribute.
        let len = usize::from(len).min(bytes.len());
        if len < 4 {
            return;
        }
        let (attribute, rest) = bytes.split_at_mut(align(len).min(bytes.len()));
        seen(kind & 0x3fff, &mut attribute[4..len]);
        bytes = rest;
    }
}

fn patch32(bytes: &mut [u8], at: usize, with: impl Fn(u32) -> u32) {
    if let (Some(value), Some(place)) = (u32_at(bytes, at), bytes.get_mut(at..at + 4)) {
        place.copy_from_slice(&with(value).to_ne_bytes());
    }
}

fn patch16(bytes: &mut [u8], at: usize, with: impl Fn(u16) -> u16) {
    if let (Some(value), Some(place)) = (u16_at(bytes, at), bytes.get_mut(at..at + 2)) {
        place.copy_from_slice(&with(value).to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names for which a message was sent to a family with this ID on the target; it claims to have no bytes.
    fn sent_to(id: u16) -> Names {
        let message = |id| Message { claimed_len: Some(0), ..Message::new(id).bytes(&[7; 8]) }.encode();
        let mut names = Names::default();
        names.sent(message(id), message(family_number(3)));
        names
    }

    fn related(names: &Names, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        names.relate_sent(&mut bytes);
        bytes
    }

    #[test]
    fn what_was_sent_is_related_wherever_it_is_cut() {
        let mut names = sent_to(0x100);
        let [own, related_whole] = names.sent[0].clone();
        let before = Message { claimed_len: Some(7), ..Message::new(20) }.encode();
        let second = |message: &[u8]| [&before[..], message].concat();
        names.sent(second(&own), second(&related_whole));
        for len in 1..=own.len() {
            assert_eq!(related(&names, &own[..len]), related_whole[..len]);
            assert_eq!(related(&names, &second(&own[..len])), second(&related_whole[..len]));
        }
    }

    #[test]
    fn what_follows_the_copy_of_a_request_is_left_alone() {
        // Of the request only what it claims is copied, without the ID, whose first byte is that of what follows.
        let request =
            |id: u16| Message::new(GENL_ID_CTRL).bytes(&[6, 0, 1, 0]).bytes(&id.to_ne_bytes()).claim_len(20);
        let mut names = Names::default();
        names.sent(request(0x12c).encode(), request(family_number(3)).encode());
        let copy = &request(0x12c).encode()[..20];
        let ack = Message::new(NLMSG_ERROR).bytes(&[0; 4]).bytes(copy).bytes(&[0x2c, 0, 1, 0]).encode();
        let mut related = ack.clone();
        names.relate_message(NETLINK_GENERIC, &mut related);
        assert_eq!(related, ack);
    }

    #[test]
    fn an_end_that_looks_like_the_beginning_of_a_message_is_left_alone() {
        let names = sent_to(0x100);
        let zeros = Message::new(18).seq(43).encode();
        for len in 1..=zeros.len() {
            assert_eq!(related(&names, &zeros[..len]), zeros[..len]);
        }
    }
}
