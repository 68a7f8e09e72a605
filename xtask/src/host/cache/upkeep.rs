//! What the cache holds, and what may go.

use std::cmp::Reverse;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use walkdir::WalkDir;

use super::making::{STAMP, clear};
use super::{Cache, Kind};

/// One line of [`Cache::list`].
#[derive(Debug)]
pub struct Listing {
    /// What kind of entry.
    pub kind: Kind,
    /// What it is, such as `kernel 6.12.117`; `None` for the remains of a killed run.
    pub label: Option<String>,
    /// Space on disk, in bytes.
    pub size: u64,
    /// When it was last built or used.
    pub used: SystemTime,
    /// Where it is.
    pub path: PathBuf,
}

impl Cache {
    /// All entries, largest first.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn list(&self) -> Result<Vec<Listing>> {
        let mut listings = Vec::new();
        for kind in Kind::ALL {
            let Ok(entries) = fs::read_dir(self.root.join(kind.dir())) else {
                continue;
            };
            for entry in entries {
                let path = entry?.path();
                let stamp = path.join(STAMP);
                let label = fs::read_to_string(&stamp).ok();
                let dated = if label.is_some() { &stamp } else { &path };
                listings.push(Listing {
                    kind,
                    label,
                    size: size_on_disk(&path),
                    used: fs::metadata(dated).and_then(|meta| meta.modified())?,
                    path,
                });
            }
        }
        listings.sort_by_key(|listing| Reverse(listing.size));
        Ok(listings)
    }

    /// Removes entries not used for `age`, and remains of killed runs, but nothing in use.
    /// Returns what was removed.
    ///
    /// # Errors
    /// One cannot be read or removed.
    pub fn prune(&self, age: Duration) -> Result<Vec<Listing>> {
        let mut removed = Vec::new();
        for listing in self.list()? {
            let idle = listing.used.elapsed().unwrap_or_default();
            if listing.label.is_some() && idle < age {
                continue;
            }
            let lock = self.lock_file(&listing.path)?;
            if lock.try_lock().is_ok() {
                clear(&listing.path)?;
                removed.push(listing);
            }
        }
        Ok(removed)
    }
}

fn size_on_disk(dir: &Path) -> u64 {
    WalkDir::new(dir)
        .into_iter()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|meta| meta.blocks() * 512)
        .sum()
}
