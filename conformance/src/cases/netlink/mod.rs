//! AF_NETLINK's core.

mod acks;
mod binding;
mod callbacks;
mod dumps;
mod framing;
mod groups;
mod options;
mod receiving;
mod sockets;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        sockets::cases(),
        binding::cases(),
        callbacks::cases(),
        groups::cases(),
        options::cases(),
        framing::cases(),
        acks::cases(),
        receiving::cases(),
        dumps::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A protocol number that no kernel uses, for protocols that cases create.
const FREE_PROTOCOL: i32 = 29;
