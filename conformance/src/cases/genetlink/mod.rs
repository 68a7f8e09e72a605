//! Generic netlink.

mod attributes;
mod controller;
mod dispatch;
mod format;
mod groups;
mod memory;
mod registration;

use super::cases;

cases! {
    + registration;
    + groups;
    + dispatch;
    + attributes;
    + controller;
    + format;
    + memory;
}
