//! The lab: builds kernels, boots them under QEMU and runs nlconform's cases inside.
//!
//! Its rooms lie in storeys, and a room uses only those below it:
//!
//! ```text
//! commands -> running -> vm -> host
//! commands -> making  -> vm, host
//! ```
//!
//! What is made and what runs meet in the commands only: [`running`] never imports [`making`].
//! A test of this crate (tests/arrows.rs) checks it.

pub mod commands;
pub mod host;
pub mod making;
pub mod running;
pub mod vm;

use std::path::Path;

/// The project's root directory, which holds the workspace's Cargo.toml.
pub fn project_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}
