//! What a command needs before it can boot something: a kernel, the probe and the init, packed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::host::cache::Cache;
use crate::host::packages::{self, Purpose};
use crate::host::progress::Progress;
use crate::making::image::Image;
use crate::making::kbuild::{self, BuiltKernel, BuiltModules, Compiler, KernelSpec};
use crate::making::program::{self, Program};
use crate::making::shipped::modules::{Module, ModuleTree};
use crate::vm::{Accel, Arch, Facts, Kvm, Machine, Settings};

/// A guest comes up under KVM in half a second, where KVM works.
const KVM_TIMEOUT: Duration = Duration::from_secs(8);
/// Time for a guest to come up. On a loaded host the lab's own kernels take a few seconds under TCG; one that
/// was configured for all machines takes 15 on an idle one.
const BOOT_TIMEOUT: Duration = Duration::from_secs(60);
const GENERAL_BOOT_TIMEOUT: Duration = Duration::from_secs(240);

/// What guests need of a kernel for their channel, besides the transport of their architecture.
const CHANNEL: &str = "virtio_console";
/// What the suite uses where the kernel has it, and nobody in a guest loads on demand.
const TESTED: [&str; 5] = ["unix", "cn", "netlink_diag", "nlmon", "af_packet"];
/// What it takes to see the host's files.
const HOST_FILES: [&str; 2] = ["9pnet_virtio", "9p"];

/// The lab, ready to build kernels and boot them.
#[derive(Debug)]
pub struct Lab {
    /// Where things are kept.
    pub cache: Cache,
    /// Where progress is shown.
    pub progress: Progress,
    /// Whether the probe is built for kernels.
    pub probe: bool,
    /// What inits are built for, where that is not what kernels are built for.
    pub compat: Option<&'static Arch>,
    allow_install: bool,
    /// What is known about the QEMU of each architecture of its guests.
    facts: Vec<(&'static Arch, Arc<Facts>)>,
}

/// A kernel with all that its guests need.
#[derive(Debug)]
pub struct Bootable {
    /// The kernel.
    pub kernel: BuiltKernel,
    /// The probe and the sample, or why there are none.
    pub modules: Result<BuiltModules, String>,
}

impl Lab {
    /// Sees to what the host must have for these purposes and for guests of these architectures; what is
    /// missing is installed if `allow_install`.
    ///
    /// # Errors
    /// Something is missing and may not or cannot be installed, or the cache cannot be written to.
    pub fn open(purposes: &[Purpose], archs: &[&'static Arch], allow_install: bool) -> Result<Lab> {
        let progress = Progress::new();
        let mut needs = packages::needs_of(purposes);
        needs.extend(archs.iter().flat_map(|arch| arch.needs()));
        packages::ensure(&needs, allow_install, &progress)?;
        archs.iter().try_for_each(|arch| program::ensure_std(arch, allow_install, &progress))?;
        let cache = Cache::open()?;
        let facts = archs.iter().map(|&arch| Ok((arch, Arc::new(Facts::of(arch, &cache)?))));
        let facts = facts.collect::<Result<_>>()?;
        Ok(Lab { cache, progress, probe: true, compat: None, allow_install, facts })
    }

    /// Builds a kernel and its probe.
    ///
    /// # Errors
    /// The kernel or its probe cannot be built.
    pub fn build(&self, arch: &'static Arch, spec: &KernelSpec) -> Result<Bootable> {
        let mut kernel = kbuild::kernel(arch, spec, &self.cache, &self.progress)?;
        // Of one that the lab builds, it is a variant.
        if let (Some(_), KernelSpec::Shipped(_) | KernelSpec::Image { .. }) = (self.compat, spec) {
            kernel.label += " (compat)";
        }
        let modules = match (&kernel.build_dir, self.probe) {
            (_, false) => Err("the lab was run with --no-probe".to_owned()),
            (Some(dir), true) => {
                if dir.compiler() == Compiler::Llvm && dir.is_compiled_by_host() {
                    let needs = packages::needs_of(&[Purpose::Llvm]);
                    packages::ensure(&needs, self.allow_install, &self.progress).with_context(|| {
                        format!("{} was compiled by clang, as its probe must be", kernel.label)
                    })?;
                }
                Ok(kbuild::modules(&kernel, &self.cache, &self.progress)?)
            }
            (None, true) => Err(format!(
                "there are no headers of {0} to build it with: install them (Debian: linux-headers-{0}; Fedora: \
                 kernel-devel-{0}), or give where modules are built with --kernel-build DIR",
                kernel.release
            )),
        };
        if let (Err(reason), true) = (&modules, self.probe) {
            self.progress.note(&format!("the cases that need the probe are skipped: {reason}"));
        }
        Ok(Bootable { kernel, modules })
    }

    /// The kernel's own modules that a guest loads, in order.
    fn own_modules(&self, kernel: &BuiltKernel, settings: &Settings) -> Result<Vec<Module>> {
        let Some(dir) = &kernel.module_tree else { return Ok(Vec::new()) };
        let tree = ModuleTree::read(dir)?;
        let mut wanted = vec![kernel.arch.transport, CHANNEL];
        wanted.extend(TESTED.iter().filter(|name| tree.has(name)));
        if settings.host_files {
            wanted.extend(HOST_FILES);
        }
        tree.load_order(&wanted)
    }

    /// A machine that boots a kernel, with the init and `more` in its image.
    ///
    /// # Errors
    /// The init cannot be built, or the image not be written; or `more` fails.
    pub fn machine(
        &self,
        bootable: &Bootable,
        settings: &Settings,
        more: impl FnOnce(&mut Image) -> Result<()>,
    ) -> Result<Machine> {
        let arch = bootable.kernel.arch;
        let facts = self.facts.iter().find(|(known, _)| known.name == arch.name);
        let (_, facts) = facts.with_context(|| format!("the lab was not opened for {}", arch.name))?;
        let init = program::build(Program::Init, self.compat.unwrap_or(arch), &self.cache, &self.progress)?;
        let mut image = Image::default();
        image.file("init", &init.path)?;
        match &bootable.modules {
            Ok(modules) => {
                image.file("nlprobe.ko", &modules.probe)?;
                if let Some(sample) = &modules.sample {
                    image.file("cn_test.ko", sample)?;
                }
            }
            Err(reason) => image.bytes("nlprobe.missing", reason.as_bytes())?,
        }
        image.dir("modules")?;
        for (number, module) in self.own_modules(&bootable.kernel, settings)?.iter().enumerate() {
            image.bytes(&format!("modules/{number:03}-{}.ko", module.name), &module.bytes)?;
        }
        more(&mut image)?;
        if settings.host_files {
            self.progress.note("the guest sees the host's files, and cannot write them");
        }
        Ok(Machine {
            arch,
            kernel: bootable.kernel.image.clone(),
            initramfs: image.finish()?,
            facts: Arc::clone(facts),
            kvm_timeout: KVM_TIMEOUT,
            boot_timeout: bootable.kernel.needs.factor()
                * if bootable.kernel.is_general { GENERAL_BOOT_TIMEOUT } else { BOOT_TIMEOUT },
            settings: Settings {
                memory: settings.memory.max(bootable.kernel.needs.memory),
                smp: settings.smp.or(bootable.kernel.needs.smp),
                ..settings.clone()
            },
        })
    }

    /// Says in one line why guests are emulated, when nobody asked for it.
    ///
    /// # Errors
    /// When KVM is asked for and does not work: better said before a kernel is built.
    pub fn explain_accel(&self, accel: Option<Accel>) -> Result<()> {
        for (arch, facts) in &self.facts {
            facts.accel(accel)?;
            // Everybody knows that a foreign processor is emulated.
            if let (None, Kvm::Fails(reason), true) = (accel, facts.kvm(), arch.has_kvm_here()) {
                self.progress.note(&format!(
                    "guests run under TCG, which is slower: {reason} (`cargo xtask doctor --forget` has KVM \
                     tried anew)"
                ));
            }
        }
        Ok(())
    }
}
