//! Process events.

mod control;
mod events;
mod filter;
mod stream;
mod tasks;

use crate::cases::cases;

cases! {
    + control;
    + events;
    + filter;
    + stream;
    + tasks;
}
