//! Messages of protocols other than NETLINK_GENERIC, as the crates ask their users to define them.

use adapter::{Message, Question};
use netlink_packet_core::{
    DecodeError, NetlinkDeserializable, NetlinkHeader, NetlinkPayload, NetlinkSerializable,
};

/// A message, whose payload is not looked at.
#[derive(Debug, Clone)]
pub struct Bytes {
    pub kind: u16,
    pub payload: Vec<u8>,
}

impl NetlinkSerializable for Bytes {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.payload.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.payload);
    }
}

impl NetlinkDeserializable for Bytes {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Bytes, DecodeError> {
        Ok(Bytes { kind: header.message_type, payload: payload.to_vec() })
    }
}

impl From<Bytes> for NetlinkPayload<Bytes> {
    fn from(bytes: Bytes) -> NetlinkPayload<Bytes> {
        NetlinkPayload::InnerMessage(bytes)
    }
}

impl Bytes {
    /// What a question asks to send.
    pub fn asked(question: &Question) -> Bytes {
        Bytes { kind: question.kind, payload: question.payload.clone() }
    }

    pub fn shown(&self) -> Result<Message, String> {
        Ok(Message { payload: Some(self.payload.clone()), ..Message::default() })
    }
}
