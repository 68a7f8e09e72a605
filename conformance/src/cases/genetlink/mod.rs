//! Generic netlink.

mod advertised;
mod announcements;
mod attributes;
mod autoload;
mod callbacks;
mod controller;
mod dispatch;
mod dumps;
mod family_dumps;
mod format;
mod groups;
mod groups_callbacks;
mod groups_joining;
mod groups_sending;
mod headers;
mod integers;
mod kinds;
mod memory;
mod nests;
mod parallel;
mod policies;
mod privileges;
mod registration;
mod registration_commands;
mod validated;
mod validation;

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
        headers::cases(),
        privileges::cases(),
        callbacks::cases(),
        parallel::cases(),
        dumps::cases(),
        attributes::cases(),
        integers::cases(),
        kinds::cases(),
        nests::cases(),
        validation::cases(),
        controller::cases(),
        memory::cases(),
        format::cases(),
        announcements::cases(),
        family_dumps::cases(),
        autoload::cases(),
        policies::cases(),
        advertised::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
