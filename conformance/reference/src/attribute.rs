//! The attributes of a request, and how one is refused.

use nix::errno::Errno;
use nlconform::port::provider::PolicyEntry;
use nlconform::wire::attr::NLA_HDRLEN;

use super::message::ExtAck;

/// The place of an attribute in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Offset from the request's nlmsghdr.
    pub at: usize,
    /// `nla_len`.
    pub len: usize,
    /// `nla_type`, flags included.
    pub raw: u16,
}

impl Slot {
    /// Its payload.
    pub fn data<'r>(&self, request: &'r [u8]) -> &'r [u8] {
        &request[self.at + NLA_HDRLEN..self.at + self.len]
    }
}

/// The attributes of a request, by type.
#[derive(Debug, Clone, Default)]
pub struct Attributes(pub Vec<Option<Slot>>);

impl Attributes {
    /// The attribute of this type.
    pub fn get(&self, kind: u16) -> Option<Slot> {
        self.0.get(kind as usize).copied().flatten()
    }

    /// For each type from 0 on, whether it is present.
    pub fn present(&self) -> Vec<u8> {
        self.0.iter().map(|slot| slot.is_some().into()).collect()
    }
}

/// Refuses an attribute, and reports its policy if there is something to report.
pub fn refuse(
    extack: &mut ExtAck,
    slot: Slot,
    entry: Option<&PolicyEntry>,
    text: &str,
    errno: Errno,
) -> Result<(), Errno> {
    extack.text = Some(text.into());
    extack.bad_attr = Some(slot.at);
    extack.policy = entry.cloned();
    Err(errno)
}
