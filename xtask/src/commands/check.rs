//! `cargo xtask check`: the project's own tests, as CI runs them.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Ended;

/// The steps, each a cargo command line.
const STEPS: [&str; 8] = [
    "fmt --all --check",
    "clippy --workspace --all-targets --quiet -- --deny warnings",
    "xtask abi --check",
    "xtask book --check",
    // The oldest kernel, the default, and the newest.
    "xtask test --quiet --kernel 5.10,6.12,7.3",
    // The scenarios are fair. That they can fail takes minutes: CI runs xtask/tests/fair.rs.
    "xtask client --quiet --client raw",
    // With the source of the default kernel, which is now in the cache.
    "xtask checkpatch",
    "test --workspace",
];

/// Runs the steps up to the first that fails.
pub fn check() -> Result<Ended> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    for step in STEPS {
        eprintln!("== cargo {step}");
        let status = Command::new(&cargo)
            .args(step.split(' '))
            .current_dir(crate::project_root())
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            bail!("cargo {step} failed ({status})");
        }
    }
    Ok(Ended::Well)
}
