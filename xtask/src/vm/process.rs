//! QEMU as a process that never outlives the lab.

use std::io::Read;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::host::command::{tie, unstarted};

/// Time in which a process that closed its descriptors has exited, on a busy host.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A process that is killed when this value is dropped or the thread that spawned it ends, for any reason.
#[derive(Debug)]
pub struct Process {
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Spawns `command` with the descriptors `inherited` open in it.
    ///
    /// The calling thread must live as long as the process.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(command: &mut Command, inherited: &[RawFd]) -> Result<Process> {
        tie(command, Signal::SIGKILL);
        pass_on(command, inherited);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|error| unstarted(&program, error))?;
        Ok(Process { child, status: None })
    }

    /// The same in a new process group: a terminal interrupts only the lab, and what the
    /// process starts ends with it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_apart(command: &mut Command, inherited: &[RawFd]) -> Result<Process> {
        Process::spawn(command.process_group(0), inherited)
    }

    /// The child, to take its pipes from.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Whether the process has ended.
    pub fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        self.status.is_some() || waitid(Id::Pid(self.pid()), flags) != Ok(WaitStatus::StillAlive)
    }

    /// Gives a process that is about to exit the time to do so.
    pub fn wait_a_moment(&self) {
        let start = Instant::now();
        while !self.has_ended() && start.elapsed() < EXIT_TIMEOUT {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the process, if it has not ended by itself.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        if self.status.is_none() {
            // This has no effect on a process without its own group. Its ID is not reused until it has
            // been waited for.
            let _ = killpg(self.pid(), Signal::SIGKILL);
            self.child.kill()?;
        }
        self.wait()
    }

    /// Waits for the process to end.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Runs `command` to completion within a time limit; returns its standard output.
///
/// # Errors
/// It cannot be started, its output cannot be read, or it takes longer. Its exit status is not looked at.
pub fn output_within(command: &mut Command, time: Duration) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Process::spawn_apart(command, &[])?;
    let mut output = process.child().stdout.take().context("the standard output is piped")?;
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = output.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned());
        // After the time limit there is no receiver any more.
        let _ = done.send(read);
    });
    match ended.recv_timeout(time) {
        Ok(text) => Ok(text?),
        Err(_) => bail!("it did not end within {} s", time.as_secs()),
    }
}

/// Leaves these descriptors open in the process.
fn pass_on(command: &mut Command, inherited: &[RawFd]) {
    let inherited = inherited.to_vec();
    let before_exec = move || {
        for &fd in &inherited {
            // SAFETY: the caller keeps these descriptors open over the spawn.
            let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    };
    // SAFETY: fcntl is async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(before_exec) };
}
