//! Sockets whose bind() is refused because the port ID is another socket's.

use nix::errno::Errno;

use super::PORT;
use super::bus::{Bus, Socket};
use crate::outcome::{Failure, expect_errno};
use crate::wire::address::Address;
use crate::wire::route;

/// The owner of [`PORT`], and a socket of the same protocol that wanted it and did not get it.
///
/// # Errors
/// A mismatch if it is not refused.
pub fn owner_and_refused(bus: &Bus<'_>, protocol: i32) -> Result<(Socket, Socket), Failure> {
    let (owner, refused) = (bus.open(protocol)?, bus.open(protocol)?);
    owner.bind(Address::port(PORT))?;
    expect_errno("bind() to a port in use", refused.bind(Address::port(PORT)), Errno::EADDRINUSE)?;
    Ok((owner, refused))
}

/// How a socket gets a port ID afterwards.
pub type Way = fn(&Socket) -> Result<(), Errno>;

/// The ways that name none.
pub const WAYS: &[(&str, Way)] = &[
    ("send", |socket| match socket.send_to(Address::KERNEL, &route::refused(1).encode()) {
        // NETLINK_USERSOCK has nobody at port 0.
        Ok(_) | Err(Errno::ECONNREFUSED) => Ok(()),
        Err(errno) => Err(errno),
    }),
    ("connect", |socket| socket.connect(Address::KERNEL)),
];
