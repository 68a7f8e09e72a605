//! Other implementations that the lab knows by name: they run the stand-alone runner as a program.

use anyhow::{Context, Result};

use super::lab::Lab;
use super::program::{self, Built, Program};
use crate::host::packages::{self, Purpose};
use crate::vm::Sandbox;

/// An implementation.
#[derive(Debug)]
pub struct Kind {
    /// Its name in arguments.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// The Linux version whose contract it is judged by.
    pub profile: &'static str,
    purpose: Purpose,
    /// The command line before the program.
    command: &'static [&'static str],
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "gvisor",
        title: "gVisor",
        purpose: Purpose::Gvisor,
        command: &["runsc", "--network=none", "--ignore-cgroups", "do", "--"],
        profile: "linux-7.3",
    },
    Kind {
        name: "qemu-user",
        title: "QEMU user mode",
        purpose: Purpose::QemuUser,
        command: &["qemu-x86_64-static"],
        profile: "linux-7.3",
    },
];

/// The names of the implementations, as arguments have them.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// The implementation of this name.
pub fn find(name: &str) -> Result<&'static Kind> {
    let kind = KINDS.iter().find(|kind| kind.name == name);
    kind.with_context(|| format!("unknown target {name}"))
}

impl Kind {
    /// Obtains the implementation and builds the runner; both stay as long as the result is held.
    pub fn obtain(&self, lab: &Lab, allow_install: bool) -> Result<(Sandbox, Built)> {
        packages::ensure(&[self.purpose], allow_install, &lab.progress)?;
        let built = program::build(Program::Runner, &lab.cache, &lab.progress)?;
        let command = self.command.iter().map(Into::into).collect();
        Ok((Sandbox { command, runner: built.path.clone().into() }, built))
    }
}
