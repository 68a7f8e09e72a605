//! What all sockets share: protocols, port IDs, and delivery from one socket to others.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nlconform::port::Who;
use nlconform::port::provider::Context;
use nlconform::wire::message::Message;
use nlconform::wire::u32_at;

use super::callbacks::Callbacks;
use super::credentials::acting;
use super::defect::Defect;
use super::families::Families;
use super::message::{Buffer, ExtAck, Input, refused, returned};
use super::progress::Progress;
use super::session::{Object, Reference, Session};
use super::setup::Setup;
use super::socket::{self, Datagram};

/// Largest buffer that can be had in one piece (`KMALLOC_MAX_SIZE`): for what the kernel sends, and for
/// multicasts, which their receivers share. A unicast of user space can be larger.
pub const MOST_MEMORY: usize = 4 << 20;
/// The first port ID that is chosen for all sockets but the first.
const FIRST_PORT: u32 = 0x8000_0000;
/// The port IDs of which one is chosen, and the distance of one from the next, which leads through all of them.
const PORTS: u32 = 0x7fff_f000;
const PORT_STEP: u32 = 0x1357_9bdf;

/// The bus.
pub struct Kernel {
    /// How it is to be.
    pub setup: Setup,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while a callback of a family without parallel_ops runs (`genl_mutex`).
    pub serial: Mutex<()>,
    /// Held shared while a request is handled, exclusively while a family comes or goes (`cb_lock`).
    pub registry: RwLock<()>,
    /// Held while a bind() is undone (`nl_table_users`).
    undoing: RwLock<()>,
}

/// All that changes.
pub struct State {
    /// The sockets, by a number that is also the inode.
    pub sockets: BTreeMap<u64, Sock>,
    /// The protocols that can be opened.
    pub protocols: BTreeMap<i32, Protocol>,
    /// Generic netlink's.
    pub families: Families,
    /// The connector's.
    pub callbacks: Callbacks,
    /// Providers that want NETLINK_URELEASE.
    pub watchers: Vec<Arc<Session>>,
    next_socket: u64,
    next_port: u32,
    /// How often a socket got its first group.
    joins: u64,
    defect: Option<Defect>,
}

/// A protocol, and the kernel's side of it.
pub struct Protocol {
    /// Number of groups.
    pub groups: u32,
    /// Any user may join groups.
    pub nonroot_recv: bool,
    /// Any user may send to others.
    pub nonroot_send: bool,
    /// Where messages to the kernel go.
    pub input: Input,
    /// The callbacks `bind` and `unbind`, if a provider registered the protocol and wants them.
    pub listener: Option<Arc<Object>>,
    /// The provider that registered it, unless that is the bus itself.
    pub session: Option<Arc<Session>>,
}

impl Protocol {
    fn own(groups: u32, nonroot_recv: bool, nonroot_send: bool, input: Input) -> Protocol {
        Protocol { groups, nonroot_recv, nonroot_send, input, listener: None, session: None }
    }
}

/// The source of a dump's messages.
pub trait Dumper: Send {
    /// `start()`: 0, or the errno with which the request fails.
    fn start(&mut self, _kernel: &Arc<Kernel>, _progress: &mut Progress, _extack: &mut ExtAck) -> i64 {
        0
    }

    /// `dumpit()`: the length of the buffer while there is more, 0 at the end, or an errno.
    fn dumpit(
        &mut self,
        kernel: &Arc<Kernel>,
        progress: &mut Progress,
        buffer: &mut Buffer,
        extack: &mut ExtAck,
    ) -> i64;

    /// `done()`.
    fn done(&mut self, _kernel: &Kernel, _progress: &mut Progress) {}
}

/// A dump that runs.
pub struct Dump {
    /// How far it is.
    pub progress: Progress,
    /// Its source.
    pub dumper: Box<dyn Dumper>,
    /// The return value of the last call of dumpit: more than 0 if there is more.
    pub status: i64,
    /// The module of the family that dumps.
    pub _module: Option<Reference>,
}

impl Dump {
    /// Ends a dump before it is complete.
    pub fn end(mut self, kernel: &Kernel) {
        self.dumper.done(kernel, &mut self.progress);
    }
}

/// A socket of the bus.
pub type Sock = socket::Sock<Dump>;

/// The receivers of a multicast.
#[derive(Debug, Clone, Copy)]
pub struct Audience {
    /// The protocol.
    pub protocol: i32,
    /// The group.
    pub group: u32,
    /// The excluded port ID.
    pub except: u32,
    /// The socket that sends.
    pub sender: Option<u64>,
    /// A filter that skips the socket with this port ID (0: all sockets).
    pub filter: Option<u32>,
    /// Its sender holds the message until all have it, so that each of them gets a copy.
    pub held: bool,
}

impl Kernel {
    /// A new bus.
    pub fn new(setup: Setup) -> Kernel {
        let defect = setup.defect;
        // It asks for 26 (`CN_NETLINK_USERS` + 0xf).
        let groups_of_connector = if defect == Some(Defect::FewGroups) { 26 } else { 32 };
        let protocols = BTreeMap::from([
            (libc::NETLINK_ROUTE, Protocol::own(38, true, false, Input::Route)),
            (libc::NETLINK_USERSOCK, Protocol::own(32, false, true, Input::Nobody)),
            (libc::NETLINK_GENERIC, Protocol::own(64, true, false, Input::Generic)),
            (
                libc::NETLINK_CONNECTOR,
                Protocol::own(groups_of_connector, setup.holds("CN-BIND-003"), false, Input::Connector),
            ),
        ]);
        let state = State {
            sockets: BTreeMap::new(),
            protocols,
            families: Families::new(setup),
            callbacks: Callbacks::new(setup),
            watchers: Vec::new(),
            next_socket: 1,
            next_port: FIRST_PORT,
            joins: 0,
            defect,
        };
        Kernel {
            setup,
            state: Mutex::new(state),
            changed: Condvar::new(),
            serial: Mutex::new(()),
            registry: RwLock::new(()),
            undoing: RwLock::new(()),
        }
    }

    /// Whether the bus has this defect.
    pub fn has(&self, defect: Defect) -> bool {
        self.setup.defect == Some(defect)
    }

    /// On whose behalf the calling thread acts; nobody in particular is root.
    pub fn acting(&self) -> Option<Who> {
        acting().or(self.setup.unprivileged.then_some(Who::Nobody))
    }

    /// The state. No callback is called with it held.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While a bind() is undone.
    pub fn undoing(&self) -> RwLockReadGuard<'_, ()> {
        self.undoing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no bind() is being undone, before it changes memberships (`netlink_table_grab()`).
    pub fn wait_for_undoing(&self) {
        if !self.has(Defect::RegistrationDoesNotWait) {
            drop(self.undoing.write().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Waits until the state has changed, or for this long.
    pub fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wakes those that wait for a change.
    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// `socket()`.
    pub fn open(&self, kind: i32, protocol: i32, who: Option<Who>) -> Result<u64, Errno> {
        let plain = [libc::SOCK_RAW, libc::SOCK_DGRAM].contains(&(kind & 0xf));
        if !plain && !self.has(Defect::AnySocketType) {
            return Err(Errno::ESOCKTNOSUPPORT);
        }
        if self.has(Defect::OpenNeedsPrivilege) && who == Some(Who::Nobody) {
            return Err(Errno::EPERM);
        }
        let mut state = self.state();
        let known = match state.protocols.get(&protocol) {
            Some(known) => known.session.as_ref().map(Reference::new),
            None if self.has(Defect::AnyProtocol) => None,
            None => return Err(Errno::EPROTONOSUPPORT),
        };
        let id = state.next_socket;
        state.next_socket += 1;
        state.sockets.insert(id, Sock::new(kind, protocol, who, known));
        Ok(id)
    }

    /// A unicast from the kernel (`nlmsg_unicast()`), which never waits.
    pub fn unicast(&self, protocol: i32, portid: u32, bytes: Vec<u8>) -> i64 {
        self.unicast_with_spare(protocol, portid, bytes, 0)
    }

    /// The same in a buffer that was allocated for so many bytes more.
    pub fn unicast_with_spare(&self, protocol: i32, portid: u32, bytes: Vec<u8>, spare: usize) -> i64 {
        self.unicast_of_group(protocol, portid, 0, bytes, spare)
    }

    /// The same of a message that a group gets, too: it names the group.
    fn unicast_of_group(&self, protocol: i32, portid: u32, group: u32, bytes: Vec<u8>, spare: usize) -> i64 {
        let mut send = |bytes: Vec<u8>| {
            let memory = socket::memory_for(self.setup, bytes.len() + spare);
            let datagram = Datagram { memory, ..Datagram::new(self.setup, bytes, 0, group) };
            self.state().unicast(protocol, portid, datagram).map(drop)
        };
        let done = returned(self.datagrams(bytes).into_iter().try_for_each(&mut send));
        self.wake();
        done
    }

    /// `nlmsg_notify()`: a multicast of which the port gets one copy of its own if it is reported to it. That nobody
    /// hears it is no error.
    pub fn notify(&self, protocol: i32, group: u32, portid: u32, report: bool, bytes: Vec<u8>) -> i64 {
        let report = report && !self.has(Defect::EchoIgnored);
        let once = report && !self.has(Defect::EchoTwice);
        let except = if once { portid } else { 0 };
        let audience = Audience { protocol, group, except, sender: None, filter: None, held: report };
        let unheard = refused(Errno::ESRCH);
        let told = match group {
            0 => 0,
            _ => match self.multicast(&audience, bytes.clone()) {
                returned if returned == unheard && !self.has(Defect::UnheardNotificationFails) => 0,
                returned => returned,
            },
        };
        let reported = if report { self.unicast_of_group(protocol, portid, group, bytes, 0) } else { 0 };
        if told == 0 { reported } else { told }
    }

    /// A unicast of the connector: the length that was sent. In a process it waits for room
    /// (`netlink_attachskb()`).
    pub fn unicast_in(&self, context: Context, protocol: i32, portid: u32, bytes: Vec<u8>) -> i64 {
        let unaligned = self.has(Defect::SentLengthUnaligned);
        let most = if unaligned { u32_at(&bytes, 0).unwrap_or(0).into() } else { i64::MAX };
        let datagram = Datagram::new(self.setup, bytes, 0, 0);
        let mut state = self.state();
        let full = |sock: &mut Sock| !sock.takes(datagram.memory) && sock.keep > 0;
        while context == Context::Process && state.port(protocol, portid).is_some_and(full) {
            state = self.wait(state, Duration::from_secs(1));
        }
        let sent = state.unicast(protocol, portid, datagram);
        drop(state);
        self.wake();
        sent.map_or_else(refused, |len| most.min(len as i64))
    }

    /// A multicast from the kernel: ESRCH if no socket received it.
    pub fn multicast(&self, audience: &Audience, bytes: Vec<u8>) -> i64 {
        let mut send =
            |bytes| self.state().broadcast(audience, Datagram::new(self.setup, bytes, 0, audience.group));
        let done = returned(self.datagrams(bytes).into_iter().try_for_each(&mut send));
        self.wake();
        done
    }

    /// Whether a multicast is for anybody.
    pub fn has_audience(&self, audience: &Audience) -> bool {
        self.state().members(audience).next().is_some()
    }

    /// A datagram passes unchanged.
    fn datagrams(&self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        match self.has(Defect::DatagramsSplit) {
            true => Message::decode_all(&bytes).0.iter().map(Message::encode).collect(),
            false => vec![bytes],
        }
    }

    /// `netlink_set_err()`: returns how many members it skipped.
    pub fn set_error(&self, audience: &Audience, errno: i32) -> i64 {
        let mut spared = 0;
        for sock in self.state().members(audience) {
            if errno == libc::ENOBUFS && sock.has(libc::NETLINK_NO_ENOBUFS) {
                spared += 1;
            } else {
                sock.error = Some(Errno::from_raw(errno));
            }
        }
        self.wake();
        spared
    }

    /// `netlink_has_listeners()`.
    pub fn has_listeners(&self, protocol: i32, group: u32) -> i64 {
        let listened = |sock: &Sock| sock.protocol == protocol && sock.is_member(group);
        let any = self.state().sockets.values().any(listened);
        i64::from(any || self.has(Defect::AlwaysListeners))
    }
}

impl State {
    /// Whether the bus has this defect.
    pub fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// The socket of this number. It is there as long as its descriptors are.
    pub fn sock(&mut self, id: u64) -> Result<&mut Sock, Errno> {
        self.sockets.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// The socket that has this port ID of a protocol.
    pub fn port(&mut self, protocol: i32, portid: u32) -> Option<&mut Sock> {
        let mixed = self.defect == Some(Defect::PortsOfAllProtocols);
        self.sockets
            .values_mut()
            .find(|sock| (sock.protocol == protocol || mixed) && sock.portid == Some(portid) && portid != 0)
    }

    /// The callbacks for the groups of this socket.
    pub fn listener(&self, id: u64) -> Option<Arc<Object>> {
        self.protocols.get(&self.sockets.get(&id)?.protocol)?.listener.clone()
    }

    /// Assigns this port ID to a socket, or a free one for 0.
    pub fn bind(&mut self, id: u64, portid: u32) -> Result<(), Errno> {
        let protocol = self.sock(id)?.protocol;
        let shared = self.defect == Some(Defect::PortsShared);
        let portid = match portid {
            0 => self.free_port(protocol),
            taken if self.port(protocol, taken).is_some() && !shared => {
                self.sock(id)?.refused_port = taken;
                return Err(Errno::EADDRINUSE);
            }
            free => free,
        };
        self.sock(id)?.portid = Some(portid);
        Ok(())
    }

    /// The process ID for the first socket, then others.
    fn free_port(&mut self, protocol: i32) -> u32 {
        let mut portid = std::process::id();
        if self.defect == Some(Defect::PortsLow) {
            portid = 1;
        }
        while self.port(protocol, portid).is_some() && self.defect != Some(Defect::PortChosenTwice) {
            portid = self.next_port;
            self.next_port = match self.defect {
                Some(Defect::PortsLow) => portid - 0x7fff_0000,
                _ => FIRST_PORT + (portid - FIRST_PORT + PORT_STEP) % PORTS,
            };
        }
        portid
    }

    /// Changes in which groups a socket is. The first that it gets puts it before the members that there are
    /// (`netlink_update_subscriptions()`).
    pub fn regroup(&mut self, id: u64, change: impl FnOnce(&mut Vec<bool>)) -> Result<(), Errno> {
        let joins = self.joins + 1;
        let sock = self.sock(id)?;
        let before = sock.groups.contains(&true);
        change(&mut sock.groups);
        if !before && sock.groups.contains(&true) {
            sock.joined = joins;
            self.joins = joins;
        }
        Ok(())
    }

    /// A unicast that does not wait: the length of what was sent, which is what the receiver's filter leaves of
    /// it; of what that drops it is the whole length (`netlink_unicast()`).
    pub fn unicast(&mut self, protocol: i32, portid: u32, datagram: Datagram) -> Result<usize, Errno> {
        let (from, whole, defect) = (datagram.from, datagram.bytes.len(), self.defect);
        let sock = self.port(protocol, portid).ok_or(Errno::ECONNREFUSED)?;
        let connected_elsewhere = sock.peer.is_some_and(|peer| peer.portid != from);
        if connected_elsewhere && defect != Some(Defect::ConnectedHearsAll) {
            return Err(Errno::ECONNREFUSED);
        }
        if sock.keep > 0 && from == 0 && whole > MOST_MEMORY {
            sock.error = Some(Errno::ENOBUFS);
            return Err(Errno::ENOBUFS);
        }
        let Some(datagram) = sock.filtered(datagram, defect) else { return Ok(whole) };
        let too_large = defect == Some(Defect::EmptyQueueIsLimited) && datagram.memory >= sock.receive_buffer;
        let full = !sock.takes(datagram.memory) && defect != Some(Defect::QueueUnlimited);
        if full || too_large {
            // Only what the kernel sends is lost; others get EAGAIN.
            if from == 0 {
                sock.overrun(defect);
            }
            return Err(Errno::EAGAIN);
        }
        let left = datagram.bytes.len();
        sock.push(datagram);
        Ok(if defect == Some(Defect::CutLengthUnreported) { whole } else { left })
    }

    /// The members that a multicast is for, if no filter skips them.
    fn members(&mut self, audience: &Audience) -> impl Iterator<Item = &mut Sock> {
        let audience = *audience;
        let everybody = self.defect == Some(Defect::ExclusionIgnored);
        let any_group = self.defect == Some(Defect::GroupIgnored);
        self.sockets.iter_mut().filter_map(move |(id, sock)| {
            let left_out = !everybody && (audience.sender == Some(*id) || sock.port() == audience.except);
            let meant = sock.protocol == audience.protocol && (any_group || sock.is_member(audience.group));
            (meant && !left_out).then_some(sock)
        })
    }

    /// A multicast: succeeds if any member received it and no loss is to be reported. Who joined last is served
    /// first (`netlink_broadcast_filtered()`).
    pub fn broadcast(&mut self, audience: &Audience, datagram: Datagram) -> Result<(), Errno> {
        let (mut delivered, mut minded, defect) = (false, false, self.defect);
        let (mut message, mut held) = (datagram, audience.held || defect == Some(Defect::CutForOneOnly));
        // What one member had no room for is given to the next, cut as it is.
        let mut left: Option<Datagram> = None;
        let mut members: Vec<_> = self.members(audience).collect();
        members.sort_by_key(|sock| Reverse(sock.joined));
        for sock in members {
            let offered = left.take().unwrap_or_else(|| message.clone());
            if audience.filter.is_some_and(|port| port == 0 || port == sock.port()) {
                continue;
            }
            let Some(datagram) = sock.filtered(offered, defect) else { continue };
            // As long as nobody has the message, it is itself what is cut, and no copy (`skb_get()`).
            if !held {
                message = datagram.clone();
            }
            if sock.takes(datagram.memory) || defect == Some(Defect::QueueUnlimited) {
                if defect != Some(Defect::MulticastLost) {
                    sock.push(datagram);
                }
                (delivered, held) = (true, true);
            } else {
                sock.overrun(defect);
                minded |= sock.has(libc::NETLINK_BROADCAST_ERROR);
                left = Some(datagram);
            }
            if defect == Some(Defect::MulticastToOne) {
                break;
            }
        }
        match (minded, delivered) {
            (true, _) if defect != Some(Defect::LossUnreported) => Err(Errno::ENOBUFS),
            (_, true) => Ok(()),
            _ if defect == Some(Defect::NobodyIsSuccess) => Ok(()),
            _ => Err(Errno::ESRCH),
        }
    }
}
