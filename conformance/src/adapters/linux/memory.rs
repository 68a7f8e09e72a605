//! Memory allocations of the kernel that fail (Documentation/fault-injection/fault-injection.rst).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use crate::port::provider::Unable;

/// Counts the allocations of the thread that opens it.
const FAIL_NTH: &str = "/proc/thread-self/fail-nth";
/// Whether allocations that may sleep, which are most, are exempt.
const IGNORE_WAITING: &str = "/sys/kernel/debug/failslab/ignore-gfp-wait";

/// Why failing allocations are not available, if they are not.
pub fn missing() -> Option<String> {
    match std::fs::read_to_string(IGNORE_WAITING) {
        Ok(setting) if setting.starts_with('N') => None,
        Ok(_) => Some(format!("{IGNORE_WAITING} is not N: allocations that may sleep do not fail")),
        Err(error) => Some(format!("{IGNORE_WAITING}: {error}")),
    }
}

/// Runs `step` with the `nth` allocation of this thread failing; returns whether it was reached.
pub fn failing(nth: u32, step: &mut dyn FnMut()) -> Result<bool, Unable> {
    let failed = |error: io::Error| Unable::Failed(format!("{FAIL_NTH}: {error}"));
    let file =
        OpenOptions::new().read(true).write(true).open(FAIL_NTH).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Unable::Unsupported(format!("there is no {FAIL_NTH}")),
            _ => failed(error),
        })?;
    set(&file, nth).map_err(failed)?;
    step();
    // It counts down, and is 0 once an allocation has failed.
    let mut left = [0];
    let read = file.read_at(&mut left, 0);
    set(&file, 0).map_err(failed)?;
    read.map_err(failed)?;
    Ok(left == *b"0")
}

fn set(file: &File, nth: u32) -> io::Result<()> {
    file.write_all_at(nth.to_string().as_bytes(), 0)
}
