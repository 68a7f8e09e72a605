//! The kernel's side of a protocol: how a datagram is parsed, and how requests are answered (`netlink_rcv_skb()`).

use std::sync::Arc;

use nix::errno::Errno;
use nlconform::wire::message::{self, Message, NLM_F_ACK, NLM_F_REQUEST, NLMSG_MIN_TYPE};
use nlconform::wire::{align, u32_at};

use super::acks::acknowledge;
use super::connector;
use super::defect::Defect;
use super::dispatch;
use super::kernel::Kernel;
use super::message::{ExtAck, Input, Request, Sender, refused};
use super::route;
use super::run::Run;
use super::script;

/// Handles each message of a datagram, but for the connector, which handles only the first.
pub fn receive(kernel: &Arc<Kernel>, input: &Input, sender: Sender, mut datagram: &[u8]) {
    if let Input::Connector = input {
        return connector::receive(kernel, &sender, datagram);
    }
    while let Some(len) = u32_at(datagram, 0).filter(|_| datagram.len() >= message::NLMSG_HDRLEN) {
        let len = match len as usize {
            // A length of 0 would loop forever.
            short if kernel.has(Defect::ShortLengthAccepted) && short < message::NLMSG_HDRLEN => {
                message::NLMSG_HDRLEN
            }
            long if kernel.has(Defect::LongLengthAccepted) && long > datagram.len() => datagram.len(),
            len => len,
        };
        let Some(bytes) = datagram.get(..len).filter(|bytes| bytes.len() >= message::NLMSG_HDRLEN) else {
            return;
        };
        let Some(header) = header_of(bytes) else { return };
        let request = Request {
            header,
            bytes: Arc::new(bytes.to_vec()),
            socket: sender.socket,
            portid: sender.portid,
            who: sender.who,
            opener: sender.opener,
        };
        let went_well = handle(kernel, input, sender.protocol, &request);
        if !went_well && kernel.has(Defect::ErrorEndsBatch) {
            return;
        }
        let next = if kernel.has(Defect::PaddingNotSkipped) { len } else { align(len) };
        datagram = &datagram[next.min(datagram.len())..];
    }
}

/// The message as its header has it, whatever length that claims.
fn header_of(bytes: &[u8]) -> Option<Message> {
    let len = bytes.len() as u32;
    let honest = [&len.to_ne_bytes()[..], bytes.get(4..)?].concat();
    let claimed_len = u32_at(bytes, 0);
    Message::decode(&honest).map(|(message, _)| Message { claimed_len, ..message })
}

/// Handles one message and answers it; returns whether it succeeded.
fn handle(kernel: &Arc<Kernel>, input: &Input, protocol: i32, request: &Request) -> bool {
    let mut extack = ExtAck::default();
    let header = &request.header;
    let wanted = header.flags & NLM_F_REQUEST != 0 || kernel.has(Defect::AnythingIsRequest);
    let control = header.kind < NLMSG_MIN_TYPE && !kernel.has(Defect::ControlTypesDispatched);
    let mut status = match wanted && !control {
        true => dispatch(kernel, input, protocol, request, &mut extack),
        false => 0,
    };
    if status == refused(Errno::EINTR) {
        return true;
    }
    if kernel.has(Defect::PositiveIsSuccess) && status > 0 {
        status = 0;
    }
    let asked = header.flags & NLM_F_ACK != 0 && !kernel.has(Defect::AckMissing);
    let failed = status != 0 && (asked || !kernel.has(Defect::ErrorOnlyIfRequested));
    if asked || failed || kernel.has(Defect::AckUnrequested) {
        acknowledge(kernel, protocol, request, status as i32, &extack);
    }
    status == 0
}

fn dispatch(
    kernel: &Arc<Kernel>,
    input: &Input,
    protocol: i32,
    request: &Request,
    extack: &mut ExtAck,
) -> i64 {
    match input {
        Input::Nobody | Input::Connector => 0,
        Input::Route => route::receive(kernel, request, extack),
        Input::Generic => dispatch::receive(kernel, request, extack),
        Input::Scripted(object) => {
            let mut run = Run::of_request(kernel, nlconform::port::provider::On::Input, request);
            run.protocol = Some(protocol);
            run.extack = Some(extack);
            script::run(object, run)
        }
    }
}
