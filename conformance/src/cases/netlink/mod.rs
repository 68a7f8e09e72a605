//! AF_NETLINK's core.

mod acks;
mod binding;
mod callbacks;
mod diag;
mod dumps;
mod framing;
mod groups;
mod namespaces;
mod options;
mod permissions;
mod proc;
mod protocols;
mod receiving;
mod sockets;
mod taps;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        sockets::cases(),
        protocols::cases(),
        binding::cases(),
        callbacks::cases(),
        groups::cases(),
        options::cases(),
        framing::cases(),
        acks::cases(),
        receiving::cases(),
        dumps::cases(),
        permissions::cases(),
        namespaces::cases(),
        proc::cases(),
        diag::cases(),
        taps::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A protocol number that no kernel uses, for protocols that cases create.
const FREE_PROTOCOL: i32 = 29;

/// `NETLINK_GET_STRICT_CHK`, for which not every version of the crate libc has a name.
const GET_STRICT_CHK: i32 = 12;
