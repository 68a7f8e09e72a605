//! Generic netlink.

mod attributes;
mod controller;
mod dispatch;
mod groups;
mod registration;
mod registration_commands;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        registration::cases(),
        registration_commands::cases(),
        groups::cases(),
        dispatch::cases(),
        attributes::cases(),
        controller::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
