//! The capabilities that the kernel offers to this process.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::libc;
use nix::unistd::geteuid;

use super::abi;
use super::device::Device;
use super::events;
use super::memory;
use super::modules;
use super::sample;
use super::socket::LinuxSocket;
use crate::port::provider::Unable;
use crate::port::{Outgoing, Receive, Socket};
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLMSG_DONE};
use crate::wire::sock_diag;

/// A capability, and the protocol that has to be open for it.
const PROTOCOLS: &[(&str, i32)] = &[
    ("route", libc::NETLINK_ROUTE),
    ("usersock", libc::NETLINK_USERSOCK),
    ("sock-diag", libc::NETLINK_SOCK_DIAG),
    ("connector", libc::NETLINK_CONNECTOR),
    ("genetlink", libc::NETLINK_GENERIC),
];

/// A capability, and the file that has to exist for it.
const FILES: &[(&str, &str)] = &[
    ("net-namespaces", "/proc/self/ns/net"),
    ("user-namespaces", "/proc/self/ns/user"),
    ("pid-namespaces", "/proc/self/ns/pid"),
    ("proc-netlink", "/proc/net/netlink"),
    ("proc-connector", "/proc/net/connector"),
    ("tracing", events::INSTANCES),
];

/// A capability, the probe's bit for it, and the reason for its absence if the bit is not set.
const FEATURES: &[(&str, u32, &str)] = &[
    ("split-ops", abi::NLPROBE_HAS_SPLIT_OPS, "struct genl_family has no split_ops"),
    ("resv-start-op", abi::NLPROBE_HAS_RESV_START_OP, "struct genl_family has no resv_start_op"),
    ("family-bind", abi::NLPROBE_HAS_FAMILY_BIND, "struct genl_family has no bind"),
    (
        "filtered-multicast",
        abi::NLPROBE_HAS_FILTERED_MULTICAST,
        "there is no genlmsg_multicast_netns_filtered()",
    ),
    ("uint", abi::NLPROBE_HAS_UINT, "there is no NLA_UINT"),
    ("err-msg-fmt", abi::NLPROBE_HAS_ERR_MSG_FMT, "there is no NL_SET_ERR_MSG_FMT()"),
    ("miss-attr", abi::NLPROBE_HAS_MISS_ATTR, "there is no NL_SET_ERR_ATTR_MISS()"),
    ("nlattr-helpers", abi::NLPROBE_HAS_NLATTR_HELPERS, "there is no nla_strscpy()"),
    ("fail-nth", abi::NLPROBE_HAS_FAIL_NTH, "CONFIG_FAILSLAB is off"),
    (
        "connector-filter",
        abi::NLPROBE_HAS_CONNECTOR_FILTER,
        "the kernel has no cn_netlink_send_mult() with a filter",
    ),
];

/// Each capability that a case may need, with the reason if it is missing.
pub fn probe() -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    for (name, protocol) in PROTOCOLS {
        let missing = LinuxSocket::open(libc::SOCK_RAW, *protocol).err();
        found.insert(
            name.to_string(),
            missing.map(|errno| format!("socket() for protocol {protocol} fails with {errno:?}")),
        );
    }
    for (name, file) in FILES {
        found.insert(name.to_string(), (!Path::new(file).exists()).then(|| format!("there is no {file}")));
    }
    found.insert("netlink-diag".into(), no_netlink_diag());
    found.insert("netdev".into(), no_netdev());
    found.insert("processes".into(), None);
    found.insert("parallel-calls".into(), None);
    found.insert("module-requests".into(), modules::missing());
    let filter = LinuxSocket::open(libc::SOCK_RAW, libc::NETLINK_ROUTE)
        .and_then(|socket| socket.attach_filter(u32::MAX));
    found.insert(
        "socket-filters".into(),
        filter.err().map(|errno| format!("SO_ATTACH_FILTER gives {errno:?}")),
    );
    found.insert("net-admin".into(), no_net_admin());
    let callbacks = std::fs::read_to_string("/proc/net/connector").unwrap_or_default();
    let listed = callbacks.contains("cn_proc");
    // The file may belong to another kernel than the sockets.
    let no_connector = found["connector"].clone();
    let no_events =
        (!listed).then(|| "/proc/net/connector lists no cn_proc".into()).or(no_connector).or_else(outside);
    found.insert("proc-events".into(), no_events);
    found.insert("connector-sample".into(), sample::missing());
    found.extend(probe_capabilities());
    found
}

/// Why this process is not fully privileged, if it is not.
fn no_net_admin() -> Option<String> {
    if !geteuid().is_root() {
        return Some("the suite does not run as root".into());
    }
    // Root of a user namespace has no privileges outside it, and sees other users as the overflow user.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let everybody = map.is_empty() || map.split_whitespace().eq(["0", "0", "4294967295"]);
    (!everybody).then(|| "the suite is root only in a user namespace".into())
}

/// Why process events ignore this process, if they do: it is
/// in another PID or user namespace than the initial one.
fn outside() -> Option<String> {
    // Their inode numbers are fixed: PROC_*_INIT_INO (include/linux/proc_ns.h).
    [("pid", 0xEFFF_FFFCu64), ("user", 0xEFFF_FFFD)].into_iter().find_map(|(kind, initial)| {
        // Absent if the kernel has no such namespaces.
        let namespace = std::fs::metadata(format!("/proc/self/ns/{kind}")).ok()?;
        (namespace.ino() != initial).then(|| format!("the suite is not in the initial {kind} namespace"))
    })
}

/// Why sock_diag does not list netlink sockets, if it does not. The request is for a protocol
/// that does not exist: only the handler of `AF_NETLINK` ends that dump with ENOENT.
fn no_netlink_diag() -> Option<String> {
    let ask = || {
        let socket = LinuxSocket::open(libc::SOCK_RAW, libc::NETLINK_SOCK_DIAG)?;
        let request = sock_diag::sockets(sock_diag::NDIAG_PROTO_ALL - 1, 0).seq(1).encode();
        socket.send(&Outgoing { bytes: request, ..Outgoing::default() })?;
        socket.receive(&Receive { room: 1024, flags: libc::MSG_DONTWAIT })
    };
    match ask().map(|answer| Message::decode_all(&answer.bytes).0.first().map(|first| first.kind)) {
        Ok(Some(NLMSG_DONE)) => None,
        Ok(_) => Some("sock_diag does not support AF_NETLINK (CONFIG_NETLINK_DIAG)".into()),
        Err(errno) => Some(format!("sock_diag fails with {errno:?}")),
    }
}

/// Why the family netdev does not bind receive queues, if it does not.
fn no_netdev() -> Option<String> {
    let name = Attrs::new().string(genl::CTRL_ATTR_FAMILY_NAME, genl::NETDEV_FAMILY_NAME);
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, name).seq(1);
    let ask = || {
        let socket = LinuxSocket::open(libc::SOCK_RAW, libc::NETLINK_GENERIC)?;
        socket.send(&Outgoing { bytes: request.encode(), ..Outgoing::default() })?;
        socket.receive(&Receive { room: 8192, flags: libc::MSG_DONTWAIT })
    };
    let answer = ask().map(|answer| Message::decode_all(&answer.bytes).0).unwrap_or_default();
    let binds = |op: &(u32, u32)| op.0 == u32::from(genl::NETDEV_CMD_BIND_RX);
    let family = answer.first().map(genl::FamilyInfo::read);
    let found = family.is_some_and(|family| family.ops.iter().any(binds));
    (!found).then(|| "there is no family netdev with NETDEV_CMD_BIND_RX".into())
}

/// The capability `probe`, and the features of the kernel that the probe reports.
fn probe_capabilities() -> Vec<(String, Option<String>)> {
    let probe = Device::open().map(|(_, info)| info.features).map_err(|unable| match unable {
        Unable::Unsupported(reason) | Unable::Failed(reason) => reason,
    });
    let missing = |bit: u32, fact: &str| match &probe {
        Ok(features) => (features & bit == 0).then(|| fact.to_string()),
        Err(reason) => Some(reason.clone()),
    };
    let features = FEATURES.iter().map(|(name, bit, fact)| (name.to_string(), missing(*bit, fact)));
    // The probe knows how the kernel was built, not how it is configured at run time.
    let features = features.map(|(name, reason)| match &name[..] {
        "fail-nth" => (name, reason.or_else(memory::missing)),
        _ => (name, reason),
    });
    features.chain([("probe".to_string(), probe.as_ref().err().cloned())]).collect()
}
