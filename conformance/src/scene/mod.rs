//! What cases share: the bus that they work with, threads that race, and dumps, families and sockets that
//! many of them need.

pub mod bus;
pub mod client;
pub mod dumps;
pub mod interfaces;
pub mod modules;
pub mod requests;
pub mod threads;
pub mod validated;

/// A protocol number that no kernel uses, for protocols that cases create.
pub const FREE_PROTOCOL: i32 = 29;
