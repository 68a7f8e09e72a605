//! `struct nlmsghdr` (include/uapi/linux/netlink.h) and messages.

use super::attr::Attrs;
use super::{align, array, u16_at, u32_at};

/// Bytes of `struct nlmsghdr`.
pub const NLMSG_HDRLEN: usize = 16;

/// Nothing.
pub const NLMSG_NOOP: u16 = 1;
/// An error, or with error 0 an acknowledgement.
pub const NLMSG_ERROR: u16 = 2;
/// End of a dump.
pub const NLMSG_DONE: u16 = 3;
/// Data lost.
pub const NLMSG_OVERRUN: u16 = 4;
/// A type without a meaning in any protocol.
pub const UNKNOWN: u16 = 0xfff0;
/// First type that is not a control message (`NLMSG_MIN_TYPE`).
pub const NLMSG_MIN_TYPE: u16 = 0x10;

/// It is a request (`NLM_F_REQUEST`).
pub const NLM_F_REQUEST: u16 = 0x1;
/// Part of a reply that ends with `NLMSG_DONE` (`NLM_F_MULTI`).
pub const NLM_F_MULTI: u16 = 0x2;
/// Request an acknowledgement (`NLM_F_ACK`).
pub const NLM_F_ACK: u16 = 0x4;
/// Send the notification to the requester too (`NLM_F_ECHO`).
pub const NLM_F_ECHO: u16 = 0x8;
/// What is dumped changed during the dump (`NLM_F_DUMP_INTR`).
pub const NLM_F_DUMP_INTR: u16 = 0x10;
/// The dump was filtered as requested (`NLM_F_DUMP_FILTERED`).
pub const NLM_F_DUMP_FILTERED: u16 = 0x20;
/// One half of `NLM_F_DUMP` (`NLM_F_ROOT`).
pub const NLM_F_ROOT: u16 = 0x100;
/// The other half of `NLM_F_DUMP` (`NLM_F_MATCH`).
pub const NLM_F_MATCH: u16 = 0x200;
/// A request for a dump (`NLM_F_DUMP`).
pub const NLM_F_DUMP: u16 = NLM_F_ROOT | NLM_F_MATCH;
/// Fail if it exists (`NLM_F_EXCL`).
pub const NLM_F_EXCL: u16 = 0x200;
/// Create it if it does not exist (`NLM_F_CREATE`).
pub const NLM_F_CREATE: u16 = 0x400;
/// In an error: the request's payload is left out (`NLM_F_CAPPED`).
pub const NLM_F_CAPPED: u16 = 0x100;
/// In an error or `NLMSG_DONE`: extended-ack attributes follow (`NLM_F_ACK_TLVS`).
pub const NLM_F_ACK_TLVS: u16 = 0x200;

/// A netlink message, either to be sent or as received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub seq: u32,
    /// `nlmsg_pid`.
    pub portid: u32,
    /// What follows the header.
    pub payload: Vec<u8>,
    /// `nlmsg_len` to write if not the true length.
    pub claimed_len: Option<u32>,
}

impl Message {
    /// A message of type `kind` without flags or payload.
    pub fn new(kind: u16) -> Self {
        Message { kind, ..Message::default() }
    }

    /// A request of type `kind`: `NLM_F_REQUEST` is set.
    pub fn request(kind: u16) -> Self {
        Message::new(kind).with(NLM_F_REQUEST)
    }

    /// Adds flags.
    pub fn with(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// Sets the sequence number.
    pub fn seq(mut self, seq: u32) -> Self {
        self.seq = seq;
        self
    }

    /// Sets the port ID.
    pub fn portid(mut self, portid: u32) -> Self {
        self.portid = portid;
        self
    }

    /// Writes this as `nlmsg_len`, true or not.
    pub fn claim_len(mut self, len: u32) -> Self {
        self.claimed_len = Some(len);
        self
    }

    /// Appends bytes as they are.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.payload.extend_from_slice(bytes);
        self
    }

    /// Appends attributes.
    pub fn attrs(self, attrs: Attrs) -> Self {
        self.bytes(attrs.as_bytes())
    }

    /// `nlmsg_len`.
    pub fn len(&self) -> u32 {
        self.claimed_len.unwrap_or((NLMSG_HDRLEN + self.payload.len()) as u32)
    }

    /// Whether there is nothing after the header.
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// The 16 bytes of the header.
    pub fn header(&self) -> [u8; NLMSG_HDRLEN] {
        let mut header = [0; NLMSG_HDRLEN];
        header[0..4].copy_from_slice(&self.len().to_ne_bytes());
        header[4..6].copy_from_slice(&self.kind.to_ne_bytes());
        header[6..8].copy_from_slice(&self.flags.to_ne_bytes());
        header[8..12].copy_from_slice(&self.seq.to_ne_bytes());
        header[12..16].copy_from_slice(&self.portid.to_ne_bytes());
        header
    }

    /// The message as it is sent, without padding after it.
    pub fn encode(&self) -> Vec<u8> {
        [&self.header()[..], &self.payload].concat()
    }

    /// Parses one message at the start of `bytes`; also returns where the next one starts. `None`
    /// if its length is shorter than a header or longer than what is there (`NLMSG_OK`).
    pub fn decode(bytes: &[u8]) -> Option<(Message, usize)> {
        let len = u32_at(bytes, 0)? as usize;
        let payload = bytes.get(NLMSG_HDRLEN..len)?.to_vec();
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            seq: u32_at(bytes, 8)?,
            portid: u32_at(bytes, 12)?,
            payload,
            claimed_len: None,
        };
        Some((message, align(len).min(bytes.len())))
    }

    /// Parses all messages of a datagram. Bytes that are not a message are returned as the rest.
    pub fn decode_all(mut bytes: &[u8]) -> (Vec<Message>, &[u8]) {
        let mut messages = Vec::new();
        while let Some((message, next)) = Message::decode(bytes) {
            messages.push(message);
            bytes = &bytes[next..];
        }
        (messages, bytes)
    }

    /// The s32 at the start of an `NLMSG_ERROR` or an `NLMSG_DONE`.
    pub fn status(&self) -> Option<i32> {
        array(&self.payload, 0).map(i32::from_ne_bytes)
    }
}

/// Several messages as one datagram: each but the last padded to 4 bytes.
pub fn batch(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.resize(align(bytes.len()), 0);
        bytes.extend(message.encode());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_wire() {
        let sent = Message::request(16).with(NLM_F_ACK).seq(7).portid(9).bytes(&[1, 2, 3]);
        assert_eq!(Message::decode(&sent.encode()), Some((sent, 19)));
    }

    #[test]
    fn a_batch_is_aligned_and_read_back() {
        let messages = [Message::new(1).bytes(&[1]), Message::new(2).bytes(&[2, 3])];
        let bytes = batch(&messages);
        assert_eq!(bytes.len(), 20 + 18);
        assert_eq!(Message::decode_all(&bytes), (messages.to_vec(), &[][..]));
    }

    #[test]
    fn lengths_that_lie_end_the_reading() {
        for claimed in [0, 15, 21, u32::MAX] {
            let bytes = Message::new(1).bytes(&[0; 4]).claim_len(claimed).encode();
            assert_eq!(Message::decode_all(&bytes), (vec![], &bytes[..]), "nlmsg_len {claimed}");
        }
    }
}
