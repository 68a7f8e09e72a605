//! AF_NETLINK's core.

mod acks;
mod answers;
mod binding;
mod broadcast;
mod buffers;
mod callbacks;
mod credentials;
mod datagrams;
mod diag;
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
mod namespaces;
mod options;
mod overrun;
mod permissions;
mod proc;
mod protocols;
mod races;
mod receiving;
mod sending;
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
        sending::cases(),
        buffers::cases(),
        credentials::cases(),
        filters::cases(),
        options::cases(),
        framing::cases(),
        answers::cases(),
        datagrams::cases(),
        acks::cases(),
        extended_acks::cases(),
        receiving::cases(),
        overrun::cases(),
        broadcast::cases(),
        dumps::cases(),
        permissions::cases(),
        namespaces::cases(),
        proc::cases(),
        diag::cases(),
        taps::cases(),
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

/// `NETLINK_GET_STRICT_CHK`, for which not every version of the crate libc has a name.
const GET_STRICT_CHK: i32 = 12;
