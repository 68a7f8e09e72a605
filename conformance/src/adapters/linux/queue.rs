//! POSIX message queues, which notify by netlink (ipc/mqueue.c).

use std::fs::File;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::mqueue::{MQ_OFlag, mq_open, mq_unlink};
use nix::sys::stat::Mode;

use super::socket::errno_of;
use crate::port::provider::Unable;
use crate::port::{MessageQueue, NotifyBy};

/// A message queue without a name.
pub struct LinuxQueue(OwnedFd);

impl LinuxQueue {
    /// `mq_open()`.
    pub fn open() -> Result<LinuxQueue, Unable> {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let name = format!("/nlconform-{}-{}", std::process::id(), OPENED.fetch_add(1, Ordering::Relaxed));
        let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR | MQ_OFlag::O_CLOEXEC;
        let queue = mq_open(name.as_str(), flags, Mode::S_IRWXU, None).map_err(|errno| match errno {
            Errno::ENOSYS => {
                Unable::Unsupported("the kernel has no POSIX message queues (CONFIG_POSIX_MQUEUE)".into())
            }
            errno => Unable::Failed(format!("a message queue: mq_open: {errno}")),
        })?;
        // SAFETY: the descriptor is new and nobody else's.
        let queue = unsafe { OwnedFd::from_raw_fd(queue.into_raw_fd()) };
        mq_unlink(name.as_str())
            .map_err(|errno| Unable::Failed(format!("a message queue: mq_unlink: {errno}")))?;
        Ok(LinuxQueue(queue))
    }
}

impl MessageQueue for LinuxQueue {
    fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }

    fn send(&self) -> Result<(), Errno> {
        let message = b"message";
        // SAFETY: pointer and length describe the message.
        Errno::result(unsafe { libc::mq_send(self.descriptor(), message.as_ptr().cast(), message.len(), 0) })
            .map(drop)
    }

    fn notify(&self, by: NotifyBy) -> Result<(), Errno> {
        let cookie = [7; 32];
        let queue = self.descriptor();
        match by {
            NotifyBy::Nobody => {
                // SAFETY: without a notification there is nothing to point to.
                let withdrawn = unsafe { libc::syscall(libc::SYS_mq_notify, queue, ptr::null::<u8>()) };
                Errno::result(withdrawn).map(drop)
            }
            NotifyBy::NoDescriptor => notify(queue, -1, &cookie),
            NotifyBy::File => {
                let file = File::open("/proc/self/stat").map_err(|error| errno_of(&error))?;
                notify(queue, file.as_raw_fd(), &cookie)
            }
            NotifyBy::UnixSocket => {
                let socket = UnixDatagram::unbound().map_err(|error| errno_of(&error))?;
                notify(queue, socket.as_raw_fd(), &cookie)
            }
        }
    }
}

/// The system call, because the C library's function starts a thread that listens to a socket of its own.
pub(super) fn notify(queue: i32, by: i32, cookie: &[u8; 32]) -> Result<(), Errno> {
    // SAFETY: an all-zero sigevent is valid.
    let mut event: libc::sigevent = unsafe { zeroed() };
    event.sigev_value.sival_ptr = cookie.as_ptr().cast_mut().cast();
    event.sigev_signo = by;
    event.sigev_notify = libc::SIGEV_THREAD;
    // SAFETY: the event and the cookie outlive the call, which only reads them.
    Errno::result(unsafe { libc::syscall(libc::SYS_mq_notify, queue, &raw const event) }).map(drop)
}
