//! Source trees of Debian's archive.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Debian;
use crate::host::cache::{Cache, Making};
use crate::host::progress::Progress;
use crate::making::apt;

/// Downloads the newest version of the package that the mirror actually has, and unpacks its tree.
/// Returns what it was.
pub(super) fn obtain(
    package: &Debian,
    cache: &Cache,
    source: &Making,
    progress: &Progress,
) -> Result<String> {
    let mut identity = None;
    apt::with_suites(&package.suites, None, cache, progress, |apt| {
        let (deb, what) = apt.download(&package.package, progress)?;
        identity = Some(what);
        let step = progress.step(format!("unpacking {}", package.package));
        let unpacked = unpack(&deb, &package.package, source);
        fs::remove_file(&deb)?;
        unpacked?;
        step.done();
        Ok(())
    })?;
    identity.context("nothing was downloaded")
}

/// The package holds the tree as usr/src/NAME.tar.xz.
fn unpack(deb: &Path, package: &str, source: &Making) -> Result<()> {
    let tree = super::fresh_tree(source)?;
    let mut contents = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdin(source.stdin()?)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut tarball = Command::new("tar")
        .args(["-xO", &format!("./usr/src/{package}.tar.xz")])
        .stdin(contents.stdout.take().expect("piped"))
        .stdout(Stdio::piped())
        .spawn()?;
    let unpacked = Command::new("tar")
        .args(["-xJ", "--strip-components=1", "-C"])
        .arg(&tree)
        .stdin(tarball.stdout.take().expect("piped"))
        // On a full disk it names each file of the tree.
        .stderr(Stdio::null())
        .status()?;
    // dpkg-deb may see its reader leave after the one file: only the two tars count.
    let (_, found) = (contents.wait()?, tarball.wait()?);
    if !found.success() || !unpacked.success() {
        bail!("cannot unpack {}: it is damaged, or the disk is full", deb.display());
    }
    Ok(())
}
