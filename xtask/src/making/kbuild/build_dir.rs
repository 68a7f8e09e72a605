//! Where modules are built for a kernel: a directory of the host, or one below another root directory.
//!
//! The headers that distributions package name each other, their tools and their compiler as they are on a
//! machine of that distribution. Below another root they are built in as if that root were the machine's:
//! with its own make and compiler if it has them, else with the host's. bubblewrap does that, for any user,
//! and nothing that runs there can write but to what is built.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Compiler;
use crate::host::packages::{Host, Probe};

/// What a build needs of a root directory, as far as it is there.
const TOPS: [&str; 9] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt"];
/// Where headers and the programs that they come with are, in a package.
const HEADERS: &str = "usr/src";
const KBUILD: (&str, &str) = ("usr/lib", "linux-kbuild");

/// A directory in which `make M=...` builds modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildDir {
    /// The directory, as the host sees it.
    pub dir: PathBuf,
    /// The root directory that it belongs to, if that is not the host's.
    pub root: Option<PathBuf>,
}

impl BuildDir {
    /// What its modules are compiled by: what compiled its kernel.
    pub fn compiler(&self) -> Compiler {
        Compiler::of_build(&self.dir)
    }

    /// Whether the host's compiler is used there.
    pub fn is_compiled_by_host(&self) -> bool {
        self.root.as_ref().is_none_or(|root| !has_make(root))
    }

    /// A command that runs make in the directory. Below another root it can write to `work` only, which has
    /// the same path there.
    ///
    /// # Errors
    /// The root directory cannot be read, or the host cannot enter it.
    pub fn make(&self, work: &Path) -> Result<Command> {
        let Some(root) = &self.root else {
            let mut command = Command::new("make");
            command.arg("-C").arg(&self.dir);
            return Ok(command);
        };
        let bwrap = Host::this().find(Probe::Command("bwrap")).context(
            "the host lacks bubblewrap (bwrap), in which modules are built for a kernel below another root",
        )?;
        let mut command = Command::new(bwrap);
        command.args(self.below(root, work)?);
        Ok(command)
    }

    /// bubblewrap's arguments for make in the directory, as if `root` were the machine's.
    fn below(&self, root: &Path, work: &Path) -> Result<Vec<OsString>> {
        let dir = Path::new("/").join(self.dir.strip_prefix(root).context("headers lie below their root")?);
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let mut args = words(&["--die-with-parent", "--tmpfs", "/"]);
        args.extend(mounts(root)?);
        args.extend(words(&["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--bind"]));
        args.extend([work.into(), work.into()]);
        args.extend(words(&["--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "make", "-C"]));
        args.push(dir.into());
        Ok(args)
    }
}

/// Whether modules are built below `root` by its own programs.
fn has_make(root: &Path) -> bool {
    root.join("usr/bin/make").exists()
}

/// bubblewrap's arguments for the directories of `root`, or for those of the host with `root`'s headers.
fn mounts(root: &Path) -> Result<Vec<OsString>> {
    let mut args = Vec::new();
    if has_make(root) {
        for top in TOPS {
            show(&mut args, root, Path::new(top));
        }
        return Ok(args);
    }
    let host = Path::new("/");
    for top in TOPS.iter().filter(|top| **top != "usr") {
        show(&mut args, host, Path::new(top));
    }
    let (lib, programs) = KBUILD;
    for entry in names(&host.join("usr"))? {
        let path = Path::new("usr").join(&entry);
        if path != Path::new(HEADERS) && path != Path::new(lib) {
            show(&mut args, host, &path);
        }
    }
    for entry in names(&host.join(lib))? {
        show(&mut args, host, &Path::new(lib).join(entry));
    }
    for entry in names(&root.join(lib)).unwrap_or_default() {
        if entry.to_string_lossy().starts_with(programs) {
            show(&mut args, root, &Path::new(lib).join(entry));
        }
    }
    show(&mut args, root, Path::new(HEADERS));
    Ok(args)
}

/// Shows what is at `path` below `root` at the same path; nothing if there is nothing.
fn show(args: &mut Vec<OsString>, root: &Path, path: &Path) {
    let (from, to) = (root.join(path), Path::new("/").join(path).into_os_string());
    match fs::read_link(&from) {
        Ok(target) => args.extend(["--symlink".into(), target.into_os_string(), to]),
        Err(_) if from.exists() => args.extend(["--ro-bind".into(), from.into_os_string(), to]),
        Err(_) => {}
    }
}

fn names(dir: &Path) -> Result<Vec<OsString>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(dir: &BuildDir) -> Vec<String> {
        let args = dir.below(dir.root.as_deref().unwrap(), Path::new("/work")).unwrap();
        args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    fn has(words: &[String], wanted: [&str; 3]) -> bool {
        words.windows(3).any(|window| window == wanted)
    }

    #[test]
    fn headers_of_the_host_are_built_in_where_they_are() {
        let host = BuildDir { dir: "/lib/modules/6/build".into(), root: None };
        let command = host.make(Path::new("/work")).unwrap();
        assert_eq!(command.get_program(), "make");
        assert!(command.get_args().eq(["-C", "/lib/modules/6/build"]));
    }

    #[test]
    fn headers_below_another_root_are_built_in_as_if_it_were_the_hosts() {
        let root = tempfile::tempdir().unwrap();
        let headers = root.path().join("usr/src/linux-headers-6");
        fs::create_dir_all(&headers).unwrap();
        fs::create_dir_all(root.path().join("usr/lib/linux-kbuild-6")).unwrap();
        let dir = BuildDir { dir: headers, root: Some(root.path().to_owned()) };
        let below = |path: &str| root.path().join(path).to_str().unwrap().to_owned();
        let words_now = words(&dir);
        assert!(has(&words_now, ["--ro-bind", "/usr/bin", "/usr/bin"]), "the host's programs: {words_now:?}");
        assert!(has(&words_now, ["--ro-bind", &below("usr/src"), "/usr/src"]));
        assert!(has(&words_now, ["--ro-bind", &below("usr/lib/linux-kbuild-6"), "/usr/lib/linux-kbuild-6"]));
        assert!(has(&words_now, ["--bind", "/work", "/work"]));
        assert!(words_now.ends_with(&["make".into(), "-C".into(), "/usr/src/linux-headers-6".into()]));
        // With a make of its own nothing is the host's.
        fs::create_dir(root.path().join("usr/bin")).unwrap();
        fs::write(root.path().join("usr/bin/make"), "").unwrap();
        std::os::unix::fs::symlink("usr/bin", root.path().join("bin")).unwrap();
        let words_now = words(&dir);
        assert!(has(&words_now, ["--ro-bind", &below("usr"), "/usr"]));
        assert!(has(&words_now, ["--symlink", "usr/bin", "/bin"]));
        assert!(!has(&words_now, ["--ro-bind", "/etc", "/etc"]));
    }
}
