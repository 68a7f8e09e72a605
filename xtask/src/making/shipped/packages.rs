//! Packages of kernels as files that somebody has built, and how packages are unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::host::cache::{Cache, Entry, Kind, Making};
use crate::host::command::unstarted;
use crate::host::content::{Key, sha256};
use crate::host::progress::Progress;

/// Where an entry has the files of its packages.
pub const ROOT: &str = "root";
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
pub fn name_and_version(file: &Path) -> Option<(String, String)> {
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

pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// Unpacks one package into a root directory, whose links to directories stay.
pub fn unpack(package: &Path, root: &Path, making: &Making) -> Result<()> {
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
    // What it complains of is repeated in one line.
    let mut contents = unpacker
        .stdin(making.stdin()?)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| unstarted(&program, error))?;
    let mut well = true;
    if let Some(tarball) = contents.stdout.take() {
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--keep-directory-symlink", "--no-same-owner", "--directory"]).arg(root);
        well = tar.stdin(tarball).output().context("cannot run tar")?.status.success();
    }
    let ended = contents.wait_with_output()?;
    if !ended.status.success() || !well {
        // Half a package is of no use.
        let _ = fs::remove_dir_all(root);
        let said = String::from_utf8_lossy(&ended.stderr);
        let why = said.lines().next().map(|line| format!(" ({line})")).unwrap_or_default();
        bail!("cannot unpack {}: it is damaged, or the disk is full{why}", package.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(refused.contains("(dpkg-deb: error: ") && !refused.contains('\n'), "{refused}");
        let kept = fs::read_dir(dir.path().join("cache/shipped")).unwrap();
        assert!(kept.flatten().all(|entry| !entry.path().join(ROOT).exists()), "half a package stays");
        assert!(cache.list().unwrap().iter().all(|listing| listing.label.is_none()));
        let gone =
            format!("{:#}", unpack_file(&dir.path().join("x.deb"), &cache, &Progress::new()).unwrap_err());
        assert!(gone.contains("cannot read"), "{gone}");
    }
}
