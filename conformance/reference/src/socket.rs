//! One socket: its state and its receive queue.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nlconform::port::Who;
use nlconform::spec::Version;

use super::defect::Defect;
use super::message::Sent;
use super::session::Reference;
use super::setup::Setup;

/// The minimum receive buffer (`SOCK_MIN_RCVBUF`), and the minimum send buffer.
pub const LEAST_RECEIVE: usize = 2304;
/// See [`LEAST_RECEIVE`].
pub const LEAST_SEND: usize = 4608;
/// The default size of buffers, and the maximum without privilege
/// (net.core.rmem_default, rmem_max).
pub const DEFAULT_BUFFER: usize = 212_992;

/// `NETLINK_GET_STRICT_CHK`.
pub const STRICT_CHECK: i32 = 12;

/// A datagram in a queue.
#[derive(Clone)]
pub struct Datagram {
    /// The payload.
    pub bytes: Arc<Vec<u8>>,
    /// Port ID of the sender.
    pub from: u32,
    /// The group that it was sent to; 0 for a unicast.
    pub group: u32,
    /// The memory that it counts against the receive buffer, most of which is not payload.
    pub memory: usize,
}

impl Datagram {
    /// A datagram whose buffer was allocated for its payload.
    pub fn new(setup: Setup, bytes: Vec<u8>, from: u32, group: u32) -> Datagram {
        let memory = memory_for(setup, bytes.len());
        Datagram { bytes: Arc::new(bytes), from, group, memory }
    }
}

/// Memory that a buffer for this many bytes takes: a power of two for it and its overhead, or since 6.3 what
/// small buffers are made from (`kmalloc_reserve()`), and the structure that describes it.
pub fn memory_for(setup: Setup, room: usize) -> usize {
    match room.next_multiple_of(64) + OVERHEAD {
        ..=SMALL if setup.since(Version(6, 3)) => SMALL + DESCRIPTION,
        size => size.next_power_of_two() + DESCRIPTION,
    }
}

/// The same where the memory is not in one piece, as for large unicasts of user space
/// (`netlink_alloc_large_skb()`).
pub fn memory_in_pieces(room: usize) -> usize {
    room.next_multiple_of(64) + OVERHEAD + DESCRIPTION
}

/// What follows the data of a buffer (`struct skb_shared_info`), and what describes it (`struct sk_buff`).
const OVERHEAD: usize = 320;
const DESCRIPTION: usize = 256;
/// The size of small buffers (`SKB_SMALL_HEAD_CACHE_SIZE`).
const SMALL: usize = 576;

/// The peer of a connected socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its port ID.
    pub portid: u32,
    /// The group.
    pub group: u32,
}

/// A socket's state, guarded by the bus. `D` is a dump that runs.
pub struct Sock<D> {
    /// `SOCK_RAW` or `SOCK_DGRAM`.
    pub kind: i32,
    /// The protocol.
    pub protocol: i32,
    /// The user that opened it.
    pub opener: Option<Who>,
    /// Its port ID, once it is bound.
    pub portid: Option<u32>,
    /// The port ID that a bind was refused for. It is shown as if the socket had it (`netlink_insert()`).
    pub refused_port: u32,
    /// Its peer; the kernel if it is not connected.
    pub peer: Option<Peer>,
    /// Membership by group, from group 1 on. Empty until the socket uses groups.
    pub groups: Vec<bool>,
    /// Its place in the order in which sockets got their first group (`mc_list`).
    pub joined: u64,
    /// The datagrams in the queue.
    pub queue: VecDeque<Datagram>,
    /// The memory that they take.
    pub memory: usize,
    /// `SO_RCVBUF`.
    pub receive_buffer: usize,
    /// `SO_SNDBUF`.
    pub send_buffer: usize,
    /// The pending error (`sk_err`).
    pub error: Option<Errno>,
    /// Nothing is delivered until the queue has been read to its end.
    pub congested: bool,
    /// Options of `SOL_NETLINK` that are on.
    pub options: BTreeSet<i32>,
    /// `SO_SNDTIMEO`, if there is one.
    pub send_timeout: Option<Duration>,
    /// `SO_RCVTIMEO`, if there is one.
    pub receive_timeout: Option<Duration>,
    /// `O_NONBLOCK`.
    pub nonblocking: bool,
    /// How many bytes of a datagram its filter keeps; 0: it drops all.
    pub keep: u32,
    /// The largest buffer that a receive offered, as far as dumps use it.
    pub offered: usize,
    /// A dump is running. The dump itself has a lock of its own, which is taken first.
    pub dumping: bool,
    /// The dump, if there is one.
    pub dump: Arc<Mutex<Option<D>>>,
    /// What was sent to the kernel and is answered late.
    pub late: Option<mpsc::Sender<Sent>>,
    /// A reference to the module that registered the protocol.
    pub _module: Option<Reference>,
}

/// The most that dumps use of an offered buffer: 32 KiB less overhead.
const MOST_OFFERED: usize = (32 << 10) - 320;

impl<D> Sock<D> {
    /// A new socket.
    pub fn new(kind: i32, protocol: i32, opener: Option<Who>, module: Option<Reference>) -> Sock<D> {
        Sock {
            kind: kind & 0xf,
            protocol,
            opener,
            portid: None,
            refused_port: 0,
            peer: None,
            groups: Vec::new(),
            joined: 0,
            queue: VecDeque::new(),
            memory: 0,
            receive_buffer: DEFAULT_BUFFER,
            send_buffer: DEFAULT_BUFFER,
            error: None,
            congested: false,
            options: BTreeSet::new(),
            send_timeout: None,
            receive_timeout: None,
            nonblocking: kind & libc::SOCK_NONBLOCK != 0,
            keep: u32::MAX,
            offered: 0,
            dumping: false,
            dump: Arc::default(),
            late: None,
            _module: module,
        }
    }

    /// Whether an option of `SOL_NETLINK` is on.
    pub fn has(&self, option: i32) -> bool {
        self.options.contains(&option)
    }

    /// The port ID that it shows; 0 before the bind.
    pub fn port(&self) -> u32 {
        self.portid.unwrap_or(self.refused_port)
    }

    /// Whether the socket is in this group.
    pub fn is_member(&self, group: u32) -> bool {
        group > 0 && self.groups.get(group as usize - 1).copied().unwrap_or(false)
    }

    /// The membership bits of groups 1 to 32.
    pub fn mask(&self) -> u32 {
        self.groups.iter().take(32).enumerate().map(|(bit, member)| u32::from(*member) << bit).sum()
    }

    /// Whether there is room for a datagram of this much memory: an empty queue accepts anything
    /// (`netlink_attachskb()`, `netlink_broadcast_deliver()`).
    pub fn takes(&self, memory: usize) -> bool {
        !self.congested && (self.queue.is_empty() || self.memory + memory <= self.receive_buffer)
    }

    /// Whether there is room for a datagram of a dump, which does not fill the buffer to the brim, and for
    /// which congestion does not count (`netlink_dump()`).
    pub fn takes_dump(&self, memory: usize) -> bool {
        self.queue.is_empty() || self.memory + memory < self.receive_buffer
    }

    /// What its filter leaves of a datagram, whose buffer stays as large as it is; `None` if it drops it
    /// (`sk_filter_trim_cap()`).
    pub fn filtered(&self, mut datagram: Datagram, defect: Option<Defect>) -> Option<Datagram> {
        let keep = self.keep as usize;
        if keep < datagram.bytes.len() && defect != Some(Defect::FilterCutsNothing) {
            datagram.bytes = Arc::new(datagram.bytes[..keep].to_vec());
        }
        (keep > 0).then_some(datagram)
    }

    /// Queues a datagram.
    pub fn push(&mut self, datagram: Datagram) {
        self.memory += datagram.memory;
        self.queue.push_back(datagram);
    }

    /// A message was lost (`netlink_overrun()`).
    pub fn overrun(&mut self, defect: Option<Defect>) {
        if !self.has(libc::NETLINK_NO_ENOBUFS) && !self.congested {
            self.congested = defect != Some(Defect::NoCongestion);
            if defect != Some(Defect::OverrunSilent) {
                self.error = Some(Errno::ENOBUFS);
            }
        }
        if defect == Some(Defect::OverrunEmptiesQueue) {
            self.queue.clear();
            self.memory = 0;
        }
    }

    /// Takes, or peeks at, the first datagram, with a buffer of this size.
    pub fn pop(&mut self, room: usize, peek: bool) -> Option<Datagram> {
        let first = self.queue.front()?.clone();
        if !peek {
            self.queue.pop_front();
            self.memory -= first.memory;
        }
        self.offered = self.offered.max(room).min(MOST_OFFERED);
        Some(first)
    }
}
