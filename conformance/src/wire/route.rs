//! The few messages of NETLINK_ROUTE that cases need (include/uapi/linux/rtnetlink.h, if_link.h,
//! net_namespace.h).

use super::attr::Attrs;
use super::message::Message;

/// `RTM_NEWLINK`.
pub const RTM_NEWLINK: u16 = 16;
/// `RTM_DELLINK`.
pub const RTM_DELLINK: u16 = 17;
/// `RTM_GETLINK`.
pub const RTM_GETLINK: u16 = 18;
/// `RTM_NEWLINKPROP`.
pub const RTM_NEWLINKPROP: u16 = 108;
/// `RTM_NEWNSID`.
pub const RTM_NEWNSID: u16 = 88;
/// `RTM_DELNSID`.
pub const RTM_DELNSID: u16 = 89;
/// `RTNLGRP_NSID`, the group that hears of both.
pub const RTNLGRP_NSID: u32 = 28;

/// `IFLA_IFNAME`, string.
const IFNAME: u16 = 3;
/// `IFLA_LINKINFO`, nest.
const LINKINFO: u16 = 18;
/// `IFLA_EXT_MASK`, u32 of `RTEXT_FILTER_*`.
pub const EXT_MASK: u16 = 29;
/// `RTEXT_FILTER_SKIP_STATS`.
pub const SKIP_STATS: u32 = 8;
/// `IFLA_PROP_LIST`, nest.
const PROP_LIST: u16 = 52;
/// `IFLA_ALT_IFNAME`, string within `PROP_LIST`.
const ALT_IFNAME: u16 = 53;
/// `IFLA_INFO_KIND`, string within `LINKINFO`.
const INFO_KIND: u16 = 1;
/// `NETNSA_NSID`, s32.
const NETNSA_NSID: u16 = 1;
/// `NETNSA_PID`, u32.
const NETNSA_PID: u16 = 2;

/// `struct ifinfomsg`, except for fields that cases leave 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// `ifi_index`.
    pub index: i32,
    /// `ifi_flags`.
    pub flags: u32,
    /// `ifi_change`.
    pub change: u32,
}

/// A request that fails: it asks for an interface and is too short to say which. This is where
/// implementations differ least, so cases send it if they need any answer.
pub fn refused(seq: u32) -> Message {
    Message::request(RTM_GETLINK).seq(seq).bytes(&[0; 4])
}

/// A request about an interface.
pub fn link(kind: u16, link: Link) -> Message {
    Message::request(kind)
        .bytes(&[0; 4]) // ifi_family, padding, ifi_type
        .bytes(&link.index.to_ne_bytes())
        .bytes(&link.flags.to_ne_bytes())
        .bytes(&link.change.to_ne_bytes())
}

/// Attributes that name a new interface and say what it is.
pub fn new_link(name: &str, kind: &str) -> Attrs {
    Attrs::new().string(IFNAME, name).nest(LINKINFO, Attrs::new().string(INFO_KIND, kind))
}

/// Attributes that give an interface these names, too.
pub fn names(names: &[String]) -> Attrs {
    let list = names.iter().fold(Attrs::new(), |list, name| list.string(ALT_IFNAME, name));
    Attrs::new().nest(PROP_LIST, list)
}

/// A request that assigns this ID to the network namespace of a process, in that of the socket.
pub fn new_nsid(process: u32, nsid: i32) -> Message {
    let attrs = Attrs::new().u32(NETNSA_PID, process).put(NETNSA_NSID, &nsid.to_ne_bytes());
    Message::request(RTM_NEWNSID).bytes(&[0; 4]).attrs(attrs)
}
