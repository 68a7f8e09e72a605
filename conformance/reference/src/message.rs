//! Messages inside the bus: requests on their way in, extended acknowledgements and buffers on their
//! way out.

use std::sync::Arc;

use nix::errno::Errno;
use nlconform::port::Who;
use nlconform::port::provider::PolicyEntry;
use nlconform::wire::attr::Attrs;
use nlconform::wire::message::Message;
use nlconform::wire::{ack, align};

use super::advertise::describe;
use super::setup::Setup;

/// An errno as kernel code returns it.
pub fn refused(errno: Errno) -> i64 {
    -(errno as i64)
}

/// 0, or an errno as kernel code returns it.
pub fn returned(result: Result<(), Errno>) -> i64 {
    result.map_or_else(refused, |()| 0)
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

impl ExtAck {
    /// The attributes that go with this status, in the order of the kernel's.
    pub fn tlvs(&self, setup: Setup, status: i32) -> Attrs {
        let mut attrs = Attrs::new();
        if let Some(text) = &self.text {
            attrs = attrs.string(ack::NLMSGERR_ATTR_MSG, text);
        }
        let with_cookie = |attrs: Attrs| match &self.cookie {
            Some(cookie) => attrs.put(ack::NLMSGERR_ATTR_COOKIE, cookie),
            None => attrs,
        };
        let cookie_first = setup.value::<String>("NL-ACK-010", "order").starts_with("MSG, COOKIE");
        if cookie_first {
            attrs = with_cookie(attrs);
        }
        if let Some(offset) = self.bad_attr.filter(|_| status != 0) {
            attrs = attrs.u32(ack::NLMSGERR_ATTR_OFFS, offset as u32);
        }
        if !cookie_first {
            attrs = with_cookie(attrs);
        }
        if status == 0 {
            return attrs;
        }
        if let Some(policy) = self.policy.as_ref().and_then(|policy| describe(policy, None, setup)) {
            attrs = attrs.nest(ack::NLMSGERR_ATTR_POLICY, policy);
        }
        if let Some(missing) = self.miss_type {
            attrs = attrs.u32(ack::NLMSGERR_ATTR_MISS_TYPE, missing);
        }
        if let Some(nest) = self.miss_nest {
            attrs = attrs.u32(ack::NLMSGERR_ATTR_MISS_NEST, nest as u32);
        }
        attrs
    }
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
