//! AF_NETLINK's core.

mod acks;
mod answers;
mod binding;
mod broadcast;
mod buffers;
mod callbacks;
mod credentials;
mod dump_callbacks;
mod dump_course;
mod dump_ends;
mod dump_requests;
mod dump_stalls;
mod dumps;
mod extended_acks;
mod filters;
mod framing;
mod groups;
mod options;
mod overrun;
mod races;
mod receiving;
mod sending;
mod sockets;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        sockets::cases(),
        binding::cases(),
        callbacks::cases(),
        groups::cases(),
        sending::cases(),
        buffers::cases(),
        credentials::cases(),
        filters::cases(),
        options::cases(),
        framing::cases(),
        answers::cases(),
        acks::cases(),
        extended_acks::cases(),
        receiving::cases(),
        overrun::cases(),
        broadcast::cases(),
        dumps::cases(),
        dump_course::cases(),
        dump_stalls::cases(),
        dump_ends::cases(),
        dump_callbacks::cases(),
        races::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A protocol number that no kernel uses, for protocols that cases create.
const FREE_PROTOCOL: i32 = 29;
