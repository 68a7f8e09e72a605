//! kbuild, run so that the same input gives the same output.

use std::thread::available_parallelism;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::BuildDir;
use crate::host::cache::Making;
use crate::host::command::{run_logged, tie};
use crate::host::progress::Step;
use crate::vm::Arch;

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
const FIXED: [(&str, &str); 4] = [
    ("KBUILD_BUILD_HOST", "nlconform"),
    ("KBUILD_BUILD_TIMESTAMP", "@0"),
    ("KBUILD_BUILD_USER", "nlconform"),
    ("LOCALVERSION", ""),
];

/// Runs `make` in `dir` for an architecture, on all cores, with its output in `log` next to what it builds.
pub fn make(
    making: &Making,
    arch: &Arch,
    dir: &BuildDir,
    args: &[&str],
    log: &str,
    step: &Step,
) -> Result<()> {
    let mut command = dir.make(&making.dir)?;
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
        .arg(format!("-j{}", available_parallelism()?))
        .args(args)
        .envs(FIXED)
        .env("ARCH", arch.kbuild)
        .env("CROSS_COMPILE", arch.tool(""))
        .stdin(making.stdin()?);
    // It ends its compilers, too.
    tie(&mut command, Signal::SIGTERM);
    run_logged(&mut command, &making.dir.join(log), step)
}
