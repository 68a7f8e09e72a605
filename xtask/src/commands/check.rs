//! `cargo xtask check`: the project's own tests, as CI runs them.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Ended;
use crate::host::packages::Purpose;
use crate::making::lab::Lab;
use crate::vm::Arch;

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

/// Of other architectures: the suite where most is different, in the other byte order; and what must compile where C's
/// numbers are narrower.
const FOREIGN: [(&str, &str); 2] = [
    ("s390x", "xtask test --quiet --kernel 6.12 --arch s390x"),
    ("i386", "check --quiet --package guest --target i686-unknown-linux-gnu"),
];

/// Runs the steps up to the first that fails. Those of another architecture are left out where the host cannot have its
/// compiler, its QEMU or its Rust library.
pub fn check() -> Result<Ended> {
    STEPS.into_iter().try_for_each(run)?;
    for (arch, step) in FOREIGN {
        match Lab::open(&[Purpose::Kernel], &[Arch::named(arch)?], true) {
            Ok(_) => run(step)?,
            Err(error) => eprintln!("== left out: cargo {step}\n{error:#}"),
        }
    }
    Ok(Ended::Well)
}

fn run(step: &str) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    eprintln!("== cargo {step}");
    let mut command = Command::new(&cargo);
    command.args(step.split(' ')).current_dir(crate::project_root());
    match command.status().context("cannot run cargo")? {
        status if status.success() => Ok(()),
        status => bail!("cargo {step} failed ({status})"),
    }
}
