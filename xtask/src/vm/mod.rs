//! Virtual machines: settings, a running QEMU, its console and its channel. Knows no cases.

pub mod accel;
pub mod arch;
pub mod channel;
pub mod console;
pub mod facts;
mod lines;
pub mod machine;
pub mod place;
mod process;
mod qmp;
mod whereabouts;

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

pub use accel::{Accel, Kvm};
pub use arch::Arch;
pub use channel::Channel;
pub use console::{Console, Mark};
pub use facts::Facts;
pub use lines::Silence;
pub use machine::{Machine, Settings};
pub use place::{Place, Sandbox};
pub use process::{Process, output_within};
use qmp::Qmp;

/// A running virtual machine. It ends when this value is dropped.
#[derive(Debug)]
pub struct Vm {
    /// Events and requests.
    pub channel: Channel,
    /// The serial console.
    pub console: Console,
    process: Process,
    qemu: Option<Qemu>,
}

/// QEMU's own output, apart from the guest's.
#[derive(Debug)]
struct Qemu {
    /// Its standard error; read as it comes, because a full pipe would stop it.
    words: Console,
    qmp: Qmp,
    kernel: PathBuf,
}

impl Vm {
    /// Starts QEMU. The calling thread must live as long as the machine.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn boot(machine: &Machine) -> Result<Vm> {
        let (ours, theirs) = UnixStream::pair()?;
        let (our_qmp, their_qmp) = UnixStream::pair()?;
        let mut command = machine.for_events(theirs.as_raw_fd(), their_qmp.as_raw_fd())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let inherited = [theirs.as_raw_fd(), their_qmp.as_raw_fd(), machine.initramfs.as_raw_fd()];
        let mut process = Process::spawn_apart(&mut command, &inherited)?;
        let console = process.child().stdout.take().context("QEMU's output is piped")?;
        let words = process.child().stderr.take().context("QEMU's standard error is piped")?;
        let qmp = Qmp::listen(our_qmp, ours.try_clone()?)?;
        let qemu = Some(Qemu { words: Console::watch(words), qmp, kernel: machine.kernel.clone() });
        Ok(Vm { channel: Channel::new(ours), console: Console::watch(console), process, qemu })
    }

    /// Starts a program that acts as an init without a machine: the channel is its
    /// standard input and output, the console its standard error.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Vm> {
        let (ours, theirs) = UnixStream::pair()?;
        command
            .stdin(OwnedFd::from(theirs.try_clone()?))
            .stdout(OwnedFd::from(theirs))
            .stderr(Stdio::piped());
        let mut process = Process::spawn_apart(command, &[])?;
        // The other end must close with the program.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let console = process.child().stderr.take().context("the standard error is piped")?;
        Ok(Vm { channel: Channel::new(ours), console: Console::watch(console), process, qemu: None })
    }

    /// Process ID of QEMU, or of the program.
    pub fn pid(&mut self) -> u32 {
        self.process.child().id()
    }

    /// Where its processors stand, a line for each, if that can be known: for a guest that sends nothing.
    pub fn whereabouts(&mut self) -> Vec<String> {
        let Some(qemu) = &mut self.qemu else { return Vec::new() };
        let registers = qemu.qmp.monitor("info registers -a");
        registers.and_then(|registers| whereabouts::in_words(&registers, &qemu.kernel)).unwrap_or_default()
    }

    /// Ends the machine, unless it ended by itself, and reads the rest of its console. The channel
    /// closes a moment before the process exits: `closed` makes this wait for the exit.
    ///
    /// # Errors
    /// Its process cannot be waited for.
    pub fn end(&mut self, closed: bool) -> Result<Ended> {
        let is_paused = self.qemu.as_ref().is_some_and(|qemu| qemu.qmp.paused().is_some());
        if closed && !is_paused {
            self.process.wait_a_moment();
        }
        let by_itself = self.process.has_ended();
        let status = self.process.kill()?;
        self.console.finish();
        let mut end = Ended { how: ended(status), by_itself, was_paused: false, words: String::new() };
        if let Some(qemu) = &mut self.qemu {
            qemu.words.finish();
            end.words = qemu.words.text();
            if let Some(state) = qemu.qmp.paused() {
                end.was_paused = true;
                end.how = format!("QEMU paused it ({state})");
            }
        }
        Ok(end)
    }

    /// All output: of the console, then of QEMU itself.
    pub fn text(&self) -> String {
        let words = self.qemu.as_ref().map(|qemu| qemu.words.text()).unwrap_or_default();
        match words.is_empty() {
            true => self.console.text(),
            false => format!("{}\nQEMU itself said:\n{words}", self.console.text()),
        }
    }

    /// Waits until the machine ends by itself.
    pub fn wait(&mut self) -> Result<()> {
        self.process.wait().map(drop)
    }
}

/// How a machine ended.
#[derive(Debug)]
pub struct Ended {
    /// What happened to its process, such as `its process exited with status 1`.
    pub how: String,
    /// Whether it ended before it was ended.
    pub by_itself: bool,
    /// Whether QEMU had paused it for good.
    pub was_paused: bool,
    /// What QEMU wrote to its standard error.
    pub words: String,
}

impl Ended {
    /// QEMU's output in one line, without its name and without registers.
    pub fn gist(&self) -> String {
        let lines = self.words.lines().map(|line| {
            line.split_once(": ").map_or(line, |(head, rest)| if head.contains("qemu") { rest } else { line })
        });
        let telling =
            lines.filter(|line| !line.trim().is_empty() && !line.starts_with("terminating on signal"));
        telling
            .take_while(|line| !line.starts_with("EAX=") && !line.starts_with("RAX="))
            .take(3)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("its process exited with status {code}"),
        (None, Some(signal)) => format!("its process was killed by signal {signal}"),
        (None, None) => "its process ended".into(),
    }
}
