//! What this host's QEMU can do: found out by trying, and remembered until the host reboots.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::process::Process;
use crate::host::cache::Cache;
use crate::host::content::Key;
use crate::host::packages::{Host, Probe};

/// The program.
pub const QEMU: &str = "qemu-system-x86_64";

/// Time that a guest of one instruction may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How a guest's instructions are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// By the processor.
    Kvm,
    /// By QEMU's translator.
    Tcg,
}

impl Accel {
    /// QEMU's arguments.
    pub fn args(self) -> &'static [&'static str] {
        match self {
            Accel::Kvm => &["-accel", "kvm", "-cpu", "host"],
            // `max` has the timestamp counter's features, which spare the kernel its calibration. Its fast
            // string instructions are slow: a kernel that sees them clears and copies byte by byte.
            Accel::Tcg => &["-accel", "tcg", "-cpu", "max,erms=off,fsrm=off"],
        }
    }

    /// Processors of a guest, if nobody says otherwise. Two meet races that one never shows; where they
    /// are emulated, beside other guests, they spend half of their time waiting for each other.
    pub fn processors(self) -> u32 {
        match self {
            Accel::Kvm => 2,
            Accel::Tcg => 1,
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "KVM",
            Accel::Tcg => "TCG",
        }
    }
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Why KVM cannot be used, if it cannot.
    pub no_kvm: Option<String>,
    /// Whether QEMU has the board microvm.
    pub microvm: bool,
    /// Rate of the timestamp counter that an emulated processor passes on, in kHz.
    pub tsc_khz: u64,
}

impl Facts {
    /// What is remembered of this boot and this QEMU, else what trying shows.
    pub fn of_this_host(cache: &Cache) -> Result<Facts> {
        let file = cache.root().join(format!("host-{}.json", key()?));
        if let Some(facts) = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok(facts);
        }
        let no_kvm = kvm().err().map(|error| format!("{error:#}"));
        let facts = Facts { no_kvm, microvm: microvm()?, tsc_khz: tsc_khz() };
        let mut temporary = tempfile::NamedTempFile::new_in(cache.root())?;
        temporary.write_all(&serde_json::to_vec(&facts)?)?;
        temporary.persist(file)?;
        Ok(facts)
    }

    /// The one to use; KVM wherever it works.
    ///
    /// # Errors
    /// When KVM is asked for and does not work.
    pub fn accel(&self, wanted: Option<Accel>) -> Result<Accel> {
        match (wanted, &self.no_kvm) {
            (Some(Accel::Kvm), Some(reason)) => bail!("KVM does not work here: {reason}"),
            (Some(accel), _) => Ok(accel),
            (None, None) => Ok(Accel::Kvm),
            (None, Some(_)) => Ok(Accel::Tcg),
        }
    }
}

/// Permissions on /dev/kvm count too: a user may have been added to its group since.
fn key() -> Result<String> {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").context("cannot tell one boot from another")?;
    let qemu = Host::this().find(Probe::Command(QEMU)).with_context(|| format!("there is no {QEMU}"))?;
    let meta = fs::metadata(&qemu)?;
    let usable =
        nix::unistd::access("/dev/kvm", nix::unistd::AccessFlags::R_OK | nix::unistd::AccessFlags::W_OK);
    let told = format!("{} {} {} {usable:?}", qemu.display(), meta.len(), meta.mtime());
    Ok(Key::new().part("boot", boot).part("qemu", told).finish())
}

/// The counter's rate over a while that is long enough for one part in ten thousand.
fn tsc_khz() -> u64 {
    // SAFETY: reads a counter that each x86-64 processor has.
    let counter = || unsafe { std::arch::x86_64::_rdtsc() };
    let (start, from) = (Instant::now(), counter());
    sleep(Duration::from_millis(50));
    let (ticks, time) = (counter() - from, start.elapsed());
    ticks * 1000 / time.as_micros() as u64
}

fn microvm() -> Result<bool> {
    let output = Command::new(QEMU).args(["-M", "help"]).stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with("microvm ")))
}

/// Whether a guest gets anywhere under KVM. That /dev/kvm opens says little: nested and emulated
/// hosts offer it and then spin, or abort.
///
/// The guest is a ROM whose first instructions write to QEMU's debug-exit port.
fn kvm() -> Result<()> {
    fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .map_err(|error| anyhow::anyhow!("cannot open /dev/kvm: {error}"))?;
    let mut rom = tempfile::NamedTempFile::new()?;
    rom.write_all(&exit_rom())?;
    probe_guest(rom.path(), Accel::Kvm)
}

const EXIT_PORT: u16 = 0xf4;
const EXIT_VALUE: u8 = 0x2a;

/// 64 KiB that end at 4 GiB, where the processor begins 16 bytes before the end.
fn exit_rom() -> Vec<u8> {
    let mut rom = vec![0xf4; 64 * 1024]; // hlt
    let reset = rom.len() - 16;
    let code = [0xb0, EXIT_VALUE, 0xe6, EXIT_PORT as u8]; // mov al, value; out port, al
    rom[reset..reset + code.len()].copy_from_slice(&code);
    rom
}

fn probe_guest(rom: &Path, accel: Accel) -> Result<()> {
    let mut command = Command::new(QEMU);
    command.args(["-M", "pc"]).args(accel.args()).arg("-bios").arg(rom).args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-device",
        &format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"),
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::spawn(&mut command, &[])?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = process.child().try_wait()? {
            // The device's doing: the value doubled, with the lowest bit set.
            if status.code() == Some(i32::from(EXIT_VALUE) << 1 | 1) {
                return Ok(());
            }
            bail!("QEMU gives up when it uses /dev/kvm ({status})");
        }
        sleep(Duration::from_millis(10));
    }
    bail!("a guest makes no progress in {} s under KVM", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_believes_a_guest_that_gets_somewhere_and_no_other() {
        let mut rom = tempfile::NamedTempFile::new().unwrap();
        rom.write_all(&exit_rom()).unwrap();
        probe_guest(rom.path(), Accel::Tcg).unwrap();

        let mut stuck = tempfile::NamedTempFile::new().unwrap();
        stuck.write_all(&[0xf4; 64 * 1024]).unwrap();
        assert!(probe_guest(stuck.path(), Accel::Tcg).unwrap_err().to_string().contains("no progress"));
    }

    #[test]
    fn kvm_on_request_is_not_silently_replaced() {
        let facts = Facts { no_kvm: Some("it spins".into()), microvm: true, tsc_khz: 1 };
        assert_eq!(facts.accel(None).unwrap(), Accel::Tcg);
        assert!(facts.accel(Some(Accel::Kvm)).unwrap_err().to_string().contains("it spins"));
    }
}
