//! One call of a sequence, as plain data: what it refers to is named by numbers of the sequence, so that the
//! same call means the same on each target, and a sequence of which calls were left out still has a meaning.

use serde::{Deserialize, Serialize};

use crate::port::provider::{Callback, CbId, ConnectorSend, Family, KernelSend, Protocol};
use crate::port::{Refused, Who};
use crate::wire::address::AF_NETLINK;

/// Names a socket, a family, a protocol or a connector callback of the sequence. A call that names what is not
/// there is not made.
pub type Name = u8;

/// One call on either side of the port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the arguments are those of the port's calls")]
pub enum Call {
    Open {
        socket: Name,
        kind: i32,
        protocol: i32,
    },
    Bind {
        socket: Name,
        address: Addr,
    },
    Connect {
        socket: Name,
        address: Addr,
    },
    Name {
        socket: Name,
        room: usize,
    },
    Peer {
        socket: Name,
        room: usize,
    },
    Set {
        socket: Name,
        level: i32,
        option: i32,
        value: Value,
    },
    Get {
        socket: Name,
        level: i32,
        option: i32,
        room: usize,
    },
    Filter {
        socket: Name,
        keep: u32,
    },
    Send {
        socket: Name,
        to: Option<Addr>,
        flags: i32,
        messages: Vec<Part>,
    },
    Receive {
        socket: Name,
        room: usize,
        flags: i32,
    },
    Poll {
        socket: Name,
        events: i16,
    },
    Refused {
        socket: Name,
        what: Refused,
    },
    Duplicate {
        socket: Name,
        copy: Name,
    },
    Close {
        socket: Name,
    },
    /// The call, by another user. It opens nothing.
    As {
        who: Who,
        inner: Box<Call>,
    },
    Register {
        family: Name,
        spec: Family,
    },
    RegisterAgain {
        family: Name,
    },
    Unregister {
        family: Name,
    },
    Create {
        protocol: Name,
        spec: Protocol,
    },
    Release {
        protocol: Name,
    },
    /// What a family or a protocol sends. `port` takes the place of the port ID in `send`, or of that which a
    /// filter skips.
    FromKernel {
        from: Object,
        port: Port,
        send: KernelSend,
    },
    AddCallback {
        callback: Name,
        spec: Callback,
    },
    DelCallback {
        id: CbId,
    },
    /// What is sent through the connector, in a softirq: in a process it would wait for room. `port` takes the
    /// place of the port ID in `send`.
    FromConnector {
        port: Port,
        send: ConnectorSend,
    },
    WatchRelease,
    /// References to the module that owns what was registered.
    References,
    /// What the callbacks have logged since the last time.
    Log,
}

/// A `sockaddr_nl` and the length passed with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "sockaddr_nl's own names")]
pub struct Addr {
    pub family: u16,
    pub port: Port,
    pub groups: u32,
    /// Bytes of it, fewer or more than it has.
    pub len: usize,
}

impl Addr {
    /// This port, no group.
    pub fn to(port: Port) -> Addr {
        Addr { family: AF_NETLINK, port, groups: 0, len: crate::wire::address::LEN }
    }
}

/// A port ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Port {
    /// This number.
    Number(u32),
    /// That of a socket.
    Of(Name),
}

/// What a provider registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the port's own names")]
pub enum Object {
    Family(Name),
    Protocol(Name),
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The global ID of the family's group with this index, as 4 bytes.
    Group(Name, u32),
}

/// A message to send, or bytes that are none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "nlmsghdr's own names")]
pub enum Part {
    Message {
        kind: Kind,
        flags: u16,
        seq: u32,
        portid: u32,
        payload: Vec<Piece>,
        /// `nlmsg_len`, if not the true one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claims: Option<u32>,
    },
    /// Bytes at the end of the datagram.
    Bytes(Vec<u8>),
}

/// `nlmsg_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// This number.
    Number(u16),
    /// The ID of a family; 0xfff0 if it has none.
    Family(Name),
}

/// A piece of a payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The ID of a family, as an attribute of this type and 2 bytes, padded.
    FamilyId(u16, Name),
}

impl Call {
    /// The socket that it is made on, if it is.
    pub fn socket(&self) -> Option<Name> {
        match self {
            Call::Open { socket, .. }
            | Call::Bind { socket, .. }
            | Call::Connect { socket, .. }
            | Call::Name { socket, .. }
            | Call::Peer { socket, .. }
            | Call::Set { socket, .. }
            | Call::Get { socket, .. }
            | Call::Filter { socket, .. }
            | Call::Send { socket, .. }
            | Call::Receive { socket, .. }
            | Call::Poll { socket, .. }
            | Call::Refused { socket, .. }
            | Call::Duplicate { socket, .. }
            | Call::Close { socket } => Some(*socket),
            Call::As { inner, .. } => inner.socket(),
            _ => None,
        }
    }
}
