//! Calls of the connector: its callbacks, and messages to and from them.

use nix::libc;

use super::{CALLBACKS, Generator, pick};
use crate::explore::call::{Call, Port};
use crate::port::capability::Capability;
use crate::port::provider::{Action, Callback, Capture, CbId, ConnectorSend, On, Step};
use crate::wire::connector::{CONNECTOR_MAX_MSG_SIZE, CnMsg, HEADER};

/// Groups that sequences use: those of callbacks, some others, and what is none. Nobody listens to process
/// events, whose group is the first.
pub const GROUPS: [u32; 8] = [12, 12, 13, 13, 1, 2, 32, 33];
/// `idx` of callbacks: such as no part of Linux has, some of them beyond the groups.
const IDX: [u32; 7] = [12, 12, 13, 13, 0, 33, 1000];

impl Generator {
    fn has_connector(&self) -> bool {
        self.features.has(Capability::Connector)
    }

    fn id(&mut self) -> CbId {
        CbId { idx: self.among(&IDX), val: self.among(&[1, 1, 2]) }
    }

    /// The ID of a callback that is there, mostly.
    fn id_of_callback(&mut self) -> CbId {
        let known = if self.one_in(6) { None } else { pick(&mut self.random, &self.callbacks) };
        known.unwrap_or_else(|| self.id())
    }

    pub(super) fn add_callback(&mut self) -> Option<Call> {
        if !self.has_connector() {
            return None;
        }
        if self.callbacks.len() >= CALLBACKS {
            return self.del_callback();
        }
        let id = self.id();
        let mut spec = Callback::named(self.among(&["", "one", "a-name-of-more-than-thirty-one-bytes"]), id);
        if self.one_in(2) {
            spec.script.push(Step::new(On::Connector, Action::Capture(Capture::Message)));
        }
        if self.one_in(4) {
            let step = Step::new(On::Connector, Action::Return(7));
            spec.script.push(step.call(self.random.u32(1..=2)));
        }
        // It may be refused, and is another one all the same.
        self.callbacks.push(id);
        Some(Call::AddCallback { callback: self.new_name(), spec })
    }

    pub(super) fn del_callback(&mut self) -> Option<Call> {
        if !self.has_connector() {
            return None;
        }
        let id = self.id_of_callback();
        self.callbacks.retain(|known| *known != id);
        Some(Call::DelCallback { id })
    }

    pub(super) fn connector_send(&mut self) -> Option<Call> {
        if !self.has_connector() {
            return None;
        }
        let len = if self.one_in(8) { self.random.usize(0..=3000) } else { self.random.usize(0..=40) };
        let mut send =
            ConnectorSend { id: self.id_of_callback(), payload: vec![4; len], ..ConnectorSend::default() };
        (send.seq, send.ack) = (self.among(&[0, 5, u32::MAX]), self.among(&[0, 9]));
        send.flags = self.among(&[0, 1]);
        if self.one_in(8) {
            send.len = Some(self.among(&[0, 1, u16::MAX]));
        }
        if self.one_in(2) {
            send.group = self.among(&GROUPS);
        }
        if self.one_in(8) && self.features.has(Capability::ConnectorFilter) {
            send.skip = Some(0);
        }
        let sockets: Vec<_> = self
            .sockets
            .iter()
            .filter(|socket| socket.protocol == libc::NETLINK_CONNECTOR)
            .cloned()
            .collect();
        let port = match self.pick(&sockets) {
            Some(socket) if self.one_in(3) => Port::Of(socket.name),
            _ if self.one_in(12) => Port::Number(77),
            _ => Port::Number(0),
        };
        self.arrived(libc::NETLINK_CONNECTOR);
        Some(Call::FromConnector { port, send })
    }

    /// A cn_msg and its data.
    pub(super) fn connector_message(&mut self) -> Vec<u8> {
        let id = self.id_of_callback();
        let most = CONNECTOR_MAX_MSG_SIZE - HEADER;
        let len = match self.random.u32(0..20) {
            0 => self.random.usize(0..=5000),
            1 => self.among(&[most, most + 1]),
            _ => self.random.usize(0..=40),
        };
        let claimed_len = self.one_in(10).then(|| self.among(&[0, 1, 41, u16::MAX]));
        let mut msg = CnMsg { data: vec![7; len], claimed_len, ..CnMsg::to(id.idx, id.val) };
        (msg.seq, msg.ack) = (self.among(&[0, 3, u32::MAX]), self.among(&[0, 8]));
        msg.flags = self.among(&[0, 0xbeef]);
        let mut bytes = msg.encode();
        if self.one_in(20) {
            bytes.truncate(self.among(&[0, HEADER - 1, HEADER]));
        }
        bytes
    }
}
