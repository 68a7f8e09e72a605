//! The host: its packages, its cache, the commands that it runs and how progress is shown. Knows no
//! kernel and no guest.

pub mod cache;
pub mod command;
pub mod content;
pub mod disk;
pub mod packages;
pub mod program;
pub mod progress;
pub mod signals;
