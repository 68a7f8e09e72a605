//! Programs of the host.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The first program of this name in these folders, written as PATH is.
pub fn in_path(path: &OsStr, name: impl AsRef<Path>) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join(&name)).find(|file| is_program(file))
}

/// The file of a program that a user names: a path, or a name that PATH has.
///
/// # Errors
/// There is none, or it cannot be started.
pub fn locate(name: &OsStr) -> Result<PathBuf> {
    let shown = name.display();
    if !name.as_encoded_bytes().contains(&b'/') {
        let path = std::env::var_os("PATH").unwrap_or_default();
        return in_path(&path, name).with_context(|| format!("there is no program {shown} in PATH"));
    }
    let meta = fs::metadata(name).with_context(|| format!("there is no program {shown}"))?;
    if !meta.is_file() {
        bail!("{shown} is not a program, but something else");
    }
    if meta.permissions().mode() & 0o111 == 0 {
        bail!("{shown} is not executable: chmod +x {shown}, or name its interpreter before it");
    }
    Ok(std::path::absolute(name)?)
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
