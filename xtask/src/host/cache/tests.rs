//! Entries are made once, kept whole and pruned only when nobody uses them.

use super::*;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

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
