//! What a command needs before it can boot something: a kernel, the probe and the init, packed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::host::cache::Cache;
use crate::host::packages::{self, Purpose};
use crate::host::progress::Progress;
use crate::making::image::Image;
use crate::making::kbuild::{self, BuiltKernel, BuiltModules, KernelSpec};
use crate::making::program::{self, Program};
use crate::vm::{Accel, Facts, Kvm, Machine, Settings};

/// A guest comes up under KVM in half a second, where KVM works.
const PATIENCE: Duration = Duration::from_secs(8);

/// The lab, ready to build kernels and boot them.
#[derive(Debug)]
pub struct Lab {
    /// Where things are kept.
    pub cache: Cache,
    /// Where progress is shown.
    pub progress: Progress,
    /// Whether the probe is built for kernels.
    pub probe: bool,
    facts: Arc<Facts>,
}

/// A kernel with all that its guests need.
#[derive(Debug)]
pub struct Bootable {
    /// The kernel.
    pub kernel: BuiltKernel,
    /// The modules, unless the kernel came without a way to build them.
    pub modules: Option<BuiltModules>,
}

impl Lab {
    /// Sees to the host's packages for these purposes; missing ones are installed if `allow_install`.
    pub fn open(purposes: &[Purpose], allow_install: bool) -> Result<Lab> {
        let progress = Progress::new();
        packages::ensure(purposes, allow_install, &progress)?;
        let cache = Cache::open()?;
        let facts = Arc::new(Facts::of_this_host(&cache)?);
        Ok(Lab { cache, progress, probe: true, facts })
    }

    /// Builds a kernel and its probe.
    pub fn build(&self, spec: &KernelSpec) -> Result<Bootable> {
        let kernel = kbuild::kernel(spec, &self.cache, &self.progress)?;
        let modules = match kernel.build_dir {
            Some(_) if self.probe => Some(kbuild::modules(&kernel, &self.cache, &self.progress)?),
            Some(_) => None,
            None => {
                self.progress
                    .note("without --kernel-build there is no probe: cases that need it are skipped");
                None
            }
        };
        Ok(Bootable { kernel, modules })
    }

    /// A machine that boots a kernel, with the init and `more` in its image.
    pub fn machine(
        &self,
        bootable: &Bootable,
        settings: &Settings,
        more: impl FnOnce(&mut Image) -> Result<()>,
    ) -> Result<Machine> {
        let init = program::build(Program::Init, &self.cache, &self.progress)?;
        let mut image = Image::default();
        image.file("init", &init.path)?;
        if let Some(modules) = &bootable.modules {
            image.file("nlprobe.ko", &modules.probe)?;
            if let Some(sample) = &modules.sample {
                image.file("cn_test.ko", sample)?;
            }
        }
        more(&mut image)?;
        if settings.host_files {
            self.progress.note("the guest sees the host's files, and cannot write them");
        }
        Ok(Machine {
            kernel: bootable.kernel.image.clone(),
            initramfs: image.finish()?,
            accel: settings.accel,
            facts: Arc::clone(&self.facts),
            patience: PATIENCE,
            memory: settings.memory.max(bootable.kernel.needs.memory),
            smp: settings.smp.or(bootable.kernel.needs.smp),
            append: settings.append.clone(),
            gdb: settings.gdb,
            qemu_args: settings.qemu_args.clone(),
            host_files: settings.host_files,
        })
    }

    /// Says in one line why guests are emulated, when nobody asked for it.
    ///
    /// # Errors
    /// When KVM is asked for and does not work: better said before a kernel is built.
    pub fn explain_accel(&self, accel: Option<Accel>) -> Result<()> {
        self.facts.accel(accel)?;
        if let (None, Kvm::Fails(reason)) = (accel, self.facts.kvm()) {
            self.progress.note(&format!(
                "guests run under TCG, which is slower: {reason} (`cargo xtask doctor --forget` has KVM \
                 tried anew)"
            ));
        }
        Ok(())
    }
}
