//! Releases of kernel.org by their numbers. Which there are, and what their tarballs hold, is in
//! sha256sums.asc, which kernel.org signs; only what the pinned key has signed is read of it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Tarball, tarball};
use crate::host::cache::{Cache, Kind, Making};
use crate::host::command::in_english;
use crate::host::progress::Progress;

/// Downloads and unpacks a release, or the newest of a line such as `6.6`. Returns what it was.
///
/// # Errors
/// The list cannot be fetched or trusted, or does not have it.
pub(super) fn obtain(
    number: &str,
    mirror: &str,
    keyring: &Path,
    cache: &Cache,
    source: &Making,
    progress: &Progress,
) -> Result<String> {
    if number.contains("-rc") {
        bail!(
            "{number} is a release candidate, of which kernel.org signs no tarball: give its tree with \
             --kernel-src, from git at the tag v{number}"
        );
    }
    let major = number.split('.').next().unwrap_or_default();
    let url = format!("{}/v{major}.x/sha256sums.asc", mirror.trim_end_matches('/'));
    let mut release = None;
    let label = format!("kernel.org's list of {major}.x");
    cache.updated(Kind::Download, &format!("sums-{major}"), &label, progress, |download| {
        let list = signed(&url, keyring, download, progress)?;
        release = Some(newest(&list, number).with_context(|| format!("{url} has no linux-{number}.tar.xz"))?);
        Ok(())
    })?;
    let release = release.context("the list was not read")?;
    tarball::obtain(&release, mirror, cache, source, progress)
}

/// What the key has signed of the file at `url`.
fn signed(url: &str, keyring: &Path, download: &Making, progress: &Progress) -> Result<String> {
    let step = progress.step("reading kernel.org's signed checksums");
    let (file, text) = (download.dir.join("sha256sums.asc"), download.dir.join("sha256sums"));
    for old in [&file, &text] {
        if old.exists() {
            fs::remove_file(old)?;
        }
    }
    tarball::transfer(url, &file, &step)?;
    // Without a slash gpgv looks in the user's own directory.
    let keyring = std::path::absolute(keyring)?;
    let checked = in_english(&mut Command::new("gpgv"))
        .args(["--status-fd", "1", "--keyring"])
        .arg(&keyring)
        .arg("--output")
        .args([&text, &file])
        .stdin(download.stdin()?)
        .output()
        .context("cannot run gpgv: install the package gpgv")?;
    let status = String::from_utf8_lossy(&checked.stdout).into_owned();
    if let Some(why) = distrust(&status) {
        bail!("{url} cannot be trusted, and nothing of it is used: {why}");
    }
    let text = fs::read_to_string(&text).with_context(|| format!("gpgv wrote nothing of {url}"))?;
    step.done();
    Ok(text)
}

/// Why a signature counts for nothing, by gpgv's status lines (GnuPG's doc/DETAILS); nothing for a good one.
/// gpgv's exit status alone is 0 for one that has expired.
fn distrust(status: &str) -> Option<&'static str> {
    const REASONS: [(&str, &str); 7] = [
        ("BADSIG", "its signature is bad: it was changed, or cut"),
        ("EXPSIG", "its signature has expired"),
        ("EXPKEYSIG", "the key that signed it has expired"),
        ("REVKEYSIG", "the key that signed it was revoked"),
        ("NO_PUBKEY", "it is not signed by the key that kernel-configs/keys pins"),
        ("ERRSIG", "its signature cannot be checked"),
        ("GOODSIG", ""),
    ];
    let words: Vec<_> = status.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let reason = REASONS.iter().find(|(word, _)| words.contains(word));
    match reason {
        Some((_, "")) => None,
        Some((_, why)) => Some(why),
        None => Some("it has no signature"),
    }
}

/// The release with this number, else the newest of the line that it names.
fn newest(list: &str, number: &str) -> Option<Tarball> {
    let releases = list.lines().filter_map(|line| {
        let (sha256, file) = line.split_once("  ")?;
        let version = file.strip_prefix("linux-")?.strip_suffix(".tar.xz")?;
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| Tarball { version: version.to_owned(), sha256: sha256.to_owned() })
    });
    let is_line = number.matches('.').count() == 1;
    let patch = |release: &Tarball| match release.version.strip_prefix(number)? {
        "" => Some(0),
        rest if is_line => rest.strip_prefix('.')?.parse::<u32>().ok(),
        _ => None,
    };
    releases
        .filter_map(|release| Some((patch(&release)?, release)))
        .max_by_key(|(patch, _)| *patch)
        .map(|(_, release)| release)
}

/// Whether a kernel's name is the number of a release, or of a line of them.
pub(super) fn is_number(name: &str) -> bool {
    let (number, candidate) = name.split_once("-rc").map_or((name, None), |(number, rc)| (number, Some(rc)));
    let is_decimal = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<_> = number.split('.').collect();
    (2..=3).contains(&parts.len()) && parts.iter().copied().chain(candidate).all(is_decimal)
}

/// Names for what kernel.org considers current.
const MONIKERS: [&str; 3] = ["mainline", "stable", "longterm"];

/// Whether only kernel.org can say which release this name stands for.
pub fn is_moniker(name: &str) -> bool {
    MONIKERS.contains(&name)
}

/// kernel.org's releases.json, as far as it is relevant.
#[derive(Debug, Deserialize)]
struct Releases {
    releases: Vec<Release>,
}

#[derive(Debug, Deserialize)]
struct Release {
    moniker: String,
    version: String,
    iseol: bool,
}

/// The names with each moniker replaced by the releases that it stands for.
///
/// # Errors
/// kernel.org cannot be asked.
pub(super) fn expand(names: Vec<String>, url: &str) -> Result<Vec<String>> {
    if !names.iter().any(|name| is_moniker(name)) {
        return Ok(names);
    }
    let releases: Releases = serde_json::from_str(&tarball::text(url)?)
        .with_context(|| format!("{url} is not a list of releases"))?;
    let mut expanded = Vec::new();
    for name in names {
        if !is_moniker(&name) {
            expanded.push(name);
            continue;
        }
        let current = releases.releases.iter().filter(|release| release.moniker == name && !release.iseol);
        let before = expanded.len();
        expanded.extend(current.map(|release| release.version.clone()));
        if expanded.len() == before {
            bail!("{url} has no {name} release");
        }
    }
    Ok(expanded)
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
