//! Processes created for a case.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sched::{CloneFlags, CpuSet, clone, sched_setaffinity, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{
    ForkResult, Gid, Pid, Uid, fork, getegid, geteuid, gettid, pipe2, setfsgid, setfsuid, setgroups,
    setresgid, setresuid, setsid,
};

use super::socket::errno_of;
use super::{memory, program, trace};
use crate::port::process::{Deed, Kind, Process};
use crate::port::provider::Unable;

/// Stack of a task made by `clone()`, in bytes.
const STACK: usize = 256 * 1024;

/// Creates a child that performs these actions, and waits until it and all tasks that it created have exited.
pub fn make(deeds: &[Deed]) -> Result<Box<dyn Process>, Unable> {
    let failed = |what: &str, errno: Errno| Unable::Failed(format!("a process: {what}: {errno}"));
    // The pipe is closed when the last task that has it exits or executes another program.
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed("pipe", errno))?;
    // SAFETY: a case that runs threads joins them before it gets here, so the child may allocate.
    match unsafe { fork() }.map_err(|errno| failed("fork", errno))? {
        ForkResult::Child => {
            drop(reading);
            perform(deeds, Some(&mut File::from(writing)));
            end(0)
        }
        ForkResult::Parent { child } => {
            drop(writing);
            let mut report = Vec::new();
            let read = File::from(reading).read_to_end(&mut report);
            let made = Made { child, done: report.chunks_exact(4).map(decode).collect(), status: None };
            read.map_err(|error| Unable::Failed(format!("a process: its report: {error}")))?;
            Ok(Box::new(made))
        }
    }
}

struct Made {
    child: Pid,
    done: Vec<Result<u32, Errno>>,
    status: Option<i32>,
}

impl Process for Made {
    fn id(&self) -> u32 {
        self.child.as_raw() as u32
    }

    fn done(&self) -> &[Result<u32, Errno>] {
        &self.done
    }

    fn reap(&mut self) -> Result<i32, Unable> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let mut status = 0;
        // SAFETY: `status` outlives the call. (nix returns the status in parts only.)
        Errno::result(unsafe { libc::waitpid(self.child.as_raw(), &mut status, 0) })
            .map_err(|errno| Unable::Failed(format!("a process: waitpid: {errno}")))?;
        self.status = Some(status);
        // Its siblings are this process's children, too. Its own children are not ours.
        for made in self.done.iter().flatten().filter(|made| **made != 0) {
            let _ = waitpid(Pid::from_raw(*made as i32), Some(WaitPidFlag::WNOHANG));
        }
        Ok(status)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.reap();
    }
}

/// A report's 4 bytes: the ID of the task that was created, or a negative errno.
fn encode(result: Result<u32, Errno>) -> [u8; 4] {
    result.map_or_else(|errno| -(errno as i32), |made| made as i32).to_ne_bytes()
}

fn decode(bytes: &[u8]) -> Result<u32, Errno> {
    match i32::from_ne_bytes(bytes.try_into().unwrap_or_default()) {
        made @ 0.. => Ok(made as u32),
        errno => Err(Errno::from_raw(-errno)),
    }
}

/// Performs the actions one after the other, and reports on each.
fn perform(deeds: &[Deed], mut report: Option<&mut File>) {
    for deed in deeds {
        let result = act(deed);
        if let Some(report) = &mut report
            && report.write_all(&encode(result)).is_err()
        {
            end(1)
        }
    }
}

fn end(status: i32) -> ! {
    // SAFETY: ends a child without running its parent's exit handlers.
    unsafe { libc::_exit(status) }
}

fn act(deed: &Deed) -> Result<u32, Errno> {
    let (user, group) = (Uid::from_raw, Gid::from_raw);
    match deed {
        Deed::Make(kind, deeds) => return make_task(*kind, deeds),
        Deed::Trace(how) => return trace::trace(*how),
        Deed::BeTraced => return trace::be_traced(),
        Deed::Pin(cpu) => {
            let mut set = CpuSet::new();
            set.set(*cpu as usize)?;
            sched_setaffinity(Pid::from_raw(0), &set)?;
        }
        Deed::Exec(program) => return Err(program::execute(*program)),
        Deed::SetUsers(real, effective, saved) => setresuid(user(*real), user(*effective), user(*saved))?,
        Deed::SetFsUser(id) => drop(setfsuid(user(*id))),
        Deed::SetGroups(real, effective, saved) => setresgid(group(*real), group(*effective), group(*saved))?,
        Deed::SetFsGroup(id) => drop(setfsgid(group(*id))),
        Deed::SetSupplementary(id) => setgroups(&[group(*id)])?,
        Deed::EnterUserNamespace => enter_user_namespace()?,
        Deed::EnterNetNamespace => unshare(CloneFlags::CLONE_NEWNET)?,
        Deed::Failing(nth, deed) => {
            let mut result = Ok(0);
            return match memory::failing(*nth, &mut || result = act(deed)) {
                Ok(true) => result,
                Ok(false) => Err(Errno::ERANGE),
                Err(_) => Err(Errno::EOPNOTSUPP),
            };
        }
        Deed::SetSid => drop(setsid()?),
        Deed::SetName(name) => {
            prctl::set_name(&std::ffi::CString::new(name.as_str()).map_err(|_| Errno::EINVAL)?)?
        }
        Deed::WriteName(name) => write("/proc/self/comm", name)?,
        Deed::IgnoreChildren => handle(Signal::SIGCHLD, SigHandler::SigIgn)?,
        Deed::Raise(signal) => {
            let signal = Signal::try_from(*signal)?;
            setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
            // A core_pattern that pipes to a program ignores the limit.
            prctl::set_dumpable(false)?;
            if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
                handle(signal, SigHandler::SigDfl)?;
            }
            raise(signal)?;
        }
        Deed::Exit(status) => end(*status),
    }
    Ok(0)
}

fn make_task(kind: Kind, deeds: &[Deed]) -> Result<u32, Errno> {
    let flags = match kind {
        Kind::Fork => CloneFlags::empty(),
        Kind::Vfork => CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK,
        Kind::Sibling => CloneFlags::CLONE_PARENT,
        Kind::InPidNamespace => CloneFlags::CLONE_NEWPID,
        Kind::Thread => {
            let id = thread::scope(|scope| {
                let body = || {
                    perform(deeds, None);
                    gettid().as_raw() as u32
                };
                scope.spawn(body).join()
            });
            return id.map_err(|_| Errno::EIO);
        }
    };
    let mut stack = vec![0; STACK];
    let body = Box::new(|| {
        perform(deeds, None);
        0
    });
    // SAFETY: the child has its own stack, and if it shares memory, its creator waits.
    let child = unsafe { clone(body, &mut stack, flags, Some(libc::SIGCHLD)) }?;
    // A sibling is not ours to wait for, and neither is a child that was reaped at once.
    match waitpid(child, None) {
        Ok(_) | Err(Errno::ECHILD) => Ok(child.as_raw() as u32),
        Err(errno) => Err(errno),
    }
}

fn handle(signal: Signal, handler: SigHandler) -> Result<(), Errno> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler of ours.
    unsafe { sigaction(signal, &action) }.map(drop)
}

fn enter_user_namespace() -> Result<(), Errno> {
    let (user, group) = (geteuid(), getegid());
    // A process that changed its user may otherwise not write its own files in /proc.
    prctl::set_dumpable(true)?;
    unshare(CloneFlags::CLONE_NEWUSER)?;
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {user} 1"))?;
    write("/proc/self/gid_map", &format!("0 {group} 1"))
}

fn write(file: &str, text: &str) -> Result<(), Errno> {
    fs::write(file, text).map_err(|error| errno_of(&error))
}
