//! Process events.

mod control;
mod events;
mod filter;
mod stream;

use crate::cases::cases;

cases! {
    + control;
    + events;
    + filter;
    + stream;
}
