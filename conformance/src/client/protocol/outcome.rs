//! What became of a call, as the caller of the library learns it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Attribute;

/// All that the caller of the library can learn of a call, by documented means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Outcome {
    /// How it ended.
    #[serde(flatten)]
    pub end: End,
    /// The messages that the caller was given, in order; also when it did not end well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
    /// What the caller learns beside the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// What [`Call::Resolve`](super::Call::Resolve) found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
}

/// How a call ended for the caller of the library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum End {
    /// Success.
    Done,
    /// The kernel refused: NLMSG_ERROR, or NLMSG_DONE with an error; or a system call failed.
    Error {
        /// Number of the error, positive.
        errno: i32,
        /// NLMSGERR_ATTR_MSG.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// NLMSGERR_ATTR_OFFS.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<u32>,
        /// NLMSGERR_ATTR_COOKIE.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cookie: Option<Vec<u8>>,
        /// NLMSGERR_ATTR_MISS_TYPE.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing: Option<u32>,
    },
    /// The library says that the dump was interrupted (NLM_F_DUMP_INTR) and has to be repeated.
    Interrupted,
    /// The library says that messages were lost: ENOBUFS of recvmsg(), NLMSG_OVERRUN.
    Overrun,
    /// The library says that a datagram was larger than its buffer.
    Truncated,
    /// The library says that it met a message that was not for it: sequence number or sender.
    Foreign,
    /// The deadline passed.
    Timeout,
    /// Any other failure that the library reports.
    Library {
        /// In the library's words.
        words: String,
    },
}

/// What may come along with data or with success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// As [`End::Interrupted`].
    Interrupted,
    /// As [`End::Overrun`].
    Overrun,
    /// The extended ack of a request that succeeded.
    Warning(String),
}

/// A message that the caller was given. It has `payload`, `attributes` or `process`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Message {
    /// nlmsg_type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<u16>,
    /// nlmsg_flags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<u16>,
    /// nlmsg_seq.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
    /// Port ID of the sender, from the source address: 0 is the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<u32>,
    /// Command of the generic netlink header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<u8>,
    /// What follows the nlmsghdr, of a message that is not generic netlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Vec<u8>>,
    /// What the library's attribute parser made of a generic netlink message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<Attribute>>,
    /// A process event, from a library that knows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessEvent>,
}

/// An event of the process connector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessEvent {
    /// `fork`, `exec`, `exit`, or another of the kernel's words in lower case.
    pub what: String,
    /// Process ID (tgid) of the process that it is about; of `fork`, the parent.
    pub pid: u32,
    /// Process ID of the child of `fork`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<u32>,
}

/// What a library knows of a generic netlink family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Family {
    /// The family's ID, the type of its messages; missing where the library hides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// Its groups, names with numbers; missing where the library does not list them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeMap<String, u32>>,
}
