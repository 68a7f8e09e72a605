//! Virtual machines: settings, a QEMU that runs, its console and its channel. Knows no case.

pub mod channel;
pub mod console;
pub mod facts;
pub mod machine;
pub mod place;
mod process;

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

pub use channel::{Channel, Silence};
pub use console::{Console, Mark};
pub use facts::Accel;
pub use machine::{Machine, Settings};
pub use place::{Place, Sandbox};
pub use process::Process;

/// A virtual machine that runs. It ends with this value.
#[derive(Debug)]
pub struct Vm {
    /// Events and requests.
    pub channel: Channel,
    /// The serial console.
    pub console: Console,
    process: Process,
}

impl Vm {
    /// Starts QEMU. The calling thread must live for as long as the machine is to.
    pub fn boot(machine: &Machine) -> Result<Vm> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = machine.for_events(theirs.as_raw_fd())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let inherited = [theirs.as_raw_fd(), machine.initramfs.as_raw_fd()];
        let mut process = Process::spawn(&mut command, &inherited)?;
        let console = process.child().stdout.take().context("QEMU's output is piped")?;
        Ok(Vm { channel: Channel::new(ours), console: Console::watch(console), process })
    }

    /// Starts a program that does what an init does, without a machine around it: the channel is its
    /// standard input and output, the console its standard error.
    pub fn start(command: &mut Command) -> Result<Vm> {
        let (ours, theirs) = UnixStream::pair()?;
        command
            .stdin(OwnedFd::from(theirs.try_clone()?))
            .stdout(OwnedFd::from(theirs))
            .stderr(Stdio::piped());
        let mut process = Process::spawn(command, &[])?;
        // The other end must close with the program.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let console = process.child().stderr.take().context("the standard error is piped")?;
        Ok(Vm { channel: Channel::new(ours), console: Console::watch(console), process })
    }

    /// Process ID of QEMU, or of the program.
    pub fn pid(&mut self) -> u32 {
        self.process.child().id()
    }

    /// Ends the machine, unless it has ended by itself, and reads the last of its console: how
    /// its process ended, and what QEMU said itself.
    pub fn end(&mut self) -> Result<String> {
        let stderr = self.process.child().stderr.take();
        let status = self.process.kill()?;
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            stderr.take(16 * 1024).read_to_end(&mut said)?;
        }
        self.console.finish();
        let said: String =
            String::from_utf8_lossy(&said).chars().filter(|c| *c == '\n' || !c.is_control()).collect();
        Ok(format!(
            "its process {}{}{}",
            ended(status),
            if said.is_empty() { "" } else { ": " },
            said.trim_end()
        ))
    }

    /// Waits until the machine has ended by itself.
    pub fn wait(&mut self) -> Result<()> {
        self.process.wait().map(drop)
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}
