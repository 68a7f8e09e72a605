//! Multicasts of users.

use nix::errno::Errno;

use super::bus::Socket;
use crate::wire::address::Address;

impl Socket {
    /// Sends to group 1. The message goes to port 0, too, where a protocol without a kernel socket has nobody: the group
    /// gets it all the same.
    ///
    /// # Errors
    /// Those of sending.
    pub fn multicast(&self, bytes: &[u8]) -> Result<(), Errno> {
        match self.send_to(Address::groups(1), bytes) {
            Ok(_) | Err(Errno::ECONNREFUSED) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}
