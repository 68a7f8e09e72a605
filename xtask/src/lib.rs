//! The lab: builds kernels, boots them under QEMU and runs nlconform's cases inside.

pub mod book;
pub mod build;
pub mod cache;
pub mod command;
pub mod commands;
pub mod content;
pub mod doctor;
pub mod foreign;
pub mod image;
pub mod lab;
pub mod progress;
pub mod provision;
pub mod results;
pub mod run;
pub mod source;
pub mod static_program;
pub mod suite;
pub mod vm;

use std::path::Path;

/// The project's root directory, which holds the workspace's Cargo.toml.
pub fn project_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}
