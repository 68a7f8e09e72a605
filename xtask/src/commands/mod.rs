//! The commands of `cargo xtask`, one per file or folder.

pub mod abi;
pub mod args;
pub mod bench;
pub mod book;
pub mod build;
pub mod cache;
pub mod check;
pub mod checkpatch;
pub mod client;
pub mod clients_page;
pub mod compat;
pub mod coverage;
pub mod diff;
pub mod doctor;
pub mod explore;
pub mod export;
pub mod history;
pub mod mutants;
pub mod new;
mod output;
pub mod report;
pub mod run;
pub mod shell;
pub mod shipped_page;
pub mod test;

/// How a command ended; a failure of the lab itself is an error instead, with exit status 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Exit status 0.
    Well,
    /// Exit status 1: a case failed.
    Failed,
    /// A program's own exit status.
    Status(i32),
}
