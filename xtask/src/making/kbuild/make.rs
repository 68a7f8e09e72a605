//! kbuild, run so that the same input gives the same output.

use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::Result;

use super::BuildDir;
use crate::host::cache::Making;
use crate::host::command::{in_english, run_logged, unstarted};
use crate::host::progress::Step;

/// Environment variables that would change what is built.
const FOREIGN: [&str; 14] = [
    "ARCH",
    "AS",
    "CC",
    "CROSS_COMPILE",
    "KBUILD_OUTPUT",
    "KCFLAGS",
    "KCONFIG_CONFIG",
    "LD",
    "LLVM",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "V",
    "W",
];

/// Set for each build: the time, user and host of a build are part of the kernel's banner. An empty
/// LOCALVERSION keeps the release of a git tree from changing with each commit.
const FIXED: [(&str, &str); 5] = [
    ("ARCH", "x86_64"),
    ("KBUILD_BUILD_HOST", "nlconform"),
    ("KBUILD_BUILD_TIMESTAMP", "@0"),
    ("KBUILD_BUILD_USER", "nlconform"),
    ("LOCALVERSION", ""),
];

/// Runs `make` in `dir`, on all cores, with its output in `log` next to what it builds.
pub fn make(making: &Making, dir: &Path, args: &[&str], log: &str, step: &Step) -> Result<()> {
    make_in(&BuildDir { dir: dir.to_owned(), root: None }, making, args, log, step)
}

/// The same where modules are built.
pub fn make_in(dir: &BuildDir, making: &Making, args: &[&str], log: &str, step: &Step) -> Result<()> {
    let mut command = dir.make(&making.dir)?;
    for name in FOREIGN {
        command.env_remove(name);
    }
    command.arg(format!("-j{}", available_parallelism()?)).args(args).envs(FIXED).stdin(making.stdin()?);
    run_logged(&mut command, &making.dir.join(log), step)
}

/// The identity of the compiler and the linker.
pub fn toolchain() -> Result<Vec<u8>> {
    let mut versions = Vec::new();
    for tool in ["gcc", "ld"] {
        let output = in_english(&mut Command::new(tool))
            .arg("--version")
            .output()
            .map_err(|error| unstarted(tool, error))?;
        versions.extend(output.stdout);
    }
    Ok(versions)
}
