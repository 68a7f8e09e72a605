//! AF_NETLINK's core.

mod acks;
mod binding;
mod dumps;
mod framing;
mod groups;
mod introspection;
mod memory;
mod permissions;
mod races;
mod receiving;
mod sending;
mod sockets;

use super::cases;

cases! {
    + sockets;
    + binding;
    + groups;
    + sending;
    + framing;
    + acks;
    + receiving;
    + dumps;
    + permissions;
    + introspection;
    + memory;
    + races;
}
