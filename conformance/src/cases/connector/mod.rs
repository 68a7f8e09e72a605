//! The kernel connector.

mod kernel;
mod process;
mod user;

use super::cases;

cases! {
    + kernel;
    + user;
    + process;
}
