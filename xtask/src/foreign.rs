//! Where the suite can run: in virtual machines that the lab boots, and on other implementations, which
//! run the stand-alone runner as a program.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::lab::Lab;
use crate::provision::{self, Purpose};
use crate::static_program::{self, Built, Program};
use crate::vm::{Machine, Vm};

/// A place for guests.
#[derive(Debug, Clone)]
pub enum Place {
    /// Virtual machines like this one.
    Machine(Machine),
    /// Another implementation.
    Foreign(Foreign),
}

/// An implementation that runs programs of Linux.
#[derive(Debug, Clone)]
pub struct Foreign {
    kind: &'static Kind,
    runner: PathBuf,
}

/// What there is to know about an implementation.
#[derive(Debug)]
struct Kind {
    /// What it is asked for by.
    name: &'static str,
    /// What it is, for people.
    title: &'static str,
    purpose: Purpose,
    /// The command line before the program.
    command: &'static [&'static str],
    /// The Linux whose contract it is measured by.
    profile: &'static str,
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

/// What an implementation is, for people.
pub fn title(name: &str) -> Option<&'static str> {
    KINDS.iter().find(|kind| kind.name == name).map(|kind| kind.title)
}

impl Foreign {
    /// Obtains an implementation and builds the runner; both stay for as long as the result is held.
    pub fn obtain(name: &str, lab: &Lab, allow_install: bool) -> Result<(Foreign, Built)> {
        let kind = KINDS.iter().find(|kind| kind.name == name);
        let kind = kind.with_context(|| format!("there is no target {name}"))?;
        provision::ensure(&[kind.purpose], allow_install, &lab.progress)?;
        let runner = static_program::build(Program::Runner, &lab.cache, &lab.progress)?;
        Ok((Foreign { kind, runner: runner.path.clone() }, runner))
    }

    /// What it is, for people.
    pub fn title(&self) -> &'static str {
        self.kind.title
    }

    /// The profile that it is measured by.
    pub fn profile(&self) -> &'static str {
        self.kind.profile
    }
}

impl Place {
    /// Starts a guest. The calling thread must live for as long as the guest is to.
    pub fn start(&self) -> Result<Vm> {
        match self {
            Place::Machine(machine) => Vm::boot(machine),
            Place::Foreign(foreign) => {
                let [program, args @ ..] = foreign.kind.command else {
                    unreachable!("a command has a program")
                };
                Vm::start(Command::new(program).args(args).arg(&foreign.runner).arg("serve"))
            }
        }
    }

    /// What guests run on, in one word.
    pub fn platform(&self) -> &'static str {
        match self {
            Place::Machine(machine) => machine.accel.name(),
            Place::Foreign(foreign) => foreign.kind.command[0],
        }
    }

    /// Whether a guest that says nothing is given up; not while somebody debugs it.
    pub fn has_deadlines(&self) -> bool {
        !matches!(self, Place::Machine(machine) if machine.gdb)
    }
}
