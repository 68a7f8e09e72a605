//! The bytes of netlink: encode and decode, nothing else.
//!
//! Builders never refuse: a case must be able to send invalid messages. Parsers never panic: what an
//! implementation sends is untrusted. All integers are in host byte order, as in the kernel's
//! uapi headers.

pub mod ack;
pub mod address;
pub mod attr;
pub mod bitmap;
pub mod connector;
pub mod explain;
pub mod genl;
pub mod message;
pub mod option;
pub mod policy;
pub mod process;
pub mod route;
pub mod sock_diag;

/// A socket option that not every version of the crate libc defines.
pub const NETLINK_GET_STRICT_CHK: i32 = 12;

/// Rounds up to the 4 bytes that messages and attributes are aligned to (`NLMSG_ALIGN`).
pub const fn align(len: usize) -> usize {
    (len + 3) & !3
}

/// The `N` bytes at `offset`, if there are that many.
pub(crate) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// The u16 at `offset`, if it is there.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array(bytes, offset).map(u16::from_ne_bytes)
}

/// The u32 at `offset`, if it is there.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array(bytes, offset).map(u32::from_ne_bytes)
}

/// The u64 at `offset`, if it is there.
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array(bytes, offset).map(u64::from_ne_bytes)
}
