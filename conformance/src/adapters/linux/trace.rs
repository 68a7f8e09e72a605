//! Children that are traced.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, pause};

use crate::port::process::Trace;

/// Creates a child, traces it in this way, and ends it; returns its ID.
pub fn trace(how: Trace) -> Result<u32, Errno> {
    if how == Trace::Itself {
        ptrace::attach(getpid())?;
    }
    let tracer = getpid();
    // SAFETY: the caller has one thread, so the child may do anything.
    let child = match unsafe { fork() }? {
        ForkResult::Child => wait_for_the_end(tracer, how),
        ForkResult::Parent { child } => child,
    };
    let traced = match how {
        Trace::Attach => attach(child).and_then(|()| ptrace::detach(child, None)),
        Trace::Seize => seize(child).and_then(|()| ptrace::detach(child, None)),
        // The child exits with its tracer.
        Trace::Abandon => return attach(child).map(|()| child.as_raw() as u32),
        Trace::Asked | Trace::Itself => waitpid(child, None).map(drop),
    };
    kill(child, Signal::SIGKILL)?;
    waitpid(child, None)?;
    traced.map(|()| child.as_raw() as u32)
}

fn attach(child: Pid) -> Result<(), Errno> {
    ptrace::attach(child)?;
    waitpid(child, None).map(drop)
}

fn seize(child: Pid) -> Result<(), Errno> {
    ptrace::seize(child, Options::empty())?;
    ptrace::interrupt(child)?;
    waitpid(child, None).map(drop)
}

/// The child does nothing until it is killed, at the latest with its tracer.
fn wait_for_the_end(tracer: Pid, how: Trace) -> ! {
    let prepared = prctl::set_pdeathsig(Signal::SIGKILL).and_then(|()| match how {
        Trace::Asked => ptrace::traceme().and_then(|()| raise(Signal::SIGSTOP)),
        _ => Ok(()),
    });
    while prepared.is_ok() && getppid() == tracer {
        pause();
    }
    // SAFETY: ends the child without running the exit handlers of its parent.
    unsafe { nix::libc::_exit(1) }
}
