//! What the lab needs of its host: checked without starting a process, installed through apt
//! if that is allowed and possible.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::host::command::run_logged;
use crate::host::program::in_path;
use crate::host::progress::{Progress, Step};

/// What a package of the host is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Obtaining a kernel source from Debian; other sources do not need it.
    DebianSource,
    /// Verifying a release of kernel.org.
    Release,
    /// Unpacking and building a kernel, and the probe.
    Kernel,
    /// Compiling a kernel and its modules with clang.
    Llvm,
    /// Building a kernel by a configuration that is not the lab's, which may ask for anything.
    WholeConfig,
    /// A kernel that somebody else has built: unpacking its modules, and building the probe for it.
    Shipped,
    /// Unpacking a .deb that somebody has built.
    Deb,
    /// Unpacking a .rpm.
    Rpm,
    /// Building the project's own programs.
    Program,
    /// Booting the virtual machine.
    Qemu,
    /// The interactive console in the guest.
    Shell,
    /// gVisor, as a target.
    Gvisor,
    /// QEMU's user mode, as a target.
    QemuUser,
    /// sandlock, as a target.
    Sandlock,
    /// Explaining and showing coverage.
    Coverage,
}

impl Purpose {
    /// Every one.
    pub const ALL: [Purpose; 15] = [
        Purpose::DebianSource,
        Purpose::Release,
        Purpose::Kernel,
        Purpose::Llvm,
        Purpose::WholeConfig,
        Purpose::Shipped,
        Purpose::Deb,
        Purpose::Rpm,
        Purpose::Program,
        Purpose::Qemu,
        Purpose::Shell,
        Purpose::Gvisor,
        Purpose::QemuUser,
        Purpose::Sandlock,
        Purpose::Coverage,
    ];
}

/// How to check whether the host has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// A program of this name in PATH.
    Command(&'static str),
    /// A file, found from the root directory.
    File(&'static str),
}

/// One requirement of the host.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// What for.
    pub purpose: Purpose,
    /// How to check for it.
    pub probe: Probe,
    /// The Debian package that provides it; where releases differ, several with a `|` between them.
    pub package: &'static str,
}

/// A requirement, as a row of a table.
pub const fn need(purpose: Purpose, probe: Probe, package: &'static str) -> Need {
    Need { purpose, probe, package }
}

use Probe::{Command as Cmd, File};

/// Everything that the lab can need, whatever the architecture of its guests.
pub const NEEDS: &[Need] = &[
    need(Purpose::DebianSource, Cmd("apt-get"), "apt"),
    need(Purpose::DebianSource, Cmd("dpkg-deb"), "dpkg"),
    need(
        Purpose::DebianSource,
        File("usr/share/keyrings/debian-archive-keyring.gpg"),
        "debian-archive-keyring",
    ),
    need(Purpose::Release, Cmd("gpgv"), "gpgv"),
    need(Purpose::Kernel, Cmd("make"), "make"),
    need(Purpose::Kernel, Cmd("gcc"), "gcc"),
    need(Purpose::Kernel, Cmd("ld"), "binutils"),
    need(Purpose::Kernel, Cmd("flex"), "flex"),
    need(Purpose::Kernel, Cmd("bison"), "bison"),
    need(Purpose::Kernel, Cmd("patch"), "patch"),
    need(Purpose::Kernel, Cmd("bc"), "bc"),
    need(Purpose::Kernel, Cmd("perl"), "perl"),
    need(Purpose::Kernel, Cmd("tar"), "tar"),
    need(Purpose::Kernel, Cmd("xz"), "xz-utils"),
    need(Purpose::Kernel, File("usr/include/stdio.h"), "libc6-dev"),
    need(Purpose::Kernel, File("usr/include/gelf.h"), "libelf-dev"),
    need(Purpose::Llvm, Cmd("clang"), "clang"),
    need(Purpose::Llvm, Cmd("ld.lld"), "lld"),
    need(Purpose::Llvm, Cmd("llvm-ar"), "llvm"),
    need(Purpose::WholeConfig, File("usr/include/openssl/ssl.h"), "libssl-dev"),
    need(Purpose::WholeConfig, Cmd("openssl"), "openssl"),
    need(Purpose::WholeConfig, Cmd("cpio"), "cpio"),
    need(Purpose::WholeConfig, Cmd("python3"), "python3"),
    need(Purpose::Shipped, Cmd("bwrap"), "bubblewrap"),
    need(Purpose::Shipped, Cmd("make"), "make"),
    need(Purpose::Shipped, Cmd("gcc"), "gcc"),
    need(Purpose::Shipped, Cmd("ld"), "binutils"),
    need(Purpose::Shipped, Cmd("tar"), "tar"),
    need(Purpose::Shipped, Cmd("gzip"), "gzip"),
    need(Purpose::Shipped, Cmd("xz"), "xz-utils"),
    need(Purpose::Shipped, Cmd("zstd"), "zstd"),
    need(Purpose::Deb, Cmd("dpkg-deb"), "dpkg"),
    need(Purpose::Rpm, Cmd("bsdtar"), "libarchive-tools"),
    need(Purpose::Program, Cmd("cc"), "gcc"),
    need(Purpose::Shell, File("bin/busybox"), "busybox-static"),
    need(Purpose::Gvisor, Cmd("runsc"), "runsc"),
    need(Purpose::QemuUser, Cmd("qemu-x86_64-static"), "qemu-user-static"),
    need(Purpose::Sandlock, Cmd("python3"), "python3-venv"),
    need(Purpose::Coverage, Cmd("gcov"), "gcc"),
    need(Purpose::Coverage, Cmd("genhtml"), "lcov"),
];

/// Those of [`NEEDS`] that have one of these purposes.
pub fn needs_of(purposes: &[Purpose]) -> Vec<Need> {
    NEEDS.iter().filter(|need| purposes.contains(&need.purpose)).copied().collect()
}

/// Ensures that all of these needs are met. Takes microseconds if they are.
///
/// # Errors
/// Something is missing and may not or cannot be installed: lists it and the command
/// that installs it.
pub fn ensure(needs: &[Need], allow_install: bool, progress: &Progress) -> Result<()> {
    Host::this().ensure(needs, allow_install, progress)
}

/// Ensures that these Debian packages are installed, for what cannot be recognized by a file.
///
/// # Errors
/// See [`ensure`].
pub fn ensure_debian(packages: &[String], allow_install: bool, progress: &Progress) -> Result<()> {
    let missing = || packages.iter().map(String::as_str).filter(|package| !is_installed(package)).collect();
    Host::this().install(missing, allow_install, progress)
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status}", package]).stdin(Stdio::null()).stderr(Stdio::null());
    query.output().is_ok_and(|output| output.stdout == b"installed")
}

/// A host, as far as it is relevant here.
#[derive(Debug)]
pub struct Host {
    path: OsString,
    root: PathBuf,
    is_root: bool,
}

impl Host {
    /// The machine that this runs on.
    pub fn this() -> Host {
        Host {
            path: std::env::var_os("PATH").unwrap_or_default(),
            root: PathBuf::from("/"),
            is_root: nix::unistd::geteuid().is_root(),
        }
    }

    /// The path that meets the need, if it is met.
    pub fn find(&self, probe: Probe) -> Option<PathBuf> {
        match probe {
            Cmd(name) => self.program(name),
            File(path) => Some(self.root.join(path)).filter(|file| file.exists()),
        }
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        in_path(&self.path, name)
    }

    fn ensure(&self, needs: &[Need], allow_install: bool, progress: &Progress) -> Result<()> {
        self.install(|| self.missing_packages(needs), allow_install, progress)
    }

    /// Installs the packages that are missing, and looks again.
    fn install<'a>(
        &self,
        missing: impl Fn() -> Vec<&'a str>,
        allow_install: bool,
        progress: &Progress,
    ) -> Result<()> {
        let packages = missing();
        if packages.is_empty() {
            return Ok(());
        }
        let list = packages.join(" ");
        let Some(apt) = self.program("apt-get") else {
            bail!(
                "this host lacks what these Debian packages bring: {list}. It has no apt-get: \
                 install their like with its own package manager, then run this again"
            );
        };
        let by_hand = format!("sudo apt-get install {list}");
        if !allow_install {
            bail!("packages are missing, and --no-install forbids installing them. Run: {by_hand}");
        }
        let Some(become_root) = self.root_prefix() else {
            bail!("packages are missing, and there is no sudo without a password. Run: {by_hand}");
        };
        let step = progress.step(format!("installing what the lab needs: {list}"));
        self.apt(&apt, &become_root, &["update"], &step)
            .and_then(|()| {
                let install = ["install", "--yes", "--no-install-recommends"];
                self.apt(&apt, &become_root, &[&install, packages.as_slice()].concat(), &step)
            })
            .with_context(|| format!("cannot install packages. Run: {by_hand}"))?;
        step.done();
        match missing().as_slice() {
            [] => Ok(()),
            still => bail!("apt-get installed {}, but what it should provide is not found", still.join(" ")),
        }
    }

    /// The Debian packages that provide what is missing.
    pub fn missing_packages(&self, needs: &[Need]) -> Vec<&'static str> {
        let missing = needs.iter().filter(|need| self.find(need.probe).is_none());
        let mut packages: Vec<_> = missing.map(|need| self.package(need)).collect();
        packages.sort_unstable();
        packages.dedup();
        packages
    }

    /// That of a need's packages which this release has.
    fn package(&self, need: &Need) -> &'static str {
        let (rest, last) = need.package.rsplit_once('|').unwrap_or(("", need.package));
        rest.split('|').find(|name| self.has_package(name)).unwrap_or(last)
    }

    fn has_package(&self, name: &str) -> bool {
        let Some(apt_cache) = self.program("apt-cache").filter(|_| !name.is_empty()) else { return false };
        let mut show = Command::new(apt_cache);
        show.args(["show", name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        show.status().is_ok_and(|status| status.success())
    }

    /// What to put before a command so that it runs as root: nothing for root itself, `None` if
    /// that is impossible without a password.
    fn root_prefix(&self) -> Option<Vec<PathBuf>> {
        if self.is_root {
            return Some(Vec::new());
        }
        let sudo = self.program("sudo")?;
        let works = Command::new(&sudo)
            .args(["-n", "true"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        works.then(|| vec![sudo, "-n".into()])
    }

    fn apt(&self, apt: &Path, become_root: &[PathBuf], args: &[&str], step: &Step) -> Result<()> {
        // sudo drops the environment, so env sets the variable.
        let mut argv = become_root.to_vec();
        argv.extend(["env".into(), "DEBIAN_FRONTEND=noninteractive".into(), apt.to_owned()]);
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).args(["-q"]).args(args).stdin(Stdio::null());
        let log = tempfile::Builder::new().prefix("nlconform-apt-").tempfile()?.into_temp_path();
        let done = run_logged(&mut command, &log, step);
        if done.is_err() {
            log.keep()?;
        }
        done
    }
}

#[cfg(test)]
impl Host {
    /// A host with only `programs`, each a shell script, in `root`/bin.
    pub(crate) fn fake(root: &Path, is_root: bool, programs: &[(&str, &str)]) -> Host {
        let bin = root.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        for (name, script) in programs {
            crate::scripts::write(&bin.join(name), &format!("#!/bin/sh\n{script}\n"));
        }
        Host { path: bin.into(), root: root.to_owned(), is_root }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn refusal(host: &Host, allow_install: bool) -> String {
        let needs = needs_of(&[Purpose::Kernel, Purpose::Shell]);
        let refused = host.ensure(&needs, allow_install, &Progress::new());
        format!("{:#}", refused.unwrap_err())
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let has_make = Host::fake(dir.path(), true, &[("apt-get", "exit 1"), ("make", "")]);
        let message = refusal(&has_make, false);
        for package in ["flex", "bison", "libelf-dev", "busybox-static"] {
            assert!(message.contains(package), "{message}");
        }
        assert!(message.contains("sudo apt-get install "), "{message}");
        assert!(!message.contains(" make"), "{message}");
    }

    #[test]
    fn a_package_that_releases_call_differently_is_the_one_that_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let needs = [need(Purpose::Qemu, Cmd("qemu-system-vax"), "qemu-system-vax|qemu-system-misc")];
        let missing =
            |script| Host::fake(dir.path(), true, &[("apt-cache", script)]).missing_packages(&needs);
        assert_eq!(missing("test $2 = qemu-system-vax"), ["qemu-system-vax"]);
        assert_eq!(missing("exit 100"), ["qemu-system-misc"]);
    }

    #[test]
    fn a_host_without_apt_is_told_what_to_look_for() {
        let dir = tempfile::tempdir().unwrap();
        let message = refusal(&Host::fake(dir.path(), true, &[]), true);
        assert!(message.contains("flex") && message.contains("own package manager"), "{message}");
    }

    #[test]
    fn a_sudo_that_wants_a_password_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let programs = [("apt-get", "exit 0"), ("sudo", "exit 1")];
        let message = refusal(&Host::fake(dir.path(), false, &programs), true);
        assert!(message.contains("no sudo without a password"), "{message}");
    }

    #[test]
    fn what_is_missing_is_installed_without_questions() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        // An apt-get whose packages all bring one program, /bin/busybox.
        let apt =
            format!("echo $DEBIAN_FRONTEND \"$@\" >> {0}/log; echo > {0}/bin/busybox", dir.path().display());
        let programs = [("apt-get", apt.as_str()), ("sudo", "shift; exec \"$@\"")];
        let host = Host::fake(dir.path(), false, &programs);
        let done = host.ensure(&needs_of(&[Purpose::Shell]), true, &Progress::new());
        assert!(done.is_ok() && bin.join("busybox").exists(), "{done:?}");
        assert_eq!(
            fs::read_to_string(dir.path().join("log")).unwrap(),
            "noninteractive -q update\n\
             noninteractive -q install --yes --no-install-recommends busybox-static\n"
        );
    }

    #[test]
    fn an_installation_that_fails_tells_why_and_leaves_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let broken = Host::fake(dir.path(), true, &[("apt-get", "echo E: no such disk; exit 100")]);
        let message = refusal(&broken, true);
        assert!(message.contains("E: no such disk"), "{message}");
        let log = message.rsplit("the complete log: ").next().unwrap();
        assert_eq!(fs::read_to_string(log).unwrap(), "E: no such disk\n");
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn an_installation_that_brings_nothing_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let message = refusal(&Host::fake(dir.path(), true, &[("apt-get", "exit 0")]), true);
        assert!(message.contains("is not found"), "{message}");
    }
}
