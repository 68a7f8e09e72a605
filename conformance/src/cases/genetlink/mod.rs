//! Generic netlink.

mod attributes;
mod callbacks;
mod controller;
mod dispatch;
mod dumps;
mod format;
mod groups;
mod headers;
mod parallel;
mod privileges;
mod registration;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        registration::cases(),
        groups::cases(),
        dispatch::cases(),
        headers::cases(),
        privileges::cases(),
        callbacks::cases(),
        parallel::cases(),
        dumps::cases(),
        attributes::cases(),
        controller::cases(),
        format::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
