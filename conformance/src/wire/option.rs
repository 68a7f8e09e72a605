//! Names of socket options, for reports.

use nix::libc;

use super::NETLINK_GET_STRICT_CHK;

/// The kernel's name of an option, or its numbers.
pub fn name(level: i32, option: i32) -> String {
    let name = match (level, option) {
        (libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP) => "NETLINK_ADD_MEMBERSHIP",
        (libc::SOL_NETLINK, libc::NETLINK_DROP_MEMBERSHIP) => "NETLINK_DROP_MEMBERSHIP",
        (libc::SOL_NETLINK, libc::NETLINK_PKTINFO) => "NETLINK_PKTINFO",
        (libc::SOL_NETLINK, libc::NETLINK_BROADCAST_ERROR) => "NETLINK_BROADCAST_ERROR",
        (libc::SOL_NETLINK, libc::NETLINK_NO_ENOBUFS) => "NETLINK_NO_ENOBUFS",
        (libc::SOL_NETLINK, libc::NETLINK_LISTEN_ALL_NSID) => "NETLINK_LISTEN_ALL_NSID",
        (libc::SOL_NETLINK, libc::NETLINK_LIST_MEMBERSHIPS) => "NETLINK_LIST_MEMBERSHIPS",
        (libc::SOL_NETLINK, libc::NETLINK_CAP_ACK) => "NETLINK_CAP_ACK",
        (libc::SOL_NETLINK, libc::NETLINK_EXT_ACK) => "NETLINK_EXT_ACK",
        (libc::SOL_NETLINK, NETLINK_GET_STRICT_CHK) => "NETLINK_GET_STRICT_CHK",
        (libc::SOL_SOCKET, libc::SO_RCVBUF) => "SO_RCVBUF",
        (libc::SOL_SOCKET, libc::SO_SNDBUF) => "SO_SNDBUF",
        (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE) => "SO_RCVBUFFORCE",
        (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE) => "SO_SNDBUFFORCE",
        (libc::SOL_SOCKET, libc::SO_TYPE) => "SO_TYPE",
        (libc::SOL_SOCKET, libc::SO_ERROR) => "SO_ERROR",
        (libc::SOL_SOCKET, libc::SO_PROTOCOL) => "SO_PROTOCOL",
        (libc::SOL_SOCKET, libc::SO_DOMAIN) => "SO_DOMAIN",
        _ => return format!("level {level} option {option}"),
    };
    name.into()
}
