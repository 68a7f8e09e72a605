//! The smallest implementation that the suite has something to say about: sockets of `NETLINK_USERSOCK` that
//! send datagrams to each other's ports. Start from it when yours is a crate.
//! Groups, options and waiting are missing, and the suite says so.
//!
//!     cargo run -p nlconform --features inprocess --example tiny -- netlink::binding

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;
use nlconform::event::{Identity, Role};
use nlconform::port::{Errno, Incoming, Outgoing, Receive, Refused, Socket, Target};
use nlconform::wire::address::{self, Address};
use nlconform::{inprocess, spec::Profile};

/// Whose port is whose, and what waits there: sender and payload.
type Ports = BTreeMap<u32, VecDeque<(u32, Vec<u8>)>>;

struct Tiny {
    identity: Identity,
    ports: Arc<Mutex<Ports>>,
}

impl Target for Tiny {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn socket(&self, kind: i32, protocol: i32) -> Result<Box<dyn Socket>, Errno> {
        match (kind, protocol) {
            (libc::SOCK_RAW | libc::SOCK_DGRAM, libc::NETLINK_USERSOCK) => {
                let open = Open { ports: self.ports.clone(), state: Mutex::default() };
                Ok(Box::new(Descriptor(Arc::new(open))))
            }
            (libc::SOCK_RAW | libc::SOCK_DGRAM, _) => Err(Errno::EPROTONOSUPPORT),
            _ => Err(Errno::ESOCKTNOSUPPORT),
        }
    }
}

/// An open socket; it is closed with its last descriptor.
struct Open {
    ports: Arc<Mutex<Ports>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    port: Option<u32>,
    peer: u32,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(port) = lock(&self.state).port {
            lock(&self.ports).remove(&port);
        }
    }
}

#[derive(Clone)]
struct Descriptor(Arc<Open>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn port_of(address: &[u8]) -> Result<u32, Errno> {
    match Address::decode(address) {
        Some(Address { family: address::AF_NETLINK, portid, .. }) => Ok(portid),
        _ => Err(Errno::EINVAL),
    }
}

fn cut(address: Address, room: usize) -> (Vec<u8>, usize) {
    let mut bytes = address.encode();
    bytes.truncate(room);
    (bytes, address::LEN)
}

impl Descriptor {
    /// The socket's port, which it gets with its first call that needs one.
    fn port(&self) -> Result<u32, Errno> {
        if lock(&self.0.state).port.is_none() {
            self.take(std::process::id()).or_else(|_| {
                let free = (1..).map(|n: u32| n.wrapping_neg()).find(|port| self.take(*port).is_ok());
                free.map(drop).ok_or(Errno::EADDRINUSE)
            })?;
        }
        lock(&self.0.state).port.ok_or(Errno::EADDRINUSE)
    }

    /// Takes a port that nobody has.
    fn take(&self, port: u32) -> Result<(), Errno> {
        let mut ports = lock(&self.0.ports);
        if ports.contains_key(&port) {
            return Err(Errno::EADDRINUSE);
        }
        ports.insert(port, VecDeque::new());
        lock(&self.0.state).port = Some(port);
        Ok(())
    }
}

impl Socket for Descriptor {
    fn bind(&self, address: &[u8]) -> Result<(), Errno> {
        let bound = lock(&self.0.state).port;
        match (port_of(address)?, bound) {
            (port, Some(bound)) if port != bound => Err(Errno::EINVAL),
            (0, None) => self.port().map(drop),
            (port, None) => self.take(port),
            _ => Ok(()),
        }
    }

    fn connect(&self, address: &[u8]) -> Result<(), Errno> {
        let peer = port_of(address)?;
        self.port()?;
        lock(&self.0.state).peer = peer;
        Ok(())
    }

    fn name(&self, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        Ok(cut(Address::port(lock(&self.0.state).port.unwrap_or(0)), room))
    }

    fn peer(&self, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        Ok(cut(Address::port(lock(&self.0.state).peer), room))
    }

    fn set_option(&self, _level: i32, _option: i32, _value: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENOPROTOOPT)
    }

    fn option(&self, _level: i32, _option: i32, _room: usize) -> Result<(Vec<u8>, usize), Errno> {
        Err(Errno::ENOPROTOOPT)
    }

    fn send(&self, outgoing: &Outgoing) -> Result<usize, Errno> {
        let peer = lock(&self.0.state).peer;
        let to = outgoing.to.as_deref().map_or(Ok(peer), port_of)?;
        let from = self.port()?;
        if outgoing.bytes.is_empty() {
            return Err(Errno::ENODATA);
        }
        let mut ports = lock(&self.0.ports);
        ports.get_mut(&to).ok_or(Errno::ECONNREFUSED)?.push_back((from, outgoing.bytes.clone()));
        Ok(outgoing.bytes.len())
    }

    fn receive(&self, how: &Receive) -> Result<Incoming, Errno> {
        let port = self.port()?;
        let mut ports = lock(&self.0.ports);
        let queue = ports.get_mut(&port).ok_or(Errno::EBADF)?;
        let (from, bytes) = queue.front().cloned().ok_or(Errno::EAGAIN)?;
        if how.flags & libc::MSG_PEEK == 0 {
            queue.pop_front();
        }
        let kept = bytes.len().min(how.room);
        Ok(Incoming {
            returned: if how.flags & libc::MSG_TRUNC != 0 { bytes.len() } else { kept },
            bytes: bytes[..kept].to_vec(),
            from: Address::port(from).encode(),
            flags: if kept < bytes.len() { libc::MSG_TRUNC } else { 0 },
            control: Vec::new(),
        })
    }

    fn poll(&self, events: i16, timeout: Duration) -> Result<i16, Errno> {
        let until = Instant::now() + timeout;
        loop {
            let waiting = lock(&self.0.state).port.is_some_and(|port| !lock(&self.0.ports)[&port].is_empty());
            let holds = libc::POLLOUT | if waiting { libc::POLLIN } else { 0 };
            if holds & events != 0 || Instant::now() >= until {
                return Ok(holds & events);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn refused(&self, _call: Refused) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn duplicate(&self) -> Result<Box<dyn Socket>, Errno> {
        Ok(Box::new(self.clone()))
    }
}

fn main() -> ExitCode {
    let capabilities = BTreeMap::from([("usersock".to_owned(), None)]);
    let identity = Identity { role: Role::Target, name: "tiny".into(), version: "1".into(), capabilities };
    let make =
        move || Box::new(Tiny { identity: identity.clone(), ports: Arc::default() }) as Box<dyn Target>;
    inprocess::main(make, Profile::newest())
}
