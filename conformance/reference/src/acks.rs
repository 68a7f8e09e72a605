//! Acknowledgements (`netlink_ack()`).

use nix::libc;
use nlconform::wire::align;
use nlconform::wire::message::{self, Message, NLM_F_CAPPED};

use super::defect::Defect;
use super::kernel::Kernel;
use super::message::{ExtAck, Request};
use super::tlvs::{spare, with_tlvs};

/// Sends `NLMSG_ERROR`. Without room or memory for it, it becomes an error of the requester's socket.
pub fn acknowledge(kernel: &Kernel, protocol: i32, request: &Request, status: i32, extack: &ExtAck) {
    let (cap, ext) = {
        let mut state = kernel.state();
        let Ok(sock) = state.sock(request.socket) else { return };
        (sock.has(libc::NETLINK_CAP_ACK), sock.has(libc::NETLINK_EXT_ACK))
    };
    let status = match status {
        ..0 if kernel.has(Defect::ErrorErrno) => -libc::EPROTO,
        other => other,
    };
    let capped =
        status == 0 || (cap && !kernel.has(Defect::CapAckIgnored)) || kernel.has(Defect::CopyAlwaysCapped);
    let mut ack = Message::new(message::NLMSG_ERROR).portid(request.portid).bytes(&status.to_ne_bytes());
    ack = match kernel.has(Defect::SuccessCopiesAll) && status == 0 {
        false => ack.bytes(&request.bytes[..message::NLMSG_HDRLEN]),
        true => ack.bytes(&request.bytes),
    };
    if kernel.has(Defect::CopyWithoutSequence) {
        ack.payload[12..16].fill(0);
    }
    if capped && !kernel.has(Defect::CappedFlagMissing) {
        ack.flags |= NLM_F_CAPPED;
    }
    if !capped {
        ack = ack.bytes(&request.bytes[message::NLMSG_HDRLEN..]);
        ack.payload.resize(align(ack.payload.len()), 0);
    }
    if ext || kernel.has(Defect::ExtAckUnrequested) {
        ack = with_tlvs(kernel, ack, status, extack);
    }
    if !kernel.has(Defect::AckWithoutSequence) {
        ack.seq = request.header.seq;
    }
    if kernel.has(Defect::AckWithoutPort) {
        ack.portid = 0;
    }
    let spare = if ext { spare(status, extack, kernel.setup) } else { 0 };
    let _ = kernel.unicast_with_spare(protocol, request.portid, ack.encode(), spare);
}
