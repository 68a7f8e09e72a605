//! Generic netlink.

mod attributes;
mod controller;
mod dispatch;
mod groups;
mod registration;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [registration::cases(), groups::cases(), dispatch::cases(), attributes::cases(), controller::cases()]
        .into_iter()
        .flatten()
        .collect()
}
