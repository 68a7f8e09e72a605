//! The lab: builds kernels, boots them under QEMU and runs nlconform's cases inside.
//!
//! Its modules are layered, and a module uses only those below it:
//!
//! ```text
//! commands -> running -> vm -> host
//! commands -> making  -> vm, host
//! ```
//!
//! Building and running meet only in the commands: [`running`] never imports [`making`].
//! A test of this crate (tests/arrows.rs) checks this.

pub mod commands;
pub mod host;
pub mod making;
pub mod running;
pub mod vm;

#[cfg(test)]
#[path = "../tests/scripts/mod.rs"]
mod scripts;

use std::path::Path;

/// The project's root directory, which holds the workspace's Cargo.toml.
pub fn project_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}
