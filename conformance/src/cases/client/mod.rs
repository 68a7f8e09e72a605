//! The scenarios: what a client library must make of what a kernel may send. Each ends with a request that
//! must work, whatever came before it.

mod connector;
mod dumps;
mod errors;
mod interruptions;
mod lifecycle;
mod multicast;
mod overruns;
mod requests;
mod strangers;

use crate::cases::Case;

pub(super) fn cases() -> Vec<Case> {
    let topics = [
        requests::cases(),
        errors::cases(),
        dumps::cases(),
        interruptions::cases(),
        multicast::cases(),
        overruns::cases(),
        lifecycle::cases(),
        connector::cases(),
        strangers::cases(),
    ];
    topics.into_iter().flatten().collect()
}
