//! The cache: what takes long to build, kept by the content of everything that goes into it.
//!
//! An entry is a directory, built in place (kernel builds remember where they were built) under an
//! exclusive lock, and is valid only after its stamp has been written, which is the last step. A user
//! holds a shared lock, so that nothing in use is pruned. The locks are flock(2) locks: they end with
//! their processes, however those end.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::host::content::sha256;
use crate::host::progress::Progress;

/// The last file written into an entry; it holds the label shown by `cargo xtask cache`. Its
/// modification time is the time of last use.
const STAMP: &str = ".complete";

/// The checksums of those files that [`Making::seal`] was called for, as `sha256sum` writes them.
const SEALS: &str = ".sealed";

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

/// An entry that is being built, exclusively.
#[derive(Debug)]
pub struct Making {
    /// Its directory.
    pub dir: PathBuf,
    exclusive: File,
}

impl Making {
    /// An empty standard input for the commands that build the entry; it shares the lock. So
    /// the lock outlives this process if it is killed and they are not, and no other run starts
    /// to build what they still write to.
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

    fn stamp(&self, label: &str) -> Result<()> {
        let write = || {
            let mut stamp = File::create(self.dir.join(STAMP))?;
            stamp.write_all(label.as_bytes())?;
            stamp.sync_all()
        };
        write().with_context(|| unwritable(&self.dir))
    }
}

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
    /// The cache in `$NLCONFORM_CACHE`, else in the user's cache directory as the XDG base
    /// directory specification has it.
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
        self.made(kind, key, label, progress, |making| {
            clear(&making.dir)?;
            fs::create_dir_all(&making.dir).with_context(|| unwritable(&making.dir))?;
            make(making)
        })
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
        self.made(kind, key, label, progress, |making| {
            for damaged in damaged(&making.dir) {
                fs::remove_file(making.dir.join(damaged))?;
            }
            for mark in [STAMP, SEALS] {
                remove(&making.dir.join(mark))?;
            }
            fs::create_dir_all(&making.dir).with_context(|| unwritable(&making.dir))?;
            make(making)
        })
    }

    fn made(
        &self,
        kind: Kind,
        key: &str,
        label: &str,
        progress: &Progress,
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

    /// The finished entry with this key, if there is one that is not being removed.
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

    /// All entries, largest first.
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
        listings.sort_by_key(|listing| std::cmp::Reverse(listing.size));
        Ok(listings)
    }

    /// Removes entries not used for `age`, and remains of killed runs, but nothing in use.
    /// Returns what was removed.
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

/// The sealed files of an entry that do not hold what they held when it was made.
fn damaged(dir: &Path) -> Vec<String> {
    let seals = fs::read_to_string(dir.join(SEALS)).unwrap_or_default();
    let seals = seals.lines().filter_map(|line| line.split_once(' '));
    seals
        .filter(|(sum, name)| sha256(&dir.join(name)).map_or(true, |now| now != *sum))
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Removes a file that may not be there.
fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a directory, its stamp first: half removed must not look finished.
fn clear(dir: &Path) -> Result<()> {
    let result = match fs::remove_file(dir.join(STAMP)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ if dir.exists() => fs::remove_dir_all(dir),
        _ => Ok(()),
    };
    result.with_context(|| format!("cannot remove {}", dir.display()))
}

fn size_on_disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    walkdir::WalkDir::new(dir)
        .into_iter()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|meta| meta.blocks() * 512)
        .sum()
}

fn unwritable(path: &Path) -> String {
    format!("cannot write {}: make room, or set NLCONFORM_CACHE to a writable directory", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        (dir, cache)
    }

    fn entry(cache: &Cache, make: impl FnOnce(&Making) -> Result<()>) -> Result<Entry> {
        cache.entry(Kind::Kernel, "key", "kernel 1", &Progress::new(), make)
    }

    #[test]
    fn an_entry_is_made_once() {
        let (_dir, cache) = cache();
        let write = |making: &Making| Ok(fs::write(making.dir.join("vmlinux"), "first")?);
        entry(&cache, write).unwrap();
        let again = entry(&cache, |_| bail!("made twice")).unwrap();
        assert_eq!(fs::read_to_string(again.join("vmlinux")).unwrap(), "first");
    }

    #[test]
    fn a_failed_make_counts_for_nothing_and_is_cleared_away() {
        let (_dir, cache) = cache();
        let fail = |making: &Making| {
            fs::write(making.dir.join("half"), "")?;
            bail!("the disk is full")
        };
        assert_eq!(entry(&cache, fail).unwrap_err().to_string(), "the disk is full");
        assert!(cache.find(Kind::Kernel, "key").unwrap().is_none());
        assert_eq!(cache.list().unwrap()[0].label, None);
        let made = entry(&cache, |_| Ok(())).unwrap();
        assert!(!made.join("half").exists());
    }

    #[test]
    fn a_damaged_entry_is_made_anew() {
        let (_dir, cache) = cache();
        let write = |making: &Making| {
            fs::write(making.dir.join("vmlinux"), "all of it")?;
            making.seal("vmlinux")
        };
        let made = entry(&cache, write).unwrap();
        fs::write(made.join("vmlinux"), "all").unwrap();
        drop(made);
        let again = entry(&cache, write).unwrap();
        assert_eq!(fs::read_to_string(again.join("vmlinux")).unwrap(), "all of it");
        drop(again);
        entry(&cache, |_| bail!("made a third time")).unwrap();
    }

    #[test]
    fn work_that_was_interrupted_is_taken_up() {
        let (_dir, cache) = cache();
        let resumed = |make: &dyn Fn(&Making) -> Result<()>| {
            cache.resumed(Kind::Kernel, "key", "kernel 1", &Progress::new(), make)
        };
        let half = |making: &Making| {
            fs::write(making.dir.join("a.o"), "")?;
            bail!("interrupted")
        };
        assert!(resumed(&half).is_err());
        let rest = |making: &Making| {
            assert!(making.dir.join("a.o").exists() && !making.dir.join("vmlinux").exists());
            fs::write(making.dir.join("vmlinux"), "all of it")?;
            making.seal("vmlinux")
        };
        let made = resumed(&rest).unwrap();
        // What is damaged goes: make would take it for made.
        fs::write(made.join("vmlinux"), "all").unwrap();
        drop(made);
        resumed(&rest).unwrap();
    }

    #[test]
    fn a_place_that_make_cannot_work_in_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a b", "it's", "a:b"] {
            let refused = Cache::at(&dir.path().join(name)).unwrap_err().to_string();
            assert!(refused.contains("Set NLCONFORM_CACHE"), "{refused}");
            assert!(!dir.path().join(name).exists());
        }
    }

    #[test]
    fn runs_at_once_share_one_make() {
        let (_dir, cache) = cache();
        let made = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let count = |_: &Making| {
                        made.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(20));
                        Ok(())
                    };
                    entry(&cache, count).unwrap();
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn who_waited_for_the_maker_does_not_wait_for_its_use() {
        let (_dir, cache) = cache();
        let made = Barrier::new(2);
        thread::scope(|scope| {
            let user = scope.spawn(|| {
                let first = entry(&cache, |_| {
                    made.wait();
                    thread::sleep(Duration::from_millis(20));
                    Ok(())
                });
                // Still in use while another run uses it, too.
                made.wait();
                drop(first);
            });
            made.wait();
            entry(&cache, |_| bail!("made twice")).unwrap();
            made.wait();
            user.join().unwrap();
        });
    }

    #[test]
    fn what_is_in_use_is_not_pruned() {
        let (_dir, cache) = cache();
        let used = entry(&cache, |_| Ok(())).unwrap();
        assert!(cache.prune(Duration::ZERO).unwrap().is_empty());
        assert!(used.join(STAMP).exists());
        drop(used);
        assert_eq!(cache.prune(Duration::ZERO).unwrap().len(), 1);
        assert!(cache.list().unwrap().is_empty());
    }

    #[test]
    fn pruning_by_age_takes_the_unused_and_the_unfinished() {
        let (_dir, cache) = cache();
        entry(&cache, |_| Ok(())).unwrap();
        let old = cache.entry(Kind::Source, "old", "source", &Progress::new(), |_| Ok(()));
        let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 24 * 60 * 60);
        let stamp = File::options().append(true).open(old.unwrap().join(STAMP));
        stamp.unwrap().set_modified(two_days_ago).unwrap();
        fs::create_dir_all(cache.path(Kind::Module, "killed")).unwrap();

        let removed = cache.prune(Duration::from_secs(24 * 60 * 60)).unwrap();
        let mut kinds: Vec<_> = removed.iter().map(|listing| listing.kind.dir()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["modules", "sources"]);
        assert!(cache.find(Kind::Kernel, "key").unwrap().is_some());
    }

    #[test]
    fn finding_an_entry_is_a_use_of_it() {
        let (_dir, cache) = cache();
        let made = entry(&cache, |_| Ok(())).unwrap();
        let stamp = File::options().append(true).open(made.join(STAMP)).unwrap();
        stamp.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        cache.find(Kind::Kernel, "key").unwrap().unwrap();
        assert_ne!(stamp.metadata().unwrap().modified().unwrap(), SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn a_command_that_outlives_its_run_keeps_the_entry_locked() {
        let (_dir, cache) = cache();
        let mut orphan = None;
        let killed = entry(&cache, |making| {
            let stdin = making.stdin()?;
            orphan = Some(Command::new("sleep").arg("60").stdin(stdin).spawn()?);
            bail!("as if killed")
        });
        assert!(killed.is_err());
        assert!(cache.prune(Duration::ZERO).unwrap().is_empty());
        let mut orphan = orphan.unwrap();
        orphan.kill().unwrap();
        orphan.wait().unwrap();
        assert_eq!(cache.prune(Duration::ZERO).unwrap().len(), 1);
    }

    #[test]
    fn updated_work_is_taken_up_where_it_was_left() {
        let (_dir, cache) = cache();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let append = |making: &Making| {
                seen.push(making.dir.join("object").exists());
                Ok(fs::write(making.dir.join("object"), "")?)
            };
            cache.updated(Kind::Tree, "key", "tree", &Progress::new(), append).unwrap();
        }
        assert_eq!(seen, [false, true]);
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = format!("{:#}", Cache::at(&file.path().join("below")).unwrap_err());
        assert!(told.contains("set NLCONFORM_CACHE"), "{told}");
    }
}
