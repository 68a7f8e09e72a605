//! How a guest's instructions are executed, and what is known about this host's KVM.

use serde::{Deserialize, Serialize};

use super::arch::Arch;

/// How a guest's instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// By the processor.
    Kvm,
    /// By QEMU's translator.
    Tcg,
}

impl Accel {
    /// QEMU's arguments.
    pub fn args(self, arch: &Arch) -> [&'static str; 4] {
        match self {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accel::Tcg => ["-accel", "tcg", "-cpu", arch.processor],
        }
    }

    /// Processors of a guest by default. Two expose races that one never shows; if they
    /// are emulated, next to other guests, they spend half of their time waiting for each other.
    pub fn processors(self) -> u32 {
        match self {
            Accel::Kvm => 2,
            Accel::Tcg => 1,
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "KVM",
            Accel::Tcg => "TCG",
        }
    }
}

/// What is known about KVM on this host. That /dev/kvm opens says little: nested and emulated hosts have
/// it and then spin, pause or abort, some only in the middle of a kernel's boot. So only a guest that
/// has said hello proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kvm {
    /// No guest has been started under it yet.
    Untried,
    /// A guest has come up under it.
    Works,
    /// It cannot be used, for this reason.
    Fails(String),
}
