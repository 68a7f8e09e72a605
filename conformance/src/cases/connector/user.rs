//! Connector messages from and to user space.

mod conventions;
mod groups;
mod requests;
mod sample;

use crate::cases::cases;

cases! {
    + conventions;
    + groups;
    + requests;
    + sample;
}
