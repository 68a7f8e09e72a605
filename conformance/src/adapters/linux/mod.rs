//! Linux, or an implementation of its system calls: the kernel that this process runs on.

mod abi;
mod capability;
mod device;
mod encode;
mod events;
mod family;
mod fuzz;
mod kernel;
mod kernel_log;
mod log;
mod memory;
mod modules;
mod process;
mod program;
mod provider;
mod queue;
mod random;
mod sample;
mod socket;
mod tap;
mod task;
mod trace;

use std::collections::BTreeMap;
use std::io::ErrorKind;

use nix::errno::Errno;
use nix::sys::utsname::uname;

use crate::event::{Identity, Role};
use crate::port::process::{Deed, Process};
use crate::port::provider::{Provider, Unable};
use crate::port::{self, ModuleRequests, Sizes, Target, Who};
pub use device::{KernelFault, kernel_fault};
pub use fuzz::fuzz;
pub use kernel::LINUX;
pub use kernel_log::KernelLog;
use socket::LinuxSocket;

/// The kernel that this process runs on.
pub struct Linux {
    identity: Identity,
    sizes: Sizes,
}

impl Linux {
    /// Finds out what the kernel offers to this process. What is missing is an absent capability with a
    /// reason.
    #[expect(clippy::new_without_default, reason = "it queries the kernel; this is not a default value")]
    pub fn new() -> Linux {
        let (name, version) = kernel::name_and_version();
        let capabilities: BTreeMap<_, _> = capability::probe();
        let identity = Identity { role: Role::Target, name, version, capabilities };
        Linux { identity, sizes: sizes() }
    }

    /// Gives the reason why the probe is not loaded, for a caller who knows it. Nothing changes if it is.
    pub fn explain_missing_probe(&mut self, why: &str) {
        let capabilities = &mut self.identity.capabilities;
        let Some(Some(known)) = capabilities.get("probe").cloned() else { return };
        let reason = format!("{known}: {why}");
        capabilities
            .values_mut()
            .flatten()
            .filter(|given| **given == known)
            .for_each(|given| given.clone_from(&reason));
    }
}

/// The kernel's sizes. Those of its socket buffers, without a probe to ask, are those of its architecture.
fn sizes() -> Sizes {
    let machine = uname().map(|name| name.machine().to_owned()).unwrap_or_default();
    let of_machine = match machine.as_encoded_bytes() {
        // Cache lines of 256 bytes.
        b"s390x" => Sizes { goodsize: 3584, overhead: 512, ..Sizes::default() },
        [b'i', _, b'8', b'6'] => Sizes { goodsize: 3840, overhead: 256, long: 4 },
        _ => Sizes::default(),
    };
    match device::Device::open() {
        Ok((_, info)) => {
            Sizes { goodsize: info.goodsize as usize, overhead: info.overhead as usize, ..of_machine }
        }
        Err(_) => of_machine,
    }
}

impl Target for Linux {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn socket(&self, kind: i32, protocol: i32) -> Result<Box<dyn port::Socket>, Errno> {
        Ok(Box::new(LinuxSocket::open(kind, protocol)?))
    }

    fn socket_of(&self, who: Who, kind: i32, protocol: i32) -> Result<Box<dyn port::Socket>, Unable> {
        Ok(Box::new(task::socket_of(who, kind, protocol)?))
    }

    fn file(&self, path: &str) -> Result<String, Unable> {
        std::fs::read_to_string(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Unable::Unsupported(format!("the target has no file {path}")),
            _ => Unable::Failed(format!("reading {path}: {error}")),
        })
    }

    fn trace(&self, event: &str, step: &mut dyn FnMut()) -> Result<Vec<String>, Unable> {
        events::trace(event, step)
    }

    fn tap(&self) -> Result<Box<dyn port::Tap>, Unable> {
        Ok(Box::new(tap::Nlmon::open()?))
    }

    fn message_queue(&self) -> Result<Box<dyn port::MessageQueue>, Unable> {
        Ok(Box::new(queue::LinuxQueue::open()?))
    }

    fn connector_sample(&self) -> Result<Box<dyn port::Sample>, Unable> {
        Ok(Box::new(sample::Loaded::load()?))
    }

    fn provider(&self) -> Result<Box<dyn Provider>, Unable> {
        Ok(Box::new(provider::Probe::open()?))
    }

    fn failing(&self, nth: u32, step: &mut dyn FnMut()) -> Result<bool, Unable> {
        memory::failing(nth, step)
    }

    fn run_as(&self, who: Who, step: &mut dyn FnMut() -> String) -> Result<String, Unable> {
        task::run_as(who, step)
    }

    fn process(&self, deeds: &[Deed]) -> Result<Box<dyn Process>, Unable> {
        process::make(deeds)
    }

    fn module_requests(&self) -> Result<Box<dyn ModuleRequests>, Unable> {
        Ok(Box::new(modules::Helper::replace()?))
    }
}
