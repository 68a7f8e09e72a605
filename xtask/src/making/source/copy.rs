//! A copy of a developer's tree, as it is, without what was built in it: kbuild builds outside of a clean tree only.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

/// Makes `copy` the same as `tree`, with its uncommitted changes and new files, without what git ignores. Files
/// that are the same already are left alone, so that only what changed is built again.
///
/// # Errors
/// git does not know the tree, or a file cannot be copied.
pub fn bring(tree: &Path, copy: &Path) -> Result<()> {
    let files = files(tree)?;
    fs::create_dir_all(copy).with_context(|| format!("cannot create {}", copy.display()))?;
    for entry in WalkDir::new(copy) {
        let entry = entry?;
        let name = entry.path().strip_prefix(copy)?;
        if !entry.file_type().is_dir() && !files.contains(name) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in &files {
        bring_file(&tree.join(name), &copy.join(name))
            .with_context(|| format!("cannot copy {}", tree.join(name).display()))?;
    }
    Ok(())
}

/// The files of a tree that are no products of its build.
fn files(tree: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut git = Command::new("git");
    git.arg("-C").arg(tree).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed =
        git.stdin(Stdio::null()).output().context("cannot run git, which lists the files to copy")?;
    if !listed.status.success() {
        bail!(
            "--copy-tree copies what git knows of {}: {}",
            tree.display(),
            String::from_utf8_lossy(&listed.stderr).trim()
        );
    }
    let names = listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let paths = names.map(|name| PathBuf::from(std::ffi::OsStr::from_bytes(name)));
    // What was removed and not committed is listed, too; a repository within the tree is a directory.
    Ok(paths.filter(|path| tree.join(path).symlink_metadata().is_ok_and(|meta| !meta.is_dir())).collect())
}

fn bring_file(from: &Path, to: &Path) -> Result<()> {
    let new = from.symlink_metadata()?;
    let old = to.symlink_metadata().ok();
    if new.is_symlink() {
        let target = fs::read_link(from)?;
        if fs::read_link(to).is_ok_and(|old| old == target) {
            return Ok(());
        }
        return clear(to).and_then(|()| Ok(symlink(target, to)?));
    }
    let is_same = |old: &fs::Metadata| {
        old.is_file()
            && old.len() == new.len()
            && old.permissions() == new.permissions()
            && old.modified().ok() == new.modified().ok()
    };
    if old.as_ref().is_some_and(is_same) {
        return Ok(());
    }
    clear(to)?;
    fs::copy(from, to)?;
    // Of a file that may not be written, the time cannot be set; it is copied again then.
    if let Ok(file) = File::options().append(true).open(to) {
        file.set_modified(new.modified()?)?;
    }
    Ok(())
}

/// Makes room for a file where something else may be.
fn clear(to: &Path) -> Result<()> {
    match to.symlink_metadata() {
        Ok(old) if old.is_dir() => fs::remove_dir_all(to)?,
        Ok(_) => fs::remove_file(to)?,
        Err(_) => fs::create_dir_all(to.parent().context("a file has a folder")?)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(tree: &Path, args: &[&str]) {
        let identity = ["-c", "user.name=n", "-c", "user.email=e"];
        let status = Command::new("git").arg("-C").arg(tree).args(identity).args(args).output().unwrap();
        assert!(status.status.success(), "{status:?}");
    }

    #[test]
    fn a_copy_has_what_is_there_and_not_what_was_built() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, copy) = (dir.path().join("tree"), dir.path().join("copy"));
        fs::create_dir_all(tree.join("net")).unwrap();
        let write = |name: &str, text: &str| fs::write(tree.join(name), text).unwrap();
        let read = |name: &str| fs::read_to_string(copy.join(name)).ok();
        git(&tree, &["init", "-q"]);
        write(".gitignore", "*.o\n.*\n!.gitignore\n");
        write("net/a.c", "committed");
        write("gone.c", "committed");
        symlink("net/a.c", tree.join("link")).unwrap();
        git(&tree, &["add", "-A"]);
        git(&tree, &["commit", "-q", "-m", "m"]);
        write("net/a.c", "changed");
        write("new.c", "new");
        write("net/a.o", "built");
        write(".config", "configured");
        fs::remove_file(tree.join("gone.c")).unwrap();
        bring(&tree, &copy).unwrap();
        assert_eq!((read("net/a.c").as_deref(), read("new.c").as_deref()), (Some("changed"), Some("new")));
        assert_eq!((read("net/a.o"), read(".config"), read("gone.c")), (None, None, None));
        assert_eq!(fs::read_link(copy.join("link")).unwrap(), Path::new("net/a.c"));

        let time = |name: &str| copy.join(name).metadata().unwrap().modified().unwrap();
        let before = (time("net/a.c"), time("new.c"));
        assert_eq!(before.0, tree.join("net/a.c").metadata().unwrap().modified().unwrap());
        write("new.c", "other");
        fs::remove_file(tree.join("net/a.c")).unwrap();
        bring(&tree, &copy).unwrap();
        assert_eq!((read("net/a.c"), read("new.c").as_deref()), (None, Some("other")));

        let error = bring(Path::new("/proc/self"), &copy).unwrap_err().to_string();
        assert!(error.starts_with("--copy-tree copies what git knows of /proc/self"), "{error}");
    }
}
