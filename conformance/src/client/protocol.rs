//! The lines that are exchanged with the adapter of a client library; docs/client-adapter.md describes
//! them for its author.
//!
//! Members that are not known are ignored, on both sides; so a later version can add some.

mod outcome;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::event::Identity;
pub use outcome::{End, Family, Message, Notice, Outcome, ProcessEvent};

/// Newest version of the protocol that is spoken here. Both sides speak the lower of their two.
pub const VERSION: u32 = 1;

/// One question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Question {
    /// To be repeated in the answer.
    pub seq: u64,
    /// What is asked.
    #[serde(flatten)]
    pub call: Call,
}

/// The adapter's number for an open handle.
pub type HandleId = u64;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "call", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "a handle and a deadline are the same everywhere")]
pub enum Call {
    /// Asked once, first; the answer is a [`Hello`].
    Hello {
        /// Newest version that the suite speaks.
        version: u32,
    },
    /// Opens the library for one netlink protocol; the answer is an [`Opened`].
    Open {
        /// Number of the netlink protocol, such as 16 for NETLINK_GENERIC.
        protocol: i32,
        /// What is wished beyond the library's defaults.
        #[serde(default)]
        options: Options,
    },
    /// Asks for a generic netlink family; the answer is an [`Outcome`] with [`Outcome::family`].
    Resolve {
        handle: HandleId,
        /// Name of the family.
        family: String,
        deadline_ms: u64,
    },
    /// Makes a request that is no dump; the answer is an [`Outcome`].
    Request {
        handle: HandleId,
        #[serde(flatten)]
        body: Body,
        expects: Expects,
        deadline_ms: u64,
    },
    /// Makes a request with NLM_F_DUMP and collects all of its answer, an [`Outcome`].
    Dump {
        handle: HandleId,
        #[serde(flatten)]
        body: Body,
        deadline_ms: u64,
    },
    /// Joins a multicast group; the answer is an [`Outcome`].
    Join {
        handle: HandleId,
        #[serde(flatten)]
        group: Group,
        deadline_ms: u64,
    },
    /// Leaves a multicast group; the answer is an [`Outcome`].
    Leave {
        handle: HandleId,
        #[serde(flatten)]
        group: Group,
        deadline_ms: u64,
    },
    /// Subscribes to process events (PROC_CN_MCAST_LISTEN) on a handle of NETLINK_CONNECTOR; the answer
    /// is an [`Outcome`].
    Listen { handle: HandleId, deadline_ms: u64 },
    /// Waits for what the library hands over next of multicasts; the answer is an [`Outcome`].
    NextEvent { handle: HandleId, deadline_ms: u64 },
    /// Closes the handle; the answer is null.
    Close { handle: HandleId },
}

impl Call {
    /// Time that the call itself may take, in milliseconds.
    pub fn deadline_ms(&self) -> u64 {
        match self {
            Call::Hello { .. } | Call::Open { .. } | Call::Close { .. } => 0,
            Call::Resolve { deadline_ms, .. }
            | Call::Request { deadline_ms, .. }
            | Call::Dump { deadline_ms, .. }
            | Call::Join { deadline_ms, .. }
            | Call::Leave { deadline_ms, .. }
            | Call::Listen { deadline_ms, .. }
            | Call::NextEvent { deadline_ms, .. } => *deadline_ms,
        }
    }
}

/// Socket options that a scenario wishes for. What the library cannot do is named in
/// [`Opened::ignored`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Options {
    /// NETLINK_EXT_ACK.
    #[serde(skip_serializing_if = "is_false")]
    pub ext_ack: bool,
    /// NETLINK_CAP_ACK.
    #[serde(skip_serializing_if = "is_false")]
    pub cap_ack: bool,
    /// SO_RCVBUF of the socket that receives multicasts, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<u32>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What a request carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Body {
    /// For a generic netlink family, which the adapter resolves through its library.
    Family {
        /// Name of the family; its version is 1, and it has no header of its own.
        family: String,
        /// Command.
        command: u8,
        /// Attributes, in this order.
        #[serde(default)]
        attributes: Vec<Attribute>,
    },
    /// For any protocol.
    Raw {
        /// nlmsg_type.
        #[serde(rename = "type")]
        kind: u16,
        /// What follows the nlmsghdr.
        payload: Vec<u8>,
    },
}

/// Attributes of the client family: docs/client-adapter.md has their types.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    /// Type 1, u32.
    Number(u32),
    /// Type 2, bytes.
    Filler(Vec<u8>),
    /// Type 3, a string that ends with NUL, which is not part of the value.
    Text(String),
    /// Type 4, attributes of the same set.
    Nest(Vec<Attribute>),
    /// Type 5, u64.
    Wide(u64),
    /// Any other type as the library reports it, and the bytes of its payload.
    Unknown(u16, Vec<u8>),
}

/// What the caller asks the kernel to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Expects {
    /// Data, and no acknowledgement unless the library always asks for one.
    Reply,
    /// An acknowledgement: NLM_F_ACK.
    Ack,
    /// Data, then an acknowledgement.
    Both,
}

/// A multicast group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Group {
    /// Family that has the group, on NETLINK_GENERIC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Name of the group in its family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Number of the group, always given.
    pub number: u32,
}

/// One answer: `seq`, and exactly one of `ok`, `unsupported` and `failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "AnswerLine")]
pub struct Answer {
    /// That of the question.
    pub seq: u64,
    /// What is answered.
    #[serde(flatten)]
    pub answered: Answered,
}

/// The three ways to answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Answered {
    /// The call was made; with its value, or null.
    Ok(Value),
    /// The library has no such thing; a fact about it.
    Unsupported(String),
    /// The adapter could not make the call; why, in words.
    Failed(String),
}

/// [`Answer`] before it is known to have just one of the three.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct AnswerLine {
    seq: u64,
    /// A null that is there is a value.
    #[serde(default, deserialize_with = "there")]
    ok: Option<Value>,
    unsupported: Option<String>,
    failed: Option<String>,
}

fn there<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

impl TryFrom<AnswerLine> for Answer {
    type Error = &'static str;

    fn try_from(line: AnswerLine) -> Result<Answer, &'static str> {
        let answered = match (line.ok, line.unsupported, line.failed) {
            (Some(value), None, None) => Answered::Ok(value),
            (None, Some(fact), None) => Answered::Unsupported(fact),
            (None, None, Some(why)) => Answered::Failed(why),
            _ => return Err("an answer has exactly one of ok, unsupported and failed"),
        };
        Ok(Answer { seq: line.seq, answered })
    }
}

/// The answer to [`Call::Hello`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hello {
    /// Newest version that the adapter speaks.
    pub version: u32,
    /// The library.
    pub identity: Identity,
    /// Language that it is called from.
    pub language: String,
    /// Parts of a message that the library does not let its caller see.
    #[serde(default)]
    pub hidden: Vec<Part>,
    /// What the adapter does itself because the library's documentation tells each caller to.
    #[serde(default)]
    pub own_code: Vec<String>,
}

/// A part of a message: the members of [`Message`] that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// nlmsg_type.
    Type,
    /// nlmsg_flags.
    Flags,
    /// nlmsg_seq.
    Seq,
    /// Port ID of the sender, from the source address.
    Sender,
    /// Command of the generic netlink header.
    Command,
}

/// The answer to [`Call::Open`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Opened {
    /// By which the other calls name it.
    pub handle: HandleId,
    /// Names of the wished options that the library has no means for.
    #[serde(default)]
    pub ignored: Vec<String>,
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
