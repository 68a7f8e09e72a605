//! `cargo xtask shell`: a shell in a guest.

use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::Result;
use clap::Args;

use super::Ended;
use crate::commands::args::{KernelArgs, MachineArgs};
use crate::host::packages::{self, Purpose};
use crate::running::{guest, session};
use crate::vm::Process;

/// The shell, and all of its commands.
const BUSYBOX: &str = "/bin/busybox";
/// Commands that get their own name; `busybox NAME` runs any other one.
const APPLETS: [&str; 16] = [
    "cat", "dmesg", "echo", "find", "free", "grep", "hexdump", "ip", "less", "ls", "mount", "ps", "sh",
    "sleep", "top", "vi",
];

/// Arguments of `cargo xtask shell`.
#[derive(Debug, Args)]
pub struct ShellArgs {
    #[command(flatten)]
    kernels: KernelArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Boots, and connects the terminal until the shell ends.
pub fn shell(args: &ShellArgs) -> Result<Ended> {
    let (arch, spec) = args.kernels.one_target("a shell runs")?;
    let lab = args.kernels.open_lab()?;
    packages::ensure(&packages::needs_of(&[Purpose::Shell]), !args.kernels.no_install, &lab.progress)?;
    let built = lab.build(arch, &spec)?;
    let machine = lab.machine(&built, &args.machine.settings(), |image| {
        image.dir("bin")?;
        image.file("bin/busybox", Path::new(BUSYBOX))?;
        APPLETS.iter().try_for_each(|applet| image.link(&format!("bin/{applet}"), "busybox"))
    })?;
    guest::settle_accel(&machine, &mut session::say_notes)?;
    lab.progress.note("Ctrl-A X ends the machine at once");
    let mut command = machine.for_shell()?;
    Process::spawn(&mut command, &[machine.initramfs.as_raw_fd()])?.wait()?;
    Ok(Ended::Well)
}
