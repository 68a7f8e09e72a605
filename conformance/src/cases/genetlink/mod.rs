//! Generic netlink.

mod attributes;
mod controller;
mod dispatch;
mod groups;
mod integers;
mod kinds;
mod nests;
mod registration;
mod validated;
mod validation;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        registration::cases(),
        groups::cases(),
        dispatch::cases(),
        attributes::cases(),
        integers::cases(),
        kinds::cases(),
        nests::cases(),
        validation::cases(),
        controller::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
