//! `struct cn_msg` (include/uapi/linux/connector.h).

use super::message::{self, Message};
use super::{u16_at, u32_at};

/// Bytes of `struct cn_msg`.
pub const HEADER: usize = 20;
/// The most bytes of a cn_msg and its data that the kernel accepts (`CONNECTOR_MAX_MSG_SIZE`).
pub const CONNECTOR_MAX_MSG_SIZE: usize = 16384;

/// A connector message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the structure's own names")]
pub struct CnMsg {
    pub idx: u32,
    pub val: u32,
    pub seq: u32,
    pub ack: u32,
    pub flags: u16,
    pub data: Vec<u8>,
    /// `len` to write if not the true length.
    pub claimed_len: Option<u16>,
}

impl CnMsg {
    /// A message to this ID.
    pub fn to(idx: u32, val: u32) -> CnMsg {
        CnMsg { idx, val, ..CnMsg::default() }
    }

    /// The cn_msg and its data.
    pub fn encode(&self) -> Vec<u8> {
        let len = self.claimed_len.unwrap_or(self.data.len() as u16);
        let mut bytes = Vec::with_capacity(HEADER + self.data.len());
        for word in [self.idx, self.val, self.seq, self.ack] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(len.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(&self.data);
        bytes
    }

    /// The cn_msg in a netlink message, as user space sends it.
    pub fn in_message(&self) -> Message {
        Message::new(message::NLMSG_DONE).bytes(&self.encode())
    }

    /// Parses the cn_msg at the start of a netlink message's payload. `None` if its length does
    /// not fit.
    pub fn decode(bytes: &[u8]) -> Option<CnMsg> {
        let len = u16_at(bytes, 16)?;
        Some(CnMsg {
            idx: u32_at(bytes, 0)?,
            val: u32_at(bytes, 4)?,
            seq: u32_at(bytes, 8)?,
            ack: u32_at(bytes, 12)?,
            flags: u16_at(bytes, 18)?,
            data: bytes.get(HEADER..HEADER + len as usize)?.to_vec(),
            claimed_len: None,
        })
    }
}
