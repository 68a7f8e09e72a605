//! Other implementations that the lab knows by name: they run the stand-alone runner as a program.

use std::ffi::OsString;
use std::process::Command;

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

/// Any other implementation: a command line that takes a static program as its last word.
pub fn custom(command: &str, lab: &Lab) -> Result<(Sandbox, Built)> {
    let built = program::build(Program::Runner, &lab.cache, &lab.progress)?;
    let words: Vec<OsString> = command.split_whitespace().map(Into::into).collect();
    let (name, version) = (command.to_owned(), String::new());
    Ok((Sandbox { command: words, runner: built.path.clone().into(), name, version }, built))
}

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
        let (name, version) = (self.title.to_owned(), self.version()?);
        Ok((Sandbox { command, runner: built.path.clone().into(), name, version }, built))
    }

    /// Its version: the first word with a dot and a digit in what the program says of itself.
    fn version(&self) -> Result<String> {
        let program = self.command[0];
        let said = Command::new(program).arg("--version").output();
        let said = said.with_context(|| format!("cannot ask {program} for its version"))?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let is_version = |word: &&str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
        Ok(said.split_whitespace().find(is_version).unwrap_or_default().to_owned())
    }
}
