//! The system calls on a socket.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nlconform::port::{Incoming, Instruction, Outgoing, Receive, Refused, Socket};
use nlconform::wire::address::{self, Address};

use super::defect::Defect;
use super::kernel::{Kernel, Sock, State};
use super::options::{self, allowed, group_bound, make_room_for_groups, may_join};
use super::script;
use super::socket::Peer;

/// A descriptor. The socket is closed with the last one.
#[derive(Clone)]
pub struct Descriptor(Arc<Open>);

struct Open {
    kernel: Arc<Kernel>,
    id: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        close(&self.kernel, self.id);
    }
}

/// Closes a socket: it leaves its groups, its release is notified, and its dump ends.
fn close(kernel: &Kernel, id: u64) {
    kernel.wait_for_undoing();
    let (sock, listener, watchers) = {
        let mut state = kernel.state();
        let listener = state.listener(id);
        let Some(sock) = state.sockets.remove(&id) else { return };
        (sock, listener, state.watchers.clone())
    };
    for (group, _) in (1..).zip(&sock.groups).filter(|(_, member)| **member) {
        if let Some(listener) = &listener {
            script::unbind(listener, kernel, sock.protocol, group);
        }
        group_bound(kernel, sock.protocol, group, false);
    }
    let unbound = kernel.has(Defect::UnboundReleaseNotified).then_some(0);
    if let Some(portid) = sock.portid.or(unbound) {
        for watcher in watchers {
            watcher.log_release(sock.protocol, portid);
        }
    }
    let dump = sock.dump.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(dump) = dump
        && !kernel.has(Defect::DoneForgottenOnClose)
    {
        dump.end(kernel);
    }
    if kernel.has(Defect::PortKeptAfterClose) && sock.portid.is_some() {
        let ghost = Sock { portid: sock.portid, ..Sock::new(sock.kind, sock.protocol, None, None) };
        kernel.state().sockets.insert(id, ghost);
    }
    kernel.wake();
}

impl Descriptor {
    /// The first descriptor of a socket.
    pub fn new(kernel: &Arc<Kernel>, id: u64) -> Descriptor {
        Descriptor(Arc::new(Open { kernel: kernel.clone(), id }))
    }

    /// The bus.
    pub(super) fn kernel(&self) -> &Arc<Kernel> {
        &self.0.kernel
    }

    /// The socket.
    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    /// The bus's result, falsified if the defect says so.
    fn answer<T>(&self, result: Result<T, Errno>) -> Result<T, Errno> {
        let spoilt = self.kernel().has(Defect::CallErrno);
        // A case that waits for the queue to be empty would wait forever.
        result.map_err(|errno| if spoilt && errno != Errno::EAGAIN { Errno::EPROTO } else { errno })
    }

    /// The part of an address that fits, and its whole length.
    fn cut(&self, address: Address, room: usize) -> (Vec<u8>, usize) {
        let mut bytes = address.encode();
        bytes.truncate(room);
        (bytes, if self.kernel().has(Defect::LengthUnreported) { 0 } else { address::LEN })
    }

    fn bind_to(&self, address: &[u8]) -> Result<(), Errno> {
        let (kernel, id) = (self.kernel(), self.0.id);
        if address.len() > LONGEST_ADDRESS {
            return Err(Errno::EINVAL);
        }
        let Some(address) = netlink_address(address, kernel)? else { return Err(Errno::EINVAL) };
        if address.groups != 0 || kernel.state().sock(id)?.groups.iter().take(32).any(|member| *member) {
            kernel.wait_for_undoing();
        }
        let (listener, protocol, mut groups) = {
            let mut state = kernel.state();
            let sock = state.sock(id)?;
            let (protocol, portid) = (sock.protocol, sock.portid);
            let anybody = state.protocols.get(&protocol).is_some_and(|known| known.nonroot_recv);
            if address.groups != 0 {
                if !allowed(kernel, anybody) {
                    return Err(Errno::EPERM);
                }
                make_room_for_groups(&mut state, id)?;
            }
            let moved = portid.is_some_and(|portid| portid != address.portid);
            if moved && !kernel.has(Defect::RebindAllowed) {
                return Err(Errno::EINVAL);
            }
            (state.listener(id), protocol, address.groups)
        };
        if kernel.has(Defect::MaskIgnored) {
            groups = 0;
        }
        if kernel.has(Defect::MaskSwapped) {
            groups = groups.swap_bytes();
        }
        let asked = (1..=32).filter(|group| groups >> (group - 1) & 1 != 0);
        let undo = |groups: &mut dyn Iterator<Item = u32>| {
            for group in groups {
                if let Some(listener) = &listener {
                    script::unbind(listener, kernel, protocol, group);
                }
                group_bound(kernel, protocol, group, false);
            }
        };
        for group in asked.clone() {
            let refusal = match may_join(kernel, protocol, group) {
                Err(errno) => Some(errno),
                Ok(()) => {
                    let reported = listener
                        .as_ref()
                        .map_or(0, |listener| script::bind(listener, kernel, protocol, group));
                    (reported != 0).then(|| Errno::from_raw(-reported as i32))
                }
            };
            if let Some(errno) = refusal.filter(|_| !kernel.has(Defect::BindErrorIgnored)) {
                undo(&mut asked.clone().take_while(|lower| *lower < group));
                return Err(errno);
            }
            group_bound(kernel, protocol, group, true);
        }
        let mut state = kernel.state();
        match state.sock(id)?.portid {
            // Another thread was faster since the state was checked above.
            Some(portid) if ![0, portid].contains(&address.portid) && !kernel.has(Defect::RebindAllowed) => {
                return Err(Errno::EBUSY);
            }
            Some(_) if !kernel.has(Defect::RebindAllowed) => {}
            _ => {
                let ignored = kernel.has(Defect::PortIgnored);
                if let Err(errno) = state.bind(id, if ignored { 0 } else { address.portid }) {
                    drop(state);
                    let _undoing = kernel.undoing();
                    undo(&mut asked.clone());
                    return Err(errno);
                }
            }
        }
        let keep = kernel.has(Defect::SecondBindAdds);
        state.regroup(id, |members| {
            for (group, member) in (1..=32).zip(members) {
                *member = groups >> (group - 1) & 1 != 0 || (*member && keep);
            }
        })
    }

    fn connect_to(&self, bytes: &[u8]) -> Result<(), Errno> {
        let (kernel, id) = (self.kernel(), self.0.id);
        if bytes.len() > LONGEST_ADDRESS {
            return Err(Errno::EINVAL);
        }
        let family = bytes.first_chunk().map(|family| u16::from_ne_bytes(*family)).ok_or(Errno::EINVAL)?;
        let mut state = kernel.state();
        if i32::from(family) == libc::AF_UNSPEC {
            state.sock(id)?.peer = None;
            return if kernel.has(Defect::UnspecBinds) { autobind(&mut state, id) } else { Ok(()) };
        }
        let Some(address) = netlink_address(bytes, kernel)? else { return Err(Errno::EINVAL) };
        let anybody = may_send(&state, self.0.id);
        let others =
            address.portid != 0 || address.groups != 0 || kernel.has(Defect::EverythingNeedsPrivilege);
        if others && !allowed(kernel, anybody) {
            return Err(Errno::EPERM);
        }
        autobind(&mut state, id)?;
        let peer = Peer { portid: address.portid, group: lowest(address.groups) };
        state.sock(id)?.peer = Some(peer);
        Ok(())
    }

    /// Why a call is refused that reads and changes nothing.
    fn errno_of(&self, call: Refused) -> Errno {
        match call {
            Refused::Listen | Refused::Accept | Refused::Shutdown | Refused::Socketpair => Errno::EOPNOTSUPP,
            Refused::Mmap => Errno::ENODEV,
            Refused::Fionread => Errno::ENOTTY,
            Refused::ReadOnlyLength(option)
                if option != libc::NETLINK_LIST_MEMBERSHIPS
                    && !options::readable(self.kernel().setup, option) =>
            {
                self.kernel().setup.value("NL-GRP-019", "errno")
            }
            Refused::NegativeRoom(_) => Errno::EINVAL,
            _ => Errno::EFAULT,
        }
    }

    /// `getsockopt()` of an option into memory that cannot be written: a list without groups writes nothing.
    fn read_nowhere(&self, option: i32) -> Result<(), Errno> {
        match options::get(self.kernel(), self.0.id, libc::SOL_NETLINK, option, 4)? {
            (_, 0) => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }
}

/// The longest address that bind() and connect() read (`struct sockaddr_storage`).
const LONGEST_ADDRESS: usize = 128;

/// Reads an address of the right length; `None` if it is of another family.
pub(super) fn netlink_address(bytes: &[u8], kernel: &Kernel) -> Result<Option<Address>, Errno> {
    let mut bytes = bytes.to_vec();
    if kernel.has(Defect::ShortAddressAccepted) {
        bytes.resize(bytes.len().max(address::LEN), 0);
    }
    if kernel.has(Defect::LongAddressRefused) && bytes.len() > address::LEN {
        return Err(Errno::EINVAL);
    }
    let address = Address::decode(&bytes).ok_or(Errno::EINVAL)?;
    let ours = address.family == address::AF_NETLINK || kernel.has(Defect::AnyAddressFamily);
    Ok(ours.then_some(address))
}

/// Whether any user may send to others on this socket.
pub(super) fn may_send(state: &State, id: u64) -> bool {
    let protocol = state.sockets.get(&id).map(|sock| sock.protocol);
    protocol.and_then(|protocol| state.protocols.get(&protocol)).is_some_and(|known| known.nonroot_send)
}

/// Gives an unbound socket a port ID.
pub(super) fn autobind(state: &mut State, id: u64) -> Result<(), Errno> {
    let forgotten = state.has(Defect::AutobindForgotten);
    let again = state.has(Defect::PortPerSend);
    let unbound = state.sock(id)?.portid.is_none();
    if (unbound && !forgotten) || again { state.bind(id, 0) } else { Ok(()) }
}

/// The lowest group of a mask; 0 if it is empty.
pub(super) fn lowest(groups: u32) -> u32 {
    if groups == 0 { 0 } else { groups.trailing_zeros() + 1 }
}

impl Socket for Descriptor {
    fn bind(&self, address: &[u8]) -> Result<(), Errno> {
        self.answer(self.bind_to(address))
    }

    fn connect(&self, address: &[u8]) -> Result<(), Errno> {
        self.answer(self.connect_to(address))
    }

    fn name(&self, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        let mut state = self.kernel().state();
        let sock = state.sock(self.0.id)?;
        let groups = if self.kernel().has(Defect::NameWithoutGroups) { 0 } else { sock.mask() };
        Ok(self.cut(Address { portid: sock.port(), ..Address::groups(groups) }, room))
    }

    fn peer(&self, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        let peer = self.kernel().state().sock(self.0.id)?.peer.unwrap_or_default();
        let mask = if (1..=32).contains(&peer.group) { 1 << (peer.group - 1) } else { 0 };
        let shift = u32::from(self.kernel().has(Defect::PeerShifted));
        Ok(self.cut(Address { portid: peer.portid + shift, ..Address::groups(mask) }, room))
    }

    fn set_option(&self, level: i32, option: i32, value: &[u8]) -> Result<(), Errno> {
        self.answer(options::set(self.kernel(), self.0.id, level, option, value))
    }

    fn option(&self, level: i32, option: i32, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        self.answer(options::get(self.kernel(), self.0.id, level, option, room))
    }

    fn attach_filter(&self, keep: u32) -> Result<(), Errno> {
        self.kernel().state().sock(self.0.id)?.keep = keep;
        Ok(())
    }

    fn attach_program(&self, program: &[Instruction]) -> Result<(), Errno> {
        match program {
            [Instruction { code, k, .. }] if u32::from(*code) == libc::BPF_RET | libc::BPF_K => {
                self.attach_filter(*k)
            }
            // The bus has no machine for others.
            _ => Err(Errno::ENOSYS),
        }
    }

    fn send(&self, outgoing: &Outgoing) -> Result<usize, Errno> {
        self.answer(self.send_to(outgoing))
    }

    fn receive(&self, how: &Receive) -> Result<Incoming, Errno> {
        self.answer(self.take(how))
    }

    fn poll(&self, events: i16, timeout: Duration) -> Result<i16, Errno> {
        let deadline = Instant::now() + timeout;
        let mut state = self.kernel().state();
        loop {
            let sock = state.sock(self.0.id)?;
            let mut held = events & libc::POLLOUT;
            if !sock.queue.is_empty() || self.kernel().has(Defect::AlwaysReadable) {
                held |= events & libc::POLLIN;
            }
            if sock.error.is_some() {
                held |= libc::POLLERR;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if held != 0 || left.is_zero() {
                return Ok(held);
            }
            state = self.kernel().wait(state, left);
        }
    }

    fn refused(&self, call: Refused) -> Result<(), Errno> {
        self.answer(match call {
            Refused::UnwritableValue(option) => self.read_nowhere(option),
            Refused::UnreadableDatagram => {
                autobind(&mut self.kernel().state(), self.0.id).and(Err(Errno::EFAULT))
            }
            Refused::UnwritableBuffer => {
                let taken = self.take(&Receive { room: 16, flags: libc::MSG_DONTWAIT });
                taken.and_then(|taken| if taken.bytes.is_empty() { Ok(()) } else { Err(Errno::EFAULT) })
            }
            call => Err(self.errno_of(call)),
        })
    }

    fn duplicate(&self) -> Result<Box<dyn Socket>, Errno> {
        Ok(Box::new(self.clone()))
    }

    fn inode(&self) -> Result<u64, Errno> {
        Ok(self.0.id)
    }
}
