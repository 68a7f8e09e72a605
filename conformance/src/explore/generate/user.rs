//! Calls on sockets.

use nix::libc;

use super::{Generator, SOCKETS, Sock};
use crate::explore::call::{Addr, Call, Kind, Name, Object, Part, Port, Value};
use crate::port::capability::Capability;
use crate::port::provider::{KernelSend, Verb};
use crate::port::{Refused, Who};
use crate::wire::NETLINK_GET_STRICT_CHK;
use crate::wire::address::{AF_NETLINK, LEN};

/// Options of `SOL_NETLINK` that are on or off.
const SWITCHES: [i32; 7] = [
    libc::NETLINK_PKTINFO,
    libc::NETLINK_BROADCAST_ERROR,
    libc::NETLINK_NO_ENOBUFS,
    libc::NETLINK_LISTEN_ALL_NSID,
    libc::NETLINK_CAP_ACK,
    libc::NETLINK_EXT_ACK,
    NETLINK_GET_STRICT_CHK,
];
/// Others, most of which do not exist.
const ODD: [i32; 6] = [0, 6, 7, libc::NETLINK_LIST_MEMBERSHIPS, 13, 99];
/// Options of `SOL_SOCKET` that set a buffer.
const BUFFERS: [i32; 4] = [libc::SO_RCVBUF, libc::SO_SNDBUF, libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE];
/// Options of `SOL_SOCKET` that can be read.
const READABLE: [i32; 6] =
    [libc::SO_TYPE, libc::SO_ERROR, libc::SO_RCVBUF, libc::SO_SNDBUF, libc::SO_PROTOCOL, libc::SO_DOMAIN];
/// What filters keep: nothing, all, or so much. No ID is cut in two, for half of one cannot be related.
const KEPT: [u32; 10] = [0, 0, u32::MAX, u32::MAX, 1, 4, 16, 20, 36, 100];

impl Generator {
    pub(super) fn open(&mut self) -> Option<Call> {
        if self.sockets.len() >= SOCKETS {
            return self.close();
        }
        let own: Vec<i32> = self.protocols.iter().map(|protocol| protocol.number).collect();
        let known = [
            (Capability::Genetlink, libc::NETLINK_GENERIC),
            (Capability::Genetlink, libc::NETLINK_GENERIC),
            (Capability::Usersock, libc::NETLINK_USERSOCK),
            (Capability::Connector, libc::NETLINK_CONNECTOR),
            (Capability::Route, libc::NETLINK_ROUTE),
        ];
        let known = known.iter().filter(|(capability, _)| self.features.has(*capability));
        let all: Vec<i32> = known.map(|(_, protocol)| *protocol).chain(own).collect();
        let protocol = match self.random.u32(0..40) {
            0 => self.among(&[-1, 1, 32, 1000]),
            _ => self.pick(&all)?,
        };
        let mut kind = self.among(&[libc::SOCK_RAW, libc::SOCK_DGRAM]);
        if self.one_in(10) {
            kind |= self.among(&[libc::SOCK_CLOEXEC, libc::SOCK_NONBLOCK]);
        }
        let wrong = self.one_in(40);
        if wrong {
            kind = self.among(&[libc::SOCK_STREAM, libc::SOCK_SEQPACKET]);
        }
        let name = self.new_name();
        if !wrong && all.contains(&protocol) {
            self.sockets.push(Sock { name, protocol, pending: 0 });
            // Most of what a kernel says of an error is said only if somebody wants to know.
            if self.one_in(2) {
                let option =
                    self.among(&[libc::NETLINK_EXT_ACK, libc::NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]);
                self.follow.push_back(set_number(name, libc::SOL_NETLINK, option, 1));
            }
        }
        Some(Call::Open { socket: name, kind, protocol })
    }

    /// A member that is sent more than it has room for.
    pub(super) fn overrun(&mut self) -> Option<Call> {
        let families: Vec<_> =
            self.families.iter().filter(|family| !family.spec.groups.is_empty()).cloned().collect();
        let family = self.pick(&families)?;
        let socket = self.socket_of(libc::NETLINK_GENERIC)?.name;
        let option =
            self.among(&[libc::NETLINK_BROADCAST_ERROR, libc::NETLINK_NO_ENOBUFS, libc::NETLINK_PKTINFO]);
        self.follow.extend([join(socket, family.name), set_number(socket, libc::SOL_NETLINK, option, 1)]);
        let send = KernelSend { payload: vec![4; 1800], ..KernelSend::new(Verb::Multicast) };
        let from = Object::Family(family.name);
        let send = Call::FromKernel { from, port: Port::Number(0), send };
        for _ in 0..self.random.u32(1..=3) {
            self.follow.push_back(send.clone());
        }
        if self.one_in(2) {
            let congested = set_number(socket, libc::SOL_NETLINK, libc::NETLINK_NO_ENOBUFS, 1);
            let receive = Call::Receive { socket, room: 65_536, flags: 0 };
            self.follow.extend([congested, receive.clone(), receive, send]);
        }
        self.arrived(libc::NETLINK_GENERIC);
        Some(set_number(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 1000))
    }

    pub(super) fn bind(&mut self) -> Option<Call> {
        let socket = self.socket()?;
        let mut address = self.address(socket.protocol, 2);
        if self.one_in(2) {
            address.port = Port::Number(0);
        }
        Some(Call::Bind { socket: socket.name, address })
    }

    pub(super) fn connect(&mut self) -> Option<Call> {
        let socket = self.socket()?;
        let mut address = self.address(socket.protocol, 6);
        if self.one_in(6) {
            address.family = libc::AF_UNSPEC as u16;
        }
        Some(Call::Connect { socket: socket.name, address })
    }

    /// An address for a socket of this protocol; one in `grouped` has groups.
    pub(super) fn address(&mut self, protocol: i32, grouped: u32) -> Addr {
        let port = match self.random.u32(0..8) {
            0 | 1 => Port::Number(0),
            2 => Port::Number(self.among(&[1, 2, 3, 77, 0x7fff_ffff, u32::MAX])),
            _ => self.socket_of(protocol).map_or(Port::Number(0), |socket| Port::Of(socket.name)),
        };
        let mut groups = 0;
        if self.one_in(grouped) {
            for _ in 0..self.random.u32(1..=3) {
                // In a mask, numbers stand for the groups of the sequence's families, too.
                let of_family =
                    protocol == libc::NETLINK_GENERIC && !self.families.is_empty() && self.one_in(2);
                groups |= match if of_family { self.random.u32(2..=15) } else { self.a_group(protocol) } {
                    group @ 1..=32 => 1 << (group - 1),
                    _ => 0,
                };
            }
        }
        let len = if self.one_in(16) { self.among(&[0, 1, 2, 8, 11, 13, 16, 128, 129]) } else { LEN };
        let family = if self.one_in(24) { self.among(&[0, 1, 2, 17, u16::MAX]) } else { AF_NETLINK };
        Addr { family, port, groups, len }
    }

    pub(super) fn name(&mut self) -> Option<Call> {
        let (socket, room) = (self.socket()?.name, self.room_for_address());
        Some(Call::Name { socket, room })
    }

    pub(super) fn peer(&mut self) -> Option<Call> {
        let (socket, room) = (self.socket()?.name, self.room_for_address());
        Some(Call::Peer { socket, room })
    }

    fn room_for_address(&mut self) -> usize {
        // A part of a port ID or of a mask cannot be related to that of another target.
        if self.one_in(4) { self.among(&[0, 1, 2, 4, 8, 13, 20]) } else { LEN }
    }

    pub(super) fn set(&mut self) -> Option<Call> {
        let socket = self.socket()?;
        let netlink = |option, value| (libc::SOL_NETLINK, option, value);
        let (level, option, value) = match self.random.u32(0..20) {
            0..=4 => netlink(libc::NETLINK_ADD_MEMBERSHIP, self.group_value(socket.protocol)),
            5 | 6 => netlink(libc::NETLINK_DROP_MEMBERSHIP, self.group_value(socket.protocol)),
            7..=14 => netlink(self.among(&SWITCHES), self.switch_value()),
            15 => netlink(self.among(&ODD), self.switch_value()),
            16 => (self.among(&[0, 1, 6, 271]), 200, self.switch_value()),
            _ => {
                // No more than net.core.rmem_max, which is the system's own.
                let size = self.among(&[0, 1, 1000, 2304, 4608, 10_000, 100_000, 212_992]);
                (libc::SOL_SOCKET, self.among(&BUFFERS), Value::Bytes(i32::to_ne_bytes(size).to_vec()))
            }
        };
        let set = Call::Set { socket: socket.name, level, option, value };
        // What is so already can be asked for again.
        if option == libc::NETLINK_ADD_MEMBERSHIP && self.one_in(6) {
            self.follow.push_back(set.clone());
        }
        Some(set)
    }

    fn group_value(&mut self, protocol: i32) -> Value {
        let named: Vec<_> = self.families.iter().filter(|family| family.registered).cloned().collect();
        if protocol == libc::NETLINK_GENERIC
            && !self.one_in(3)
            && let Some(family) = self.pick(&named)
        {
            let index = self.random.u32(0..=family.spec.groups.len() as u32);
            return Value::Group(family.name, index);
        }
        let group = self.a_group(protocol);
        self.number(group.into())
    }

    fn switch_value(&mut self) -> Value {
        let value = if self.one_in(3) { 0 } else { self.among(&[1, 1, 1, 2, 256, 0x8000_0000]) };
        self.number(value)
    }

    /// A number in the 4 bytes of an option, or in fewer or more.
    fn number(&mut self, value: u64) -> Value {
        let len = if self.one_in(12) { self.random.usize(0..=8) } else { 4 };
        Value::Bytes(value.to_ne_bytes()[..len].to_vec())
    }

    pub(super) fn get(&mut self) -> Option<Call> {
        let socket = self.socket()?.name;
        let mut room = if self.one_in(4) { self.random.usize(0..=16) } else { 4 };
        let (level, option) = match self.random.u32(0..10) {
            0..=4 => (libc::SOL_NETLINK, self.among(&SWITCHES)),
            5 | 6 => {
                room = self.among(&[0, 3, 4, 7, 8, 9, 64, 256]);
                (libc::SOL_NETLINK, libc::NETLINK_LIST_MEMBERSHIPS)
            }
            7 => (libc::SOL_NETLINK, self.among(&ODD)),
            _ => (libc::SOL_SOCKET, self.among(&READABLE)),
        };
        Some(Call::Get { socket, level, option, room })
    }

    pub(super) fn filter(&mut self) -> Option<Call> {
        let Sock { name: socket, protocol, .. } =
            self.socket().filter(|_| self.features.has(Capability::SocketFilters))?;
        if protocol == libc::NETLINK_GENERIC && self.features.has(Capability::Probe) && self.one_in(2) {
            self.heard_by_two(socket);
        }
        Some(Call::Filter { socket, keep: self.among(&KEPT) })
    }

    /// A filter cuts for others only what they hear, too, and only if they joined before.
    fn heard_by_two(&mut self, socket: Name) -> Option<()> {
        let families: Vec<_> =
            self.families.iter().filter(|family| !family.spec.groups.is_empty()).cloned().collect();
        let family = self.pick(&families)?.name;
        let other = self.socket_of(libc::NETLINK_GENERIC)?.name;
        let send = KernelSend { payload: vec![4; 100], ..KernelSend::new(Verb::Multicast) };
        let send = Call::FromKernel { from: Object::Family(family), port: Port::Number(0), send };
        self.follow.extend([join(other, family), join(socket, family), send]);
        self.arrived(libc::NETLINK_GENERIC);
        Some(())
    }

    pub(super) fn send(&mut self) -> Option<Call> {
        let socket = self.socket()?;
        let to = match self.random.u32(0..10) {
            0..=4 => None,
            5 | 6 => Some(Addr::to(Port::Number(0))),
            _ => Some(self.address(socket.protocol, 2)),
        };
        let flags =
            if self.one_in(20) { self.among(&[libc::MSG_OOB, libc::MSG_EOR, libc::MSG_NOSIGNAL]) } else { 0 };
        let messages = self.datagram(socket.protocol);
        if let Some(Part::Message { kind: Kind::Family(family), .. }) = messages.first()
            && self.one_in(4)
        {
            // The sender is a member, too.
            let send = Call::Send { socket: socket.name, to, flags, messages: messages.clone() };
            self.follow.push_back(send);
            self.expect_answer(&socket);
            return Some(join(socket.name, *family));
        }
        match to {
            None => self.expect_answer(&socket),
            Some(_) => self.arrived(socket.protocol),
        }
        Some(Call::Send { socket: socket.name, to, flags, messages })
    }

    fn expect_answer(&mut self, socket: &Sock) {
        let found = self.sockets.iter_mut().find(|other| other.name == socket.name);
        if let Some(socket) = found {
            socket.pending = (socket.pending + 1).min(8);
        }
    }

    pub(super) fn receive(&mut self) -> Option<Call> {
        let waiting: Vec<_> = self.sockets.iter().filter(|socket| socket.pending > 0).cloned().collect();
        let socket =
            if self.one_in(8) { self.socket()? } else { self.pick(&waiting).or_else(|| self.socket())? };
        let flags = match self.random.u32(0..10) {
            0 => libc::MSG_PEEK,
            1 => libc::MSG_TRUNC,
            2 => libc::MSG_PEEK | libc::MSG_TRUNC,
            3 => self.among(&[libc::MSG_OOB, libc::MSG_WAITALL, libc::MSG_CMSG_CLOEXEC, libc::MSG_ERRQUEUE]),
            _ => 0,
        };
        let room = match self.random.u32(0..4) {
            0 => self.among(&[0, 1, 12, 16, 20, 36, 100]),
            _ => self.among(&[4096, 8192, 16_384, 32_768, 65_536]),
        };
        // The length of a list of families includes what the sequence does not know, so it must show that it is
        // one.
        let room = if socket.protocol == libc::NETLINK_GENERIC && flags & libc::MSG_TRUNC != 0 {
            room.max(20)
        } else {
            room
        };
        if flags & libc::MSG_PEEK == 0
            && let Some(socket) = self.sockets.iter_mut().find(|other| other.name == socket.name)
        {
            socket.pending = socket.pending.saturating_sub(1);
        }
        Some(Call::Receive { socket: socket.name, room, flags })
    }

    pub(super) fn poll(&mut self) -> Option<Call> {
        let events = self.among(&[libc::POLLIN, libc::POLLOUT, libc::POLLIN | libc::POLLOUT, 0]);
        Some(Call::Poll { socket: self.socket()?.name, events })
    }

    pub(super) fn refused(&mut self) -> Option<Call> {
        let option = self.among(&SWITCHES);
        let what = self.among(&[
            Refused::Listen,
            Refused::Accept,
            Refused::Shutdown,
            Refused::Mmap,
            Refused::Fionread,
            Refused::Socketpair,
            Refused::UnreadableValue(option),
            Refused::NegativeRoom(option),
            Refused::ReadOnlyLength(option),
        ]);
        Some(Call::Refused { socket: self.socket()?.name, what })
    }

    pub(super) fn duplicate(&mut self) -> Option<Call> {
        let socket = self.socket().filter(|_| self.sockets.len() < SOCKETS)?;
        let copy = self.new_name();
        self.sockets.push(Sock { name: copy, ..socket });
        Some(Call::Duplicate { socket: socket.name, copy })
    }

    pub(super) fn close(&mut self) -> Option<Call> {
        let socket = self.socket()?.name;
        self.sockets.retain(|other| other.name != socket);
        Some(Call::Close { socket })
    }

    /// A call by somebody without privileges, or with only one.
    pub(super) fn by_another(&mut self) -> Option<Call> {
        if !self.privileged() {
            return None;
        }
        let who = self.among(&[Who::Nobody, Who::Nobody, Who::NetworkAdministrator]);
        let inner = match self.random.u32(0..8) {
            0 => self.bind(),
            1 => self.connect(),
            2..=4 => self.set(),
            _ => self.send(),
        };
        Some(Call::As { who, inner: Box::new(inner?) })
    }
}

/// Sets an option to a number.
pub(super) fn set_number(socket: Name, level: i32, option: i32, value: u32) -> Call {
    Call::Set { socket, level, option, value: Value::Bytes(value.to_ne_bytes().to_vec()) }
}

/// Joins the first group of a family.
pub(super) fn join(socket: Name, family: Name) -> Call {
    let (level, option) = (libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP);
    Call::Set { socket, level, option, value: Value::Group(family, 0) }
}
