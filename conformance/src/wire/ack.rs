//! `NLMSG_ERROR`, `NLMSG_DONE` and the extended acknowledgement
//! (Documentation/userspace-api/netlink/intro.rst, "Extended ACK").

use nix::errno::Errno;

use super::attr::{self, Attr};
use super::message::{self, Message, NLM_F_ACK_TLVS, NLM_F_CAPPED};
use super::policy::Advertised;
use super::{align, u32_at};

/// The message.
pub const NLMSGERR_ATTR_MSG: u16 = 1;
/// Offset of the bad attribute from the request's nlmsghdr.
pub const NLMSGERR_ATTR_OFFS: u16 = 2;
/// Bytes for the protocol's own use.
pub const NLMSGERR_ATTR_COOKIE: u16 = 3;
/// Policy that the attribute violates.
pub const NLMSGERR_ATTR_POLICY: u16 = 4;
/// Type of a missing attribute.
pub const NLMSGERR_ATTR_MISS_TYPE: u16 = 5;
/// Offset of the nest that lacks it.
pub const NLMSGERR_ATTR_MISS_NEST: u16 = 6;

/// The status in an `NLMSG_ERROR` or `NLMSG_DONE`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    /// 0, or a negative errno.
    pub status: i32,
    /// `NLMSGERR_ATTR_MSG`.
    pub message: Option<String>,
    /// `NLMSGERR_ATTR_OFFS`.
    pub offset: Option<u32>,
    /// `NLMSGERR_ATTR_COOKIE`.
    pub cookie: Option<Vec<u8>>,
    /// `NLMSGERR_ATTR_POLICY`: the bytes of its nest.
    pub policy: Option<Vec<u8>>,
    /// `NLMSGERR_ATTR_MISS_TYPE`.
    pub miss_type: Option<u32>,
    /// `NLMSGERR_ATTR_MISS_NEST`.
    pub miss_nest: Option<u32>,
    /// Types of the extended-ack attributes in the order received, flags included.
    pub order: Vec<u16>,
}

impl Ack {
    /// Parses an `NLMSG_ERROR` or an `NLMSG_DONE`. `None` if it is too short for a status.
    pub fn read(message: &Message) -> Option<Ack> {
        let mut ack = Ack { status: message.status()?, ..Ack::default() };
        for attr in tlvs(message) {
            ack.order.push(attr.raw_kind);
            match attr.kind() {
                NLMSGERR_ATTR_MSG => ack.message = Some(attr.string()),
                NLMSGERR_ATTR_OFFS => ack.offset = attr.u32(),
                NLMSGERR_ATTR_COOKIE => ack.cookie = Some(attr.data.to_vec()),
                NLMSGERR_ATTR_POLICY => ack.policy = Some(attr.data.to_vec()),
                NLMSGERR_ATTR_MISS_TYPE => ack.miss_type = attr.u32(),
                NLMSGERR_ATTR_MISS_NEST => ack.miss_nest = attr.u32(),
                _ => {}
            }
        }
        Some(ack)
    }

    /// `NLMSGERR_ATTR_POLICY`, read.
    pub fn advertised(&self) -> Option<Advertised> {
        self.policy.as_deref().map(|policy| Advertised::read(&attr::parse(policy)))
    }

    /// The status as a result.
    pub fn result(&self) -> Result<(), Errno> {
        match self.status {
            0 => Ok(()),
            status => Err(Errno::from_raw(status.wrapping_neg())),
        }
    }
}

/// What follows the error in an `NLMSG_ERROR`: the copy of the request, and attributes if there are any.
pub fn copy(message: &Message) -> &[u8] {
    message.payload.get(4..).unwrap_or_default()
}

/// Length of the copy of the request in an `NLMSG_ERROR` with these flags, whose copy and attributes these are: its
/// header if `NLM_F_CAPPED` is set, else all that it claims (`netlink_ack()`).
pub fn copied(flags: u16, copy: &[u8]) -> usize {
    match flags & NLM_F_CAPPED {
        0 => u32_at(copy, 0).unwrap_or(0) as usize,
        _ => message::NLMSG_HDRLEN,
    }
}

/// The extended-ack attributes of an `NLMSG_ERROR` or `NLMSG_DONE`. In an error they follow the
/// copy of the request, in a `DONE` the status.
pub fn tlvs(message: &Message) -> Vec<Attr<'_>> {
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return Vec::new();
    }
    let echoed = match message.kind {
        message::NLMSG_ERROR => align(copied(message.flags, copy(message))),
        _ => 0,
    };
    attr::parse(message.payload.get(4 + echoed..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::attr::Attrs;
    use super::*;

    fn error(flags: u16, echoed: &[u8]) -> Message {
        let tlvs = Attrs::new().string(NLMSGERR_ATTR_MSG, "no").u32(NLMSGERR_ATTR_OFFS, 20);
        Message::new(message::NLMSG_ERROR)
            .with(flags | NLM_F_ACK_TLVS)
            .bytes(&(-22i32).to_ne_bytes())
            .bytes(echoed)
            .attrs(tlvs)
    }

    #[test]
    fn attributes_are_found_behind_a_capped_and_a_full_request() {
        let request = Message::request(16).bytes(&[0; 8]).encode();
        for ack in [error(NLM_F_CAPPED, &request[..16]), error(0, &request)] {
            let ack = Ack::read(&ack).unwrap();
            assert_eq!((ack.message.as_deref(), ack.offset), (Some("no"), Some(20)));
            assert_eq!(ack.result(), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn a_request_length_that_lies_hides_the_attributes_and_nothing_else() {
        let request = Message::request(16).claim_len(u32::MAX).encode();
        assert_eq!(Ack::read(&error(0, &request)).unwrap().message, None);
    }
}
