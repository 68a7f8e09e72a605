//! sendmsg(2) and recvmsg(2).

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nlconform::port::{Control, Incoming, Outgoing, Receive};
use nlconform::wire::address::Address;
use nlconform::wire::align;

use super::calls::{Descriptor, autobind, lowest, may_send, netlink_address};
use super::defect::Defect;
use super::dump::{self, GOOD_SIZE};
use super::input;
use super::kernel::{Audience, Kernel, MOST_MEMORY};
use super::late;
use super::message::{Input, Sender};
use super::options::allowed;
use super::socket::{Datagram, Peer, memory_in_pieces};

impl Descriptor {
    /// `sendmsg()`.
    pub(super) fn send_to(&self, outgoing: &Outgoing) -> Result<usize, Errno> {
        let (kernel, id) = (self.kernel(), self.id());
        if outgoing.flags & libc::MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if outgoing.bytes.is_empty() {
            return Err(Errno::ENODATA);
        }
        let address = outgoing.to.as_deref().filter(|to| !to.is_empty());
        let mut state = kernel.state();
        let to = match address {
            None => state.sock(id)?.peer.unwrap_or_default(),
            Some(bytes) => {
                let Some(to) = netlink_address(bytes, kernel)? else { return Err(Errno::EINVAL) };
                let others = to.portid != 0 || to.groups != 0;
                if others && !allowed(kernel, may_send(&state, id)) {
                    return Err(Errno::EPERM);
                }
                let group = match kernel.has(Defect::HighestGroupUsed) {
                    true => 32 - to.groups.leading_zeros(),
                    false => lowest(to.groups),
                };
                Peer { portid: to.portid, group }
            }
        };
        autobind(&mut state, id)?;
        let sock = state.sock(id)?;
        if outgoing.bytes.len() > sock.send_buffer - 32 && !kernel.has(Defect::AnySize) {
            return Err(Errno::EMSGSIZE);
        }
        if to.group > 0 && outgoing.bytes.len() > MOST_MEMORY {
            return Err(Errno::ENOBUFS);
        }
        let opener = if address.is_none() { sock.opener } else { None };
        let (portid, protocol) = (sock.port(), sock.protocol);
        let sender = Sender { socket: id, portid, protocol, who: kernel.acting(), opener };
        if to.group > 0 {
            let audience = Audience {
                protocol,
                group: to.group,
                except: to.portid,
                sender: Some(id),
                filter: None,
                held: true,
            };
            let _ = state
                .broadcast(&audience, Datagram::new(kernel.setup, outgoing.bytes.clone(), portid, to.group));
            kernel.wake();
        }
        if to.portid == 0 {
            drop(state);
            return self.send_to_kernel(sender, &outgoing.bytes);
        }
        drop(state);
        self.send_to_port(sender, to, outgoing)
    }

    fn send_to_kernel(&self, sender: Sender, bytes: &[u8]) -> Result<usize, Errno> {
        let input = self.kernel().state().protocols.get(&sender.protocol).map(|known| known.input.clone());
        match input.unwrap_or(Input::Nobody) {
            Input::Nobody => return Err(Errno::ECONNREFUSED),
            input if self.is_late(&input) => late::receive(self.kernel(), input, sender, bytes)?,
            input => input::receive(self.kernel(), &input, sender, bytes),
        }
        Ok(bytes.len())
    }

    /// Whether what is sent is handled after the send has returned, which a connector callback may rely on not
    /// to be (CN-API-007).
    fn is_late(&self, input: &Input) -> bool {
        match input {
            Input::Connector => self.kernel().has(Defect::CallbacksLate),
            _ => self.kernel().setup.late,
        }
    }

    /// Waits for room, unless it may not block.
    fn send_to_port(&self, sender: Sender, to: Peer, outgoing: &Outgoing) -> Result<usize, Errno> {
        let kernel = self.kernel();
        let mut state = kernel.state();
        let sock = state.sock(self.id())?;
        let may_wait = outgoing.flags & libc::MSG_DONTWAIT == 0 && !sock.nonblocking;
        let deadline = sock.send_timeout.map(|time| Instant::now() + time);
        loop {
            let mut datagram = Datagram::new(kernel.setup, outgoing.bytes.clone(), sender.portid, to.group);
            if datagram.bytes.len() > GOOD_SIZE && to.group == 0 {
                datagram.memory = memory_in_pieces(datagram.bytes.len());
            }
            match state.unicast(sender.protocol, to.portid, datagram) {
                Ok(sent) => {
                    kernel.wake();
                    return Ok(if kernel.has(Defect::SentLengthRounded) { align(sent) } else { sent });
                }
                Err(Errno::EAGAIN) if may_wait && !kernel.has(Defect::SendNeverWaits) => {}
                Err(errno) => return Err(errno),
            }
            let left = left_until(deadline);
            if left.is_zero() {
                return Err(Errno::EAGAIN);
            }
            state = kernel.wait(state, left);
        }
    }

    /// `recvmsg()`.
    pub(super) fn take(&self, how: &Receive) -> Result<Incoming, Errno> {
        let (kernel, id) = (self.kernel(), self.id());
        if how.flags & libc::MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let peek = how.flags & libc::MSG_PEEK != 0 && !kernel.has(Defect::PeekTakes);
        let mut state = kernel.state();
        let timeout = state.sock(id)?.receive_timeout;
        let deadline = timeout.map(|time| Instant::now() + time);
        let datagram = loop {
            let sock = state.sock(id)?;
            if let Some(errno) = sock.error {
                if !kernel.has(Defect::ErrorStays) {
                    sock.error = None;
                }
                return Err(errno);
            }
            match sock.pop(how.room, peek) {
                Some(datagram) => break datagram,
                None => {
                    let left = left_until(deadline);
                    let may_wait = how.flags & libc::MSG_DONTWAIT == 0 && !sock.nonblocking;
                    let wrongly = deadline.is_some() && kernel.has(Defect::WaitsWrongly);
                    if may_wait == wrongly || left.is_zero() {
                        sock.congested = false;
                        return Err(Errno::EAGAIN);
                    }
                    state = kernel.wait(state, left);
                }
            }
        };
        let sock = state.sock(id)?;
        let pktinfo = sock.has(libc::NETLINK_PKTINFO) || kernel.has(Defect::GroupReportedUnrequested);
        let half_free = sock.memory <= sock.receive_buffer / 2;
        if sock.dumping && half_free && !(peek && kernel.has(Defect::PeekStallsDump)) {
            drop(state);
            let went_on = dump::go_on(kernel, id);
            state = kernel.state();
            // The thread that answers late may be at the end of the dump at this very moment (NL-DMP-025).
            if let Err(errno) = went_on
                && !kernel.setup.late
            {
                state.sock(id)?.error = Some(errno);
            }
        }
        let sock = state.sock(id)?;
        if sock.queue.is_empty() {
            sock.congested = false;
        }
        drop(state);
        kernel.wake();
        Ok(incoming(kernel, &datagram, how, pktinfo))
    }
}

/// What is left of a time to wait; without an end it is looked again from time to time.
fn left_until(deadline: Option<Instant>) -> Duration {
    let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
    deadline.map_or(Duration::from_secs(1), left)
}

/// What a receive call returns for a datagram.
fn incoming(kernel: &Kernel, datagram: &Datagram, how: &Receive, pktinfo: bool) -> Incoming {
    let len = datagram.bytes.len();
    let fits = len.min(how.room);
    let cut = len > how.room && !kernel.has(Defect::TruncationUnreported);
    let whole = how.flags & libc::MSG_TRUNC != 0 && !kernel.has(Defect::FullLengthUnreported);
    let group = if kernel.has(Defect::GroupUnreported) { 0 } else { datagram.group };
    let mask = if (1..=32).contains(&group) { 1 << (group - 1) } else { 0 };
    let from = if kernel.has(Defect::SenderUnreported) { 0 } else { datagram.from };
    let from = Address { portid: from, ..Address::groups(mask) };
    let info =
        Control { level: libc::SOL_NETLINK, kind: libc::NETLINK_PKTINFO, data: group.to_ne_bytes().to_vec() };
    Incoming {
        bytes: datagram.bytes[..fits].to_vec(),
        returned: if whole { len } else { fits },
        from: from.encode(),
        flags: if cut { libc::MSG_TRUNC } else { 0 } | (how.flags & libc::MSG_CMSG_CLOEXEC),
        control: pktinfo.then_some(info).into_iter().collect(),
    }
}
