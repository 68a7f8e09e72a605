//! Packages of kernels: fetched from Debian's archive with all that it takes to build modules for them, or
//! files that somebody has built.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::host::cache::{Cache, Entry, Kind, Making};
use crate::host::command::unstarted;
use crate::host::content::{Key, sha256};
use crate::host::progress::Progress;
use crate::making::apt::{self, Candidate, PrivateApt};
use crate::making::source::Kernels;

/// Where an entry has the files of its packages.
pub const ROOT: &str = "root";
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
    package: &str,
    suite: Option<&str>,
    cache: &Cache,
    progress: &Progress,
) -> Result<(Entry, String)> {
    let key = Key::new().part("package", package).part("suite", suite.unwrap_or("any")).finish();
    let key = format!("{package}-{key}");
    let entry = cache.entry(Kind::Shipped, &key, package, progress, |making| {
        let archives = making.dir.join("archives");
        download(package, suite, &archives, cache, progress)?;
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
    apt::with_suites(&suites, cache, progress, |apt| {
        candidates = apt.candidates(package)?;
        Ok(())
    })?;
    if let Some(suite) = suite {
        candidates.retain(|candidate| candidate.suite == suite);
    }
    candidates.dedup_by(|a, b| a.version == b.version);
    let mut failures = String::new();
    for candidate in candidates.iter().take(TRIES) {
        let step = progress.step(format!("downloading {package} {} and its headers", candidate.version));
        let done = apt::with_suites(&family(&candidate.suite), cache, progress, |apt| {
            apt.download_all(&with_headers(apt, package, candidate)?, &candidate.suite, archives)
        });
        match done {
            Ok(()) => {
                step.done();
                return Ok(());
            }
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

/// The package, its headers and the tools. A package without headers goes without. Of one that only depends
/// on the newest kernel, that kernel.
fn with_headers(apt: &PrivateApt<'_>, package: &str, candidate: &Candidate) -> Result<Vec<String>> {
    let needed = apt.depends(package, &candidate.version)?;
    let (package, version) = match needed.into_iter().find(|needed| needed.starts_with("linux-image-")) {
        Some(newest) => (newest, String::new()),
        None => (package.to_owned(), format!("={}", candidate.version)),
    };
    let headers = package.trim_end_matches("-unsigned").replacen("linux-image-", "linux-headers-", 1);
    let mut packages = vec![format!("{package}{version}")];
    if headers != package && apt.candidates(&headers).is_ok() {
        packages.push(format!("{headers}{version}"));
        packages.extend(TOOLS.map(str::to_owned));
    }
    Ok(packages)
}

/// Unpacks a package that somebody has built, with those of the same version beside it that belong to it:
/// modules and headers.
///
/// # Errors
/// It is neither a .deb nor a .rpm, or is damaged.
pub fn unpack_file(file: &Path, cache: &Cache, progress: &Progress) -> Result<(Entry, String)> {
    let mut key = Key::new();
    let packages = companions(file)?;
    for package in &packages {
        key = key.part("package", sha256(package)?);
    }
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let key = format!("file-{}", key.finish());
    let entry = cache.entry(Kind::Shipped, &key, &name, progress, |making| {
        let step = progress.step(format!("unpacking {name}"));
        let root = making.dir.join(ROOT);
        fs::create_dir_all(&root)?;
        for package in &packages {
            unpack(package, &root, making)?;
        }
        step.done();
        Ok(())
    })?;
    Ok((entry, key))
}

/// The file, and those beside it that are named for the same version and are no other kernel's image.
fn companions(file: &Path) -> Result<Vec<PathBuf>> {
    let file = file.canonicalize().with_context(|| format!("cannot read {}", file.display()))?;
    let Some((_, version)) = name_and_version(&file) else {
        return Ok(vec![file]);
    };
    let mut found = vec![file.clone()];
    for other in files(file.parent().context("a file has a directory")?)? {
        let belongs = name_and_version(&other).is_some_and(|(name, same)| {
            let parts = ["headers", "modules", "kbuild", "binary", "base", "core", "devel"];
            same == version
                && (name.starts_with("linux-") || name.starts_with("kernel"))
                && name.split('-').any(|part| parts.contains(&part))
        });
        if belongs && other != file {
            found.push(other);
        }
    }
    Ok(found)
}

/// Of NAME_VERSION_ARCHITECTURE.deb or NAME-VERSION-RELEASE.ARCHITECTURE.rpm.
fn name_and_version(file: &Path) -> Option<(String, String)> {
    let (stem, kind) = (file.file_stem()?.to_str()?, file.extension()?.to_str()?);
    match kind {
        "deb" => {
            let (name, rest) = stem.split_once('_')?;
            Some((name.to_owned(), rest.split('_').next()?.to_owned()))
        }
        "rpm" => {
            let mut parts = stem.rsplitn(3, '-');
            let (release, version) = (parts.next()?, parts.next()?);
            Some((parts.next()?.to_owned(), format!("{version}-{release}")))
        }
        _ => None,
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// Unpacks one package into a root directory, whose links to directories stay.
fn unpack(package: &Path, root: &Path, making: &Making) -> Result<()> {
    let is_rpm = package.extension().is_some_and(|extension| extension == "rpm");
    let mut unpacker = match is_rpm {
        true => Command::new("bsdtar"),
        false => Command::new("dpkg-deb"),
    };
    match is_rpm {
        true => unpacker.arg("--extract").arg("--file").arg(package).arg("--directory").arg(root),
        false => unpacker.arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()),
    };
    let program = unpacker.get_program().to_string_lossy().into_owned();
    let mut contents = unpacker.stdin(making.stdin()?).spawn().map_err(|error| unstarted(&program, error))?;
    let mut well = true;
    if let Some(tarball) = contents.stdout.take() {
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--keep-directory-symlink", "--no-same-owner", "--directory"]).arg(root);
        well = tar.stdin(tarball).status().context("cannot run tar")?.success();
    }
    if !contents.wait()?.success() || !well {
        bail!("cannot unpack {}: it is damaged, or the disk is full", package.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_comes_with_what_it_builds_on() {
        assert_eq!(family("trixie-backports"), ["trixie", "trixie-security", "trixie-backports"]);
        assert_eq!(family("bullseye-security"), ["bullseye", "bullseye-security"]);
        assert_eq!(family("sid"), ["sid"]);
    }

    #[test]
    fn packages_of_one_build_belong_together_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "kernel-core-6.1.9-200.fc40.x86_64.rpm",
            "kernel-core-6.1.8-200.fc40.x86_64.rpm",
            "kernel-devel-6.1.9-200.fc40.x86_64.rpm",
            "kernel-modules-6.1.9-200.fc40.x86_64.rpm",
            "linux-headers-6.1-cloud_6.1.9-1_amd64.deb",
            "linux-image-6.1-amd64_6.1.9-1_amd64.deb",
            "linux-image-6.1-cloud_6.1.9-1_amd64.deb",
            "linux-kbuild-6.1_6.1.9-1_amd64.deb",
            "linux-libc-dev_6.1.9-1_amd64.deb",
            "notes.txt",
        ];
        for name in names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let with = |name: &str| -> Vec<String> {
            let found = companions(&dir.path().join(name)).unwrap();
            found.iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(with(names[6]), [names[6], names[4], names[7]]);
        assert_eq!(with(names[0]), [names[0], names[2], names[3]]);
    }

    #[test]
    fn a_file_that_is_no_package_is_refused_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(&dir.path().join("cache")).unwrap();
        let deb = dir.path().join("linux-image-1_1_amd64.deb");
        fs::write(&deb, "hello").unwrap();
        let refused = format!("{:#}", unpack_file(&deb, &cache, &Progress::new()).unwrap_err());
        assert!(refused.contains("cannot unpack") && refused.contains("linux-image-1"), "{refused}");
        assert!(cache.list().unwrap().iter().all(|listing| listing.label.is_none()));
        let gone =
            format!("{:#}", unpack_file(&dir.path().join("x.deb"), &cache, &Progress::new()).unwrap_err());
        assert!(gone.contains("cannot read"), "{gone}");
    }
}
