//! A virtual machine's settings, and the command line that they make.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nlconform::program::HOST_TAG;

use super::accel::Accel;
use super::arch::{Arch, Board};
use super::facts::Facts;

/// Words of the kernel's command line that each guest gets, after those of its architecture. A panic ends the
/// machine at once (`panic=-1` and `-no-reboot`).
const APPEND: &str = "panic=-1 oops=panic quiet";

/// Name of the port that carries the events.
const PORT: &str = "nlconform";

/// What somebody may choose of a machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How instructions are run; nothing where the host decides.
    pub accel: Option<Accel>,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors; nothing where the accelerator decides.
    pub smp: Option<u32>,
    /// Words added to the kernel's command line.
    pub append: String,
    /// Wait for a debugger on port 1234; nothing has a deadline then.
    pub gdb: bool,
    /// Arguments passed on to QEMU, last.
    pub qemu_args: Vec<String>,
    /// The guest may mount the host's root, which it cannot write.
    pub host_files: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            accel: None,
            memory: 256,
            smp: None,
            append: String::new(),
            gdb: false,
            qemu_args: Vec::new(),
            host_files: false,
        }
    }
}

/// What to boot, and on what. One value may be booted many times, by several threads.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What it is built for.
    pub arch: &'static Arch,
    /// The kernel: an ELF vmlinux, or an image that the architecture boots.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initramfs: Arc<File>,
    /// The host's QEMU.
    pub facts: Arc<Facts>,
    /// Time that a guest gets to come up under KVM that nobody chose, before one under TCG replaces it.
    pub kvm_timeout: Duration,
    /// Time that a guest gets to come up under TCG.
    pub boot_timeout: Duration,
    /// What was chosen of it, or more where its kernel needs more.
    pub settings: Settings,
}

impl Machine {
    /// QEMU for a run: serial console on its standard output, events on the socket `channel`, and
    /// QEMU's own words on the socket `qmp`.
    pub fn for_events(&self, channel: RawFd, qmp: RawFd) -> Result<Command> {
        let mut command = self.base("")?;
        let bus = self.board()?.bus;
        command
            .args(["-serial", "stdio"])
            .args(["-chardev", &format!("socket,id=events,fd={channel}")])
            .args(["-chardev", &format!("socket,id=qmp,fd={qmp}"), "-mon", "chardev=qmp,mode=control"])
            .args(["-device", &format!("virtio-serial-{bus}")])
            .args(["-device", &format!("virtserialport,chardev=events,name={PORT}")]);
        if self.settings.host_files {
            command
                .args(["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"])
                .args(["-device", &format!("virtio-9p-{bus},fsdev=host,mount_tag={HOST_TAG}")]);
        }
        command.args(&self.settings.qemu_args);
        Ok(command)
    }

    /// QEMU for a shell: serial console and QEMU's own monitor on the terminal.
    pub fn for_shell(&self) -> Result<Command> {
        let mut command = self.base("nlconform.shell")?;
        command.args(["-serial", "mon:stdio"]).args(&self.settings.qemu_args);
        Ok(command)
    }

    fn base(&self, word: &str) -> Result<Command> {
        let accel = self.facts.accel(self.settings.accel)?;
        let smp = self.settings.smp.unwrap_or(accel.processors());
        let mut command = Command::new(&self.facts.qemu);
        command.args(["-M", self.board()?.machine]);
        command.args(accel.args(self.arch));
        command.args(["-m", &self.settings.memory.to_string(), "-smp", &smp.to_string()]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command.arg("-kernel").arg(&self.kernel);
        command.args(["-initrd", &format!("/proc/self/fd/{}", self.initramfs.as_raw_fd())]);
        let append = [self.arch.append, APPEND, &self.emulated(accel, smp), word, &self.settings.append];
        let append: Vec<_> = append.into_iter().filter(|words| !words.is_empty()).collect();
        command.args(["-append", &append.join(" ")]);
        if self.settings.gdb {
            command.args(["-s", "-S"]);
        }
        Ok(command)
    }

    /// What a kernel on an emulated processor is told. Programs are always loaded at the same addresses, because
    /// translated code is found by address: else that of each process would be translated anew, which takes
    /// longer than most cases do. An x86 processor passes the host's timestamp counter on: the kernel is told its
    /// rate. Measured on a busy host it looks broken, and without it the clock ticks every 4 ms.
    fn emulated(&self, accel: Accel, smp: u32) -> String {
        match (accel, self.facts.tsc_khz()) {
            (Accel::Kvm, _) => String::new(),
            (Accel::Tcg, None) => "norandmaps".to_owned(),
            // The APIC's timer would be measured for 0.2 s. Only several processors need it.
            (Accel::Tcg, Some(khz)) if smp == 1 => format!("norandmaps tsc_early_khz={khz} nolapic_timer"),
            (Accel::Tcg, Some(khz)) => format!("norandmaps tsc_early_khz={khz}"),
        }
    }

    /// The first of the architecture's boards that QEMU has and that boots this kernel.
    fn board(&self) -> Result<&'static Board> {
        let mut magic = [0; 4];
        File::open(&self.kernel)
            .and_then(|mut file| file.read_exact(&mut magic))
            .with_context(|| format!("cannot read kernel {}", self.kernel.display()))?;
        let has_it = |board: &&Board| !board.wants_elf || (self.facts.microvm() && &magic == b"\x7fELF");
        self.arch.boards.iter().find(has_it).context("the architecture has a board for every kernel")
    }
}
