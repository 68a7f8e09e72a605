//! `struct sockaddr_nl`.

use super::{u16_at, u32_at};

/// `AF_NETLINK`.
pub const AF_NETLINK: u16 = 16;
/// Bytes of `struct sockaddr_nl`.
pub const LEN: usize = 12;

/// A netlink address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// `nl_family`.
    pub family: u16,
    /// `nl_pid`: 0 is the kernel, or "choose one" in a bind.
    pub portid: u32,
    /// `nl_groups`: bit n - 1 stands for group n.
    pub groups: u32,
}

impl Address {
    /// The kernel; in a bind: any free port, no group.
    pub const KERNEL: Address = Address { family: AF_NETLINK, portid: 0, groups: 0 };

    /// One port, no group.
    pub const fn port(portid: u32) -> Address {
        Address { portid, ..Address::KERNEL }
    }

    /// The groups of a mask.
    pub const fn groups(groups: u32) -> Address {
        Address { groups, ..Address::KERNEL }
    }

    /// The 12 bytes of the structure.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend(self.family.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(self.portid.to_ne_bytes());
        bytes.extend(self.groups.to_ne_bytes());
        bytes
    }

    /// Parses the structure. `None` if it is too short.
    pub fn decode(bytes: &[u8]) -> Option<Address> {
        Some(Address { family: u16_at(bytes, 0)?, portid: u32_at(bytes, 4)?, groups: u32_at(bytes, 8)? })
    }
}
