//! Sockets that live in an adapter.

use std::time::Duration;

use nix::errno::Errno;

use super::Link;
use super::protocol::{Call, SocketId};
use crate::port::{Incoming, Outgoing, Receive, Refused, Socket};

/// A socket, by the adapter's number.
#[derive(Debug)]
pub struct AdapterSocket {
    pub(super) link: Link,
    pub(super) id: SocketId,
}

impl Socket for AdapterSocket {
    fn bind(&self, address: &[u8]) -> Result<(), Errno> {
        self.link.system_call(&Call::Bind { socket: self.id, address: address.to_vec() })
    }

    fn connect(&self, address: &[u8]) -> Result<(), Errno> {
        self.link.system_call(&Call::Connect { socket: self.id, address: address.to_vec() })
    }

    fn name(&self, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        self.link.system_call(&Call::Name { socket: self.id, room })
    }

    fn peer(&self, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        self.link.system_call(&Call::Peer { socket: self.id, room })
    }

    fn set_option(&self, level: i32, option: i32, value: &[u8]) -> Result<(), Errno> {
        self.link.system_call(&Call::SetOption { socket: self.id, level, option, value: value.to_vec() })
    }

    fn option(&self, level: i32, option: i32, room: usize) -> Result<(Vec<u8>, usize), Errno> {
        self.link.system_call(&Call::Option { socket: self.id, level, option, room })
    }

    fn send(&self, outgoing: &Outgoing) -> Result<usize, Errno> {
        self.link.system_call(&Call::Send { socket: self.id, outgoing: outgoing.clone() })
    }

    fn attach_filter(&self, keep: u32) -> Result<(), Errno> {
        self.link.system_call(&Call::AttachFilter { socket: self.id, keep })
    }

    fn send_interrupted(&self, outgoing: &Outgoing) -> Result<usize, Errno> {
        self.link.system_call(&Call::SendInterrupted { socket: self.id, outgoing: outgoing.clone() })
    }

    fn send_restarted(&self, outgoing: &Outgoing) -> Result<usize, Errno> {
        self.link.system_call(&Call::SendRestarted { socket: self.id, outgoing: outgoing.clone() })
    }

    fn receive(&self, how: &Receive) -> Result<Incoming, Errno> {
        self.link.system_call(&Call::Receive { socket: self.id, how: how.clone() })
    }

    fn receive_interrupted(&self, how: &Receive) -> Result<Incoming, Errno> {
        self.link.system_call(&Call::ReceiveInterrupted { socket: self.id, how: how.clone() })
    }

    fn receive_restarted(&self, how: &Receive) -> Result<Incoming, Errno> {
        self.link.system_call(&Call::ReceiveRestarted { socket: self.id, how: how.clone() })
    }

    fn poll(&self, events: i16, timeout: Duration) -> Result<i16, Errno> {
        let timeout_ms = timeout.as_millis() as u64;
        self.link.system_call(&Call::Poll { socket: self.id, events, timeout_ms })
    }

    fn refused(&self, refused: Refused) -> Result<(), Errno> {
        self.link.system_call(&Call::Refused { socket: self.id, refused })
    }

    fn duplicate(&self) -> Result<Box<dyn Socket>, Errno> {
        let id = self.link.system_call(&Call::Duplicate { socket: self.id })?;
        Ok(Box::new(AdapterSocket { link: self.link.clone(), id }))
    }

    fn inode(&self) -> Result<u64, Errno> {
        self.link.system_call(&Call::Inode { socket: self.id })
    }
}

impl Drop for AdapterSocket {
    fn drop(&mut self) {
        self.link.farewell(&Call::Close { socket: self.id });
    }
}
