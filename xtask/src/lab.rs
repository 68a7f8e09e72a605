//! What a command needs before it can boot something: the kernels that were asked for, the probe and
//! the init, packed; and the settings of the machine.

use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::Result;
use clap::Args;

use crate::build::{self, BuiltKernel, BuiltModules, KernelSpec};
use crate::cache::Cache;
use crate::image::Image;
use crate::progress::Progress;
use crate::provision::{self, Purpose};
use crate::source::Kernels;
use crate::static_program::{self, Program};
use crate::vm::host::Facts;
use crate::vm::{Accel, Machine};

/// Which kernels.
#[derive(Debug, Clone, Default, Args)]
pub struct KernelArgs {
    /// Kernels of kernel-configs/kernels.toml, or all [default: the one named there]
    #[arg(long, value_name = "NAME", value_delimiter = ',', group = "which")]
    pub kernel: Vec<String>,
    /// Build this kernel tree, incrementally and out of it
    #[arg(long, value_name = "DIR", group = "which")]
    pub kernel_src: Option<PathBuf>,
    /// Boot this kernel, a bzImage or a vmlinux, that is built already
    #[arg(long, value_name = "FILE", group = "which")]
    pub kernel_image: Option<PathBuf>,
    /// Where modules for that kernel are built, such as /lib/modules/RELEASE/build
    #[arg(long, value_name = "DIR", requires = "kernel_image")]
    pub kernel_build: Option<PathBuf>,
    /// Add kernel-configs/NAME.config to the configuration (can be repeated)
    #[arg(long, value_name = "NAME", conflicts_with = "kernel_image")]
    pub variant: Vec<String>,
    /// Do not install missing host packages
    #[arg(long)]
    pub no_install: bool,
}

impl KernelArgs {
    /// The kernels that are meant.
    pub fn specs(&self) -> Result<Vec<KernelSpec>> {
        let variants = self.variant.clone();
        if let Some(image) = self.kernel_image.clone() {
            return Ok(vec![KernelSpec::Image { image, build_dir: self.kernel_build.clone() }]);
        }
        if let Some(dir) = self.kernel_src.clone() {
            return Ok(vec![KernelSpec::Tree { dir, variants }]);
        }
        let known = Kernels::load()?;
        let names: Vec<String> = match self.kernel.as_slice() {
            [] => vec![known.default.clone()],
            [all] if all == "all" => known.names().map(str::to_owned).collect(),
            names => names.to_vec(),
        };
        for name in &names {
            known.get(name)?;
        }
        Ok(names.into_iter().map(|name| KernelSpec::Named { name, variants: variants.clone() }).collect())
    }

    /// What the host must have for these kernels.
    fn purposes(&self) -> Vec<Purpose> {
        let builds = self.kernel_image.is_none() || self.kernel_build.is_some();
        let kernel = builds.then_some(Purpose::Kernel);
        [Purpose::Program, Purpose::Qemu].into_iter().chain(kernel).collect()
    }
}

/// The virtual machine.
#[derive(Debug, Clone, Args)]
pub struct MachineArgs {
    /// How instructions are run [default: kvm where it works]
    #[arg(long, value_enum)]
    pub accel: Option<Accel>,
    /// Memory of a guest in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(64..))]
    pub memory: u32,
    /// Processors of a guest; the lab's kernels know 4 at most [default: 2 under KVM, 1 under TCG]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub smp: Option<u32>,
    /// Guests that run at once, beside those that are at the suite's last case [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// Add words to the kernel's command line
    #[arg(long, value_name = "WORDS", default_value = "", hide_default_value = true)]
    pub append: String,
    /// Wait for a debugger on port 1234 before the kernel starts; nothing has a deadline
    #[arg(long)]
    pub gdb: bool,
    /// Pass an argument on to QEMU (can be repeated)
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
}

impl Default for MachineArgs {
    fn default() -> MachineArgs {
        #[derive(clap::Parser)]
        struct Defaults {
            #[command(flatten)]
            machine: MachineArgs,
        }
        <Defaults as clap::Parser>::parse_from([""]).machine
    }
}

impl MachineArgs {
    /// Guests that run at once.
    pub fn jobs(&self) -> usize {
        match self.jobs {
            // One debugger can talk to one guest.
            _ if self.gdb => 1,
            Some(jobs) => jobs as usize,
            None => available_parallelism().map_or(1, Into::into),
        }
    }
}

/// The lab, ready to build kernels and boot them.
#[derive(Debug)]
pub struct Lab {
    /// Where things are kept.
    pub cache: Cache,
    /// Where progress is shown.
    pub progress: Progress,
    facts: Facts,
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
    /// Sees to the host's packages.
    pub fn open(kernels: &KernelArgs) -> Result<Lab> {
        let progress = Progress::new();
        provision::ensure(&kernels.purposes(), !kernels.no_install, &progress)?;
        let cache = Cache::open()?;
        let facts = Facts::of_this_host(&cache)?;
        Ok(Lab { cache, progress, facts })
    }

    /// Builds a kernel and its probe.
    pub fn build(&self, spec: &KernelSpec) -> Result<Bootable> {
        let kernel = build::kernel(spec, &self.cache, &self.progress)?;
        let modules = match kernel.build_dir {
            Some(_) => Some(build::modules(&kernel, &self.cache, &self.progress)?),
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
        args: &MachineArgs,
        more: impl FnOnce(&mut Image) -> Result<()>,
    ) -> Result<Machine> {
        let init = static_program::build(Program::Init, &self.cache, &self.progress)?;
        let mut image = Image::default();
        image.file("init", &init.path)?;
        if let Some(modules) = &bootable.modules {
            image.file("nlprobe.ko", &modules.probe)?;
            if let Some(sample) = &modules.sample {
                image.file("cn_test.ko", sample)?;
            }
        }
        more(&mut image)?;
        let accel = self.facts.accel(args.accel)?;
        Ok(Machine {
            kernel: bootable.kernel.image.clone(),
            initramfs: image.finish()?,
            accel,
            microvm: self.facts.microvm,
            tsc_khz: self.facts.tsc_khz,
            memory: args.memory,
            smp: args.smp.unwrap_or(accel.processors()),
            append: args.append.clone(),
            gdb: args.gdb,
            qemu_args: args.qemu_arg.clone(),
        })
    }

    /// Says in one line why guests are emulated, when nobody asked for it.
    ///
    /// # Errors
    /// When KVM is asked for and does not work: better said before a kernel is built.
    pub fn explain_accel(&self, args: &MachineArgs) -> Result<()> {
        self.facts.accel(args.accel)?;
        if let (None, Some(reason)) = (args.accel, &self.facts.no_kvm) {
            self.progress.note(&format!("guests run under TCG, which is slower: {reason}"));
        }
        Ok(())
    }
}
