//! Releases of kernel.org: downloaded over HTTPS, resumed where a transfer was cut, and
//! unpacked only if the SHA-256 is the pinned one.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use super::Tarball;
use crate::host::cache::{Cache, Kind, Making};
use crate::host::content::sha256;
use crate::host::progress::{Progress, Step};

/// If nothing arrives for this long, the transfer is dead; what arrived is kept.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Downloads the release and unpacks it. Returns what it was.
pub(super) fn obtain(
    tarball: &Tarball,
    mirror: &str,
    cache: &Cache,
    source: &Making,
    progress: &Progress,
) -> Result<String> {
    let Tarball { version, sha256 } = tarball;
    let major = version.split('.').next().unwrap_or_default();
    let name = format!("linux-{version}");
    let url = format!("{}/v{major}.x/{name}.tar.xz", mirror.trim_end_matches('/'));
    let label = format!("download of {name}");
    cache.updated(Kind::Download, &name, &label, progress, |download| {
        let step = progress.step(format!("downloading {name}"));
        let file = download.dir.join("archive");
        fetch(&url, sha256, &file, &step)?;
        step.done();
        let step = progress.step(format!("unpacking {name}"));
        unpack(&file, source)?;
        step.done();
        Ok(fs::remove_file(file)?)
    })?;
    Ok(format!("kernel.org {version} sha256:{sha256}"))
}

/// Downloads `url` to `file`, resuming an earlier attempt. On success it is
/// complete and verified.
fn fetch(url: &str, expected: &str, file: &Path, step: &Step) -> Result<()> {
    let resumed = file.exists();
    transfer(url, file, step)?;
    let mut actual = sha256(file)?;
    if actual != expected && resumed {
        // The partial file may be damaged or belong to another file: once more, from the start.
        fs::remove_file(file)?;
        transfer(url, file, step)?;
        actual = sha256(file)?;
    }
    if actual != expected {
        fs::remove_file(file)?;
        bail!(
            "{url} has SHA-256 {actual}, and not {expected} as kernels.toml or kernel.org's signed list says: the \
             file was changed on its way, or the pin is wrong; nothing of it was kept"
        );
    }
    Ok(())
}

/// The text at `url`.
pub(super) fn text(url: &str) -> Result<String> {
    let mut response = request(url, 0)?;
    if response.status() != StatusCode::OK {
        bail!("{url} answered {}: try later", response.status());
    }
    response.body_mut().read_to_string().with_context(|| format!("{url} was cut"))
}

/// One request for the missing part of `file`.
pub(super) fn transfer(url: &str, path: &Path, step: &Step) -> Result<()> {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let mut have = file.metadata()?.len();
    let response = request(url, have)?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if continues_at(&response, have) => {}
        StatusCode::OK => {
            file.set_len(0)?;
            have = 0;
        }
        // There is nothing after what is there: it is the whole file, or wrong; the hash decides.
        StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => return Ok(()),
        status => bail!("{url} answered {status}: try later, or set NLCONFORM_KERNEL_MIRROR"),
    }
    let total = response.body().content_length().map(|rest| have + rest);
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let cut = || match total {
            Some(total) => {
                format!("{url} was cut after {have} of {total} bytes: run again to continue")
            }
            None => format!("{url} was cut after {have} bytes: run again to continue"),
        };
        let n = body.read(&mut buffer).with_context(cut)?;
        if n == 0 {
            return match total {
                Some(total) if have < total => bail!(cut()),
                _ => Ok(()),
            };
        }
        file.write_all(&buffer[..n])
            .with_context(|| format!("cannot write {}: is the disk full?", path.display()))?;
        have += n as u64;
        step.bytes(have, total);
    }
}

fn request(url: &str, from: u64) -> Result<Response<Body>> {
    let agent = Agent::new_with_config(
        Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(STALL_TIMEOUT))
            .timeout_recv_response(Some(STALL_TIMEOUT))
            .timeout_per_read(Some(STALL_TIMEOUT))
            .build(),
    );
    let mut request = agent.get(url);
    if from > 0 {
        request = request.header(header::RANGE, format!("bytes={from}-"));
    }
    request
        .call()
        .with_context(|| format!("cannot reach {url}: is there a network? Else set NLCONFORM_KERNEL_MIRROR"))
}

fn continues_at(response: &Response<Body>, from: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE);
    range
        .and_then(|range| range.to_str().ok())
        .is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

fn unpack(archive: &Path, source: &Making) -> Result<()> {
    let tree = super::fresh_tree(source)?;
    let status = Command::new("tar")
        .args(["--strip-components=1", "-C"])
        .arg(&tree)
        .arg("-xf")
        .arg(archive)
        .stdin(source.stdin()?)
        // On a full disk it names each file of the tree.
        .stderr(Stdio::null())
        .status()
        .context("cannot run tar")?;
    match status.success() {
        true => Ok(()),
        false => bail!("cannot unpack {}: it is damaged, or the disk is full", archive.display()),
    }
}

#[cfg(test)]
#[path = "tarball_tests.rs"]
mod tests;
