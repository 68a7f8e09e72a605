//! The system calls.

use std::io::{Error, Result};
use std::mem::{MaybeUninit, size_of_val};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::broken::broken;

pub struct Socket(OwnedFd);

pub struct Datagram {
    pub bytes: Vec<u8>,
    /// Port ID of the sender, 0 for the kernel.
    pub sender: u32,
    /// Group that it was sent to, 0 for a unicast.
    pub group: u32,
}

impl Socket {
    pub fn open(protocol: i32) -> Result<Socket> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: takes no pointers.
        let fd = checked(unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) } as isize)? as i32;
        // SAFETY: the descriptor is new, and nobody else's.
        let socket = Socket(unsafe { OwnedFd::from_raw_fd(fd) });
        // nl_groups of the source address has no room for groups above 32; this has.
        socket.set(libc::SOL_NETLINK, libc::NETLINK_PKTINFO, 1)?;
        let port = if broken("port-is-pid") { std::process::id() } else { 0 };
        let address = address(port);
        // SAFETY: the address is as long as is said.
        let bound = unsafe { libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as u32) };
        checked(bound as isize)?;
        Ok(socket)
    }

    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    pub fn set(&self, level: i32, option: i32, value: u32) -> Result<()> {
        let value: *const u32 = &value;
        // SAFETY: `value` points to 4 bytes.
        checked(unsafe { libc::setsockopt(self.fd(), level, option, value.cast(), 4) } as isize).map(drop)
    }

    pub fn send(&self, bytes: &[u8]) -> Result<()> {
        let kernel = address(0);
        let to = (&raw const kernel).cast();
        // SAFETY: both buffers are as long as is said.
        let sent = unsafe {
            libc::sendto(self.fd(), bytes.as_ptr().cast(), bytes.len(), 0, to, size_of_val(&kernel) as u32)
        };
        checked(sent).map(drop)
    }

    /// The next datagram, whole however large it is. Its size is asked first.
    pub fn receive(&self) -> Result<Datagram> {
        if broken("small-buffer") {
            return self.receive_into(vec![0; 8192], 0).map(|(datagram, _)| datagram);
        }
        let (peeked, size) = self.receive_into(vec![0; 32768], libc::MSG_PEEK | libc::MSG_TRUNC)?;
        let room = peeked.bytes.len().max(size);
        self.receive_into(vec![0; room], 0).map(|(datagram, _)| datagram)
    }

    /// A datagram, and the size that recvmsg() returned.
    fn receive_into(&self, mut bytes: Vec<u8>, flags: i32) -> Result<(Datagram, usize)> {
        let mut from = address(0);
        let mut control = [0_u64; 8];
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: all zero is a valid msghdr.
        let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.msg_name = (&raw mut from).cast();
        header.msg_namelen = size_of_val(&from) as u32;
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        // SAFETY: all buffers are as long as the header says, and live.
        let size = checked(unsafe { libc::recvmsg(self.fd(), &mut header, flags) })? as usize;
        bytes.truncate(size);
        let group = if broken("groups-by-nl_groups") { from.nl_groups } else { group(&header) };
        Ok((Datagram { bytes, sender: from.nl_pid, group }, size))
    }
}

/// The group in the control message NETLINK_PKTINFO.
fn group(header: &libc::msghdr) -> u32 {
    // SAFETY: recvmsg() has filled the header; a control message of this type has 4 bytes.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_NETLINK && (*control).cmsg_type == libc::NETLINK_PKTINFO {
                return libc::CMSG_DATA(control).cast::<u32>().read_unaligned();
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    0
}

fn address(port: u32) -> libc::sockaddr_nl {
    // SAFETY: all zero is a valid address.
    let mut address: libc::sockaddr_nl = unsafe { MaybeUninit::zeroed().assume_init() };
    address.nl_family = libc::AF_NETLINK as u16;
    address.nl_pid = port;
    address
}

fn checked(returned: isize) -> Result<isize> {
    if returned < 0 { Err(Error::last_os_error()) } else { Ok(returned) }
}

/// Set by a signal, for the switch `eintr-is-an-error`.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Has SIGCONT, which otherwise nobody sees, interrupt system calls.
pub fn catch_signals() {
    extern "C" fn note(_: i32) {
        INTERRUPTED.store(true, Relaxed);
    }
    // SAFETY: all zero is a valid action; the handler only stores to an atomic.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = note as extern "C" fn(i32) as usize;
        libc::sigaction(libc::SIGCONT, &action, std::ptr::null_mut());
    }
}

/// Whether a signal has come since this was asked last.
pub fn interrupted() -> bool {
    INTERRUPTED.swap(false, Relaxed)
}
