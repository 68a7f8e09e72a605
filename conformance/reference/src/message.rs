//! Messages inside the bus: requests on their way in, extended acknowledgements and buffers on their
//! way out.

use std::sync::Arc;

use nix::errno::Errno;
use nlconform::port::Who;
use nlconform::port::provider::PolicyEntry;
use nlconform::wire::align;
use nlconform::wire::message::Message;

use super::credentials::{Capability, capable};
use super::session::Object;

/// An errno as kernel code returns it.
pub fn refused(errno: Errno) -> i64 {
    -(errno as i64)
}

/// 0, or an errno as kernel code returns it.
pub fn returned(result: Result<(), Errno>) -> i64 {
    result.map_or_else(refused, |()| 0)
}

/// A message as kernel code puts it into a buffer.
pub fn padded(message: &Message) -> Vec<u8> {
    let mut bytes = message.encode();
    bytes.resize(align(bytes.len()), 0);
    bytes
}

/// A message that a user socket has sent to the kernel's side of its protocol.
#[derive(Clone)]
pub struct Request {
    /// Its header.
    pub header: Message,
    /// All of it, from the nlmsghdr on.
    pub bytes: Arc<Vec<u8>>,
    /// The socket that it came from.
    pub socket: u64,
    /// The port ID of that socket.
    pub portid: u32,
    /// The user that sent it; root by default.
    pub who: Option<Who>,
    /// The opener of the socket, if that counts: it does for what was sent without an address.
    pub opener: Option<Who>,
}

impl Request {
    /// What follows the nlmsghdr.
    pub fn payload(&self) -> &[u8] {
        &self.header.payload
    }

    /// Whether it may do what needs a capability: its sender must have it, and so must the opener of the
    /// socket, where that counts (`netlink_capable()`).
    pub fn allows(&self, capability: Capability) -> bool {
        capable(self.who, capability) && capable(self.opener, capability)
    }
}

/// Where messages to the kernel go.
#[derive(Clone)]
pub enum Input {
    /// Nowhere: the send fails.
    Nobody,
    /// `NETLINK_ROUTE`, what there is of it.
    Route,
    /// Generic netlink.
    Generic,
    /// The connector.
    Connector,
    /// A protocol that a provider registered.
    Scripted(Arc<Object>),
}

/// The sender of a datagram.
#[derive(Clone, Copy)]
pub struct Sender {
    /// The socket.
    pub socket: u64,
    /// Its port ID.
    pub portid: u32,
    /// Its protocol.
    pub protocol: i32,
    /// Who sent.
    pub who: Option<Who>,
    /// The opener of the socket, if that counts.
    pub opener: Option<Who>,
}

/// A datagram on its way to the kernel.
pub struct Sent {
    /// Where it goes.
    pub input: Input,
    /// Who sent it.
    pub sender: Sender,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// What a handler reports beyond an errno (`struct netlink_ext_ack`).
#[derive(Debug, Default)]
pub struct ExtAck {
    /// `_msg`.
    pub text: Option<String>,
    /// `bad_attr`, as its offset from the request's nlmsghdr.
    pub bad_attr: Option<usize>,
    /// `policy`.
    pub policy: Option<PolicyEntry>,
    /// `cookie`.
    pub cookie: Option<[u8; 8]>,
    /// `miss_type`.
    pub miss_type: Option<u32>,
    /// `miss_nest`, as its offset from the request's nlmsghdr.
    pub miss_nest: Option<usize>,
}

/// The datagram that a dump is filling (an skb with a limit).
pub struct Buffer {
    /// What is there so far.
    pub bytes: Vec<u8>,
    /// The most that it can hold.
    pub limit: usize,
}

impl Buffer {
    /// An empty one for this many bytes.
    pub fn new(limit: usize) -> Buffer {
        Buffer { bytes: Vec::new(), limit }
    }

    /// Bytes that are left.
    pub fn room(&self) -> usize {
        self.limit - self.bytes.len()
    }

    /// Appends a message and its padding; returns whether there was room.
    pub fn put(&mut self, message: &Message) -> bool {
        self.append(&message.encode())
    }

    /// Appends bytes and their padding; returns whether there was room.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let fits = align(bytes.len()) <= self.room();
        if fits {
            self.bytes.extend(bytes);
            self.bytes.resize(align(self.bytes.len()), 0);
        }
        fits
    }
}
