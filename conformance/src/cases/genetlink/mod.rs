//! Generic netlink.

mod attributes;
mod controller;
mod dispatch;
mod groups;
mod groups_callbacks;
mod groups_joining;
mod groups_sending;
mod memory;
mod registration;
mod registration_commands;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        registration::cases(),
        registration_commands::cases(),
        groups::cases(),
        groups_joining::cases(),
        groups_sending::cases(),
        groups_callbacks::cases(),
        dispatch::cases(),
        attributes::cases(),
        controller::cases(),
        memory::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
