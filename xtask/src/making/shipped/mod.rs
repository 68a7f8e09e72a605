//! Kernels as they are shipped: by a distribution, by a maintainer's packages, or on this host.

mod debian;
pub mod modules;
mod packages;
mod root;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::host::cache::{Cache, Entry};
use crate::host::packages::Purpose;
use crate::host::progress::Progress;
use crate::making::kbuild::BuildDir;
use crate::vm::Arch;

/// Where a shipped kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This host.
    Host,
    /// A root directory, such as an unpacked package.
    Root(PathBuf),
    /// A package of Debian's archive.
    Debian {
        /// Its name, such as `linux-image-cloud-amd64`.
        package: String,
        /// The suite that it is taken from; where there is none, the newest that any has.
        suite: Option<String>,
    },
    /// A package that somebody has built, with those beside it that belong to it.
    Package(PathBuf),
}

impl Origin {
    /// The origin that a kernel's name stands for; nothing for the name of a kernel that the lab builds.
    ///
    /// # Errors
    /// It stands for a package that cannot exist.
    pub fn named(name: &str) -> Result<Option<Origin>> {
        if name == "host" {
            return Ok(Some(Origin::Host));
        }
        if let Some(package) = name.strip_prefix("deb:") {
            let (package, suite) = match package.split_once('/') {
                Some((package, suite)) => (package, Some(suite.to_owned())),
                None => (package, None),
            };
            if !is_word(package) || !suite.as_deref().is_none_or(is_word) {
                bail!("{name:?} names no package of Debian's: give deb:PACKAGE or deb:PACKAGE/SUITE");
            }
            return Ok(Some(Origin::Debian { package: package.to_owned(), suite }));
        }
        let is_package = Path::new(name).extension().is_some_and(|end| end == "deb" || end == "rpm");
        Ok(is_package.then(|| Origin::Package(name.into())))
    }

    /// What else the host must have for it.
    pub fn purpose(&self) -> Option<Purpose> {
        match self {
            Origin::Host | Origin::Root(_) => None,
            Origin::Debian { .. } => Some(Purpose::DebianSource),
            Origin::Package(file) if file.extension().is_some_and(|extension| extension == "rpm") => {
                Some(Purpose::Rpm)
            }
            Origin::Package(_) => Some(Purpose::Deb),
        }
    }

    /// Finds the kernel for an architecture, or fetches it.
    ///
    /// # Errors
    /// There is none, or it cannot be fetched.
    pub fn obtain(&self, arch: &Arch, cache: &Cache, progress: &Progress) -> Result<Shipped> {
        let (entry, key) = match self {
            Origin::Host if !arch.is_host() => {
                bail!("the kernel of this host runs on {}, not on {}", std::env::consts::ARCH, arch.name)
            }
            Origin::Host => return root::of_host(arch),
            Origin::Root(dir) => return root::find(arch, dir, None),
            Origin::Debian { package, suite } => {
                debian::fetch(arch, package, suite.as_deref(), cache, progress)?
            }
            Origin::Package(file) => packages::unpack_file(file, cache, progress)?,
        };
        let found =
            root::find(arch, &entry.join(packages::ROOT), None).with_context(|| format!("kernel {self}"))?;
        Ok(Shipped { fixed: Some(key), entry: Some(entry), ..found })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Host => f.write_str("host"),
            Origin::Root(dir) => write!(f, "of {}", dir.display()),
            Origin::Debian { package, suite: None } => f.write_str(package),
            Origin::Debian { package, suite: Some(suite) } => write!(f, "{package}/{suite}"),
            Origin::Package(file) => write!(f, "of {}", file.display()),
        }
    }
}

/// Whether it can be the name of a package or of a suite (deb-control(5)): apt would take others for options or files.
fn is_word(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// A kernel that somebody else has built, with what came with it.
#[derive(Debug)]
pub struct Shipped {
    /// Its release, as `uname -r` prints it.
    pub release: String,
    /// The file that is booted.
    pub image: PathBuf,
    /// Its directory lib/modules/RELEASE, if it has modules.
    pub modules: Option<PathBuf>,
    /// Where modules can be built for it, if its headers are there.
    pub headers: Option<BuildDir>,
    /// A key under which it never changes.
    pub fixed: Option<String>,
    /// Keeps it in the cache, if it is there.
    pub entry: Option<Entry>,
}
