//! What cases share: the bus that they work with, threads that race, and dumps, families and sockets that
//! many of them need.

pub mod bus;
pub mod client;
pub mod dumps;
pub mod interfaces;
pub mod memberships;
pub mod modules;
pub mod multicasts;
pub mod namespaces;
pub mod refused;
pub mod requests;
pub mod threads;
pub mod validated;

/// A protocol number that no kernel uses, for protocols that cases create.
pub const FREE_PROTOCOL: i32 = 29;

/// A port ID that a socket has only if a case binds it: no process has it as its ID (`PID_MAX_LIMIT`), and those that
/// the kernel chooses otherwise have the highest bit (`netlink_autobind()`).
pub const PORT: u32 = 0x1000_0777;
/// Another one.
pub const OTHER_PORT: u32 = PORT + 1;
