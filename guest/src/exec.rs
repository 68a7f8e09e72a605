//! Programs of the host's user: one for `cargo xtask run`, a shell for `cargo xtask shell`.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nlconform::event::Event;
use nlconform::program::Program;

use crate::channel::Channel;

/// How often is looked whether a program that writes nothing is still there, in milliseconds.
const LOOK: u16 = 100;

/// Runs a program, passing on what it writes.
pub fn run(program: &Program, channel: &mut Channel) -> Result<()> {
    let (mut output, input) = std::io::pipe()?;
    // Both ends of the pipe for writing go with the command, so that the end of the output is seen.
    let mut command = program.command().map_err(|error| anyhow!(error))?;
    command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    let mut child = command.spawn().with_context(|| format!("starting {}", program.argv[0]))?;
    drop(command);
    let mut chunk = [0; 16 * 1024];
    let status = loop {
        // Asked before the poll: what the program wrote before its end is read first. Children that it leaves
        // keep the pipe open, and are not waited for.
        let ended = child.try_wait()?;
        let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        let readable = poll(&mut ready, PollTimeout::from(LOOK))? > 0;
        match (readable, ended) {
            (false, None) => {}
            (false, Some(status)) => break status,
            (true, _) => match output.read(&mut chunk)? {
                0 => break child.wait()?,
                n => {
                    channel.say(&Event::Output { text: String::from_utf8_lossy(&chunk[..n]).into_owned() })?
                }
            },
        }
    };
    let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    channel.say(&Event::Exited { status })
}

/// An interactive shell on the console; returns when it ends.
pub fn shell() -> Result<()> {
    let console =
        OpenOptions::new().read(true).write(true).open("/dev/console").context("opening /dev/console")?;
    let mut shell = Command::new("/bin/sh");
    shell.env("PATH", "/bin").env("HOME", "/").env("PS1", "nlconform# ").env("TERM", "linux");
    shell.stdin(console.try_clone()?).stdout(console.try_clone()?).stderr(console);
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe {
        shell.pre_exec(|| {
            // A session of its own with the console as its terminal, so that Ctrl-C reaches jobs.
            libc::setsid();
            libc::ioctl(0, libc::TIOCSCTTY, 1);
            Ok(())
        });
    }
    shell.status().context("running /bin/sh")?;
    Ok(())
}
