//! Steps as another user, each in its own process.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Uid, fork, getgid, getuid, pipe, setgroups, setresgid, setresuid};

use super::socket::LinuxSocket;
use crate::lend::{Stack, lend};
use crate::port::Who;
use crate::port::provider::Unable;

/// User and group without any capability.
const NOBODY: u32 = 65534;
/// Of include/uapi/linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;

/// Runs `step` as `who` in a child, and returns its answer. A panic in it is one here.
pub fn run_as(who: Who, step: &mut dyn FnMut() -> String) -> Result<String, Unable> {
    let failed = |what: &str, errno: Errno| Unable::Failed(format!("a task as {who:?}: {what}: {errno}"));
    // A file, because the child may have a copy of this memory.
    let mut file = File::from(
        memfd_create(c"answer", MFdFlags::empty()).map_err(|errno| failed("memfd_create", errno))?,
    );
    let mut stack = Stack::new().map_err(|errno| failed("stack", errno))?;
    let mut thrown = None;
    let work = || {
        let answer = match become_(who) {
            Ok(()) => catch_unwind(AssertUnwindSafe(&mut *step)),
            Err(errno) => Ok(format!("\0{errno}")),
        };
        match answer {
            Ok(answer) => file.write_all(answer.as_bytes()).is_err().into(),
            Err(what) => {
                thrown = Some(what);
                1
            }
        }
    };
    let (_, status) = lend(&mut stack, work).map_err(|errno| failed("clone", errno))?;
    // Who changes its user makes the memory that it has unreadable to others (commit_creds() kernel/cred.c).
    let _ = prctl::set_dumpable(true);
    if let Some(what) = thrown {
        resume_unwind(what);
    }
    let mut answer = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut answer));
    match (read, answer.strip_prefix('\0')) {
        (_, Some(errno)) => Err(Unable::Unsupported(format!("cannot become {who:?}: {errno}"))),
        (Ok(_), None) if status == 0 && !answer.is_empty() => Ok(answer),
        _ => Err(Unable::Failed(format!("a task as {who:?} did not answer: wait status {status:#x}"))),
    }
}

/// Opens a socket in a child that is `who`, and takes it over before the child exits.
pub fn socket_of(who: Who, kind: i32, protocol: i32) -> Result<LinuxSocket, Unable> {
    let failed = |what: &str, errno: Errno| Unable::Failed(format!("a socket of {who:?}: {what}: {errno}"));
    let pipes = || Ok::<_, Errno>((pipe()?, pipe()?));
    let ((told, telling), (taken, taking)) = pipes().map_err(|errno| failed("pipe", errno))?;
    // SAFETY: the child of a process with several threads may only do what is async-signal-safe; a
    // case that runs threads joins them before it gets here.
    match unsafe { fork() }.map_err(|errno| failed("fork", errno))? {
        ForkResult::Child => {
            drop((told, taking));
            let socket = become_(who).and_then(|()| LinuxSocket::open(kind, protocol));
            // A negative number is an errno.
            let number = socket.as_ref().map_or_else(|errno| -(*errno as i32), LinuxSocket::fd);
            let _ = File::from(telling).write_all(&number.to_ne_bytes());
            // The parent closes its end when it has the socket.
            let _ = File::from(taken).read(&mut [0]);
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { nix::libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop((telling, taken));
            let mut number = [0; 4];
            let socket = match File::from(told).read_exact(&mut number).map(|()| i32::from_ne_bytes(number)) {
                Ok(errno) if errno < 0 => Err(failed("socket", Errno::from_raw(-errno))),
                Ok(fd) => LinuxSocket::take(child, fd).map_err(|errno| match errno {
                    Errno::ENOSYS => Unable::Unsupported("the target has no pidfd_getfd()".into()),
                    errno => failed("taking it over", errno),
                }),
                Err(error) => Err(Unable::Failed(format!("a socket of {who:?}: {error}"))),
            };
            drop(taking);
            let _ = waitpid(child, None);
            socket
        }
    }
}

fn become_(who: Who) -> Result<(), Errno> {
    match who {
        Who::Process => Ok(()),
        Who::Nobody => become_nobody(),
        Who::NetworkAdministrator => {
            prctl::set_keepcaps(true)?;
            become_nobody()?;
            keep_capability(CAP_NET_ADMIN)
        }
        Who::UserNamespaceRoot => new_user_namespace(CloneFlags::empty()),
        Who::OwnNamespacesRoot => new_user_namespace(CloneFlags::CLONE_NEWNET),
        Who::OtherNet => unshare(CloneFlags::CLONE_NEWNET),
        Who::OtherPid => {
            unshare(CloneFlags::CLONE_NEWPID)?;
            // The next child is the first process there; this one passes its answer pipe on to it.
            // SAFETY: as in `socket_of`.
            match unsafe { fork() }? {
                ForkResult::Child => Ok(()),
                ForkResult::Parent { child } => {
                    let _ = waitpid(child, None);
                    // SAFETY: the first process there has answered.
                    unsafe { libc::_exit(0) }
                }
            }
        }
    }
}

fn become_nobody() -> Result<(), Errno> {
    setgroups(&[])?;
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

/// Drops all capabilities below 32 except this one.
fn keep_capability(capability: u32) -> Result<(), Errno> {
    // The header of capset(2): its version with 64 bits of capabilities, and this process.
    let header = [0x2008_0522u32, 0];
    // Effective, permitted and inheritable: first the low halves, then the high ones.
    let data = [1 << capability, 1 << capability, 0, 0, 0, 0u32];
    // SAFETY: the arrays have the layout of `struct __user_cap_header_struct` and of two
    // `struct __user_cap_data_struct`, which the call only reads.
    let returned = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    Errno::result(returned).map(drop)
}

/// A new user namespace in which this process is root.
fn new_user_namespace(with: CloneFlags) -> Result<(), Errno> {
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | with)?;
    let write = |file: &str, text: String| fs::write(file, text).map_err(|_| Errno::last());
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}
