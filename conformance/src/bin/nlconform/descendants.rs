//! Processes that an adapter starts: none outlives the run, whatever group or session it has moved to.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Time for processes to be gone that were killed, on a host with much else to do.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// What this process has started, and what that has started. It ends when this value is dropped.
pub struct Descendants {
    /// Children that were there before: of the program that has become this one.
    others: BTreeSet<i32>,
}

impl Descendants {
    /// From here on, a descendant whose parent ends becomes a child of this process.
    ///
    /// # Errors
    /// The kernel cannot do this.
    pub fn adopt() -> Result<Descendants, String> {
        let others = children();
        set_child_subreaper(true).map_err(|errno| format!("cannot adopt what adapters start: {errno}"))?;
        Ok(Descendants { others })
    }

    /// Kills all of them that are children of this process now; returns those that are still there. Their own children
    /// come next.
    pub fn kill(&self) -> Vec<i32> {
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive)
        {
        }
        let left: Vec<_> = children().difference(&self.others).copied().collect();
        for pid in &left {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        left
    }

    /// Kills all of them.
    ///
    /// # Errors
    /// Some cannot be killed: they have become another user's, or wait in the kernel.
    pub fn end(&self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let left = self.kill();
            if left.is_empty() {
                return Ok(());
            }
            if start.elapsed() > EXIT_TIMEOUT {
                let left: Vec<_> = left.iter().map(i32::to_string).collect();
                return Err(format!(
                    "processes that the adapter has started cannot be ended, or start others without end: end them by \
                     hand ({})",
                    left.join(", ")
                ));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Descendants {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// The children of this process, with those that have ended and were not waited for.
fn children() -> BTreeSet<i32> {
    if waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) == Err(Errno::ECHILD) {
        return BTreeSet::new();
    }
    let Ok(processes) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent(*pid) == Some(std::process::id())).collect()
}

/// The parent of a process: /proc/PID/stat, where it comes after a name that may have any character.
fn parent(pid: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
