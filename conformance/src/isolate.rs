//! A case in its own process, so that whatever it does ends with it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigHandler, SigSet, Signal, killpg, signal};
use nix::sys::time::TimeSpec;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setpgid};

use crate::event::{Report, Verdict};

/// The longest report that a child may write, in bytes.
const LONGEST: u64 = 4 << 20;

/// Runs `case` in a child: in a new process group, in a new network namespace if
/// `own_net`, killed when `deadline` is over. The caller must have only one thread; SIGCHLD stays
/// blocked afterwards.
pub fn isolate(name: &str, own_net: bool, deadline: Duration, case: impl FnOnce() -> Report) -> Report {
    let start = Instant::now();
    let verdict = match start_child(own_net, case) {
        Ok((child, report)) => match collect(child, report, start, deadline) {
            Ok(report) => return report,
            Err(verdict) => verdict,
        },
        Err(errno) => Verdict::Broken { reason: format!("cannot start a process for the case: {errno}") },
    };
    Report { micros: start.elapsed().as_micros() as u64, ..Report::new(name, verdict) }
}

/// The child, and the file for its report: a file needs no reader while the child writes.
fn start_child(own_net: bool, case: impl FnOnce() -> Report) -> Result<(Pid, File), Errno> {
    let mut report = File::from(memfd_create(c"report", MFdFlags::MFD_CLOEXEC)?);
    // We wait for SIGCHLD; our parent may have left it ignored.
    // SAFETY: sets no handler.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    let ends = SigSet::from(Signal::SIGCHLD);
    ends.thread_block()?;
    // SAFETY: the caller has one thread, so the child may allocate and lock.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            // The child does the same; whichever comes first, the group exists from here on.
            let _ = setpgid(child, child);
            Ok((child, report))
        }
        ForkResult::Child => {
            let _ = ends.thread_unblock();
            set_apart(own_net);
            let told = serde_json::to_vec(&case()).unwrap_or_default();
            let written = report.write_all(&told);
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(written.is_err().into()) }
        }
    }
}

/// Puts this process into a new process group and, if `own_net`, into a new network
/// namespace.
pub fn set_apart(own_net: bool) {
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    // A target may refuse; the case then runs in the current namespace.
    if own_net {
        let _ = unshare(CloneFlags::CLONE_NEWNET);
    }
}

/// The child's report, or what happened to it instead. The child is gone afterwards.
fn collect(child: Pid, mut report: File, start: Instant, deadline: Duration) -> Result<Report, Verdict> {
    let ended = wait_until(child, start + deadline);
    // Kills what the case left running, and the child itself if its time is over.
    let _ = killpg(child, Signal::SIGKILL);
    let Some(status) = ended else {
        let _ = waitpid(child, None);
        return Err(Verdict::Timeout { after_ms: deadline.as_millis() as u64 });
    };
    let mut told = Vec::new();
    let read = report.rewind().and_then(|()| report.take(LONGEST).read_to_end(&mut told));
    read.ok().and_then(|_| serde_json::from_slice(&told).ok()).ok_or_else(|| {
        status.map_or_else(|errno| Verdict::Crash { reason: format!("waitpid: {errno}") }, cut_short)
    })
}

/// The verdict on a case whose process ended like this before the case did.
pub fn cut_short(status: WaitStatus) -> Verdict {
    let reason = match status {
        WaitStatus::Signaled(_, signal, _) => format!("the case's process was killed by {signal}"),
        WaitStatus::Exited(_, status) => format!("the case's process exited with status {status}"),
        other => format!("the case's process ended: {other:?}"),
    };
    Verdict::Crash { reason }
}

/// Reaps the child and returns its status; `None` if the deadline is over first.
fn wait_until(child: Pid, deadline: Instant) -> Option<Result<WaitStatus, Errno>> {
    let ends = SigSet::from(Signal::SIGCHLD);
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            ended => return Some(ended),
        }
        let left = TimeSpec::from_duration(deadline.checked_duration_since(Instant::now())?);
        // The exit of another child wakes us, too, as does a signal with a handler.
        // SAFETY: what both pointers refer to outlives the call.
        unsafe { libc::sigtimedwait(ends.as_ref(), std::ptr::null_mut(), left.as_ref()) };
    }
}
