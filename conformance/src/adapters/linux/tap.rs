//! What passes over netlink, seen through a packet socket on an nlmon interface
//! (drivers/net/nlmon.c, netlink_deliver_tap() net/netlink/af_netlink.c).

use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;

use super::LinuxSocket;
use crate::port::provider::Unable;
use crate::port::{Outgoing, Passed, Receive, Socket, Tap};
use crate::wire::ack::Ack;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_CREATE};
use crate::wire::route::{self, Link};

/// The interface, which goes with the network namespace.
const NAME: &str = "nlc_tap";
/// Bytes that are kept of a datagram.
const KEPT: usize = 4096;

/// A packet socket on the interface.
pub struct Nlmon(OwnedFd);

impl Nlmon {
    /// Makes the interface in the caller's network namespace, and listens on it.
    pub fn open() -> Result<Nlmon, Unable> {
        let failed = |what: &str, errno| Unable::Failed(format!("a tap: {what}: {errno}"));
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        let fd = Errno::result(fd).map_err(|errno| match errno {
            Errno::EAFNOSUPPORT => {
                Unable::Unsupported("the kernel has no packet sockets (CONFIG_PACKET)".into())
            }
            errno => failed("socket", errno),
        })?;
        // SAFETY: the descriptor is new and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        make_interface()?;
        let index = if_nametoindex(NAME).map_err(|errno| failed("if_nametoindex", errno))?;
        // SAFETY: an all-zero address is valid.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index as i32;
        let len = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: pointer and length describe the address.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
        Errno::result(bound).map_err(|errno| failed("bind", errno))?;
        Ok(Nlmon(socket))
    }

    /// The next datagram that is there.
    fn next(&self) -> Option<Passed> {
        let mut bytes = vec![0; KEPT];
        // SAFETY: an all-zero address is valid.
        let mut from: libc::sockaddr_ll = unsafe { zeroed() };
        let mut len = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: pointers and lengths describe the buffer and the address.
        let size = unsafe {
            libc::recvfrom(
                self.0.as_raw_fd(),
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                (&raw mut from).cast(),
                &mut len,
            )
        };
        let size = usize::try_from(size).ok()?;
        bytes.truncate(size);
        let protocol = u16::from_be(from.sll_protocol).into();
        // The packet type, which would tell the direction, is PACKET_OUTGOING for all (dev_queue_xmit_nit()).
        Some(Passed { protocol, size, bytes })
    }
}

impl Tap for Nlmon {
    fn take(&self) -> Vec<Passed> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

fn make_interface() -> Result<(), Unable> {
    let failed = |errno: Errno| Unable::Failed(format!("a tap: making {NAME}: {errno}"));
    let up = libc::IFF_UP as u32;
    let request = route::link(route::RTM_NEWLINK, Link { flags: up, change: up, ..Link::default() })
        .attrs(route::new_link(NAME, "nlmon"))
        .with(NLM_F_CREATE | NLM_F_ACK);
    let socket = LinuxSocket::open(libc::SOCK_RAW, libc::NETLINK_ROUTE).map_err(failed)?;
    socket.send(&Outgoing { bytes: request.encode(), ..Outgoing::default() }).map_err(failed)?;
    let answer = socket.receive(&Receive { room: 4096, flags: 0 }).map_err(failed)?;
    let ack = Message::decode(&answer.bytes).and_then(|(message, _)| Ack::read(&message));
    match ack.map(|ack| ack.result()) {
        Some(Ok(())) => Ok(()),
        Some(Err(Errno::EOPNOTSUPP)) => {
            Err(Unable::Unsupported("the kernel has no nlmon interfaces (CONFIG_NLMON)".into()))
        }
        Some(Err(errno)) => Err(failed(errno)),
        None => Err(failed(Errno::EBADMSG)),
    }
}
