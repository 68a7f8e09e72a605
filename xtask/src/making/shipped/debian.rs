//! Kernels of Debian's archive, with all that it takes to build modules for them. Of another architecture than the
//! host's come the kernel and its headers; what builds with them runs here.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::packages::{ROOT, files, name_and_version, unpack};
use crate::host::cache::{Cache, Entry, Kind};
use crate::host::content::Key;
use crate::host::progress::Progress;
use crate::making::apt::{self, Candidate, NoRoom, PrivateApt};
use crate::making::source::Kernels;
use crate::vm::Arch;

/// What kbuild runs besides the compiler, which the headers depend on: most of it is in every installation,
/// so that nothing depends on it.
const TOOLS: [&str; 10] =
    ["make", "binutils", "dash", "coreutils", "sed", "grep", "mawk", "findutils", "perl-base", "libc6-dev"];
/// Debian's directories that are links into /usr.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
/// Versions that are tried before a mirror is given up, which lists what it does not have yet.
const TRIES: usize = 3;

/// Fetches a package of a kernel, its headers, and a system to build modules in, and unpacks them into one
/// root directory. Once fetched it stays as it is until it is pruned.
///
/// # Errors
/// No suite has the package, or it cannot be fetched.
pub fn fetch(
    arch: &Arch,
    package: &str,
    suite: Option<&str>,
    cache: &Cache,
    progress: &Progress,
) -> Result<(Entry, String)> {
    let mut key = Key::new().part("package", package).part("suite", suite.unwrap_or("any"));
    if let Some(name) = foreign(arch) {
        key = key.part("arch", name);
    }
    let key = format!("{package}-{}", key.finish());
    let entry = cache.entry(Kind::Shipped, &key, &arch.label(package), progress, |making| {
        let archives = making.dir.join("archives");
        download(arch, package, suite, &archives, cache, progress)?;
        let step = progress.step(format!("unpacking {package}"));
        let root = making.dir.join(ROOT);
        for name in MERGED {
            fs::create_dir_all(root.join("usr").join(name))?;
            symlink(Path::new("usr").join(name), root.join(name))?;
        }
        // Beside them is apt's lock.
        for deb in files(&archives)?.iter().filter(|file| name_and_version(file).is_some()) {
            unpack(deb, &root, making)?;
        }
        link(&root, "dash", "sh")?;
        link(&root, "mawk", "awk")?;
        fs::remove_dir_all(&archives)?;
        step.done();
        Ok(())
    })?;
    Ok((entry, key))
}

/// What a maintainer's script would have chosen.
fn link(root: &Path, program: &str, name: &str) -> Result<()> {
    let file = root.join("usr/bin").join(name);
    match file.symlink_metadata() {
        Ok(_) => Ok(()),
        Err(_) => Ok(symlink(program, file)?),
    }
}

fn download(
    arch: &Arch,
    package: &str,
    suite: Option<&str>,
    archives: &Path,
    cache: &Cache,
    progress: &Progress,
) -> Result<()> {
    let suites = match suite {
        Some(suite) => family(suite),
        None => Kernels::load()?.suites,
    };
    let mut candidates = Vec::new();
    apt::with_suites(&suites, foreign(arch), cache, progress, |apt| {
        let mark = foreign(arch).map(|name| format!(":{name}")).unwrap_or_default();
        candidates = apt.candidates(&format!("{package}{mark}"))?;
        Ok(())
    })?;
    if let Some(suite) = suite {
        candidates.retain(|candidate| candidate.suite == suite);
    }
    candidates.dedup_by(|a, b| a.version == b.version);
    let mut failures = String::new();
    for candidate in candidates.iter().take(TRIES) {
        let step = progress.step(format!("downloading {package} {} and its headers", candidate.version));
        let done = apt::with_suites(&family(&candidate.suite), foreign(arch), cache, progress, |apt| {
            let parts = parts(apt, arch, package, candidate)?;
            apt.download_all(&parts.whole, &candidate.suite, archives)?;
            apt.download_alone(&parts.alone, archives)
        });
        match done {
            Ok(()) => {
                step.done();
                return Ok(());
            }
            Err(error) if error.is::<NoRoom>() => return Err(error),
            Err(error) => failures += &format!("\n  {package} {}: {error:#}", candidate.version),
        }
    }
    match suite {
        Some(suite) if candidates.is_empty() => bail!("{suite} has no {package}"),
        _ => bail!("cannot fetch {package}:{failures}"),
    }
}

/// The suites that a suite builds on: packages of security and backports depend on those of the release.
fn family(suite: &str) -> Vec<String> {
    let release = suite.split('-').next().unwrap_or(suite);
    let mut suites = vec![release.to_owned(), format!("{release}-security")];
    if !suites.iter().any(|known| known == suite) {
        suites.push(suite.to_owned());
    }
    // The releases to come have none of their own.
    suites.retain(|suite| {
        !["sid-security", "unstable-security", "experimental-security"].contains(&suite.as_str())
    });
    suites
}

/// What is fetched for a kernel.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    /// Packages, each with all that it depends on.
    whole: Vec<String>,
    /// Packages for themselves: what they depend on would run on another architecture.
    alone: Vec<String>,
}

/// The package, its headers and the tools. A package without headers goes without. Of one that only depends
/// on the newest kernel, that kernel.
fn parts(apt: &PrivateApt<'_>, arch: &Arch, package: &str, candidate: &Candidate) -> Result<Parts> {
    let mark = foreign(arch).map(|name| format!(":{name}")).unwrap_or_default();
    let marked = |package: &str| format!("{package}{mark}");
    let needed = apt.depends(&marked(package), &candidate.version)?;
    // The newest of a kind need not have the version of what depends on it.
    let (package, version) = match needed.into_iter().find(|needed| needed.starts_with("linux-image-")) {
        Some(newest) => (newest, None),
        None => (package.to_owned(), Some(&candidate.version)),
    };
    let exactly = |package: String| match version {
        Some(version) => format!("{package}={version}"),
        None => package,
    };
    let image = exactly(marked(&package));
    let headers = package.trim_end_matches("-unsigned").replacen("linux-image-", "linux-headers-", 1);
    let found = if headers == package { None } else { apt.candidates(&marked(&headers)).ok() };
    Ok(match (found, foreign(arch)) {
        (None, None) => Parts { whole: vec![image], alone: Vec::new() },
        (None, Some(_)) => Parts { whole: Vec::new(), alone: vec![image] },
        (Some(_), None) => {
            let tools = TOOLS.map(str::to_owned);
            Parts { whole: [image, exactly(headers)].into_iter().chain(tools).collect(), alone: Vec::new() }
        }
        (Some(found), Some(_)) => {
            let newest = found.first().map(|found| &found.version);
            let needed = apt.depends(&marked(&headers), version.or(newest).context("it has a version")?)?;
            let (mut whole, common) = cross(arch, &needed);
            whole.extend(TOOLS.map(str::to_owned));
            Parts { whole, alone: [image, exactly(marked(&headers))].into_iter().chain(common).collect() }
        }
    })
}

/// Of what headers of another architecture depend on: what runs here in place of it, and the headers that all
/// architectures have.
fn cross(arch: &Arch, needed: &[String]) -> (Vec<String>, Vec<String>) {
    let mut whole: Vec<String> =
        needed.iter().filter(|name| name.starts_with("linux-kbuild-")).cloned().collect();
    // `gcc-14`, `gcc-15-for-host`, or `linux-compiler-gcc-12-arm`, which depends on gcc-12.
    let version = needed.iter().find_map(|name| {
        let rest = name.split_once("gcc-")?.1;
        Some(&rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())])
    });
    whole.extend(version.map(|version| arch.cross_gcc(version)));
    let common = needed.iter().filter(|name| name.starts_with("linux-headers-")).cloned();
    (whole, common.collect())
}

/// Debian's name for an architecture that is not the host's.
fn foreign(arch: &Arch) -> Option<&'static str> {
    (!arch.is_host()).then_some(arch.debian)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_here_takes_the_place_of_foreign_tools() {
        let arch = Arch::named(if cfg!(target_arch = "aarch64") { "s390x" } else { "aarch64" }).unwrap();
        let of = |compiler: &str| {
            let needed = ["linux-base", "linux-headers-6.12-common", "linux-kbuild-6.12", compiler];
            cross(arch, &needed.map(str::to_owned))
        };
        let gcc = format!("gcc-14-{}", arch.tools.trim_end_matches('-'));
        for compiler in ["gcc-14", "gcc-14-for-host", "linux-compiler-gcc-14-arm"] {
            let (whole, common) = of(compiler);
            assert_eq!(whole, ["linux-kbuild-6.12", &gcc], "{compiler}");
            assert_eq!(common, ["linux-headers-6.12-common"]);
        }
    }

    #[test]
    fn a_suite_comes_with_what_it_builds_on() {
        assert_eq!(family("trixie-backports"), ["trixie", "trixie-security", "trixie-backports"]);
        assert_eq!(family("bullseye-security"), ["bullseye", "bullseye-security"]);
        assert_eq!(family("sid"), ["sid"]);
    }
}
