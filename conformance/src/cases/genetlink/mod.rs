//! Generic netlink.

mod advertised;
mod announcements;
mod attributes;
mod controller;
mod dispatch;
mod family_dumps;
mod groups;
mod integers;
mod kinds;
mod nests;
mod policies;
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
        announcements::cases(),
        family_dumps::cases(),
        policies::cases(),
        advertised::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
