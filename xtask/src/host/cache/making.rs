//! An entry while it is made: its stamp, which is written last, and the seals of its files.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::host::content::sha256;

/// The last file written into an entry; it holds the label shown by `cargo xtask cache`. Its
/// modification time is the time of last use.
pub(super) const STAMP: &str = ".complete";

/// The checksums of those files that [`Making::seal`] was called for, as `sha256sum` writes them.
const SEALS: &str = ".sealed";

/// An entry that is being built, exclusively.
#[derive(Debug)]
pub struct Making {
    /// Its directory.
    pub dir: PathBuf,
    pub(super) exclusive: File,
}

impl Making {
    /// An empty standard input for the commands that build the entry; it shares the lock. So
    /// the lock outlives this process if it is killed and they are not, and no other run starts
    /// to build what they still write to.
    ///
    /// # Errors
    /// This process has too many files open.
    pub fn stdin(&self) -> Result<Stdio> {
        Ok(Stdio::from(self.exclusive.try_clone()?))
    }

    /// Records what a file of the entry holds, so that it is not used when the disk has lost some of it.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn seal(&self, name: &str) -> Result<()> {
        let path = self.dir.join(SEALS);
        let mut seals = fs::read_to_string(&path).unwrap_or_default();
        seals += &format!("{} {name}\n", sha256(&self.dir.join(name))?);
        fs::write(&path, seals).with_context(|| unwritable(&path))
    }

    /// Makes the entry valid.
    pub(super) fn stamp(&self, label: &str) -> Result<()> {
        let write = || {
            let mut stamp = File::create(self.dir.join(STAMP))?;
            stamp.write_all(label.as_bytes())?;
            stamp.sync_all()
        };
        write().with_context(|| unwritable(&self.dir))
    }
}

/// Removes the marks of a finished entry, and the files that are damaged; what else there is stays.
pub(super) fn reopen(dir: &Path) -> Result<()> {
    for damaged in damaged(dir) {
        fs::remove_file(dir.join(damaged))?;
    }
    [STAMP, SEALS].iter().try_for_each(|mark| remove(&dir.join(mark)))
}

/// The sealed files of an entry that do not hold what they held when it was made.
pub(super) fn damaged(dir: &Path) -> Vec<String> {
    let seals = fs::read_to_string(dir.join(SEALS)).unwrap_or_default();
    let seals = seals.lines().filter_map(|line| line.split_once(' '));
    seals
        .filter(|(sum, name)| sha256(&dir.join(name)).map_or(true, |now| now != *sum))
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Removes a file that may not be there.
pub(super) fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a directory, its stamp first: half removed must not look finished.
pub(super) fn clear(dir: &Path) -> Result<()> {
    let result = match fs::remove_file(dir.join(STAMP)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ if dir.exists() => fs::remove_dir_all(dir),
        _ => Ok(()),
    };
    result.with_context(|| format!("cannot remove {}", dir.display()))
}

pub(super) fn unwritable(path: &Path) -> String {
    format!("cannot write {}: make room, or set NLCONFORM_CACHE to a writable directory", path.display())
}
