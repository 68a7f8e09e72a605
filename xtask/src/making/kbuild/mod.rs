//! Builds of kernels and of the probe.

mod base;
mod build_dir;
mod compiler;
pub mod config;
mod kernel;
mod make;
mod module;
pub mod release;
pub mod tested;
mod unknown;
mod variants;

use std::path::PathBuf;

pub use base::Base;
pub use build_dir::BuildDir;
pub use compiler::Compiler;
pub use config::check_variant;
pub use kernel::kernel;
pub use module::{BuiltModules, modules};
pub use variants::Needs;

use crate::host::cache::Entry;
use crate::making::shipped::Origin;
use crate::vm::Arch;

/// How the lab configures and compiles a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// Further fragments: each name stands for kernel-configs/NAME.config.
    pub variants: Vec<String>,
    /// Fragments of the user's, by their paths.
    pub files: Vec<PathBuf>,
    /// A whole `.config` of the user's, into which the fragments are merged.
    pub base: Option<Base>,
    /// The compiler.
    pub compiler: Compiler,
}

impl BuildOptions {
    /// The fragments of these variants, and nothing else.
    pub fn of_variants<'n>(names: impl IntoIterator<Item = &'n str>) -> BuildOptions {
        BuildOptions { variants: names.into_iter().map(str::to_owned).collect(), ..BuildOptions::default() }
    }
}

/// Which kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSpec {
    /// One of kernel-configs/kernels.toml, or any release of kernel.org.
    Release {
        /// Its name, such as `6.12` or `6.18.3`.
        name: String,
        /// Changes of its source: files that patch(1) takes, in the order in which they are applied.
        patches: Vec<PathBuf>,
        /// How it is built.
        options: BuildOptions,
    },
    /// A developer's own tree.
    Tree {
        /// Its directory.
        dir: PathBuf,
        /// Whether a copy of it is built, as one that was built in place needs.
        copy: bool,
        /// How it is built.
        options: BuildOptions,
    },
    /// A kernel that was built elsewhere.
    Image {
        /// The file that is booted: a bzImage or an uncompressed vmlinux.
        image: PathBuf,
        /// The directory to build modules in, such as `/lib/modules/RELEASE/build`.
        build_dir: Option<PathBuf>,
        /// Its directory lib/modules/RELEASE, for a kernel whose channel is a module.
        modules: Option<PathBuf>,
    },
    /// A kernel as somebody ships it.
    Shipped(Origin),
}

/// A kernel that can be booted.
#[derive(Debug)]
pub struct BuiltKernel {
    /// What it is built for.
    pub arch: &'static Arch,
    /// Its release, as `uname -r` prints it.
    pub release: String,
    /// What it is, for people: `kernel 6.12.117`.
    pub label: String,
    /// The file that is booted: the image of its architecture, unless it came as one.
    pub image: PathBuf,
    /// Where modules are built; `None` for a kernel whose headers are not there.
    pub build_dir: Option<BuildDir>,
    /// Its directory lib/modules/RELEASE; `None` for a kernel that has all that guests need built in.
    pub module_tree: Option<PathBuf>,
    /// Whether it was configured by somebody else, for all machines.
    pub is_general: bool,
    /// What its variants need of a guest.
    pub needs: Needs,
    modules: Modules,
    /// Kept in the cache while this exists.
    held: Vec<Entry>,
}

/// How builds of modules for a kernel are kept.
#[derive(Debug)]
enum Modules {
    /// The kernel never changes under this key.
    Fixed(String),
    /// It may have changed since the last time: make has to check.
    Incremental(String),
}
