//! A case in a process of its own, so that whatever it does ends with it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe, setpgid};

use crate::event::{Report, Verdict};

/// Longest report that a child may write, in bytes.
const LONGEST: u64 = 4 << 20;

/// Runs `case` in a child: in a process group of its own, in a network namespace of its own if
/// `own_net`, killed when `deadline` is over. The caller must have one thread only.
pub fn isolate(name: &str, own_net: bool, deadline: Duration, case: impl FnOnce() -> Report) -> Report {
    let start = Instant::now();
    let verdict = match start_child(own_net, case) {
        Ok((child, reports)) => match collect(child, reports, start + deadline) {
            Ok(report) => return report,
            Err(verdict) => verdict,
        },
        Err(errno) => Verdict::Broken { reason: format!("no process for the case: {errno}") },
    };
    Report { micros: start.elapsed().as_micros() as u64, ..Report::new(name, verdict) }
}

fn start_child(own_net: bool, case: impl FnOnce() -> Report) -> Result<(Pid, OwnedFd), Errno> {
    let (reading, writing) = pipe()?;
    // SAFETY: the caller has one thread, so the child may allocate and lock.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            // The child does the same; whoever is first, the group exists from here on.
            let _ = setpgid(child, child);
            Ok((child, reading))
        }
        ForkResult::Child => {
            drop(reading);
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            // A target may not let us; the case then runs where we are.
            if own_net {
                let _ = unshare(CloneFlags::CLONE_NEWNET);
            }
            let mut report = serde_json::to_vec(&case()).unwrap_or_default();
            report.push(b'\n');
            let written = File::from(writing).write_all(&report);
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { nix::libc::_exit(written.is_err().into()) }
        }
    }
}

/// The child's report, or what became of it instead. The child is gone afterwards.
fn collect(child: Pid, reports: OwnedFd, deadline: Instant) -> Result<Report, Verdict> {
    let start = Instant::now();
    let bytes = read_until(reports, deadline);
    // The report is complete or will never be; whatever the case left running goes now.
    let _ = killpg(child, Signal::SIGKILL);
    let status = waitpid(child, None);
    let Some(bytes) = bytes else {
        let after_ms = deadline.saturating_duration_since(start).as_millis() as u64;
        return Err(Verdict::Timeout { after_ms });
    };
    serde_json::from_slice(&bytes).map_err(|_| Verdict::Crash {
        reason: match status {
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("the case's process was killed by {signal}"),
            Ok(WaitStatus::Exited(_, status)) => format!("the case's process exited with status {status}"),
            other => format!("the case's process ended: {other:?}"),
        },
    })
}

/// What comes up to the end of the line, or until the other end is closed; `None` when that takes
/// too long. A process that the case left behind may hold the other end open.
fn read_until(reports: OwnedFd, deadline: Instant) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reports = File::from(reports).take(LONGEST);
    loop {
        let left = deadline.checked_duration_since(Instant::now())?;
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(reports.get_ref().as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => continue,
            Ok(_) => {}
            Err(_) => continue,
        }
        let mut chunk = [0; 16 * 1024];
        match reports.read(&mut chunk) {
            Ok(0) | Err(_) => return Some(bytes),
            Ok(n) => bytes.extend(&chunk[..n]),
        }
        if bytes.ends_with(b"\n") {
            return Some(bytes);
        }
    }
}
