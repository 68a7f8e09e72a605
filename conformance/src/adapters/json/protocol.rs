//! The lines that are exchanged with an adapter; docs/adapter.md describes them for its author.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::event::Identity;
use crate::lines;
use crate::port::capability::Capability;
use crate::port::provider::{
    Call as How, Callback, CbId, ConnectorSend, Family, Handle, KernelSend, Protocol,
};
use crate::port::{Outgoing, Receive, Refused};

/// Newest version of the protocol that is spoken here. Additive changes do not raise it
/// (docs/stability.md): an adapter that does not know a call answers `unsupported`.
pub const VERSION: u32 = 1;

/// Capabilities that no call reaches, whatever the implementation has.
pub const OUT_OF_REACH: &[Capability] = &[
    Capability::UserNamespaces,
    Capability::PidNamespaces,
    Capability::Processes,
    Capability::ConnectorSample,
    Capability::Tracing,
    Capability::ModuleRequests,
];

/// One question.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ask {
    /// To be repeated in the answer.
    pub seq: u64,
    /// What is asked.
    #[serde(flatten)]
    pub call: Call,
}

/// One answer.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answer {
    /// That of the question.
    pub seq: u64,
    /// What is answered.
    #[serde(flatten)]
    pub told: Told,
}

/// [`Answer`] before it is known to have just one of the four.
#[derive(Deserialize)]
struct AnswerLine {
    seq: u64,
    /// A null that is there is a value.
    #[serde(default, deserialize_with = "there")]
    ok: Option<Value>,
    errno: Option<i32>,
    unsupported: Option<String>,
    failed: Option<String>,
}

fn there<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(line: D) -> Result<Answer, D::Error> {
        let AnswerLine { seq, ok, errno, unsupported, failed } = AnswerLine::deserialize(line)?;
        let told = match (ok, errno, unsupported, failed) {
            (Some(value), None, None, None) => Told::Ok(value),
            (None, Some(number), None, None) if number > 0 => Told::Errno(number),
            (None, Some(_), None, None) => return Err(D::Error::custom("an errno is a positive number")),
            (None, None, Some(fact), None) => Told::Unsupported(fact),
            (None, None, None, Some(why)) => Told::Failed(why),
            _ => {
                let rule = "an answer has exactly one of ok, errno, unsupported and failed";
                return Err(D::Error::custom(rule));
            }
        };
        Ok(Answer { seq, told })
    }
}

impl lines::Answer for Answer {
    fn seq(&self) -> u64 {
        self.seq
    }
}

/// The four ways to answer.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// The call succeeded: its value, or null.
    Ok(Value),
    /// The call failed with this errno: a positive number, as Linux has it.
    Errno(i32),
    /// The implementation does not have this: a fact about it.
    Unsupported(String),
    /// The adapter could not make the call.
    Failed(String),
}

/// The answer to [`Call::Hello`].
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hello {
    /// Version that the adapter speaks, at most [`VERSION`].
    pub version: u32,
    /// What it reaches.
    pub identity: Identity,
}

/// The adapter's number for a socket.
pub type SocketId = u64;

/// The calls. Those on sockets are those of [`crate::port::Socket`], the others those of
/// [`crate::port::provider::Provider`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "call", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named after what they stand for")]
pub enum Call {
    /// Sent once, first; the answer has the protocol's version and the identity.
    Hello {
        version: u32,
    },

    Socket {
        kind: i32,
        protocol: i32,
    },
    Bind {
        socket: SocketId,
        address: Vec<u8>,
    },
    Connect {
        socket: SocketId,
        address: Vec<u8>,
    },
    Name {
        socket: SocketId,
        room: usize,
    },
    Peer {
        socket: SocketId,
        room: usize,
    },
    SetOption {
        socket: SocketId,
        level: i32,
        option: i32,
        value: Vec<u8>,
    },
    Option {
        socket: SocketId,
        level: i32,
        option: i32,
        room: usize,
    },
    Send {
        socket: SocketId,
        outgoing: Outgoing,
    },
    AttachFilter {
        socket: SocketId,
        keep: u32,
    },
    SendInterrupted {
        socket: SocketId,
        outgoing: Outgoing,
    },
    SendRestarted {
        socket: SocketId,
        outgoing: Outgoing,
    },
    Receive {
        socket: SocketId,
        how: Receive,
    },
    ReceiveInterrupted {
        socket: SocketId,
        how: Receive,
    },
    ReceiveRestarted {
        socket: SocketId,
        how: Receive,
    },
    Poll {
        socket: SocketId,
        events: i16,
        timeout_ms: u64,
    },
    Refused {
        socket: SocketId,
        refused: Refused,
    },
    Duplicate {
        socket: SocketId,
    },
    Inode {
        socket: SocketId,
    },
    Close {
        socket: SocketId,
    },
    File {
        path: String,
    },

    /// Starts a provider that has registered nothing yet; one at a time.
    Provide,
    RegisterFamily {
        family: Family,
        how: How,
    },
    RegisterAgain {
        handle: Handle,
        how: How,
    },
    UnregisterFamily {
        handle: Handle,
        how: How,
    },
    CreateProtocol {
        protocol: Protocol,
        how: How,
    },
    ReleaseProtocol {
        handle: Handle,
    },
    KernelSend {
        handle: Handle,
        send: KernelSend,
        how: How,
    },
    AddCallback {
        callback: Callback,
        how: How,
    },
    DelCallback {
        id: CbId,
    },
    ConnectorSend {
        send: ConnectorSend,
        how: How,
    },
    WatchRelease,
    Tap {
        ifindex: u32,
        add: bool,
    },
    Blocked {
        wait_ms: u64,
    },
    Release,
    ModuleReferences,
    AllocationFailed,
    Log {
        wait_ms: u64,
    },
    /// Undoes everything that the provider registered.
    EndProvide,
}

impl Call {
    /// Time that the call itself may take, in milliseconds.
    pub fn waits_ms(&self) -> u64 {
        match self {
            Call::Poll { timeout_ms, .. } => *timeout_ms,
            Call::Blocked { wait_ms } | Call::Log { wait_ms } => *wait_ms,
            _ => 0,
        }
    }

    /// Its name, as the line that asks has it.
    pub fn name(&self) -> String {
        let line = serde_json::to_value(self).unwrap_or_default();
        line["call"].as_str().unwrap_or("a call").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_for_authors_of_adapters_lists_them() {
        let page = include_str!("../../../../docs/adapter.md");
        let (reached, beyond) = page.split_once("The protocol has no\ncall for the following").unwrap();
        for capability in Capability::all() {
            let row = format!("| `{capability}` | {} |", capability.meaning());
            let (there, elsewhere) = match OUT_OF_REACH.contains(&capability) {
                true => (beyond, reached),
                false => (reached, beyond),
            };
            assert!(there.contains(&row) && !elsewhere.contains(&row), "docs/adapter.md: the line {row}");
        }
    }
}
