//! Module requests of the kernel: its helper is put under a lease, so that each request waits.
//!
//! Before the kernel runs the helper named by kernel.modprobe it opens that file, and opening a file
//! under a write lease waits until the lease is given up. The file is not a program: the helper then
//! fails, and no module is loaded.

use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::geteuid;

use crate::port::ModuleRequests;
use crate::port::provider::Unable;

/// The setting that names the kernel's helper, where it exists.
const SETTING: &str = "/proc/sys/kernel/modprobe";
/// The helper of the others (CONFIG_MODPROBE_PATH).
const DEFAULT: &str = "/sbin/modprobe";
/// Exists on kernels that can load modules.
const MODULES: &str = "/proc/modules";

/// Why module requests cannot be intercepted, if they cannot.
pub fn missing() -> Option<String> {
    if !Path::new(MODULES).exists() {
        return Some(format!("there is no {MODULES}"));
    }
    if !geteuid().is_root() {
        return Some("the suite does not run as root".into());
    }
    if Path::new(SETTING).exists() {
        let opened = File::options().write(true).open(SETTING);
        return opened.err().map(|error| format!("writing {SETTING}: {error}"));
    }
    Path::new(DEFAULT).exists().then(|| format!("there is no {SETTING}, and {DEFAULT} is in use"))
}

/// A file that replaces the kernel's helper.
pub struct Helper {
    path: PathBuf,
    /// The previous value of the setting, where it exists.
    before: Option<String>,
    leased: File,
}

impl Helper {
    /// Replaces the helper with a file of its own.
    pub fn replace() -> Result<Helper, Unable> {
        let failed = |what: &str, error: std::io::Error| Unable::Failed(format!("{what}: {error}"));
        let before = fs::read_to_string(SETTING).ok();
        let path = match before {
            Some(_) => std::env::temp_dir().join(format!("nlconform-modprobe-{}", std::process::id())),
            None => DEFAULT.into(),
        };
        let helper =
            Helper { leased: no_program(&path).map_err(|error| failed("the helper", error))?, path, before };
        // The kernel signals that the lease is being broken; the signal is received synchronously.
        breaking().thread_block().map_err(|errno| failed("blocking SIGIO", errno.into()))?;
        helper.lease(libc::F_WRLCK).map_err(|errno| failed("a lease", errno.into()))?;
        if helper.before.is_some() {
            let path = helper.path.as_os_str().as_encoded_bytes();
            fs::write(SETTING, path).map_err(|error| failed(SETTING, error))?;
        }
        Ok(helper)
    }

    fn lease(&self, kind: libc::c_int) -> Result<(), Errno> {
        // SAFETY: only an open file and a number are passed.
        Errno::result(unsafe { libc::fcntl(self.leased.as_raw_fd(), libc::F_SETLEASE, kind) }).map(drop)
    }
}

/// A file that may be executed and cannot.
fn no_program(path: &Path) -> std::io::Result<File> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, "no program\n")?;
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    File::open(path)
}

/// The signal for the holder of a lease that is being broken.
fn breaking() -> SigSet {
    SigSet::from(Signal::SIGIO)
}

impl ModuleRequests for Helper {
    fn wait(&self, time: Duration) -> bool {
        let time = libc::timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos() as _ };
        // SAFETY: the set and the time outlive the call; no information about the signal is requested.
        unsafe { libc::sigtimedwait(breaking().as_ref(), std::ptr::null_mut(), &time) == libc::SIGIO }
    }

    fn refuse(&self) -> Result<(), Unable> {
        let failed = |errno: Errno| Unable::Failed(format!("the end of a lease: {errno}"));
        self.lease(libc::F_UNLCK).map_err(failed)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Errors cannot be reported to anyone here.
        let _ = self.lease(libc::F_UNLCK);
        let _ = self.before.as_ref().map(|before| fs::write(SETTING, before.trim_end()));
        let _ = fs::remove_file(&self.path);
    }
}
