//! What sock_diag says of netlink sockets (include/uapi/linux/netlink_diag.h).

use super::attr;
use super::message::{DUMP, Message};
use super::{array, u32_at};

/// `SOCK_DIAG_BY_FAMILY`: type of requests and records.
pub const BY_FAMILY: u16 = 20;
/// All protocols (`NDIAG_PROTO_ALL`).
pub const ALL: u8 = 255;

/// `NDIAG_SHOW_MEMINFO`.
pub const SHOW_MEMINFO: u32 = 0x1;
/// `NDIAG_SHOW_GROUPS`.
pub const SHOW_GROUPS: u32 = 0x2;
/// `NDIAG_SHOW_FLAGS`.
pub const SHOW_FLAGS: u32 = 0x8;

/// A dump is running (`NDIAG_FLAG_CB_RUNNING`).
pub const FLAG_CB_RUNNING: u32 = 0x1;

/// Bytes of `struct netlink_diag_msg`.
const RECORD: usize = 28;
/// `NETLINK_DIAG_MEMINFO`.
const MEMINFO: u16 = 0;
/// `NETLINK_DIAG_FLAGS`.
const FLAGS: u16 = 4;
/// Bytes in the receive queue (`SK_MEMINFO_RMEM_ALLOC`), an index into `MEMINFO`.
const RMEM_ALLOC: usize = 0;
/// Messages lost (`SK_MEMINFO_DROPS`), an index into `MEMINFO`.
const DROPS: usize = 8;

/// A request for a dump of the netlink sockets of this protocol.
pub fn sockets(protocol: u8, show: u32) -> Message {
    const NO_COOKIE: [u8; 8] = [0xff; 8];
    Message::request(BY_FAMILY)
        .with(DUMP)
        .bytes(&[nix::libc::AF_NETLINK as u8, protocol, 0, 0])
        .bytes(&[0; 4]) // ndiag_ino, which no dump looks at
        .bytes(&show.to_ne_bytes())
        .bytes(&NO_COOKIE)
}

/// A netlink socket as sock_diag sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// `ndiag_protocol`.
    pub protocol: u8,
    /// `ndiag_portid`.
    pub portid: u32,
    /// `ndiag_ino`.
    pub inode: u32,
    /// Bytes that count against its receive buffer; 0 when not shown.
    pub received: u32,
    /// Messages that it lost; 0 when not shown.
    pub drops: u32,
    /// Whether a dump is running; false when not shown.
    pub dumping: bool,
}

impl Record {
    /// Reads a record. `None` when it is too short.
    pub fn read(message: &Message) -> Option<Record> {
        let [_family, _type, protocol, _state] = array(&message.payload, 0)?;
        let attrs = attr::parse(message.payload.get(RECORD..)?);
        let meminfo = |index: usize| u32_at(attr::find(&attrs, MEMINFO)?.data, 4 * index);
        let flags = attr::find(&attrs, FLAGS).and_then(|attr| attr.u32()).unwrap_or(0);
        Some(Record {
            protocol,
            portid: u32_at(&message.payload, 4)?,
            inode: u32_at(&message.payload, 16)?,
            received: meminfo(RMEM_ALLOC).unwrap_or(0),
            drops: meminfo(DROPS).unwrap_or(0),
            dumping: flags & FLAG_CB_RUNNING != 0,
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
        let message = Message::new(BY_FAMILY)
            .bytes(&[16, 3, 2, 7])
            .bytes(&[7u32, 0, 0, 9, 0, 0].map(u32::to_ne_bytes).concat())
            .attrs(Attrs::new().put(MEMINFO, &meminfo).u32(FLAGS, 0x21));
        let record = Record::read(&message).unwrap();
        let expected = Record { protocol: 2, portid: 7, inode: 9, received: 1, drops: 9, dumping: true };
        assert_eq!(record, expected);
        assert_eq!(Record::read(&Message::new(BY_FAMILY).bytes(&[0; 27])), None);
    }
}
