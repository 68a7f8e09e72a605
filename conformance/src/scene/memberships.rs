//! Joins, leaves and binds of one socket, one after the other, as data.

use super::bus::Socket;
use crate::outcome::Outcome;
use crate::wire::address::Address;

/// What a socket does.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// `NETLINK_ADD_MEMBERSHIP` of this group.
    Join(u32),
    /// `NETLINK_DROP_MEMBERSHIP` of this group.
    Leave(u32),
    /// bind() to the socket's own port ID and this mask of groups.
    Bind(u32),
}

/// Does all of it.
///
/// # Errors
/// Broken if a call fails.
pub fn change(socket: &Socket, changes: &[Change]) -> Outcome {
    for change in changes {
        match *change {
            Change::Join(group) => socket.join(group)?,
            Change::Leave(group) => socket.leave(group)?,
            Change::Bind(groups) => socket.bind(Address { groups, ..socket.name()? })?,
        }
    }
    Ok(())
}
