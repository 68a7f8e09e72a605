//! The connector: what user space sends to its callbacks, and what kernel code sends.

use std::sync::{Arc, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::libc;
use nlconform::port::provider::{CbId, ConnectorSend, Context, On};
use nlconform::wire::connector::{CONNECTOR_MAX_MSG_SIZE, CnMsg};
use nlconform::wire::message::{self, Message};
use nlconform::wire::u32_at;

use super::credentials::{Capability, capable};
use super::defect::Defect;
use super::kernel::{Audience, Kernel};
use super::message::{Request, Sender, padded, refused};
use super::run::Run;
use super::script;
use super::session::Object;

/// `cn_add_callback()`.
pub fn add(kernel: &Kernel, id: CbId, object: Arc<Object>) -> Result<(), Errno> {
    kernel.state().callbacks.add(id, object)
}

/// `cn_del_callback()`, which does not wait for a callback that runs.
pub fn delete(kernel: &Kernel, id: CbId) {
    let _alone = alone(kernel);
    kernel.state().callbacks.delete(id);
}

/// Keeps other callbacks from running, if the bus has that defect.
fn alone(kernel: &Kernel) -> Option<MutexGuard<'_, ()>> {
    let serial = kernel.has(Defect::CallbacksSerial);
    serial.then(|| kernel.serial.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Hands the first message of a datagram to its callback; nobody is answered (`cn_rx_skb()`,
/// `cn_call_callback()`).
pub fn receive(kernel: &Kernel, sender: &Sender, datagram: &[u8]) {
    let Some(msg) = accepted(kernel, datagram) else { return };
    let id = CbId { idx: msg.idx, val: msg.val };
    let Some(object) = kernel.state().callbacks.of(id).cloned() else { return };
    let _alone = alone(kernel);
    let ackless = kernel.has(Defect::CallbackWithoutAck);
    let request = Request {
        header: Message::new(message::NLMSG_DONE).seq(msg.seq),
        bytes: Arc::new(CnMsg { ack: if ackless { 0 } else { msg.ack }, ..msg.clone() }.encode()),
        socket: sender.socket,
        portid: if kernel.has(Defect::CallbackWithoutSender) { 0 } else { sender.portid },
        who: sender.who,
        opener: sender.opener,
    };
    script::run(&object, Run { request: Some(&request), ..Run::new(kernel, On::Connector) });
}

/// The message, if its length and that of its data are right.
fn accepted(kernel: &Kernel, datagram: &[u8]) -> Option<CnMsg> {
    let claimed = u32_at(datagram, 0)? as usize;
    let payload = datagram.get(message::NLMSG_HDRLEN..claimed)?;
    let fits = payload.len() <= CONNECTOR_MAX_MSG_SIZE || kernel.has(Defect::LongLengthAccepted);
    CnMsg::decode(payload).filter(|_| fits)
}

/// Whether the caller may join a group: without privileges the odd ones (`cn_bind()`).
pub fn may_join(kernel: &Kernel, group: u32) -> Result<(), Errno> {
    let free = group % 2 == 1 && !kernel.has(Defect::EverythingNeedsPrivilege);
    let unchecked = kernel.has(Defect::PrivilegesUnchecked);
    if free || unchecked || capable(kernel.acting(), Capability::NetAdmin) {
        return Ok(());
    }
    Err(kernel.setup.value("CN-BIND-003", "errno"))
}

/// `cn_netlink_send_mult()`.
pub fn send(kernel: &Kernel, send: &ConnectorSend, context: Context) -> i64 {
    let group = match (send.portid, send.group) {
        (0, 0) if kernel.state().callbacks.of(send.id).is_some() => send.id.idx,
        (0, 0) => return refused(Errno::ENODEV),
        (_, group) => group,
    };
    if send.portid == 0 && kernel.has_listeners(libc::NETLINK_CONNECTOR, group) == 0 {
        return refused(Errno::ESRCH);
    }
    let msg = CnMsg {
        seq: send.seq,
        ack: send.ack,
        flags: send.flags,
        data: send.payload.clone(),
        claimed_len: send.len,
        ..CnMsg::to(send.id.idx, send.id.val)
    };
    let bytes = padded(&msg.in_message().seq(send.seq));
    if group == 0 {
        return kernel.unicast_in(context, libc::NETLINK_CONNECTOR, send.portid, bytes);
    }
    let audience = Audience {
        protocol: libc::NETLINK_CONNECTOR,
        group,
        except: send.portid,
        sender: None,
        filter: send.skip.filter(|_| !kernel.has(Defect::FilterIgnored)),
        held: false,
    };
    kernel.multicast(&audience, bytes)
}
