//! The machine itself: its mounts, its module, its end.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::sync;
use nlconform::program::{HOST_ROOT, HOST_TAG, Program};

/// What is mounted: type and place.
const MOUNTS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    // The lab's kernels do without it unless they are variants.
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    // Only kernels with fault injection, kmemleak or gcov have it.
    ("debugfs", "/sys/kernel/debug"),
    // Only kernels with tracing have it.
    ("tracefs", "/sys/kernel/tracing"),
];

/// Mounts what the kernel has.
pub fn mount_all() -> Result<()> {
    for (kind, place) in MOUNTS {
        // Below a real /sys, the kernel makes the directories of what it has.
        let is_optional = place.starts_with("/sys");
        match fs::create_dir_all(place) {
            Err(_) if is_optional => continue,
            made => made.with_context(|| format!("creating {place}"))?,
        }
        match mount(Some(*kind), *place, Some(*kind), MsFlags::empty(), None::<&str>) {
            Err(Errno::ENODEV) if is_optional => {}
            mounted => mounted.with_context(|| format!("mounting {kind} on {place}"))?,
        }
    }
    Ok(())
}

/// What a program among the host's files finds of the guest's own: type and place below the host's root.
const GUEST_MOUNTS: [(&str, &str); 3] = [("proc", "proc"), ("devtmpfs", "dev"), ("tmpfs", "tmp")];
/// Where the host's /tmp is seen while the guest's own is made.
const HOST_TMP: &str = "/host-tmp";

/// Mounts the host's root, read-only, if the program is among the host's files.
pub fn mount_host(program: &Program) -> Result<()> {
    if program.host.is_none() {
        return Ok(());
    }
    fs::create_dir_all(HOST_ROOT).with_context(|| format!("creating {HOST_ROOT}"))?;
    let options = "trans=virtio,version=9p2000.L,cache=loose,msize=512000";
    mount(Some(HOST_TAG), HOST_ROOT, Some("9p"), MsFlags::MS_RDONLY, Some(options)).context(
        "mounting the host's root (has the kernel CONFIG_9P_FS and CONFIG_NET_9P_VIRTIO, as in \
         kernel-configs/client.config?)",
    )?;
    let tmp = Path::new(HOST_ROOT).join("tmp");
    bind(&tmp, Path::new(HOST_TMP))?;
    for (kind, place) in GUEST_MOUNTS {
        let place = Path::new(HOST_ROOT).join(place);
        mount(Some(kind), &place, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting {kind} on {}", place.display()))?;
    }
    // A project may lie in the host's /tmp: its directories are in the guest's, too.
    for entry in fs::read_dir(HOST_TMP).with_context(|| format!("reading {HOST_TMP}"))? {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            bind(&entry.path(), &tmp.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("mounting {} on {}", from.display(), to.display()))
}

/// Settings of a kernel with fault injection: file and value.
const SETTINGS: &[(&str, &str)] = &[
    // Allocations that may wait fail too when they are asked to, and tell nobody.
    ("/sys/kernel/debug/failslab/ignore-gfp-wait", "N"),
    ("/sys/kernel/debug/failslab/verbose", "0"),
];

/// Makes those settings that the kernel has.
pub fn set_up() -> Result<()> {
    for (file, value) in SETTINGS.iter().filter(|(file, _)| Path::new(file).exists()) {
        fs::write(file, value).with_context(|| format!("writing {value} to {file}"))?;
    }
    // Leaks are attributed to cases by process IDs, so none should come twice. What the lab configures has no /proc/sys,
    // and a 32-bit kernel refuses: both stay at 32768.
    let _ = fs::write("/proc/sys/kernel/pid_max", "4194304");
    Ok(())
}

/// Where the image has the modules that a kernel needs for its channel and its tests.
const MODULES: &str = "/modules";

/// Loads the kernel's own modules, in the order of their files' names.
pub fn load_modules() -> Result<()> {
    let entries = fs::read_dir(MODULES).with_context(|| format!("reading {MODULES}"))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    for file in files {
        let module = File::open(&file).with_context(|| format!("opening {}", file.display()))?;
        match finit_module(module, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("loading {} (are these the modules of this kernel?)", file.display())
                });
            }
        }
    }
    Ok(())
}

/// Loads the probe if the image has one. Without it the cases that need it are skipped: returns why.
pub fn load_probe() -> Result<Option<String>> {
    let module = match File::open("/nlprobe.ko") {
        Ok(module) => module,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(fs::read_to_string("/nlprobe.missing").ok());
        }
        Err(error) => return Err(error).context("opening /nlprobe.ko"),
    };
    // Nobody needs this machine, and the fault cases break it.
    match finit_module(module, c"expendable=1 faults=1", ModuleInitFlags::empty()) {
        Ok(()) => Ok(None),
        // Of kernel/module/signing.c: module.sig_enforce or CONFIG_MODULE_SIG_FORCE, and lockdown.
        Err(refused @ (Errno::EKEYREJECTED | Errno::EPERM)) => Ok(Some(format!(
            "the kernel refuses the module nlprobe, which is not signed ({refused:?}): signatures are enforced \
             (CONFIG_MODULE_SIG_FORCE, module.sig_enforce, lockdown)"
        ))),
        Err(error) => Err(error).context("loading nlprobe.ko (was it built for this kernel?)"),
    }
}

/// Whether the host asked for a shell instead of a run.
pub fn wants_shell() -> Result<bool> {
    let cmdline = fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?;
    Ok(cmdline.split_whitespace().any(|word| word == "nlconform.shell"))
}

/// Ends the machine. QEMU runs with -no-reboot, so a reboot is the end of it; powering off would
/// need ACPI, which QEMU's microvm may lack.
pub fn end() -> ! {
    sync();
    let error = reboot(RebootMode::RB_AUTOBOOT);
    panic!("the machine does not end: {error:?}") // PID 1 panics, and so does the kernel
}
