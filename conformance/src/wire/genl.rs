//! `struct genlmsghdr` and the controller's messages (include/uapi/linux/genetlink.h).

use super::attr::{self, Attr, Attrs};
use super::message::{Message, NLM_F_REQUEST};

/// Bytes of `struct genlmsghdr`.
pub const GENL_HDRLEN: usize = 4;
/// Bytes of a family's or group's name, with its NUL (`GENL_NAMSIZ`).
pub const GENL_NAMSIZ: usize = 16;

/// The controller's id (`GENL_ID_CTRL`).
pub const GENL_ID_CTRL: u16 = 0x10;
/// First ID that is allocated dynamically (`GENL_START_ALLOC`).
pub const GENL_START_ALLOC: u16 = 0x13;
/// Last id (`GENL_MAX_ID`).
pub const GENL_MAX_ID: u16 = 1023;

/// The controller's group `notify`.
pub const CTRL_NOTIFY: u32 = 16;

/// `CTRL_CMD_NEWFAMILY`.
pub const CTRL_CMD_NEWFAMILY: u8 = 1;
/// `CTRL_CMD_DELFAMILY`.
pub const CTRL_CMD_DELFAMILY: u8 = 2;
/// `CTRL_CMD_GETFAMILY`.
pub const CTRL_CMD_GETFAMILY: u8 = 3;
/// `CTRL_CMD_NEWMCAST_GRP`.
pub const CTRL_CMD_NEWMCAST_GRP: u8 = 7;
/// `CTRL_CMD_DELMCAST_GRP`.
pub const CTRL_CMD_DELMCAST_GRP: u8 = 8;
/// `CTRL_CMD_GETPOLICY`.
pub const CTRL_CMD_GETPOLICY: u8 = 10;

/// `CTRL_ATTR_FAMILY_ID`, u16.
pub const CTRL_ATTR_FAMILY_ID: u16 = 1;
/// `CTRL_ATTR_FAMILY_NAME`, string.
pub const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// `CTRL_ATTR_VERSION`, u32.
pub const CTRL_ATTR_VERSION: u16 = 3;
/// `CTRL_ATTR_HDRSIZE`, u32.
pub const CTRL_ATTR_HDRSIZE: u16 = 4;
/// `CTRL_ATTR_MAXATTR`, u32.
pub const CTRL_ATTR_MAXATTR: u16 = 5;
/// `CTRL_ATTR_OPS`, nest of nests.
pub const CTRL_ATTR_OPS: u16 = 6;
/// `CTRL_ATTR_MCAST_GROUPS`, nest of nests.
pub const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
/// `CTRL_ATTR_POLICY`, nest.
pub const CTRL_ATTR_POLICY: u16 = 8;
/// `CTRL_ATTR_OP_POLICY`, nest.
pub const CTRL_ATTR_OP_POLICY: u16 = 9;
/// `CTRL_ATTR_OP`, u32.
pub const CTRL_ATTR_OP: u16 = 10;

/// `NETDEV_FAMILY_NAME`: the family of network devices.
pub const NETDEV_FAMILY_NAME: &str = "netdev";
/// `NETDEV_CMD_DEV_GET`: describes a device, or each.
pub const NETDEV_CMD_DEV_GET: u8 = 1;
/// `NETDEV_CMD_DEV_ADD_NTF`: describes a new device.
pub const NETDEV_CMD_DEV_ADD_NTF: u8 = 2;
/// `NETDEV_A_DEV_IFINDEX`: a device's number.
pub const NETDEV_A_DEV_IFINDEX: u16 = 1;
/// `NETDEV_CMD_BIND_RX`: binds receive queues of a device to a dma-buf.
pub const NETDEV_CMD_BIND_RX: u8 = 13;

/// `GENL_ADMIN_PERM`: the command needs CAP_NET_ADMIN in the initial user namespace.
pub const GENL_ADMIN_PERM: u8 = 0x01;
/// `GENL_CMD_CAP_DO`.
pub const GENL_CMD_CAP_DO: u8 = 0x02;
/// `GENL_CMD_CAP_DUMP`.
pub const GENL_CMD_CAP_DUMP: u8 = 0x04;
/// `GENL_CMD_CAP_HASPOL`.
pub const GENL_CMD_CAP_HASPOL: u8 = 0x08;
/// `GENL_UNS_ADMIN_PERM`: CAP_NET_ADMIN in the user namespace that owns the network namespace.
pub const GENL_UNS_ADMIN_PERM: u8 = 0x10;

/// The four bytes of a `struct genlmsghdr` with `reserved` 0.
pub fn header(cmd: u8, version: u8) -> [u8; GENL_HDRLEN] {
    [cmd, version, 0, 0]
}

/// A request for a command of a family without a header of its own.
pub fn request(family: u16, cmd: u8, attrs: Attrs) -> Message {
    Message::new(family).with(NLM_F_REQUEST).bytes(&header(cmd, 1)).attrs(attrs)
}

/// The command of a generic netlink message.
pub fn cmd(message: &Message) -> Option<u8> {
    message.payload.first().copied()
}

/// The attributes of a message of a family without a header of its own.
pub fn attrs(message: &Message) -> Vec<Attr<'_>> {
    attr::parse(message.payload.get(GENL_HDRLEN..).unwrap_or_default())
}

/// The controller's description of a family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FamilyInfo {
    /// `CTRL_ATTR_FAMILY_NAME`.
    pub name: String,
    /// `CTRL_ATTR_FAMILY_ID`.
    pub id: u16,
    /// `CTRL_ATTR_VERSION`.
    pub version: u32,
    /// `CTRL_ATTR_HDRSIZE`.
    pub hdrsize: u32,
    /// `CTRL_ATTR_MAXATTR`.
    pub maxattr: u32,
    /// `CTRL_ATTR_OPS`: command and flags of each, in order.
    pub ops: Vec<(u32, u32)>,
    /// `CTRL_ATTR_MCAST_GROUPS`: id and name of each, in order.
    pub groups: Vec<(u32, String)>,
}

impl FamilyInfo {
    /// Parses a `NEWFAMILY`, `DELFAMILY`, `NEWMCAST_GRP` or `DELMCAST_GRP`. What it does not contain
    /// stays at its default.
    pub fn read(message: &Message) -> FamilyInfo {
        let attrs = attrs(message);
        let number = |kind| attr::find(&attrs, kind).and_then(|attr| attr.u32()).unwrap_or(0);
        let nests = |kind| -> Vec<Vec<Attr<'_>>> {
            let list = attr::find(&attrs, kind).map(|attr| attr.nested()).unwrap_or_default();
            list.iter().map(Attr::nested).collect()
        };
        let inner = |nest: &[Attr<'_>], kind| attr::find(nest, kind).and_then(|attr| attr.u32()).unwrap_or(0);
        FamilyInfo {
            name: attr::find(&attrs, CTRL_ATTR_FAMILY_NAME).map(|attr| attr.string()).unwrap_or_default(),
            id: attr::find(&attrs, CTRL_ATTR_FAMILY_ID).and_then(|attr| attr.u16()).unwrap_or(0),
            version: number(CTRL_ATTR_VERSION),
            hdrsize: number(CTRL_ATTR_HDRSIZE),
            maxattr: number(CTRL_ATTR_MAXATTR),
            // CTRL_ATTR_OP_ID is 1, CTRL_ATTR_OP_FLAGS 2.
            ops: nests(CTRL_ATTR_OPS).iter().map(|op| (inner(op, 1), inner(op, 2))).collect(),
            // CTRL_ATTR_MCAST_GRP_NAME is 1, CTRL_ATTR_MCAST_GRP_ID 2.
            groups: nests(CTRL_ATTR_MCAST_GROUPS)
                .iter()
                .map(|group| {
                    (inner(group, 2), attr::find(group, 1).map(|attr| attr.string()).unwrap_or_default())
                })
                .collect(),
        }
    }
}
