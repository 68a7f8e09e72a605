//! The state of a socket as the target reports it.

use super::{Bus, Socket};
use crate::outcome::{Failure, mismatch};
use crate::wire::sock_diag::{self, Record};
use nix::libc;

impl Bus<'_> {
    /// The state of a socket as the target reports it: queue, drops, running dump.
    ///
    /// # Errors
    /// `Skip` if the target does not report its sockets; a mismatch if it does not list this one.
    pub fn inspect(&self, socket: &Socket) -> Result<Record, Failure> {
        self.need("netlink-diag")?;
        let asking = self.bound(libc::NETLINK_SOCK_DIAG)?;
        let show = sock_diag::NDIAG_SHOW_MEMINFO | sock_diag::NDIAG_SHOW_FLAGS;
        let answer = asking.ask(&sock_diag::sockets(socket.protocol() as u8, show))?;
        let inode = socket.raw().inode()?;
        match answer.replies.iter().filter_map(Record::read).find(|record| u64::from(record.inode) == inode) {
            Some(record) => Ok(record),
            None => mismatch("sockets listed by sock_diag", format_args!("inode {inode}"), "no such socket"),
        }
    }
}
