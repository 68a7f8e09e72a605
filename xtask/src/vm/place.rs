//! Where guests run: in virtual machines, or in sandboxes that run the stand-alone runner as a program.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use nlconform::event::Identity;

use super::{Accel, Machine, Vm};

/// A place for guests.
#[derive(Debug, Clone)]
pub enum Place {
    /// Virtual machines like this one.
    Machine(Machine),
    /// Another implementation of Linux's system calls.
    Sandbox(Sandbox),
}

/// An implementation that runs Linux programs.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The command line that starts it, before the program.
    pub command: Vec<OsString>,
    /// The stand-alone runner, statically linked.
    pub runner: OsString,
    /// What it is, and its version: what runs in it sees the Linux that it imitates.
    pub name: String,
    /// See `name`.
    pub version: String,
}

impl Place {
    /// Starts a guest. The calling thread must live as long as the guest.
    ///
    /// # Errors
    /// Its program cannot be started.
    pub fn start(&self) -> Result<Vm> {
        match self {
            Place::Machine(machine) => Vm::boot(machine),
            Place::Sandbox(sandbox) => {
                let mut words = sandbox.command.iter().chain([&sandbox.runner]);
                let program = words.next().expect("the runner at least");
                Vm::start(Command::new(program).args(words).arg("serve"))
            }
        }
    }

    /// What a guest says of itself, corrected where the host knows better.
    pub fn identify(&self, identity: Identity) -> Identity {
        match self {
            Place::Machine(_) => identity,
            Place::Sandbox(sandbox) => {
                Identity { name: sandbox.name.clone(), version: sandbox.version.clone(), ..identity }
            }
        }
    }

    /// What the next guest will run on, as one word.
    pub fn platform(&self) -> String {
        match self {
            Place::Machine(machine) => {
                machine.facts.accel(machine.settings.accel).map_or("QEMU", Accel::name).to_owned()
            }
            Place::Sandbox(sandbox) => {
                let program = sandbox.command.first().and_then(|word| Path::new(word).file_name());
                program.map_or("host".into(), |name| name.to_string_lossy().into_owned())
            }
        }
    }

    /// The architecture of its guests, where the lab chose it.
    pub fn arch(&self) -> Option<&'static str> {
        match self {
            Place::Machine(machine) => Some(machine.arch.name),
            Place::Sandbox(_) => None,
        }
    }

    /// Whether a silent guest is given up; not while it is being debugged.
    pub fn has_deadlines(&self) -> bool {
        !matches!(self, Place::Machine(machine) if machine.settings.gdb)
    }
}
