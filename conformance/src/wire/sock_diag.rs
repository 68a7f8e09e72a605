//! Netlink sockets in sock_diag (include/uapi/linux/netlink_diag.h).

use super::attr::{self, Attr};
use super::message::{Message, NLM_F_DUMP};
use super::{array, u32_at};

/// `SOCK_DIAG_BY_FAMILY`: type of requests and records.
pub const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// All protocols (`NDIAG_PROTO_ALL`).
pub const NDIAG_PROTO_ALL: u8 = 255;

/// `NDIAG_SHOW_MEMINFO`.
pub const NDIAG_SHOW_MEMINFO: u32 = 0x1;
/// `NDIAG_SHOW_GROUPS`.
pub const NDIAG_SHOW_GROUPS: u32 = 0x2;
/// `NDIAG_SHOW_FLAGS`.
pub const NDIAG_SHOW_FLAGS: u32 = 0x8;

/// A dump is running (`NDIAG_FLAG_CB_RUNNING`).
pub const NDIAG_FLAG_CB_RUNNING: u32 = 0x1;
/// `NDIAG_FLAG_PKTINFO`.
pub const NDIAG_FLAG_PKTINFO: u32 = 0x2;
/// `NDIAG_FLAG_BROADCAST_ERROR`.
pub const NDIAG_FLAG_BROADCAST_ERROR: u32 = 0x4;
/// `NDIAG_FLAG_NO_ENOBUFS`.
pub const NDIAG_FLAG_NO_ENOBUFS: u32 = 0x8;
/// `NDIAG_FLAG_LISTEN_ALL_NSID`.
pub const NDIAG_FLAG_LISTEN_ALL_NSID: u32 = 0x10;
/// `NDIAG_FLAG_CAP_ACK`.
pub const NDIAG_FLAG_CAP_ACK: u32 = 0x20;

/// `NETLINK_DIAG_MEMINFO`.
pub const NETLINK_DIAG_MEMINFO: u16 = 0;
/// `NETLINK_DIAG_GROUPS`.
pub const NETLINK_DIAG_GROUPS: u16 = 1;
/// `NETLINK_DIAG_FLAGS`, u32.
pub const NETLINK_DIAG_FLAGS: u16 = 4;

/// Bytes of `struct netlink_diag_msg`.
const RECORD: usize = 28;
/// Bytes in the receive queue (`SK_MEMINFO_RMEM_ALLOC`), an index into `NETLINK_DIAG_MEMINFO`.
const RMEM_ALLOC: usize = 0;
/// Messages lost (`SK_MEMINFO_DROPS`), an index into `NETLINK_DIAG_MEMINFO`.
const DROPS: usize = 8;

/// A request for a dump of the netlink sockets of this protocol.
pub fn sockets(protocol: u8, show: u32) -> Message {
    const NO_COOKIE: [u8; 8] = [0xff; 8];
    Message::request(SOCK_DIAG_BY_FAMILY)
        .with(NLM_F_DUMP)
        .bytes(&[nix::libc::AF_NETLINK as u8, protocol, 0, 0])
        .bytes(&[0; 4]) // ndiag_ino, which dumps ignore
        .bytes(&show.to_ne_bytes())
        .bytes(&NO_COOKIE)
}

/// A netlink socket as sock_diag reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// `ndiag_family`.
    pub family: u8,
    /// `ndiag_type`.
    pub kind: u8,
    /// `ndiag_protocol`.
    pub protocol: u8,
    /// `ndiag_state`.
    pub state: u8,
    /// `ndiag_portid`.
    pub portid: u32,
    /// `ndiag_dst_portid`.
    pub peer: u32,
    /// `ndiag_dst_group`.
    pub peer_group: u32,
    /// `ndiag_ino`.
    pub inode: u32,
    /// `ndiag_cookie`.
    pub cookie: u64,
    /// Types of the attributes, in order.
    pub attributes: Vec<u16>,
    /// `NETLINK_DIAG_GROUPS`: the membership bits.
    pub groups: Vec<u8>,
    /// `NETLINK_DIAG_FLAGS`; 0 if not shown.
    pub flags: u32,
    /// Bytes that count against its receive buffer; 0 if not shown.
    pub received: u32,
    /// Messages that it lost; 0 if not shown.
    pub drops: u32,
    /// Whether a dump is running; false if not shown.
    pub dumping: bool,
}

impl Record {
    /// Parses a record. `None` if it is too short.
    pub fn read(message: &Message) -> Option<Record> {
        let [family, kind, protocol, state] = array(&message.payload, 0)?;
        let attrs = attr::parse(message.payload.get(RECORD..)?);
        let meminfo = |index: usize| u32_at(attr::find(&attrs, NETLINK_DIAG_MEMINFO)?.data, 4 * index);
        let flags = attr::find(&attrs, NETLINK_DIAG_FLAGS).and_then(|attr| attr.u32()).unwrap_or(0);
        let [cookie_low, cookie_high] = [20, 24].map(|offset| u32_at(&message.payload, offset));
        Some(Record {
            family,
            kind,
            protocol,
            state,
            portid: u32_at(&message.payload, 4)?,
            peer: u32_at(&message.payload, 8)?,
            peer_group: u32_at(&message.payload, 12)?,
            inode: u32_at(&message.payload, 16)?,
            cookie: u64::from(cookie_high?) << 32 | u64::from(cookie_low?),
            attributes: attrs.iter().map(Attr::kind).collect(),
            groups: attr::find(&attrs, NETLINK_DIAG_GROUPS)
                .map(|attr| attr.data.to_vec())
                .unwrap_or_default(),
            flags,
            received: meminfo(RMEM_ALLOC).unwrap_or(0),
            drops: meminfo(DROPS).unwrap_or(0),
            dumping: flags & NDIAG_FLAG_CB_RUNNING != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::attr::Attrs;
    use super::*;

    #[test]
    fn a_record_is_read_and_a_short_one_is_not() {
        let meminfo: Vec<u8> = (1..=9u32).flat_map(u32::to_ne_bytes).collect();
        let message = Message::new(SOCK_DIAG_BY_FAMILY)
            .bytes(&[16, 3, 2, 7])
            .bytes(&[7u32, 5, 3, 9, 1, 2].map(u32::to_ne_bytes).concat())
            .attrs(
                Attrs::new()
                    .put(NETLINK_DIAG_MEMINFO, &meminfo)
                    .put(NETLINK_DIAG_GROUPS, &[4])
                    .u32(NETLINK_DIAG_FLAGS, 0x21),
            );
        let record = Record::read(&message).unwrap();
        let expected = Record {
            family: 16,
            kind: 3,
            protocol: 2,
            state: 7,
            portid: 7,
            peer: 5,
            peer_group: 3,
            inode: 9,
            cookie: 2 << 32 | 1,
            attributes: vec![NETLINK_DIAG_MEMINFO, NETLINK_DIAG_GROUPS, NETLINK_DIAG_FLAGS],
            groups: vec![4],
            flags: 0x21,
            received: 1,
            drops: 9,
            dumping: true,
        };
        assert_eq!(record, expected);
        assert_eq!(Record::read(&Message::new(SOCK_DIAG_BY_FAMILY).bytes(&[0; 27])), None);
    }
}
