//! The kernel's log while a case runs.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc;

use crate::signs::is_sign;

/// Records of this level or worse are kept: warnings, and the stack traces after them. So are signs of trouble of
/// any level.
const LEVEL: u32 = 4;
/// Longest text kept of one case, in bytes.
const KEPT: usize = 16 * 1024;

/// A reader of /dev/kmsg. If that cannot be opened, the log stays empty.
pub struct KernelLog(Option<File>);

impl KernelLog {
    /// Starts after the existing records, which it returns as [`KernelLog::take`] does.
    pub fn open() -> (KernelLog, String) {
        let log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
        let mut log = KernelLog(log.ok());
        let before = log.take();
        (log, before)
    }

    /// The records since the last call, one line per record.
    pub fn take(&mut self) -> String {
        let mut text = String::new();
        let mut record = [0; 8192];
        while let Some(log) = &mut self.0 {
            match log.read(&mut record) {
                Ok(0) => break,
                Ok(len) => append(&mut text, &String::from_utf8_lossy(&record[..len])),
                // Records were lost because there were too many: continue with those that are left.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(_) => break,
            }
        }
        text
    }
}

/// A record is `priority,sequence,time,flags;text` and further lines that belong to it
/// (Documentation/ABI/testing/dev-kmsg).
fn append(text: &mut String, record: &str) {
    let Some((prefix, said)) = record.split_once(';') else { return };
    let level = prefix.split(',').next().and_then(|priority| priority.parse::<u32>().ok()).unwrap_or(0) & 7;
    let line = said.lines().next().unwrap_or_default();
    if (level <= LEVEL || is_sign(line)) && text.len() < KEPT {
        text.push_str(line);
        text.push('\n');
    }
}
