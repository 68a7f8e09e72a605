//! Children that are traced.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::thread;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, gettid, pause, pipe};

use crate::port::process::Trace;

/// Creates a child, traces it in this way, and ends it; returns its ID.
pub fn trace(how: Trace) -> Result<u32, Errno> {
    if how == Trace::Itself {
        ptrace::attach(getpid())?;
    }
    let tracer = getpid();
    let (told, telling) = pipe()?;
    // SAFETY: the caller has one thread, or its other one waits for it, so the child may do anything.
    let child = match unsafe { fork() }? {
        ForkResult::Child => wait_for_the_end(tracer, how, telling),
        ForkResult::Parent { child } => child,
    };
    drop(telling);
    let mut task = child;
    let traced = match how {
        Trace::Attach => attach(child).and_then(|()| ptrace::detach(child, None)),
        Trace::Seize => seize(child).and_then(|()| ptrace::detach(child, None)),
        Trace::SeizeThread => thread_of(told).and_then(|thread| {
            task = thread;
            seize(thread).and_then(|()| ptrace::detach(thread, None))
        }),
        // The child exits with its tracer.
        Trace::Abandon => return attach(child).map(|()| child.as_raw() as u32),
        Trace::Asked | Trace::Itself => waitpid(child, None).map(drop),
    };
    kill(child, Signal::SIGKILL)?;
    waitpid(child, None)?;
    traced.map(|()| task.as_raw() as u32)
}

fn attach(child: Pid) -> Result<(), Errno> {
    ptrace::attach(child)?;
    waitpid(child, None).map(drop)
}

fn seize(task: Pid) -> Result<(), Errno> {
    ptrace::seize(task, Options::empty())?;
    ptrace::interrupt(task)?;
    waitpid(task, Some(WaitPidFlag::__WALL)).map(drop)
}

/// The thread that a child told about.
fn thread_of(told: OwnedFd) -> Result<Pid, Errno> {
    let mut id = [0; 4];
    File::from(told).read_exact(&mut id).map_err(|_| Errno::ESRCH)?;
    Ok(Pid::from_raw(i32::from_ne_bytes(id)))
}

/// The child does nothing until it is killed, at the latest with its tracer.
fn wait_for_the_end(tracer: Pid, how: Trace, telling: OwnedFd) -> ! {
    let prepared = prctl::set_pdeathsig(Signal::SIGKILL).and_then(|()| match how {
        Trace::Asked => ptrace::traceme().and_then(|()| raise(Signal::SIGSTOP)),
        _ => Ok(()),
    });
    if how == Trace::SeizeThread {
        thread::spawn(|| {
            let told = File::from(telling).write_all(&gettid().as_raw().to_ne_bytes());
            while told.is_ok() {
                pause();
            }
        });
    }
    while prepared.is_ok() && getppid() == tracer {
        pause();
    }
    end(1)
}

/// Creates a child that traces this process from now on, and returns its ID.
pub fn be_traced() -> Result<u32, Errno> {
    let traced = getpid();
    let (begun, begin) = pipe()?;
    // SAFETY: as in `trace`.
    let tracer = match unsafe { fork() }? {
        ForkResult::Child => end(follow(traced, begin).err().map_or(0, |errno| errno as i32)),
        ForkResult::Parent { child } => child,
    };
    drop(begin);
    match File::from(begun).read_exact(&mut [0]) {
        Ok(()) => Ok(tracer.as_raw() as u32),
        Err(_) => match waitpid(tracer, None)? {
            WaitStatus::Exited(_, errno) => Err(Errno::from_raw(errno)),
            _ => Err(Errno::EIO),
        },
    }
}

/// Traces a task and all that it creates, which notice nothing of it, until they have ended.
fn follow(task: Pid, begin: OwnedFd) -> Result<(), Errno> {
    let created = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
    ptrace::seize(task, created)?;
    File::from(begin).write_all(&[0]).map_err(|_| Errno::EPIPE)?;
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Stopped(task, signal)) => ptrace::cont(task, signal)?,
            Ok(WaitStatus::PtraceEvent(task, ..)) => ptrace::cont(task, None)?,
            Ok(_) => {}
            Err(Errno::ECHILD) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}

fn end(status: i32) -> ! {
    // SAFETY: ends a child without running the exit handlers of its parent.
    unsafe { nix::libc::_exit(status) }
}
