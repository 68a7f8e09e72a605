//! Other implementations that the lab knows by name: they run the stand-alone runner as a program.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::lab::Lab;
use super::program::{self, Built, Program};
use crate::host::packages::{self, Purpose};
use crate::vm::{Arch, Sandbox};

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
    /// The command line before the program; `{arch}` stands for the runner's architecture.
    command: &'static [&'static str],
    /// Whether it runs programs of the host's architecture only.
    is_native: bool,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "gvisor",
        title: "gVisor",
        purpose: Purpose::Gvisor,
        command: &["runsc", "--network=none", "--ignore-cgroups", "do", "--"],
        profile: "linux-7.3",
        is_native: true,
    },
    Kind {
        name: "qemu-user",
        title: "QEMU user mode",
        purpose: Purpose::QemuUser,
        command: &["qemu-{arch}-static"],
        profile: "linux-7.3",
        is_native: false,
    },
];

/// Any other implementation: a command line that takes a static program as its last word.
pub fn custom(command: &str, arch: &Arch, lab: &Lab) -> Result<(Sandbox, Built)> {
    let built = program::build(Program::Runner, arch, &lab.cache, &lab.progress)?;
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
    ///
    /// # Errors
    /// It cannot run programs of this architecture, or is missing and may not or cannot be installed.
    pub fn obtain(&self, arch: &Arch, lab: &Lab, allow_install: bool) -> Result<(Sandbox, Built)> {
        if self.is_native && !arch.is_host() {
            bail!("{} runs programs of this host's architecture only, not of {}", self.title, arch.name);
        }
        packages::ensure(&packages::needs_of(&[self.purpose]), allow_install, &lab.progress)?;
        let built = program::build(Program::Runner, arch, &lab.cache, &lab.progress)?;
        let words = self.command.iter().map(|word| word.replace("{arch}", arch.name));
        let command: Vec<OsString> = words.map(Into::into).collect();
        let (name, version) = (self.title.to_owned(), version(&command[0])?);
        Ok((Sandbox { command, runner: built.path.clone().into(), name, version }, built))
    }
}

/// A program's version: the first word with a dot and a digit in what it says of itself.
fn version(program: &OsStr) -> Result<String> {
    let said = Command::new(program).arg("--version").output();
    let said = said.with_context(|| format!("cannot ask {} for its version", program.display()))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let is_version = |word: &&str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
    Ok(said.split_whitespace().find(is_version).unwrap_or_default().to_owned())
}
