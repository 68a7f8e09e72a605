//! Arguments that commands share: which kernels, and what machine boots them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::host::packages::Purpose;
use crate::making::kbuild::{self, Base, BuildOptions, Compiler, KernelSpec};
use crate::making::lab::Lab;
use crate::making::shipped::Origin;
use crate::making::source::{Kernels, is_moniker};
use crate::vm::{Accel, Arch, Settings, arch};

/// The variant in which kernels of x86_64 run programs of i386.
const COMPAT: &str = "compat";

/// Which kernels.
#[derive(Debug, Clone, Default, Args)]
pub struct KernelArgs {
    /// Kernels of kernel-configs/kernels.toml, or all [default: the one named there]; releases of kernel.org by
    /// number, such as 6.6 (the newest of that line) or 6.18.3, or stable, longterm and mainline; host, the one
    /// that runs here, else the newest in /boot; deb:PACKAGE or deb:PACKAGE/SUITE, from Debian's archive with its
    /// headers; or the file of a .deb or a .rpm
    #[arg(long, value_name = "NAME", value_delimiter = ',', group = "which")]
    pub kernel: Vec<String>,
    /// Architectures: x86_64, aarch64, s390x (big-endian), riscv64, i386 (32-bit), or all [default: the host's]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub arch: Vec<String>,
    /// Build this kernel tree, incrementally and out of it
    #[arg(long, value_name = "DIR", group = "which")]
    pub kernel_src: Option<PathBuf>,
    /// Build a copy of that tree, with its uncommitted changes and without what git ignores: for a tree that was
    /// configured or built in place
    #[arg(long, requires = "kernel_src")]
    pub copy_tree: bool,
    /// Boot the newest kernel below this directory, an unpacked package or what make install and make
    /// modules_install have written: boot/vmlinuz-*, lib/modules/*, usr/src/linux-headers-*
    #[arg(long, value_name = "DIR", group = "which")]
    pub kernel_root: Option<PathBuf>,
    /// Boot this kernel, a bzImage or a vmlinux, that is built already
    #[arg(long, value_name = "FILE", group = "which")]
    pub kernel_image: Option<PathBuf>,
    /// Where modules for that kernel are built, such as /lib/modules/RELEASE/build
    #[arg(long, value_name = "DIR", requires = "kernel_image")]
    pub kernel_build: Option<PathBuf>,
    /// Where that kernel's own modules are, such as /lib/modules/RELEASE
    #[arg(long, value_name = "DIR", requires = "kernel_image")]
    pub modules: Option<PathBuf>,
    /// Add kernel-configs/NAME.config to the configuration of what the lab builds (can be repeated)
    #[arg(long, value_name = "NAME", conflicts_with_all = ["kernel_image", "kernel_root"])]
    pub variant: Vec<String>,
    /// Add this file of CONFIG_ lines to the configuration of what the lab builds (can be repeated)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kernel_image", "kernel_root"])]
    pub config: Vec<PathBuf>,
    /// Build with this whole .config, into which is merged what the lab needs; what Kconfig drops of it is named
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kernel_image", "kernel_root"])]
    pub config_from: Option<PathBuf>,
    /// Build with clang, lld and LLVM's tools (LLVM=1) instead of gcc. The probe is always compiled by what
    /// compiled its kernel, and by way of ccache where that is installed
    #[arg(long, conflicts_with_all = ["kernel_image", "kernel_root"])]
    pub llvm: bool,
    /// Run 32-bit programs on a 64-bit kernel: the guest's init is that of i386, the kernel and the probe those of
    /// x86_64
    #[arg(long)]
    pub compat: bool,
    /// The variant that a command takes by itself where it is the lab that builds
    #[arg(skip)]
    pub implied: Option<String>,
    /// Do without the probe, such as for a tree that it does not compile for: cases that need it are skipped
    #[arg(long)]
    pub no_probe: bool,
    /// Do not install missing host packages
    #[arg(long)]
    pub no_install: bool,
}

impl KernelArgs {
    /// The kernels that are meant.
    ///
    /// # Errors
    /// A path cannot be read, or a name is unknown; kernel.org does not answer for a name that only it knows.
    pub fn specs(&self) -> Result<Vec<KernelSpec>> {
        // Said before anything is printed, installed or fetched; the rest, where it is used.
        for (option, path) in [
            ("--kernel-src", &self.kernel_src),
            ("--kernel-root", &self.kernel_root),
            ("--kernel-image", &self.kernel_image),
            ("--kernel-build", &self.kernel_build),
            ("--modules", &self.modules),
        ] {
            if let Some(path) = path {
                path.metadata().with_context(|| format!("cannot read {option} {}", path.display()))?;
            }
        }
        if let Some(image) = self.kernel_image.clone() {
            let (build_dir, modules) = (self.kernel_build.clone(), self.modules.clone());
            return Ok(vec![KernelSpec::Image { image, build_dir, modules }]);
        }
        if let Some(dir) = self.kernel_root.clone() {
            return Ok(vec![KernelSpec::Shipped(Origin::Root(dir))]);
        }
        if let Some(dir) = self.kernel_src.clone() {
            let options = self.build_options()?;
            return Ok(vec![KernelSpec::Tree { dir, copy: self.copy_tree, options }]);
        }
        let known = Kernels::load()?;
        let names: Vec<String> = match self.kernel.as_slice() {
            [] => vec![known.default.clone()],
            [all] if all == "all" => known.names().map(str::to_owned).collect(),
            names => {
                // kernel.org is not asked for some names while others are wrong.
                for name in names.iter().filter(|name| !is_moniker(name)) {
                    self.named(name.clone(), &known)?;
                }
                known.expand(names.to_vec())?
            }
        };
        let mut seen = BTreeSet::new();
        names
            .into_iter()
            .filter(|name| seen.insert(name.clone()))
            .map(|name| self.named(name, &known))
            .collect()
    }

    fn named(&self, name: String, known: &Kernels) -> Result<KernelSpec> {
        let Some(origin) = Origin::named(&name)? else {
            known.get(&name)?;
            let options = self.build_options()?;
            return Ok(KernelSpec::Release { name, patches: Vec::new(), options });
        };
        let given = [
            ("--variant", !self.variant.is_empty()),
            ("--config", !self.config.is_empty()),
            ("--config-from", self.config_from.is_some()),
            ("--llvm", self.llvm),
        ];
        if let Some((option, _)) = given.iter().find(|(_, is_given)| *is_given) {
            bail!("{option} changes how a kernel is built, and {name} is built already: leave it out");
        }
        if let Origin::Package(file) = &origin {
            file.metadata().with_context(|| format!("cannot read --kernel {}", file.display()))?;
        }
        Ok(KernelSpec::Shipped(origin))
    }

    fn variants(&self) -> Result<Vec<String>> {
        self.variant.iter().try_for_each(|name| kbuild::check_variant(name))?;
        let mut variants = self.variant.clone();
        variants.extend(self.compat.then(|| COMPAT.to_owned()));
        variants.extend(self.implied.iter().filter(|implied| !self.variant.contains(implied)).cloned());
        Ok(variants)
    }

    /// How kernels are built.
    fn build_options(&self) -> Result<BuildOptions> {
        let readable = |file: &PathBuf| {
            let unreadable = || format!("cannot read --config {}", file.display());
            // A pipe has no path by which it could be found again.
            if !file.metadata().with_context(unreadable)?.is_file() {
                bail!("--config takes a regular file, which {} is not", file.display());
            }
            file.canonicalize().with_context(unreadable)
        };
        Ok(BuildOptions {
            variants: self.variants()?,
            files: self.config.iter().map(readable).collect::<Result<_>>()?,
            base: self.config_from.as_deref().map(Base::read).transpose()?,
            compiler: if self.llvm { Compiler::Llvm } else { Compiler::Gcc },
        })
    }

    /// The architectures that are meant.
    ///
    /// # Errors
    /// A name is unknown.
    pub fn archs(&self) -> Result<Vec<&'static Arch>> {
        let archs: Vec<_> = match self.arch.as_slice() {
            [] => vec![Arch::of_host()],
            [all] if all == "all" => arch::ALL.iter().collect(),
            names => names.iter().map(|name| Arch::named(name)).collect::<Result<_>>()?,
        };
        let mut seen = BTreeSet::new();
        Ok(archs.into_iter().filter(|arch| seen.insert(arch.name)).collect())
    }

    /// The one architecture of a command that has use for one.
    ///
    /// # Errors
    /// There are several, or a name is unknown. `what` begins the sentence that says so.
    pub fn one_arch(&self, what: &str) -> Result<&'static Arch> {
        match self.archs()?[..] {
            [arch] => Ok(arch),
            _ => bail!("{what} one architecture: name it with --arch"),
        }
    }

    /// Each of the kernels for each of the architectures.
    ///
    /// # Errors
    /// See [`KernelArgs::archs`] and [`KernelArgs::specs`].
    pub fn targets(&self) -> Result<Vec<(&'static Arch, KernelSpec)>> {
        // First what needs no network.
        let archs = self.archs()?;
        let specs = self.specs()?;
        let each = |arch| specs.iter().cloned().map(move |spec| (arch, spec));
        Ok(archs.into_iter().flat_map(each).collect())
    }

    /// The one kernel of a command that has use for one.
    ///
    /// # Errors
    /// There are several; or see [`KernelArgs::targets`]. `what` begins the sentence that says so.
    pub fn one_target(&self, what: &str) -> Result<(&'static Arch, KernelSpec)> {
        <[_; 1]>::try_from(self.targets()?).map(|[target]| target).map_err(|_| {
            anyhow!("{what} on one kernel of one architecture: name one with --kernel and --arch")
        })
    }

    /// The same, with another variant if it is the lab that builds them.
    pub fn with_variant(&self, name: &str) -> KernelArgs {
        KernelArgs { implied: Some(name.to_owned()), ..self.clone() }
    }

    /// What the host must have for these kernels.
    fn purposes(&self) -> Result<Vec<Purpose>> {
        if self.kernel_image.is_some() {
            let is_alone = self.kernel_build.is_none() && self.modules.is_none();
            return Ok(if is_alone { Vec::new() } else { vec![Purpose::Shipped] });
        }
        if self.kernel_root.is_some() {
            return Ok(vec![Purpose::Shipped]);
        }
        let known = Kernels::load()?;
        let mut purposes = Vec::new();
        for name in &self.kernel {
            purposes.extend(match Origin::named(name)? {
                Some(origin) => [Some(Purpose::Shipped), origin.purpose()],
                None if known.names().any(|known| known == name) => [Some(Purpose::Kernel), None],
                None => [Some(Purpose::Kernel), Some(Purpose::Release)],
            });
        }
        let default = self.kernel.is_empty().then_some(Purpose::Kernel);
        Ok(purposes.into_iter().flatten().chain(default).collect())
    }

    /// The lab, with what the host must have for these kernels.
    ///
    /// # Errors
    /// See [`Lab::open`].
    pub fn open_lab(&self) -> Result<Lab> {
        let mut purposes = vec![Purpose::Program];
        purposes.extend(self.purposes()?);
        purposes.extend(self.llvm.then_some(Purpose::Llvm));
        purposes.extend(self.config_from.is_some().then_some(Purpose::WholeConfig));
        let mut archs = self.archs()?;
        let compat = self.compat.then(|| Arch::named("i386")).transpose()?;
        if compat.is_some() && archs.iter().any(|arch| arch.name != "x86_64") {
            bail!("--compat runs programs of i386 on kernels of x86_64: leave --arch out, or name x86_64");
        }
        archs.extend(compat);
        let mut lab = Lab::open(&purposes, &archs, !self.no_install)?;
        lab.probe = !self.no_probe;
        lab.compat = compat;
        Ok(lab)
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
    /// Guests that run at once, beside those whose case only waits [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
    /// Add words to the kernel's command line
    #[arg(long, value_name = "WORDS", default_value = "", hide_default_value = true, value_parser = appendable)]
    pub append: String,
    /// Wait for a debugger on port 1234 before the kernel starts; nothing has a deadline
    #[arg(long)]
    pub gdb: bool,
    /// Pass an argument on to QEMU (can be repeated)
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
}

/// Of the 2048 bytes that a kernel's command line has on most architectures (COMMAND_LINE_SIZE), the lab needs some.
const LONGEST_APPEND: usize = 1024;

/// Words for the kernel's command line. Its parser ends a word at a space outside of double quotes, so
/// that an open one would swallow what the lab says after it; and the kernel cuts a line that is too long.
fn appendable(words: &str) -> Result<String, String> {
    if words.len() > LONGEST_APPEND {
        return Err(format!(
            "{} bytes, and with what the lab says the kernel's command line has room for {LONGEST_APPEND}",
            words.len()
        ));
    }
    match words.matches('"').count() % 2 {
        0 => Ok(words.to_owned()),
        _ => Err("a double quote is left open, and the kernel would take the rest of its command line for \
                  the value: close it"
            .to_owned()),
    }
}

impl MachineArgs {
    /// The settings that they make.
    pub fn settings(&self) -> Settings {
        Settings {
            accel: self.accel,
            memory: self.memory,
            smp: self.smp,
            append: self.append.clone(),
            gdb: self.gdb,
            qemu_args: self.qemu_arg.clone(),
            host_files: false,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_is_named_twice_runs_once() {
        let kernel = ["6.12", "5.10", "6.12"].map(str::to_owned).to_vec();
        let args = KernelArgs { kernel, ..KernelArgs::default() };
        let names: Vec<_> = args
            .specs()
            .unwrap()
            .into_iter()
            .map(|spec| match spec {
                KernelSpec::Release { name, .. } => name,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(names, ["6.12", "5.10"]);
    }
}
