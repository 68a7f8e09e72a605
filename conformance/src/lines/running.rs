//! What runs behind an adapter's pipes: a child, or a copy of one.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{SysconfVar, sysconf};

use super::forkserver::{ForkServer, News};
use super::lock;

/// The suite's ends of an adapter's pipes.
#[derive(Debug)]
pub struct Pipes {
    /// Its standard input.
    pub questions: File,
    /// Its standard output.
    pub answers: File,
    /// Its standard error, if that is piped and open.
    pub words: Option<File>,
}

impl Pipes {
    /// The same pipes.
    pub fn try_clone(&self) -> io::Result<Pipes> {
        let words = self.words.as_ref().map(File::try_clone).transpose()?;
        Ok(Pipes { questions: self.questions.try_clone()?, answers: self.answers.try_clone()?, words })
    }
}

/// A running adapter.
#[derive(Debug)]
pub enum Running {
    /// A process of our own.
    Child(Child),
    /// A copy that a fork server has made; as long as there is none, the server itself.
    Copy {
        /// The server.
        server: Arc<ForkServer>,
        /// The process ID of the copy.
        pid: Option<i32>,
        /// How it has ended.
        ended: Option<ExitStatus>,
    },
}

impl Running {
    /// How it has ended, if it has.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let (server, pid, ended) = match self {
            Running::Child(child) => return child.try_wait(),
            Running::Copy { ended: Some(status), .. } => return Ok(Some(*status)),
            Running::Copy { server, pid, ended } => (server, pid, ended),
        };
        match pid {
            // When the server ends, its copies are killed.
            Some(pid) => {
                let status = server.ended(*pid, Duration::ZERO);
                *ended = status.unwrap_or_else(|_| Some(ExitStatus::from_raw(Signal::SIGKILL as i32)));
            }
            None => {
                *ended = lock(&server.child).try_wait()?;
                // One that cannot be copied closes its socket, and goes on.
                if let Ok(Some(News::Ready)) = server.news(Duration::ZERO) {
                    *pid = Some(server.copy()?);
                }
            }
        }
        Ok(*ended)
    }

    /// The memory that it has, in bytes: /proc/PID/statm. Other processes that it has started are not counted.
    pub fn memory(&self) -> Option<u64> {
        let pid = match self {
            Running::Child(child) => child.id(),
            Running::Copy { pid, .. } => u32::try_from((*pid)?).ok()?,
        };
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
        let size = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
        Some(pages * size)
    }

    /// Ends it. This has no effect on one that has ended.
    pub fn end(&mut self) {
        match self {
            Running::Child(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Running::Copy { ended: Some(_), .. } => {}
            Running::Copy { server, pid: Some(pid), .. } => server.end(*pid),
            Running::Copy { server, pid: None, .. } => {
                let _ = lock(&server.child).kill();
                let _ = lock(&server.child).wait();
            }
        }
    }

    /// The server, if it has made a copy.
    pub fn server(&self) -> Option<&Arc<ForkServer>> {
        match self {
            Running::Copy { server, pid: Some(_), .. } => Some(server),
            _ => None,
        }
    }
}
