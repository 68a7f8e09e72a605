//! The kernel connector.

mod conventions;
mod groups;
mod kernel;
mod process_control;
mod process_events;
mod process_filter;
mod process_stream;
mod requests;
mod sample;
mod sends;

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        kernel::cases(),
        sends::cases(),
        requests::cases(),
        groups::cases(),
        conventions::cases(),
        process_control::cases(),
        process_filter::cases(),
        process_events::cases(),
        process_stream::cases(),
        sample::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
