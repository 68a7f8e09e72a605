//! Sockets as a case uses them: in messages and addresses, with everything recorded.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use super::Bus;
use crate::journal::Journal;
use crate::outcome::{Failure, Outcome, Status, broken, mismatch};
use crate::port::capability::Capability;
use crate::port::{self, Control, Incoming, Outgoing, Receive, Who};
use crate::scene::requests::refused;
use crate::wire::ack::Ack;
use crate::wire::address::{self, Address};
use crate::wire::message::{self, Message, NLM_F_ACK, NLM_F_DUMP};
use crate::wire::{bitmap, explain, option, u32_at};

/// Time that a reply may take before a case gives up.
pub const WAIT: Duration = Duration::from_secs(2);
/// Time to wait for what must not come, where nothing shows that everything has been handled.
pub(super) const QUIET: Duration = Duration::from_millis(2);
/// A buffer for any datagram whose size does not matter.
pub(super) const ROOM: usize = 64 * 1024;

impl Bus<'_> {
    /// An unbound `SOCK_RAW` socket of this protocol.
    ///
    /// # Errors
    /// `Skip` when the target does not have the protocol.
    pub fn open(&self, protocol: i32) -> Result<Socket, Failure> {
        self.open_as(libc::SOCK_RAW, protocol)
    }

    /// An unbound socket of this type and protocol.
    ///
    /// # Errors
    /// See [`Bus::open`].
    pub fn open_as(&self, kind: i32, protocol: i32) -> Result<Socket, Failure> {
        self.need_protocol(protocol)?;
        Ok(self.try_open(kind, protocol)?)
    }

    /// `socket(AF_NETLINK, kind, protocol)`, which may be refused.
    pub fn try_open(&self, kind: i32, protocol: i32) -> Result<Socket, Errno> {
        let result = self.target.socket(kind, protocol);
        let (name, journal) = (self.socket_name(), self.journal.clone());
        journal.note(format!("{name}: open protocol {protocol}"), explain_result(&result), None);
        Ok(Socket { inner: result?, protocol, name, journal })
    }

    /// `socket()` for a step in which allocations fail: it is not recorded.
    pub fn open_unrecorded(&self, protocol: i32) -> Result<Box<dyn port::Socket>, Errno> {
        self.target.socket(libc::SOCK_RAW, protocol)
    }

    /// An unbound `SOCK_RAW` socket that another user opened and passed on.
    pub fn open_by(&self, who: Who, protocol: i32) -> Result<Socket, Failure> {
        self.need_protocol(protocol)?;
        self.need_user(who)?;
        let inner = self.target.socket_of(who, libc::SOCK_RAW, protocol)?;
        let (name, journal) = (self.socket_name(), self.journal.clone());
        journal.note(format!("{name}: protocol {protocol}, opened by {who:?}"), "ok", None);
        Ok(Socket { inner, protocol, name, journal })
    }

    /// Attaches a filter to a socket that returns `keep` for each datagram: 0 drops it.
    pub fn attach_filter(&self, socket: &Socket, keep: u32) -> Result<(), Failure> {
        self.need(Capability::SocketFilters)?;
        Ok(socket.noted(format!("attach a filter that returns {keep}"), socket.inner.attach_filter(keep))?)
    }

    fn socket_name(&self) -> String {
        format!("socket {}", self.sockets.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A `NETLINK_GENERIC` socket with a port of the target's choice.
    pub fn generic(&self) -> Result<Socket, Failure> {
        self.bound(libc::NETLINK_GENERIC)
    }

    /// A socket of this protocol with a port of the target's choice.
    pub fn bound(&self, protocol: i32) -> Result<Socket, Failure> {
        let socket = self.open(protocol)?;
        socket.bind(Address::KERNEL)?;
        Ok(socket)
    }
}

/// A netlink socket.
pub struct Socket {
    inner: Box<dyn port::Socket>,
    protocol: i32,
    name: String,
    journal: Journal,
}

/// A datagram as received.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// Its messages.
    pub messages: Vec<Message>,
    /// Its sender's address.
    pub from: Address,
    /// What the receive call returned.
    pub incoming: Incoming,
}

impl Datagram {
    /// Its only message.
    ///
    /// # Errors
    /// A mismatch if it holds none or several.
    pub fn only(self) -> Result<Message, Failure> {
        match <[Message; 1]>::try_from(self.messages) {
            Ok([message]) => Ok(message),
            Err(messages) => mismatch("messages in the datagram", 1, messages.len()),
        }
    }

    /// The data of the control message of this kind at `SOL_NETLINK`, if there is one.
    pub fn control(&self, kind: i32) -> Option<&[u8]> {
        let wanted = |control: &&Control| (control.level, control.kind) == (libc::SOL_NETLINK, kind);
        self.incoming.control.iter().find(wanted).map(|control| &control.data[..])
    }
}

/// The answer to a request.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The messages before its end, in order.
    pub replies: Vec<Message>,
    /// The acknowledgement, error or end of dump. `None` if the request asked for none.
    pub end: Option<Ack>,
    /// Messages in each datagram, in order.
    pub datagrams: Vec<usize>,
}

impl Answer {
    /// The acknowledgement, error or end of dump.
    ///
    /// # Errors
    /// A mismatch if there was none.
    pub fn ack(&self) -> Result<&Ack, Failure> {
        self.end.as_ref().map_or_else(|| mismatch("end of the answer", "an acknowledgement", "none"), Ok)
    }

    /// The only reply.
    ///
    /// # Errors
    /// A mismatch if there was none, or several.
    pub fn reply(&self) -> Result<&Message, Failure> {
        match (&self.replies[..], &self.end) {
            ([reply], _) => Ok(reply),
            ([], Some(ack)) => mismatch("answer", "a reply", explain::errno(ack.status.into())),
            (replies, _) => mismatch("number of replies", 1, replies.len()),
        }
    }

    /// Errno 0, or that of the end.
    pub fn result(&self) -> Result<(), Errno> {
        self.end.as_ref().map_or(Ok(()), Ack::result)
    }
}

impl Status for Answer {
    fn status(&self) -> i64 {
        self.end.as_ref().map_or(0, |ack| ack.status.into())
    }
}

impl Socket {
    /// The underlying port, for calls whose exact bytes matter. They are not recorded.
    pub fn raw(&self) -> &dyn port::Socket {
        self.inner.as_ref()
    }

    /// The protocol that it was opened with.
    pub fn protocol(&self) -> i32 {
        self.protocol
    }

    /// `bind()`.
    pub fn bind(&self, address: Address) -> Result<(), Errno> {
        let action = format!("bind {}", explain_address(&address));
        self.noted(action, self.inner.bind(&address.encode()))
    }

    /// `connect()`.
    pub fn connect(&self, address: Address) -> Result<(), Errno> {
        let action = format!("connect {}", explain_address(&address));
        self.noted(action, self.inner.connect(&address.encode()))
    }

    /// `getsockname()`.
    pub fn name(&self) -> Result<Address, Failure> {
        let (bytes, _) = self.noted("getsockname".into(), self.inner.name(address::LEN))?;
        Address::decode(&bytes)
            .map_or_else(|| mismatch("length of the address", address::LEN, bytes.len()), Ok)
    }

    /// The port ID that the socket has.
    pub fn portid(&self) -> Result<u32, Failure> {
        Ok(self.name()?.portid)
    }

    /// `NETLINK_ADD_MEMBERSHIP`.
    pub fn join(&self, group: u32) -> Result<(), Errno> {
        self.set(libc::NETLINK_ADD_MEMBERSHIP, group)
    }

    /// `NETLINK_DROP_MEMBERSHIP`.
    pub fn leave(&self, group: u32) -> Result<(), Errno> {
        self.set(libc::NETLINK_DROP_MEMBERSHIP, group)
    }

    /// `setsockopt()` of a `SOL_NETLINK` option.
    pub fn set(&self, option: i32, value: u32) -> Result<(), Errno> {
        self.set_at(libc::SOL_NETLINK, option, value)
    }

    /// `setsockopt()` of an option at this level.
    pub fn set_at(&self, level: i32, option: i32, value: u32) -> Result<(), Errno> {
        let action = format!("setsockopt {} = {value}", option::name(level, option));
        self.noted(action, self.inner.set_option(level, option, &value.to_ne_bytes()))
    }

    /// The time that a send may wait (`SO_SNDTIMEO`).
    pub fn set_send_timeout(&self, time: Duration) -> Result<(), Errno> {
        self.set_timeout("SO_SNDTIMEO", libc::SO_SNDTIMEO, time)
    }

    /// The time that a receive may wait (`SO_RCVTIMEO`).
    pub fn set_receive_timeout(&self, time: Duration) -> Result<(), Errno> {
        self.set_timeout("SO_RCVTIMEO", libc::SO_RCVTIMEO, time)
    }

    fn set_timeout(&self, name: &str, option: i32, time: Duration) -> Result<(), Errno> {
        // A struct timeval of the caller's, who may be a 32-bit program.
        let timeval = [time.as_secs() as libc::c_long, time.subsec_micros() as libc::c_long];
        let value = timeval.map(libc::c_long::to_ne_bytes).concat();
        let result = self.inner.set_option(libc::SOL_SOCKET, option, &value);
        self.noted(format!("setsockopt {name} = {time:?}"), result)
    }

    /// `getsockopt()` of a `SOL_NETLINK` option that is a number.
    pub fn get(&self, option: i32) -> Result<u32, Errno> {
        self.get_at(libc::SOL_NETLINK, option)
    }

    /// `getsockopt()` of an option at this level that is a number.
    pub fn get_at(&self, level: i32, option: i32) -> Result<u32, Errno> {
        let result = self.inner.option(level, option, 4);
        let (bytes, _) = self.noted(format!("getsockopt {}", option::name(level, option)), result)?;
        u32_at(&bytes, 0).ok_or(Errno::EBADMSG)
    }

    /// The groups that `NETLINK_LIST_MEMBERSHIPS` shows.
    pub fn memberships(&self) -> Result<Vec<u32>, Errno> {
        let result = self.inner.option(libc::SOL_NETLINK, libc::NETLINK_LIST_MEMBERSHIPS, 1024);
        let (bytes, _) = self.noted("getsockopt NETLINK_LIST_MEMBERSHIPS".into(), result)?;
        Ok(bitmap::of_words(&bytes))
    }

    /// `setsockopt()` of a `SOL_NETLINK` option with exactly these bytes.
    pub fn set_bytes(&self, option: i32, value: &[u8]) -> Result<(), Errno> {
        let name = option::name(libc::SOL_NETLINK, option);
        let action = format!("setsockopt {name} = {} bytes {}", value.len(), explain::hex(value));
        self.noted(action, self.inner.set_option(libc::SOL_NETLINK, option, value))
    }

    /// `getsockopt()` of a `SOL_NETLINK` option into a buffer of this size: what was written, and the length
    /// reported.
    pub fn get_bytes(&self, option: i32, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        let action = format!("getsockopt {} into {room} bytes", option::name(libc::SOL_NETLINK, option));
        self.noted(action, self.inner.option(libc::SOL_NETLINK, option, room))
    }

    /// A second descriptor of the same socket.
    pub fn duplicate(&self) -> Result<Socket, Errno> {
        let name = format!("duplicate of {}", self.name);
        let inner = self.noted("dup".into(), self.inner.duplicate())?;
        Ok(Socket { inner, protocol: self.protocol, name, journal: self.journal.clone() })
    }

    /// Sends a message to where the socket is connected, by default the kernel.
    pub fn send(&self, message: &Message) -> Result<usize, Errno> {
        self.transmit(Outgoing { bytes: message.encode(), ..Outgoing::default() })
    }

    /// Sends a datagram to where the socket is connected, by default the kernel.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.transmit(Outgoing { bytes: bytes.to_vec(), ..Outgoing::default() })
    }

    /// Sends a datagram to an address.
    pub fn send_to(&self, to: Address, bytes: &[u8]) -> Result<usize, Errno> {
        self.transmit(Outgoing { bytes: bytes.to_vec(), to: Some(to.encode()), ..Outgoing::default() })
    }

    /// `sendmsg()`.
    pub fn transmit(&self, outgoing: Outgoing) -> Result<usize, Errno> {
        let result = self.inner.send(&outgoing);
        let to = outgoing.to.as_deref().and_then(Address::decode);
        let to = to.map(|to| format!(" to {}", explain_address(&to))).unwrap_or_default();
        let action = format!("{}: send {} bytes{to}", self.name, outgoing.bytes.len());
        self.journal.note(action, explain_result(&result), Some((self.protocol, &outgoing.bytes)));
        result
    }

    /// Waits for a datagram.
    ///
    /// # Errors
    /// A mismatch if none comes in time; `Broken` for an errno.
    pub fn receive(&self) -> Result<Datagram, Failure> {
        self.receive_into(ROOM)
    }

    /// Waits for a datagram, with a buffer of this size.
    ///
    /// # Errors
    /// See [`Socket::receive`].
    pub fn receive_into(&self, room: usize) -> Result<Datagram, Failure> {
        self.wait(WAIT)?;
        Ok(self.receive_now(room, 0)?)
    }

    /// Receives a datagram if there is one; `EAGAIN` otherwise.
    pub fn receive_now(&self, room: usize, flags: i32) -> Result<Datagram, Errno> {
        let result = self.inner.receive(&Receive { room, flags: flags | libc::MSG_DONTWAIT });
        let action = format!("{}: receive into {room} bytes", self.name);
        let incoming = match result {
            Ok(incoming) => incoming,
            Err(errno) => {
                self.journal.note(action, format!("{errno:?}"), None);
                return Err(errno);
            }
        };
        self.journal.note(
            action,
            format!("{} bytes", incoming.returned),
            Some((self.protocol, &incoming.bytes)),
        );
        Ok(Datagram {
            messages: Message::decode_all(&incoming.bytes).0,
            from: Address::decode(&incoming.from).unwrap_or(Address::KERNEL),
            incoming,
        })
    }

    /// Waits for a datagram with one message, and returns that message.
    ///
    /// # Errors
    /// A mismatch if there is none, or another number of messages.
    pub fn receive_one(&self) -> Result<Message, Failure> {
        self.receive()?.only()
    }

    /// Sends a request and collects the answer: up to the acknowledgement or error if `NLM_F_ACK` is
    /// set, to the end of the dump if `NLM_F_DUMP` is set, else the first message. A request without
    /// a sequence number gets one.
    ///
    /// # Errors
    /// `Broken` if the send fails; a mismatch if the answer does not come or has another
    /// sequence number.
    pub fn ask(&self, request: &Message) -> Result<Answer, Failure> {
        self.ask_to(None, request)
    }

    /// The same, to this address if there is one.
    ///
    /// # Errors
    /// See [`Socket::ask`].
    pub fn ask_to(&self, to: Option<Address>, request: &Message) -> Result<Answer, Failure> {
        let mut request = request.clone();
        if request.seq == 0 {
            request.seq = 0x5e90_0001;
        }
        match to {
            None => self.send(&request)?,
            Some(to) => self.send_to(to, &request.encode())?,
        };
        self.answer_to(&request)
    }

    /// Collects the answer to a request that was sent.
    ///
    /// # Errors
    /// See [`Socket::ask`].
    pub fn answer_to(&self, request: &Message) -> Result<Answer, Failure> {
        let dump = request.flags & NLM_F_DUMP == NLM_F_DUMP;
        let mut answer = Answer::default();
        loop {
            let datagram = self.receive()?;
            answer.datagrams.push(datagram.messages.len());
            let (_, rest) = Message::decode_all(&datagram.incoming.bytes);
            if !rest.is_empty() {
                return mismatch("bytes after the last message of a datagram", "none", format!("{rest:x?}"));
            }
            for message in datagram.messages {
                if message.seq != request.seq {
                    return mismatch("sequence number of an answer", request.seq, message.seq);
                }
                match message.kind {
                    message::NLMSG_ERROR | message::NLMSG_DONE if answer.end.is_none() => {
                        answer.end = Ack::read(&message)
                    }
                    _ => answer.replies.push(message),
                }
            }
            let complete = answer.end.is_some() || (!dump && request.flags & NLM_F_ACK == 0);
            if complete {
                return Ok(answer);
            }
        }
    }

    /// Nothing must be queued, and nothing must result from what was sent so far. If the protocol
    /// replies, a request that fails is sent, and its error must come first.
    ///
    /// # Errors
    /// A mismatch if something comes.
    pub fn expect_nothing(&self, what: &str) -> Outcome {
        const FENCE: u32 = 0xfe2c_e000;
        if ![libc::NETLINK_ROUTE, libc::NETLINK_GENERIC, libc::NETLINK_SOCK_DIAG].contains(&self.protocol) {
            return match self.inner.poll(libc::POLLIN, QUIET)? {
                0 => Ok(()),
                _ => self.surprise(what, self.receive_now(ROOM, 0)?),
            };
        }
        self.send(&refused(self.protocol, FENCE))?;
        let datagram = self.receive()?;
        match &datagram.messages[..] {
            [only] if only.seq == FENCE => Ok(()),
            _ => self.surprise(what, datagram),
        }
    }

    fn surprise(&self, what: &str, datagram: Datagram) -> Outcome {
        mismatch(what, "nothing", explain::datagram(self.protocol, &datagram.incoming.bytes).join(" / "))
    }

    /// Waits until something can be received.
    ///
    /// # Errors
    /// A mismatch if nothing comes in time.
    pub fn wait(&self, time: Duration) -> Outcome {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.inner.poll(libc::POLLIN, left) {
                Ok(0) => {
                    self.journal.note(format!("{}: wait for {time:?}", self.name), "nothing came", None);
                    return mismatch(
                        "what was received",
                        "a datagram",
                        format_args!("nothing within {time:?}"),
                    );
                }
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return broken(format!("poll: {errno:?}")),
            }
        }
    }

    fn noted<T>(&self, action: String, result: Result<T, Errno>) -> Result<T, Errno> {
        self.journal.note(format!("{}: {action}", self.name), explain_result(&result), None);
        result
    }
}

fn explain_result<T>(result: &Result<T, Errno>) -> String {
    explain::errno(result.status())
}

fn explain_address(address: &Address) -> String {
    match (address.portid, address.groups) {
        (portid, 0) => format!("port {portid}"),
        (portid, groups) => format!("port {portid} groups {groups:#x}"),
    }
}
