//! What the kernel offers to this process.

use std::collections::BTreeMap;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::geteuid;

use super::socket::LinuxSocket;

/// Capability, and the protocol whose socket shows it.
const PROTOCOLS: &[(&str, i32)] = &[
    ("route", libc::NETLINK_ROUTE),
    ("usersock", libc::NETLINK_USERSOCK),
    ("sock-diag", libc::NETLINK_SOCK_DIAG),
    ("connector", libc::NETLINK_CONNECTOR),
    ("genetlink", libc::NETLINK_GENERIC),
];

/// Capability, and the file whose existence shows it.
const FILES: &[(&str, &str)] = &[
    ("net-namespaces", "/proc/self/ns/net"),
    ("user-namespaces", "/proc/self/ns/user"),
    ("pid-namespaces", "/proc/self/ns/pid"),
    ("proc-netlink", "/proc/net/netlink"),
];

/// Each capability that a case may need, with the reason why it is missing, if it is.
pub fn probe() -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    for (name, protocol) in PROTOCOLS {
        let missing = LinuxSocket::open(libc::SOCK_RAW, *protocol).err();
        found.insert(
            name.to_string(),
            missing.map(|errno| format!("socket() of protocol {protocol} gives {errno:?}")),
        );
    }
    for (name, file) in FILES {
        found.insert(name.to_string(), (!Path::new(file).exists()).then(|| format!("there is no {file}")));
    }
    found.insert("processes".into(), None);
    found.insert("net-admin".into(), (!geteuid().is_root()).then(|| "the suite does not run as root".into()));
    let callbacks = std::fs::read_to_string("/proc/net/connector").unwrap_or_default();
    let proc_events = callbacks.contains("cn_proc");
    found.insert("proc-events".into(), (!proc_events).then(|| "/proc/net/connector lists no cn_proc".into()));
    found.insert("probe".into(), Some(format!("no /dev/nlprobe: {:?}", Errno::ENOENT)));
    found
}
