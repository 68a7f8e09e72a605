//! Which kernel it is that this process runs on.

use nix::libc;
use nix::sys::utsname::uname;

/// The name of a kernel of Linux, whose version its profile follows.
pub const LINUX: &str = "Linux";

/// Its name and version: Linux and the release, unless its log says that it is another.
pub fn name_and_version() -> (String, String) {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    // The release of gVisor is that of the Linux that it imitates; its own it does not say.
    match log().contains("Starting gVisor") || release.ends_with("-gvisor") {
        true => ("gVisor".into(), String::new()),
        false => (LINUX.into(), release),
    }
}

/// The start of the kernel's log, as far as it may be read.
fn log() -> String {
    const SYSLOG_ACTION_READ_ALL: i32 = 3;
    let mut buffer = vec![0u8; 4096];
    // SAFETY: pointer and length describe the buffer.
    let read =
        unsafe { libc::klogctl(SYSLOG_ACTION_READ_ALL, buffer.as_mut_ptr().cast(), buffer.len() as i32) };
    buffer.truncate(read.max(0) as usize);
    String::from_utf8_lossy(&buffer).into_owned()
}
