//! Room on the host's disks.

use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::statvfs::statvfs;

/// The bytes that can still be written to a directory.
///
/// # Errors
/// There is no such directory.
pub fn free(dir: &Path) -> Result<u64> {
    let disk = statvfs(dir).with_context(|| format!("cannot look at {}", dir.display()))?;
    // Both numbers have the width of C's long.
    #[allow(clippy::useless_conversion)]
    Ok(u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size())))
}
