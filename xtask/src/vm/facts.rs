//! What this host's QEMU can do: determined by trying, and remembered until the host reboots.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::accel::{Accel, Kvm};
use super::arch::Arch;
use super::process::output_within;
use crate::host::cache::Cache;
use crate::host::content::Key;
use crate::host::packages::{Host, Need};
use crate::host::progress::say;

/// Time limit for QEMU to list its boards.
const QEMU_TIMEOUT: Duration = Duration::from_secs(20);

/// What was found out. Shared by everything that starts guests: what one learns about KVM, all know.
#[derive(Debug)]
pub struct Facts {
    /// The QEMU that the facts are about.
    pub qemu: PathBuf,
    file: PathBuf,
    kept: Mutex<Kept>,
    /// Whether a guest of this very run has come up under KVM.
    proven: Mutex<bool>,
    /// Whether it was said that nothing can be remembered.
    complained: AtomicBool,
}

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    kvm: Kvm,
    microvm: bool,
    tsc_khz: Option<u64>,
}

impl Facts {
    /// What is remembered for this boot and the QEMU in PATH that emulates this architecture, else what
    /// trying shows.
    ///
    /// # Errors
    /// There is no such QEMU in PATH, or it cannot be asked for its boards.
    pub fn of(arch: &Arch, cache: &Cache) -> Result<Facts> {
        let Need { probe, package, .. } = arch.qemu;
        let qemu = Host::this().find(probe);
        let qemu = qemu.with_context(|| format!("there is no QEMU for {}: install {package}", arch.name))?;
        Facts::of_qemu(arch, &qemu, cache)
    }

    /// The same for another QEMU.
    ///
    /// # Errors
    /// It cannot be asked for its boards.
    pub fn of_qemu(arch: &Arch, qemu: &Path, cache: &Cache) -> Result<Facts> {
        let file = cache.root().join(format!("host-{}.json", key(qemu)?));
        let remembered: Option<Kept> =
            fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let is_new = remembered.is_none();
        let kept = match remembered {
            Some(kept) => kept,
            None => Kept {
                kvm: kvm(arch),
                microvm: arch.has_tsc() && microvm(qemu)?,
                tsc_khz: arch.has_tsc().then(tsc_khz).flatten(),
            },
        };
        let facts = Facts::new(qemu.to_owned(), file, kept);
        if is_new {
            facts.remember(|_| {});
        }
        Ok(facts)
    }

    fn new(qemu: PathBuf, file: PathBuf, kept: Kept) -> Facts {
        let (kept, proven) = (Mutex::new(kept), Mutex::new(false));
        Facts { qemu, file, kept, proven, complained: AtomicBool::new(false) }
    }

    /// Whether QEMU has the board microvm.
    pub fn microvm(&self) -> bool {
        self.kept().microvm
    }

    /// Rate of the timestamp counter that an emulated processor passes on, in kHz; nothing where the host has
    /// none to pass on.
    pub fn tsc_khz(&self) -> Option<u64> {
        self.kept().tsc_khz
    }

    /// What is known about KVM.
    pub fn kvm(&self) -> Kvm {
        self.kept().kvm.clone()
    }

    /// The accelerator to use: the chosen one, else KVM unless it is known to fail.
    ///
    /// # Errors
    /// KVM was chosen and is known to fail.
    pub fn accel(&self, wanted: Option<Accel>) -> Result<Accel> {
        match (wanted, self.kvm()) {
            (Some(Accel::Kvm), Kvm::Fails(reason)) => bail!(kvm_fails(&reason)),
            (Some(accel), _) => Ok(accel),
            (None, Kvm::Fails(_)) => Ok(Accel::Tcg),
            (None, _) => Ok(Accel::Kvm),
        }
    }

    /// Remembers that a guest has come up under KVM.
    pub fn believe_in_kvm(&self) {
        *self.proven.lock().expect("no holder panics") = true;
        if self.kvm() != Kvm::Works {
            self.remember(|kept| kept.kvm = Kvm::Works);
        }
    }

    /// Remembers that a guest that came up under TCG had not done so under KVM, and why, unless
    /// another guest of this run has. Returns whether this is newly remembered.
    pub fn give_kvm_up(&self, why: &str) -> bool {
        if *self.proven.lock().expect("no holder panics") || matches!(self.kvm(), Kvm::Fails(_)) {
            return false;
        }
        self.remember(|kept| kept.kvm = Kvm::Fails(why.to_owned()));
        true
    }

    /// Makes the next guest show whether KVM works, whatever was found out.
    pub fn try_kvm_anew(&self) {
        self.remember(|kept| kept.kvm = Kvm::Untried);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder panics")
    }

    /// For this process in any case. That no later one knows of it is no reason to fail: it finds it out again.
    fn remember(&self, change: impl FnOnce(&mut Kept)) {
        let mut kept = self.kept();
        change(&mut kept);
        if let Err(error) = self.write(&kept)
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            say(format_args!(
                "cannot write {}: {error}. What this host can do is probed again in each run until there is room for \
                 it (NLCONFORM_CACHE names another directory)",
                self.file.display()
            ));
        }
    }

    fn write(&self, kept: &Kept) -> io::Result<()> {
        let cache = self.file.parent().unwrap_or(Path::new("."));
        let mut temporary = tempfile::NamedTempFile::new_in(cache)?;
        temporary.write_all(&serde_json::to_vec(kept)?)?;
        temporary.persist(&self.file)?;
        Ok(())
    }
}

/// Forgets everything that was found out about this host; returns for how many QEMUs.
///
/// # Errors
/// What is remembered cannot be removed.
pub fn forget(cache: &Cache) -> Result<usize> {
    let mut forgotten = 0;
    for file in fs::read_dir(cache.root())? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("host-") && name.ends_with(".json") {
            fs::remove_file(file.path())?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

/// The error if KVM was chosen but fails.
pub fn kvm_fails(reason: &str) -> String {
    format!(
        "KVM does not work here: {reason}. Leave out --accel to have guests emulated (TCG); \
         `cargo xtask doctor --forget` has KVM tried anew"
    )
}

/// Permissions on /dev/kvm count, too: a user may have been added to its group since.
fn key(qemu: &Path) -> Result<String> {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").context("cannot tell one boot from another")?;
    let meta = fs::metadata(qemu).with_context(|| format!("cannot read {}", qemu.display()))?;
    let usable =
        nix::unistd::access("/dev/kvm", nix::unistd::AccessFlags::R_OK | nix::unistd::AccessFlags::W_OK);
    let seen = format!("{} {} {} {usable:?}", qemu.display(), meta.len(), meta.mtime());
    Ok(Key::new().part("boot", boot).part("qemu", seen).finish())
}

/// The counter's rate over a while that is long enough for one part in ten thousand.
#[cfg(target_arch = "x86_64")]
fn tsc_khz() -> Option<u64> {
    // SAFETY: reads a counter that each x86-64 processor has.
    let counter = || unsafe { std::arch::x86_64::_rdtsc() };
    let (start, from) = (std::time::Instant::now(), counter());
    std::thread::sleep(Duration::from_millis(50));
    let (ticks, time) = (counter() - from, start.elapsed());
    Some(ticks * 1000 / time.as_micros() as u64)
}

/// The host has no such counter.
#[cfg(not(target_arch = "x86_64"))]
fn tsc_khz() -> Option<u64> {
    None
}

fn microvm(qemu: &Path) -> Result<bool> {
    let boards = output_within(Command::new(qemu).args(["-M", "help"]), QEMU_TIMEOUT)
        .with_context(|| format!("cannot ask {} for its boards (-M help)", qemu.display()))?;
    Ok(boards.lines().any(|line| line.starts_with("microvm ")))
}

/// As far as it can be determined without a guest.
fn kvm(arch: &Arch) -> Kvm {
    if !arch.has_kvm_here() {
        return Kvm::Fails(format!("this host's processor ({}) is no {}", std::env::consts::ARCH, arch.name));
    }
    match fs::File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => Kvm::Untried,
        Err(error) => Kvm::Fails(format!("cannot open /dev/kvm: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::arch;

    fn facts(kvm: Kvm) -> (tempfile::TempDir, Facts) {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept { kvm, microvm: true, tsc_khz: None };
        let file = dir.path().join("host-1.json");
        (dir, Facts::new("/qemu".into(), file, kept))
    }

    #[test]
    fn kvm_on_request_is_not_silently_replaced() {
        let (_dir, facts) = facts(Kvm::Fails("it spins".into()));
        assert_eq!(facts.accel(None).unwrap(), Accel::Tcg);
        let refused = facts.accel(Some(Accel::Kvm)).unwrap_err().to_string();
        assert!(refused.contains("it spins") && refused.contains("--forget"), "{refused}");
    }

    #[test]
    fn one_guest_that_came_up_outweighs_those_that_did_not() {
        let (_dir, first) = facts(Kvm::Untried);
        first.believe_in_kvm();
        assert!(!first.give_kvm_up("it spins"));
        assert_eq!(first.kvm(), Kvm::Works);
        // The guest of another run says nothing about this run's.
        let (_dir, second) = facts(Kvm::Works);
        assert!(second.give_kvm_up("it spins"));
        assert!(!second.give_kvm_up("it pauses"), "reported once");
        assert_eq!(second.kvm(), Kvm::Fails("it spins".into()));
    }

    #[test]
    fn what_cannot_be_written_is_known_all_the_same() {
        let (dir, facts) = facts(Kvm::Untried);
        // Also root cannot write below a file that is not there any more.
        dir.close().unwrap();
        assert!(facts.give_kvm_up("it spins"));
        assert_eq!(facts.kvm(), Kvm::Fails("it spins".into()));
        assert!(facts.complained.load(Ordering::Relaxed));
    }

    #[test]
    fn what_is_forgotten_is_found_out_anew() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let qemu = dir.path().join("qemu");
        crate::scripts::write(&qemu, "#!/bin/sh\necho 'microvm  a board'\n");
        let facts = || Facts::of_qemu(&arch::ALL[0], &qemu, &cache).unwrap();
        let first = facts();
        assert!(first.microvm());
        first.remember(|kept| kept.kvm = Kvm::Fails("it spins".into()));
        assert_eq!(facts().kvm(), Kvm::Fails("it spins".into()));
        assert_eq!(forget(&cache).unwrap(), 1);
        assert_eq!(facts().kvm(), kvm(&arch::ALL[0]));
    }
}
