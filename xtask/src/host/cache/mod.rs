//! The cache: what takes long to build, kept by the content of everything that goes into it.
//!
//! An entry is a directory, built in place (kernel builds remember where they were built) under an
//! exclusive lock, and is valid only after its stamp has been written, which is the last step. A user
//! holds a shared lock, so that nothing in use is pruned. The locks are flock(2) locks: they end with
//! their processes, however those end.

mod making;
mod upkeep;

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

pub use self::making::Making;
use self::making::{STAMP, clear, damaged, remove, reopen, unwritable};
pub use self::upkeep::Listing;
use crate::host::progress::Progress;

/// What an entry holds; each kind has a directory of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Downloads, and the package lists to find them by.
    Download,
    /// Unpacked kernel sources.
    Source,
    /// Builds of kernel sources in the cache.
    Kernel,
    /// Incremental kernel builds of a developer's own tree.
    Tree,
    /// Unpacked packages of kernels.
    Shipped,
    /// Builds of the probe.
    Module,
    /// Builds of the project's own programs.
    Program,
}

impl Kind {
    const ALL: [Kind; 7] =
        [Kind::Download, Kind::Source, Kind::Kernel, Kind::Tree, Kind::Shipped, Kind::Module, Kind::Program];

    fn dir(self) -> &'static str {
        match self {
            Kind::Download => "downloads",
            Kind::Source => "sources",
            Kind::Kernel => "kernels",
            Kind::Tree => "trees",
            Kind::Shipped => "shipped",
            Kind::Module => "modules",
            Kind::Program => "programs",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.dir())
    }
}

/// The cache of one user.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// A finished entry, which is not pruned while this exists.
#[derive(Debug)]
pub struct Entry {
    path: PathBuf,
    _shared: File,
}

impl Deref for Entry {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Cache {
    /// The cache in `$NLCONFORM_CACHE`, else in the user's cache directory as the XDG base
    /// directory specification has it.
    ///
    /// # Errors
    /// None of these variables is set; or see [`Cache::at`].
    pub fn open() -> Result<Cache> {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = var("NLCONFORM_CACHE")
            .map(PathBuf::from)
            .or_else(|| var("XDG_CACHE_HOME").map(|dir| Path::new(&dir).join("nlconform")))
            .or_else(|| var("HOME").map(|dir| Path::new(&dir).join(".cache/nlconform")))
            .context("no directory for the cache: set NLCONFORM_CACHE")?;
        Cache::at(&root)
    }

    /// The cache in a given directory, which is created if necessary.
    ///
    /// # Errors
    /// It cannot be written to, or its path has a character that make(1) cannot take.
    pub fn at(root: &Path) -> Result<Cache> {
        let root = std::path::absolute(root)?;
        // make(1) splits its words at them, or takes them for its own.
        if let Some(bad) = root.to_string_lossy().chars().find(|c| " \t\n:;#$%\"'\\`*?[]()&|<>".contains(*c))
        {
            bail!(
                "no kernel can be built below {}: its name has a {bad:?}. Set NLCONFORM_CACHE to a directory \
                 without",
                root.display()
            );
        }
        fs::create_dir_all(root.join("locks")).with_context(|| unwritable(&root))?;
        Ok(Cache { root })
    }

    /// The cache's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The entry with this key, made by `make` if it is not there or damaged. What an interrupted `make`
    /// left is removed first.
    ///
    /// # Errors
    /// Those of `make`; or the cache cannot be written to.
    pub fn entry(
        &self,
        kind: Kind,
        key: &str,
        label: &str,
        progress: &Progress,
        make: impl FnOnce(&Making) -> Result<()>,
    ) -> Result<Entry> {
        self.made(kind, key, label, progress, clear, make)
    }

    /// The same for work that is taken up where an interrupted `make` left it.
    ///
    /// # Errors
    /// Those of `make`, and when the cache cannot be written to.
    pub fn resumed(
        &self,
        kind: Kind,
        key: &str,
        label: &str,
        progress: &Progress,
        make: impl FnOnce(&Making) -> Result<()>,
    ) -> Result<Entry> {
        self.made(kind, key, label, progress, reopen, make)
    }

    /// The entry with this key; if it is not there, what there is of it is prepared first.
    fn made(
        &self,
        kind: Kind,
        key: &str,
        label: &str,
        progress: &Progress,
        prepare: fn(&Path) -> Result<()>,
        make: impl FnOnce(&Making) -> Result<()>,
    ) -> Result<Entry> {
        let mut said = false;
        let making = loop {
            if let Some(entry) = self.find(kind, key)? {
                let damaged = damaged(&entry);
                if damaged.is_empty() {
                    return Ok(entry);
                }
                progress
                    .note(&format!("{label} is damaged in the cache, and made anew: {}", damaged.join(", ")));
                remove(&entry.join(STAMP))?;
            }
            if let Some(making) = self.try_begin(kind, key)? {
                break making;
            }
            if !std::mem::replace(&mut said, true) {
                progress.note(&waiting_for(label));
            }
            // Shared, because a run that builds it now will use it next, for an unlimited time.
            self.lock_file(&self.path(kind, key))?.lock_shared()?;
        };
        // Another run may have built it while this one waited for the lock.
        if !making.dir.join(STAMP).exists() {
            prepare(&making.dir)?;
            fs::create_dir_all(&making.dir).with_context(|| unwritable(&making.dir))?;
            make(&making)?;
            making.stamp(label)?;
        }
        share(making)
    }

    /// The entry with this key, brought up to date by `update` each time: for work that continues
    /// where the last run stopped, such as make's or a download.
    ///
    /// # Errors
    /// Those of `update`; or the cache cannot be written to.
    pub fn updated(
        &self,
        kind: Kind,
        key: &str,
        label: &str,
        progress: &Progress,
        update: impl FnOnce(&Making) -> Result<()>,
    ) -> Result<Entry> {
        let making = self.begin(kind, key, label, progress)?;
        fs::create_dir_all(&making.dir).with_context(|| unwritable(&making.dir))?;
        making.stamp(label)?;
        update(&making)?;
        share(making)
    }

    /// The finished entry with this key, if there is one that is not being removed. Finding it is a use of it.
    ///
    /// # Errors
    /// It cannot be locked.
    pub fn find(&self, kind: Kind, key: &str) -> Result<Option<Entry>> {
        let path = self.path(kind, key);
        let stamp = path.join(STAMP);
        if !stamp.exists() {
            return Ok(None);
        }
        let lock = self.lock_file(&path)?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock_shared() {
            return Ok(None);
        }
        match File::options().append(true).open(&stamp) {
            Ok(stamp) => stamp.set_modified(SystemTime::now())?,
            Err(_) => return Ok(None),
        }
        Ok(Some(Entry { path, _shared: lock }))
    }

    fn path(&self, kind: Kind, key: &str) -> PathBuf {
        self.root.join(kind.dir()).join(key)
    }

    fn begin(&self, kind: Kind, key: &str, label: &str, progress: &Progress) -> Result<Making> {
        if let Some(making) = self.try_begin(kind, key)? {
            return Ok(making);
        }
        progress.note(&waiting_for(label));
        let dir = self.path(kind, key);
        let exclusive = self.lock_file(&dir)?;
        exclusive.lock()?;
        Ok(Making { dir, exclusive })
    }

    fn try_begin(&self, kind: Kind, key: &str) -> Result<Option<Making>> {
        let dir = self.path(kind, key);
        let exclusive = self.lock_file(&dir)?;
        match exclusive.try_lock() {
            Ok(()) => Ok(Some(Making { dir, exclusive })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Lock files are outside of what they protect and are never removed: a lock on a removed file
    /// would not exclude anyone.
    fn lock_file(&self, entry: &Path) -> Result<File> {
        let name = entry.strip_prefix(&self.root)?.to_string_lossy().replace('/', "-");
        let path = self.root.join("locks").join(name);
        File::options().create(true).append(true).read(true).open(&path).with_context(|| unwritable(&path))
    }
}

fn waiting_for(label: &str) -> String {
    format!("waiting for another run that is working on {label}")
}

fn share(making: Making) -> Result<Entry> {
    making.exclusive.lock_shared()?;
    Ok(Entry { path: making.dir, _shared: making.exclusive })
}

#[cfg(test)]
mod tests;
