//! The kernel connector.

mod kernel;
mod process;
mod races;
mod user;

use super::cases;

cases! {
    + kernel;
    + user;
    + process;
    + races;
}
