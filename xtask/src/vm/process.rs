//! QEMU as a process that never outlives the lab.

use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// A process that is killed when this value goes, or the thread that spawned it, whatever ends it.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Spawns `command` with the descriptors `inherited` open in it.
    ///
    /// The calling thread must live for as long as the process is to.
    pub fn spawn(command: &mut Command, inherited: &[RawFd]) -> Result<Process> {
        tie(command, inherited);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {program}: `cargo xtask doctor` tells what to install"))?;
        Ok(Process(child))
    }

    /// The child, to take its pipes from.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Ends the process, if it has not ended by itself.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.0.kill()?;
        Ok(self.0.wait()?)
    }

    /// Waits for the process to end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.0.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without effect on one that has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has the kernel kill the process when this thread dies: also when the lab is killed with SIGKILL.
fn tie(command: &mut Command, inherited: &[RawFd]) {
    let inherited = inherited.to_vec();
    let parent = std::process::id();
    let before_exec = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the request was made.
        // SAFETY: getppid() has no preconditions.
        if unsafe { libc::getppid() } as u32 != parent {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        for &fd in &inherited {
            // SAFETY: the caller keeps these descriptors open over the spawn.
            let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    };
    // SAFETY: prctl, getppid and fcntl are async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(before_exec) };
}
