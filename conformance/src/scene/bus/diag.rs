//! The state of a socket as the target reports it.

use super::{Bus, Socket};
use crate::outcome::{Failure, mismatch};
use crate::port::capability::Capability;
use crate::wire::sock_diag::{self, Record};
use nix::libc;

impl Bus<'_> {
    /// A socket to ask sock_diag for netlink sockets.
    ///
    /// # Errors
    /// `Skip` when the target says nothing of them.
    pub fn diag(&self) -> Result<Socket, Failure> {
        self.need(Capability::NetlinkDiag)?;
        self.bound(libc::NETLINK_SOCK_DIAG)
    }

    /// The state of a socket as the target reports it: queue, drops, running dump.
    ///
    /// # Errors
    /// `Skip` if the target does not report its sockets; a mismatch if it does not list this one.
    pub fn inspect(&self, socket: &Socket) -> Result<Record, Failure> {
        let asking = self.diag()?;
        let show = sock_diag::NDIAG_SHOW_MEMINFO | sock_diag::NDIAG_SHOW_FLAGS;
        let answer = asking.ask(&sock_diag::sockets(socket.protocol() as u8, show))?;
        let inode = socket.raw().inode()?;
        match answer.replies.iter().filter_map(Record::read).find(|record| u64::from(record.inode) == inode) {
            Some(record) => Ok(record),
            None => mismatch("sockets listed by sock_diag", format_args!("inode {inode}"), "no such socket"),
        }
    }

    /// Memory that requests take which the target's own socket of this protocol has not given back.
    ///
    /// # Errors
    /// `Skip` when the target says nothing of its sockets, or has no connector in this network namespace: it is in the
    /// initial one alone. A mismatch when it does not list its socket of another protocol.
    pub fn kernel_queue(&self, protocol: i32) -> Result<u32, Failure> {
        let asking = self.diag()?;
        let answer = asking.ask(&sock_diag::sockets(protocol as u8, sock_diag::NDIAG_SHOW_MEMINFO))?;
        match answer.replies.iter().filter_map(Record::read).find(|record| record.portid == 0) {
            Some(record) => Ok(record.received),
            None if protocol == libc::NETLINK_CONNECTOR => Err(Failure::Skip(
                "the connector has no socket of the kernel's own in this network namespace".into(),
            )),
            None => mismatch("sockets listed by sock_diag", "one with port ID 0", "none"),
        }
    }
}
