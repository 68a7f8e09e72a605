//! Makes the calls of a sequence on a target, and records what each shows.

mod kernel;

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::call::{Addr, Call, Kind, Name, Part, Piece, Port, Value};
use super::names::{Names, family_number, group_number};
use super::seen::{Observed, Seen};
use crate::port::provider::Unable;
use crate::port::{Died, Inexpressible, Outgoing, Receive, Socket, Target, Who};
use crate::wire::address::Address;
use crate::wire::align;
use crate::wire::attr::Attrs;
use crate::wire::genl::GENL_ID_CTRL;
use crate::wire::message::{Message, UNKNOWN};
use kernel::Kernel;

/// Time that a target has for what another target has shown already: messages, log entries, references.
const CATCH_UP: Duration = Duration::from_millis(200);

/// Calls that were made so far: whoever waits for one to return sees that one did.
pub static MADE: AtomicU64 = AtomicU64::new(0);

/// Makes these calls on a bus of this target on which nothing has happened yet. Where `hint`, what another
/// target has shown, has something to receive, this one gets a moment for it.
pub fn execute(target: &dyn Target, calls: &[Call], hint: Option<&Observed>) -> Observed {
    let mut run = Run { target, sockets: BTreeMap::new(), kernel: None, names: Names::default() };
    let mut seen = Vec::new();
    let caught = |step: &mut dyn FnMut() -> Seen| match panic::catch_unwind(AssertUnwindSafe(step)) {
        Ok(shown) => Ok(shown),
        Err(thrown) => meaning(thrown).map(Seen::Inexpressible),
    };
    for (number, call) in calls.iter().enumerate() {
        let hint = hint.and_then(|hint| hint.seen.get(number));
        MADE.fetch_add(1, Relaxed);
        match caught(&mut || run.make(call, hint)) {
            Ok(shown) => seen.push(shown),
            Err(trouble) => return Observed { seen, trouble: Some(trouble) },
        }
    }
    let hint = hint.and_then(|hint| hint.seen.get(calls.len()));
    match caught(&mut || run.end(hint)) {
        Ok(shown) => seen.push(shown),
        Err(trouble) => return Observed { seen, trouble: Some(trouble) },
    }
    Observed { seen, trouble: None }
}

/// What a panic in a call means: that the target has no such call, or, as an error, that it is gone.
fn meaning(thrown: Box<dyn Any + Send>) -> Result<String, String> {
    match thrown.downcast::<Inexpressible>() {
        Ok(fact) => Ok(fact.0),
        Err(thrown) => Err(match thrown.downcast::<Died>() {
            Ok(died) => died.0,
            Err(_) => "the call panicked; its message is on standard error".to_owned(),
        }),
    }
}

/// A sequence that is being executed.
struct Run<'t> {
    target: &'t dyn Target,
    sockets: BTreeMap<Name, Open>,
    kernel: Option<Result<Kernel, Unable>>,
    names: Names,
}

/// A socket of the sequence.
struct Open {
    inner: Box<dyn Socket>,
    protocol: i32,
    ports: Rc<Ports>,
}

/// The port IDs of a socket and its duplicates.
#[derive(Default)]
struct Ports {
    /// What it has, once it has one.
    own: Cell<Option<u32>>,
    /// The one that it was refused last, which Linux shows as if it had it.
    refused: Cell<Option<u32>>,
}

impl Run<'_> {
    fn make(&mut self, call: &Call, hint: Option<&Seen>) -> Seen {
        match call {
            Call::As { who, inner } => self.make_as(*who, inner),
            Call::Open { socket, kind, protocol } => self.open(*socket, *kind, *protocol),
            Call::Duplicate { socket, copy } => self.duplicate(*socket, *copy),
            Call::Close { socket } => self.sockets.remove(socket).map_or(Seen::NotMade, |_| Seen::Ok),
            Call::Bind { socket, address } => {
                let shown = self.with_address(*socket, address, |socket, bytes| done(socket.bind(bytes)));
                self.learn_port_of_bind(*socket, address, &shown);
                shown
            }
            Call::Connect { socket, address } => {
                let shown = self.with_address(*socket, address, |socket, bytes| done(socket.connect(bytes)));
                self.learn_port(*socket, true);
                shown
            }
            Call::Send { socket, to, flags, messages } => {
                self.remember(*socket, messages);
                let shown = self.send(*socket, to.as_ref(), *flags, messages);
                self.learn_port(*socket, true);
                shown
            }
            call => match call.socket() {
                Some(socket) => {
                    self.sockets.get(&socket).map_or(Seen::NotMade, |open| self.ask(open, call, hint))
                }
                None if self.must_stay(call) => Seen::NotMade,
                None => self.make_in_kernel(call, hint),
            },
        }
    }

    /// A protocol with open sockets is never released: they hold its module.
    fn must_stay(&self, call: &Call) -> bool {
        let Call::Release { protocol } = call else { return false };
        let kernel = self.kernel.as_ref().and_then(|kernel| kernel.as_ref().ok());
        let number = kernel.and_then(|kernel| kernel.protocol(*protocol));
        self.sockets.values().any(|open| Some(open.protocol) == number)
    }

    fn make_as(&mut self, who: Who, inner: &Call) -> Seen {
        // The first port ID that is chosen is that of the process, which may be another here.
        if let Some(open) = inner.socket().and_then(|socket| self.sockets.get(&socket))
            && open.ports.own.get().is_none()
        {
            let _ = open.inner.bind(&Address::KERNEL.encode());
        }
        if let Some(socket) = inner.socket() {
            self.learn_port(socket, true);
        }
        // What the step remembers may be lost with its process.
        if let Call::Send { socket, messages, .. } = inner {
            self.remember(*socket, messages);
        }
        let target = self.target;
        let mut step = || serde_json::to_string(&self.make(inner, None)).unwrap_or_default();
        let shown = target.run_as(who, &mut step);
        // What the step has learned was perhaps learned in another process.
        if let Some(socket) = inner.socket() {
            let seen = shown.as_ref().ok().and_then(|text| serde_json::from_str(text).ok());
            match (inner, seen) {
                (Call::Bind { address, .. }, Some(seen)) => self.learn_port_of_bind(socket, address, &seen),
                _ => self.learn_port(socket, true),
            }
        }
        match shown {
            Ok(text) => serde_json::from_str(&text).unwrap_or(Seen::NotMade),
            Err(Unable::Unsupported(fact) | Unable::Failed(fact)) => Seen::Inexpressible(fact),
        }
    }

    fn make_in_kernel(&mut self, call: &Call, hint: Option<&Seen>) -> Seen {
        let Run { target, sockets, kernel, names } = self;
        let kernel = kernel.get_or_insert_with(|| target.provider().map(Kernel::new));
        let port_of = |port| port_of(sockets, port);
        let made = match kernel {
            Ok(kernel) => kernel.make(call, names, &port_of, hint),
            Err(unable) => Err(unable.clone()),
        };
        made.unwrap_or_else(|unable| match unable {
            Unable::Unsupported(fact) | Unable::Failed(fact) => Seen::Inexpressible(fact),
        })
    }

    fn open(&mut self, name: Name, kind: i32, protocol: i32) -> Seen {
        if self.sockets.contains_key(&name) {
            return Seen::NotMade;
        }
        match self.target.socket(kind, protocol) {
            Ok(inner) => {
                self.sockets.insert(name, Open { inner, protocol, ports: Rc::default() });
                Seen::Ok
            }
            Err(errno) => errno.into(),
        }
    }

    fn duplicate(&mut self, name: Name, copy: Name) -> Seen {
        let Some(open) = self.sockets.get(&name).filter(|_| !self.sockets.contains_key(&copy)) else {
            return Seen::NotMade;
        };
        match open.inner.duplicate() {
            Ok(inner) => {
                let open = Open { inner, protocol: open.protocol, ports: open.ports.clone() };
                self.sockets.insert(copy, open);
                Seen::Ok
            }
            Err(errno) => errno.into(),
        }
    }

    fn with_address(&self, name: Name, address: &Addr, call: impl Fn(&dyn Socket, &[u8]) -> Seen) -> Seen {
        let Some(open) = self.sockets.get(&name) else { return Seen::NotMade };
        match self.address(open.protocol, address) {
            Some(bytes) => call(open.inner.as_ref(), &bytes),
            None => Seen::NotMade,
        }
    }

    fn send(&self, name: Name, to: Option<&Addr>, flags: i32, messages: &[Part]) -> Seen {
        let Some(open) = self.sockets.get(&name) else { return Seen::NotMade };
        let to = match to {
            None => None,
            Some(to) => match self.address(open.protocol, to) {
                Some(bytes) => Some(bytes),
                None => return Seen::NotMade,
            },
        };
        let flags = flags | libc::MSG_DONTWAIT;
        let outgoing = Outgoing {
            bytes: datagram(messages, &|family| self.family_id(open.protocol, family)),
            to,
            flags,
            control: Vec::new(),
        };
        open.inner.send(&outgoing).map_or_else(Seen::from, Seen::Sent)
    }

    /// Tells the names how messages look with IDs and with what stands for them.
    fn remember(&mut self, name: Name, messages: &[Part]) {
        let Some(open) = self.sockets.get(&name) else { return };
        let own = |family| self.family_id(open.protocol, family);
        let both = |part| [datagram(part, &own), datagram(part, &family_number)];
        // Most name no family, and look the same. A message that claims to be longer than it is goes on in the next
        // one, and what is received may be cut anywhere.
        let from_each = (0..messages.len()).map(|at| &messages[at..]);
        let named = from_each.filter(|parts| parts.iter().any(names_family));
        let sent: Vec<_> = named.map(both).collect();
        sent.into_iter().for_each(|[own, related]| self.names.sent(own, related));
    }

    /// A call that changes nothing that the sequence knows of.
    fn ask(&self, open: &Open, call: &Call, hint: Option<&Seen>) -> Seen {
        let (socket, protocol) = (&open.inner, open.protocol);
        match call {
            Call::Name { room, .. } => self.address_of(protocol, socket.name(*room)),
            Call::Peer { room, .. } => self.address_of(protocol, socket.peer(*room)),
            Call::Set { level, option, value, .. } => match self.value(protocol, value) {
                Some(value) => done(socket.set_option(*level, *option, &value)),
                None => Seen::NotMade,
            },
            Call::Get { level, option, room, .. } => {
                let memberships = (libc::SOL_NETLINK, libc::NETLINK_LIST_MEMBERSHIPS);
                match socket.option(*level, *option, *room) {
                    Ok((mut bytes, len)) => {
                        if protocol == libc::NETLINK_GENERIC && (*level, *option) == memberships {
                            self.names.relate_memberships(&mut bytes);
                        }
                        Seen::Filled(bytes, len)
                    }
                    Err(errno) => errno.into(),
                }
            }
            Call::Filter { keep, .. } => done(socket.attach_filter(*keep)),
            Call::Receive { room, flags, .. } => {
                if matches!(hint, Some(Seen::Received(_))) {
                    let _ = socket.poll(libc::POLLIN, CATCH_UP);
                }
                let how = Receive { room: *room, flags: flags | libc::MSG_DONTWAIT };
                match socket.receive(&how) {
                    Ok(mut incoming) => {
                        self.names.relate_received(protocol, &mut incoming);
                        Seen::Received(incoming)
                    }
                    Err(errno) => errno.into(),
                }
            }
            Call::Poll { events, .. } => {
                let patience = match hint {
                    Some(Seen::Events(events)) if *events != 0 => CATCH_UP,
                    _ => Duration::ZERO,
                };
                socket.poll(*events, patience).map_or_else(Seen::from, Seen::Events)
            }
            Call::Refused { what, .. } => done(socket.refused(*what)),
            _ => Seen::NotMade,
        }
    }

    /// Closes all sockets, and shows what was logged until then and for it.
    fn end(&mut self, hint: Option<&Seen>) -> Seen {
        self.sockets.clear();
        let expected = match hint {
            Some(Seen::Log(entries)) => entries.len(),
            _ => 0,
        };
        match self.kernel.take() {
            Some(Ok(mut kernel)) => kernel.last_log(&self.names, expected),
            _ => Seen::Log(Vec::new()),
        }
    }

    fn learn_port_of_bind(&mut self, name: Name, address: &Addr, shown: &Seen) {
        let asked = port_of(&self.sockets, address.port);
        match shown {
            Seen::Ok => self.learn_port(name, asked == Some(0)),
            Seen::Errno(errno) if *errno == libc::EADDRINUSE => {
                if let Some(open) = self.sockets.get(&name) {
                    open.ports.refused.set(asked);
                }
            }
            _ => {}
        }
    }

    /// Asks for the port ID that a call may have assigned to a socket.
    fn learn_port(&mut self, name: Name, chosen: bool) {
        let Some(open) = self.sockets.get(&name).filter(|open| open.ports.own.get().is_none()) else {
            return;
        };
        let Ok((bytes, _)) = open.inner.name(crate::wire::address::LEN) else { return };
        let portid = Address::decode(&bytes).map(|address| address.portid);
        let portid =
            portid.filter(|portid| *portid != 0 && (!chosen || Some(*portid) != open.ports.refused.get()));
        open.ports.own.set(portid);
        if let Some(portid) = portid.filter(|_| chosen) {
            self.names.chosen_port(open.protocol, portid, name);
        }
    }

    /// The bytes of an address; `None` if it names the port of a socket that has none.
    fn address(&self, protocol: i32, address: &Addr) -> Option<Vec<u8>> {
        let groups = match protocol {
            libc::NETLINK_GENERIC => self.names.own_mask(address.groups),
            _ => address.groups,
        };
        let portid = port_of(&self.sockets, address.port)?;
        let mut bytes = Address { family: address.family, portid, groups }.encode();
        bytes.resize(address.len, 0);
        Some(bytes)
    }

    fn address_of(&self, protocol: i32, result: Result<(Vec<u8>, usize), Errno>) -> Seen {
        match result {
            Ok((mut bytes, len)) => {
                self.names.relate_address(protocol, &mut bytes);
                Seen::Filled(bytes, len)
            }
            Err(errno) => errno.into(),
        }
    }

    fn value(&self, protocol: i32, value: &Value) -> Option<Vec<u8>> {
        match value {
            Value::Bytes(bytes) => Some(bytes.clone()),
            // To another protocol it is just a number.
            Value::Group(family, index) if protocol != libc::NETLINK_GENERIC => {
                Some(group_number(*family, *index).to_ne_bytes().to_vec())
            }
            Value::Group(family, index) => {
                let kernel = self.kernel.as_ref()?.as_ref().ok()?;
                Some(kernel.group(*family, *index)?.to_ne_bytes().to_vec())
            }
        }
    }

    fn family_id(&self, protocol: i32, family: Name) -> u16 {
        if protocol != libc::NETLINK_GENERIC {
            return family_number(family);
        }
        let kernel = self.kernel.as_ref().and_then(|kernel| kernel.as_ref().ok());
        kernel.and_then(|kernel| kernel.family_id(family)).unwrap_or(UNKNOWN)
    }
}

/// Whether the ID of a family is in this.
fn names_family(part: &Part) -> bool {
    match part {
        Part::Message { kind: Kind::Family(_), .. } => true,
        Part::Message { payload, .. } => payload.iter().any(|piece| matches!(piece, Piece::FamilyId(..))),
        Part::Bytes(_) => false,
    }
}

/// The bytes of a datagram, with these IDs of families.
pub fn datagram(parts: &[Part], family_id: &dyn Fn(Name) -> u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.resize(align(bytes.len()), 0);
        match part {
            Part::Bytes(more) => bytes.extend(more),
            Part::Message { kind, flags, seq, portid, payload, claims } => {
                let kind = match kind {
                    Kind::Number(kind) => *kind,
                    Kind::Family(family) => family_id(*family),
                };
                let message = Message::new(kind).with(*flags).seq(*seq).portid(*portid);
                let message = payload.iter().fold(message, |message, piece| match piece {
                    Piece::Bytes(bytes) => message.bytes(bytes),
                    Piece::FamilyId(attr, family) => {
                        // A callback may log the value of an attribute by itself, where no ID is looked for. What a
                        // message does not claim may be read as the length of the next one, which must be the same.
                        let end = message.len() + 6;
                        let claimed = claims.is_none_or(|claimed| claimed >= end);
                        let id = if message.kind == GENL_ID_CTRL && claimed {
                            family_id(*family)
                        } else {
                            family_number(*family)
                        };
                        message.attrs(Attrs::new().u16(*attr, id))
                    }
                });
                bytes.extend(Message { claimed_len: *claims, ..message }.encode());
            }
        }
    }
    bytes
}

fn port_of(sockets: &BTreeMap<Name, Open>, port: Port) -> Option<u32> {
    match port {
        Port::Number(number) => Some(number),
        Port::Of(name) => sockets.get(&name)?.ports.own.get(),
    }
}

fn done(result: Result<(), Errno>) -> Seen {
    result.map_or_else(Seen::from, |()| Seen::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_id_stands_only_in_what_a_message_claims() {
        let message = |claims| Part::Message {
            kind: Kind::Number(GENL_ID_CTRL),
            flags: 0,
            seq: 0,
            portid: 0,
            payload: vec![Piece::Bytes(vec![3, 1, 0, 0]), Piece::FamilyId(1, 0)],
            claims,
        };
        // The ID is the 25th byte and the 26th.
        for (claims, stands) in [(None, true), (Some(24), false), (Some(25), false), (Some(26), true)] {
            let chosen = datagram(&[message(claims)], &|_| 0x13)[24..26] == 0x13u16.to_ne_bytes();
            assert_eq!(chosen, stands, "{claims:?}");
        }
    }
}
