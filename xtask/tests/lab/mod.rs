//! What tests that boot guests share: the kernel, and the plan.

use nlconform::event::Plan;
use xtask::commands::args::KernelArgs;
use xtask::making::lab::Bootable;
use xtask::running::schedule;
use xtask::vm::{Machine, Settings};

/// The default kernel, ready to boot.
pub struct Built {
    pub machine: Machine,
    _held: Bootable,
}

impl Built {
    /// For this architecture, or for the host's if there is none.
    pub fn of(arch: Option<String>) -> Built {
        let kernels = KernelArgs { arch: arch.into_iter().collect(), ..KernelArgs::default() };
        let lab = kernels.open_lab().unwrap();
        let (arch, spec) = kernels.one_target("a guest is tested").unwrap();
        let held = lab.build(arch, &spec).unwrap();
        let machine = lab.machine(&held, &Settings::default(), |_| Ok(())).unwrap();
        Built { machine, _held: held }
    }
}

/// A plan of these cases.
pub fn plan(cases: &[&str], deadline_ms: u64) -> Plan {
    let cases = cases.iter().map(|&case| case.to_owned()).collect();
    Plan { deadline_ms, ..schedule::plan("linux-6.12", cases, 1) }
}
