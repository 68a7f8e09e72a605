//! Netlink sockets through libc.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{self, c_void, socklen_t};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::fstat;
use nix::unistd::{Pid, getpid, gettid};

use super::queue;
use crate::port::{Control, Edges, Incoming, Instruction, Outgoing, Receive, Refused, Socket, UNWRITTEN};
use crate::wire::u32_at;

/// The size of the control message buffer of a receive call, in bytes.
const CONTROL_ROOM: usize = 512;

/// A buffer for a call to fill, in which shows what the call did not write.
fn unwritten(room: usize) -> Vec<u8> {
    vec![UNWRITTEN; room]
}

/// A netlink socket of this process.
pub struct LinuxSocket(OwnedFd);

impl LinuxSocket {
    /// `socket(AF_NETLINK, kind, protocol)`.
    pub fn open(kind: i32, protocol: i32) -> Result<LinuxSocket, Errno> {
        // SAFETY: no pointers.
        let fd =
            Errno::result(unsafe { libc::socket(libc::AF_NETLINK, kind | libc::SOCK_CLOEXEC, protocol) })?;
        // SAFETY: the descriptor is new and owned by nothing else.
        Ok(LinuxSocket(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The socket of a descriptor of another process, which must still exist.
    pub fn take(process: Pid, fd: i32) -> Result<LinuxSocket, Errno> {
        // SAFETY: no pointers; each descriptor that is returned is new and owned by nothing else.
        unsafe {
            let process = Errno::result(libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0))? as i32;
            let process = OwnedFd::from_raw_fd(process);
            let taken = libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0);
            Ok(LinuxSocket(OwnedFd::from_raw_fd(Errno::result(taken)? as i32)))
        }
    }

    pub(super) fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Calls that fill a buffer of `room` bytes and report a length: the bytes written, and the length.
    fn fill(
        room: usize,
        call: impl FnOnce(*mut c_void, *mut socklen_t) -> i32,
    ) -> Result<(Vec<u8>, usize), Errno> {
        let mut buffer = unwritten(room);
        let mut len = room as socklen_t;
        done(call(buffer.as_mut_ptr().cast(), &mut len))?;
        buffer.truncate(len as usize);
        Ok((buffer, len as usize))
    }
}

/// The result of a call that returns 0 or -1. Anything else is neither success nor an error, and no case
/// expects the errno that stands for it.
fn done(returned: libc::c_int) -> Result<(), Errno> {
    match Errno::result(returned)? {
        0 => Ok(()),
        _ => Err(Errno::EBADMSG),
    }
}

impl Socket for LinuxSocket {
    fn bind(&self, address: &[u8]) -> Result<(), Errno> {
        // SAFETY: pointer and length describe `address`.
        done(unsafe { libc::bind(self.fd(), address.as_ptr().cast(), address.len() as socklen_t) })
    }

    fn connect(&self, address: &[u8]) -> Result<(), Errno> {
        // SAFETY: pointer and length describe `address`.
        done(unsafe { libc::connect(self.fd(), address.as_ptr().cast(), address.len() as socklen_t) })
    }

    fn name(&self, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        // SAFETY: `fill` passes a buffer and its length.
        Self::fill(room, |buffer, len| unsafe { libc::getsockname(self.fd(), buffer.cast(), len) })
    }

    fn peer(&self, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        // SAFETY: `fill` passes a buffer and its length.
        Self::fill(room, |buffer, len| unsafe { libc::getpeername(self.fd(), buffer.cast(), len) })
    }

    fn set_option(&self, level: i32, option: i32, value: &[u8]) -> Result<(), Errno> {
        let len = value.len() as socklen_t;
        // SAFETY: pointer and length describe `value`.
        done(unsafe { libc::setsockopt(self.fd(), level, option, value.as_ptr().cast(), len) })
    }

    fn option(&self, level: i32, option: i32, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        // SAFETY: `fill` passes a buffer and its length.
        Self::fill(room, |buffer, len| unsafe { libc::getsockopt(self.fd(), level, option, buffer, len) })
    }

    fn attach_filter(&self, keep: u32) -> Result<(), Errno> {
        let code = (libc::BPF_RET | libc::BPF_K) as u16;
        self.attach_program(&[Instruction { code, jt: 0, jf: 0, k: keep }])
    }

    fn attach_program(&self, program: &[Instruction]) -> Result<(), Errno> {
        let encode = |&Instruction { code, jt, jf, k }: &_| libc::sock_filter { code, jt, jf, k };
        let mut instructions: Vec<_> = program.iter().map(encode).collect();
        let program = libc::sock_fprog { len: instructions.len() as u16, filter: instructions.as_mut_ptr() };
        let len = size_of::<libc::sock_fprog>() as socklen_t;
        let value = (&raw const program).cast();
        // SAFETY: pointer and length describe the program's head, which points to its instructions.
        let attached =
            unsafe { libc::setsockopt(self.fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, value, len) };
        Errno::result(attached).map(drop)
    }

    fn send(&self, outgoing: &Outgoing) -> Result<usize, Errno> {
        let mut iov = libc::iovec {
            iov_base: outgoing.bytes.as_ptr().cast_mut().cast(),
            iov_len: outgoing.bytes.len(),
        };
        let mut control = encode_control(&outgoing.control);
        // SAFETY: an all-zero msghdr is valid.
        let mut header: libc::msghdr = unsafe { zeroed() };
        if let Some(to) = &outgoing.to {
            header.msg_name = to.as_ptr().cast_mut().cast();
            header.msg_namelen = to.len() as socklen_t;
        }
        header.msg_iov = &mut iov;
        header.msg_iovlen = 1;
        if !control.is_empty() {
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = control.len() as _;
        }
        // SAFETY: the header's pointers describe buffers that outlive the call, which only reads them.
        Errno::result(unsafe { libc::sendmsg(self.fd(), &header, outgoing.flags) }).map(|sent| sent as usize)
    }

    fn send_interrupted(&self, outgoing: &Outgoing) -> Result<usize, Errno> {
        under_signals(SaFlags::empty(), || self.send(outgoing))
    }

    fn send_restarted(&self, outgoing: &Outgoing) -> Result<usize, Errno> {
        under_signals(SaFlags::SA_RESTART, || self.send(outgoing))
    }

    fn receive_interrupted(&self, how: &Receive) -> Result<Incoming, Errno> {
        under_signals(SaFlags::empty(), || self.receive(how))
    }

    fn receive_restarted(&self, how: &Receive) -> Result<Incoming, Errno> {
        under_signals(SaFlags::SA_RESTART, || self.receive(how))
    }

    fn receive(&self, how: &Receive) -> Result<Incoming, Errno> {
        // Not zeroed: most receives offer a much larger buffer than they need.
        let mut bytes = Vec::<u8>::with_capacity(how.room);
        let mut from = unwritten(64);
        // u64: control messages are aligned.
        let mut control = [u64::from_ne_bytes([UNWRITTEN; 8]); CONTROL_ROOM / 8];
        let mut iov = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: how.room };
        // SAFETY: an all-zero msghdr is valid.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = from.as_mut_ptr().cast();
        header.msg_namelen = from.len() as socklen_t;
        header.msg_iov = &mut iov;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_ROOM as _;
        // SAFETY: the header's pointers describe buffers that outlive the call.
        let returned = Errno::result(unsafe { libc::recvmsg(self.fd(), &mut header, how.flags) })? as usize;
        from.truncate(header.msg_namelen as usize);
        // SAFETY: this many bytes were written; with MSG_TRUNC the datagram may have been longer.
        unsafe { bytes.set_len(returned.min(how.room)) };
        Ok(Incoming { bytes, returned, from, flags: header.msg_flags, control: decode_control(&header) })
    }

    fn poll(&self, events: i16, timeout: Duration) -> Result<i16, Errno> {
        let mut poll = libc::pollfd { fd: self.fd(), events, revents: 0 };
        let millis = timeout.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32;
        // SAFETY: one pollfd.
        Errno::result(unsafe { libc::poll(&mut poll, 1, millis) })?;
        Ok(poll.revents)
    }

    fn edges(&self) -> Result<Box<dyn Edges>, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLERR | EpollFlags::EPOLLET;
        epoll.add(&self.0, EpollEvent::new(flags, 0))?;
        Ok(Box::new(LinuxEdges(epoll)))
    }

    fn notify(&self, queue: i32, cookie: &[u8; 32]) -> Result<(), Errno> {
        queue::notify(queue, self.fd(), cookie)
    }

    fn refused(&self, call: Refused) -> Result<(), Errno> {
        /// In read-only memory.
        static FIXED_LEN: socklen_t = 4;
        let fd = self.fd();
        let mut number = 0i32;
        let mut pair = [0; 2];
        let value: *mut i32 = &mut number;
        // SAFETY: the pointers are to what outlives the calls, except those that the kernel finds it
        // cannot use.
        let returned = unsafe {
            match call {
                Refused::Listen => libc::listen(fd, 1),
                Refused::Accept => libc::accept(fd, ptr::null_mut(), ptr::null_mut()),
                Refused::Shutdown => libc::shutdown(fd, libc::SHUT_RDWR),
                Refused::Fionread => libc::ioctl(fd, libc::FIONREAD, value),
                Refused::Socketpair => {
                    let protocol = u32_at(&self.option(libc::SOL_SOCKET, libc::SO_PROTOCOL, 4)?.0, 0);
                    let protocol = protocol.ok_or(Errno::EBADMSG)? as i32;
                    libc::socketpair(libc::AF_NETLINK, libc::SOCK_RAW, protocol, pair.as_mut_ptr())
                }
                Refused::UnreadableValue(option) => {
                    libc::setsockopt(fd, libc::SOL_NETLINK, option, ptr::dangling::<u8>().cast(), 4)
                }
                Refused::NegativeRoom(option) => {
                    let mut len = u32::MAX;
                    libc::getsockopt(fd, libc::SOL_NETLINK, option, value.cast(), &mut len)
                }
                Refused::ReadOnlyLength(option) => {
                    let len = (&raw const FIXED_LEN).cast_mut();
                    libc::getsockopt(fd, libc::SOL_NETLINK, option, value.cast(), len)
                }
                Refused::UnwritableValue(option) => {
                    let mut len = 4;
                    libc::getsockopt(
                        fd,
                        libc::SOL_NETLINK,
                        option,
                        ptr::dangling_mut::<u8>().cast(),
                        &mut len,
                    )
                }
                Refused::UnreadableDatagram => {
                    libc::send(fd, ptr::dangling::<u8>().cast(), 16, libc::MSG_DONTWAIT) as libc::c_int
                }
                Refused::UnwritableBuffer => {
                    libc::recv(fd, ptr::dangling_mut::<u8>().cast(), 16, libc::MSG_DONTWAIT) as libc::c_int
                }
                Refused::Mmap => {
                    let mapped = libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, fd, 0);
                    if mapped == libc::MAP_FAILED { -1 } else { 0 }
                }
            }
        };
        Errno::result(returned).map(drop)
    }

    fn duplicate(&self) -> Result<Box<dyn Socket>, Errno> {
        match self.0.try_clone() {
            Ok(fd) => Ok(Box::new(LinuxSocket(fd))),
            Err(error) => Err(errno_of(&error)),
        }
    }

    fn inode(&self) -> Result<u64, Errno> {
        #[allow(clippy::useless_conversion, reason = "32-bit targets have a shorter ino_t")]
        Ok(fstat(&self.0)?.st_ino.into())
    }
}

/// An epoll instance with one socket.
struct LinuxEdges(Epoll);

impl Edges for LinuxEdges {
    fn next(&self, timeout: Duration) -> Result<i16, Errno> {
        let mut events = [EpollEvent::empty()];
        let timeout = EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::MAX);
        match self.0.wait(&mut events, timeout)? {
            0 => Ok(0),
            // The bits are those of poll().
            _ => Ok(events[0].events().bits() as i16),
        }
    }
}

/// The signal that interrupts a call.
const SIGNAL: Signal = Signal::SIGUSR1;
/// For how long signals restart what they interrupt: then they end it.
const RESTARTS: Duration = Duration::from_secs(4);

/// Makes a call while its thread receives signals; `ETIME` if they have ended it that should restart it.
fn under_signals<T>(flags: SaFlags, call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let _caught = Caught::new(flags)?;
    let (done, late) = (AtomicBool::new(false), AtomicBool::new(false));
    let (process, caller) = (getpid().as_raw(), gettid().as_raw());
    thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            let mut interrupting = None;
            while !done.load(Ordering::Acquire) {
                if !flags.is_empty() && interrupting.is_none() && start.elapsed() > RESTARTS {
                    late.store(true, Ordering::Release);
                    interrupting = Caught::new(SaFlags::empty()).ok();
                }
                // Not pthread_kill(): a process in its parent's memory has the parent's pthread_t.
                // SAFETY: the arguments are numbers.
                unsafe { libc::syscall(libc::SYS_tgkill, process, caller, SIGNAL as i32) };
                // A signal that arrives before the caller waits is lost, so one is not enough.
                thread::sleep(Duration::from_millis(1));
            }
        });
        let result = call();
        done.store(true, Ordering::Release);
        if late.load(Ordering::Acquire) { Err(Errno::ETIME) } else { result }
    })
}

/// While this exists, the signal is caught and does nothing else.
struct Caught(SigAction);

impl Caught {
    fn new(flags: SaFlags) -> Result<Caught, Errno> {
        extern "C" fn nothing(_: i32) {}
        let action = SigAction::new(SigHandler::Handler(nothing), flags, SigSet::empty());
        // SAFETY: the handler does nothing.
        unsafe { sigaction(SIGNAL, &action) }.map(Caught)
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        // SAFETY: restores the previous action.
        let _ = unsafe { sigaction(SIGNAL, &self.0) };
    }
}

pub(super) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

fn encode_control(messages: &[Control]) -> Vec<u8> {
    const WORD: usize = size_of::<usize>();
    let header = size_of::<libc::cmsghdr>();
    let mut bytes = Vec::new();
    for message in messages {
        let len = header + message.data.len();
        bytes.extend(len.to_ne_bytes());
        bytes.extend(message.level.to_ne_bytes());
        bytes.extend(message.kind.to_ne_bytes());
        bytes.extend(&message.data);
        bytes.resize(bytes.len().next_multiple_of(WORD), 0);
    }
    bytes
}

fn decode_control(header: &libc::msghdr) -> Vec<Control> {
    let mut messages = Vec::new();
    // SAFETY: the kernel has filled in the header's control buffer and its length; the CMSG macros
    // stay within them.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = next.as_ref() {
            #[allow(clippy::unnecessary_cast)] // the type is narrower in other C libraries
            let len = (message.cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let data = std::slice::from_raw_parts(libc::CMSG_DATA(message), len);
            messages.push(Control {
                level: message.cmsg_level,
                kind: message.cmsg_type,
                data: data.to_vec(),
            });
            next = libc::CMSG_NXTHDR(header, message);
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The calls that fill a buffer of ours, and how often they stand here: each through `fill`, or,
    /// with recvmsg(), into buffers made by `unwritten`. In `refused` nobody looks at what is filled.
    const FILLING: [(&str, usize); 4] = [
        ("libc::getsockname(", 1),
        ("libc::getpeername(", 1),
        ("libc::getsockopt(", 4),
        ("libc::recvmsg(", 1),
    ];

    #[test]
    fn calls_that_fill_a_buffer_are_known() {
        let source = include_str!("socket.rs").split("#[cfg(test)]").next().unwrap();
        for (call, times) in FILLING {
            assert_eq!(source.matches(call).count(), times, "{call}");
        }
        for zeroed in ["vec![0", "[0u8", "[0u64"] {
            assert!(!source.contains(zeroed), "{zeroed}: what is not written would not show");
        }
    }

    #[test]
    fn what_a_call_does_not_write_shows() {
        let nothing_written = LinuxSocket::fill(8, |_, _| 0).unwrap();
        assert_eq!(nothing_written, (vec![UNWRITTEN; 8], 8));
        let one_byte = LinuxSocket::fill(4, |buffer, _| {
            // SAFETY: the buffer has 4 bytes.
            unsafe { buffer.cast::<u8>().write(1) };
            0
        });
        assert_eq!(one_byte.unwrap().0, [1, UNWRITTEN, UNWRITTEN, UNWRITTEN]);
    }
}
