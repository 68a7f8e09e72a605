//! Kernel sources: from Debian's archive, from kernel.org, or a developer's own tree.

pub mod bisection;
pub mod copy;
mod debian;
mod release;
mod tarball;
pub mod tree;

pub use release::is_moniker;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::host::cache::{Cache, Entry, Kind, Making};
use crate::host::content::Key;
use crate::host::progress::Progress;
use crate::making::apt::NoRoom;

/// kernel-configs/kernels.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernels {
    /// The kernel that is used if none is named.
    pub default: String,
    /// Suites of Debian's archive that are looked through for a packaged kernel.
    pub suites: Vec<String>,
    mirror: String,
    /// What kernel.org says is current.
    releases: String,
    /// The key that signs kernel.org's checksums, a path from kernel-configs.
    keyring: PathBuf,
    #[serde(rename = "kernel")]
    kernels: Vec<Kernel>,
}

/// A kernel that can be obtained by name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Its name, such as `6.12`.
    pub name: String,
    debian: Option<Debian>,
    tarball: Option<Tarball>,
    /// The number of a release of kernel.org, or of a line of them, for a kernel that is not in the file.
    #[serde(skip)]
    release: Option<String>,
    /// Symbols of the fragments that this kernel does not have.
    #[serde(default)]
    pub without: Vec<Without>,
}

/// An exception from the configuration fragments.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Without {
    /// The symbol, without `CONFIG_`.
    pub symbol: String,
    /// Why the kernel does not have it; read by people only.
    #[serde(rename = "reason")]
    _reason: String,
}

/// A Debian package with a whole source tree.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Debian {
    package: String,
    suites: Vec<String>,
}

/// A release of kernel.org.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tarball {
    version: String,
    sha256: String,
}

/// A kernel source in the cache.
#[derive(Debug)]
pub struct Source {
    /// The tree's directory, which must not be written to.
    pub dir: PathBuf,
    /// The kernel's version, such as `6.12.117`.
    pub version: String,
    /// Its exact identity: goes into the keys of what is built from it.
    pub identity: String,
    /// Keeps it in the cache.
    pub entry: Entry,
}

impl Kernels {
    /// Reads kernel-configs/kernels.toml.
    ///
    /// # Errors
    /// The file is wrong, or NLCONFORM_KERNEL_MIRROR is no URL.
    pub fn load() -> Result<Kernels> {
        let path = crate::project_root().join("kernel-configs/kernels.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut kernels: Kernels =
            toml::from_str(&text).with_context(|| format!("{} is invalid", path.display()))?;
        if let Some(mirror) = std::env::var_os("NLCONFORM_KERNEL_MIRROR") {
            let is_url = |text: &String| text.starts_with("http://") || text.starts_with("https://");
            kernels.mirror = mirror.into_string().ok().filter(is_url).with_context(|| {
                format!("NLCONFORM_KERNEL_MIRROR is to be the URL of a mirror, such as {}", kernels.mirror)
            })?;
        }
        Ok(kernels)
    }

    /// The names, in the file's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().map(|kernel| kernel.name.as_str())
    }

    /// The kernel with this name, or the release of kernel.org with this number.
    ///
    /// # Errors
    /// It is neither.
    pub fn get(&self, name: &str) -> Result<Kernel> {
        if let Some(known) = self.kernels.iter().find(|kernel| kernel.name == name) {
            return Ok(known.clone());
        }
        if release::is_number(name) {
            return Ok(Kernel { name: name.to_owned(), release: Some(name.to_owned()), ..Kernel::default() });
        }
        let known: Vec<_> = self.names().collect();
        bail!(
            "unknown kernel {name:?}; known kernels: {}; others by their number at kernel.org, such as 6.6 for the \
             newest of a line, 6.18.3, or stable, longterm and mainline; host; deb:PACKAGE; a .deb or .rpm",
            known.join(", ")
        )
    }

    /// These names, with what kernel.org calls stable, longterm and mainline replaced by their numbers.
    ///
    /// # Errors
    /// kernel.org has to be asked, and cannot be.
    pub fn expand(&self, names: Vec<String>) -> Result<Vec<String>> {
        release::expand(names, &self.releases)
    }

    /// The source of a kernel. Once obtained it stays unchanged until it is pruned, so that no run
    /// but the first waits for the network.
    ///
    /// # Errors
    /// It cannot be had from any of its places, or is not what its checksum or signature says.
    pub fn source(&self, kernel: &Kernel, cache: &Cache, progress: &Progress) -> Result<Source> {
        let recipe = serde_json::to_string(&(&kernel.debian, &kernel.tarball))?;
        let mut key = Key::new().part("sources", recipe);
        if let Some(number) = &kernel.release {
            key = key.part("release", number);
        }
        let key = format!("{}-{}", kernel.name, key.finish());
        let label = format!("source of kernel {}", kernel.name);
        let entry = cache.entry(Kind::Source, &key, &label, progress, |making| {
            let obtained = self.obtain(kernel, cache, making, progress);
            if obtained.is_err() {
                // Half a tree is of no use, and the disk may be full of it.
                let _ = fs::remove_dir_all(making.dir.join(TREE));
            }
            obtained
        })?;
        let identity = fs::read_to_string(entry.join(IDENTITY))
            .with_context(|| format!("{} is damaged: remove it", entry.display()))?;
        let dir = entry.join(TREE);
        Ok(Source { version: tree::version(&dir)?, dir, identity, entry })
    }

    fn obtain(&self, kernel: &Kernel, cache: &Cache, making: &Making, progress: &Progress) -> Result<()> {
        let mut failures = Vec::new();
        if let Some(package) = &kernel.debian {
            match debian::obtain(package, cache, making, progress) {
                Ok(identity) => return finish(making, &identity),
                Err(error) if error.is::<NoRoom>() => return Err(error),
                Err(error) => failures.push(error.context("from Debian's archive")),
            }
        }
        if let Some(tarball) = &kernel.tarball {
            match tarball::obtain(tarball, &self.mirror, cache, making, progress) {
                Ok(identity) => return finish(making, &identity),
                Err(error) => failures.push(error.context("from kernel.org")),
            }
        }
        if let Some(number) = &kernel.release {
            let keyring = crate::project_root().join("kernel-configs").join(&self.keyring);
            match release::obtain(number, &self.mirror, &keyring, cache, making, progress) {
                Ok(identity) => return finish(making, &identity),
                Err(error) => failures.push(error.context("from kernel.org")),
            }
        }
        let reasons: Vec<_> = failures.iter().map(|error| format!("  {error:#}")).collect();
        Err(anyhow!(
            "cannot obtain the source of kernel {}; give your own tree with --kernel-src DIR, or:\n{}",
            kernel.name,
            reasons.join("\n")
        ))
    }
}

const TREE: &str = "linux";
const IDENTITY: &str = "identity";

fn finish(making: &Making, identity: &str) -> Result<()> {
    if !making.dir.join(TREE).join("Kbuild").exists() {
        bail!("{identity} contains no kernel source");
    }
    fs::write(making.dir.join(IDENTITY), identity)?;
    Ok(())
}

/// Creates an empty directory to unpack an archive into: an earlier attempt may have failed.
fn fresh_tree(making: &Making) -> Result<PathBuf> {
    let tree = making.dir.join(TREE);
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::create_dir(&tree)?;
    Ok(tree)
}
