//! The library that makes an adapter from the host's files a fork server, built for the host.

use std::process::Command;

use anyhow::Result;

use crate::host::cache::{Cache, Entry, Kind};
use crate::host::command::run_logged;
use crate::host::content::Key;
use crate::host::packages::{self, Purpose};
use crate::host::progress::Progress;

/// Its source, below the project's root.
const SOURCE: &str = "guest/preload/forkserver.c";
/// Its name in its cache entry.
pub const LIBRARY: &str = "forkserver.so";

/// Builds the library, or finds it in the cache.
///
/// # Errors
/// There is no compiler and none may be installed, or it fails.
pub fn obtain(cache: &Cache, progress: &Progress, allow_install: bool) -> Result<Entry> {
    packages::ensure(&packages::needs_of(&[Purpose::Program]), allow_install, progress)?;
    let root = crate::project_root();
    let key = format!("forkserver-{}", Key::new().files(root, SOURCE)?.finish());
    cache.entry(Kind::Program, &key, "fork server", progress, |making| {
        let step = progress.step("building the fork server");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-shared", "-fPIC", "-o"]).arg(making.dir.join(LIBRARY)).arg(root.join(SOURCE));
        cc.arg("-ldl").stdin(making.stdin()?);
        run_logged(&mut cc, &making.dir.join("build.log"), &step)?;
        step.done();
        Ok(())
    })
}
