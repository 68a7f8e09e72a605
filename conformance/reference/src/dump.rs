//! Dumps: replies that are built piece by piece as the requester reads (`netlink_dump()`).

use std::sync::{Arc, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::libc;
use nlconform::wire::message::{self, Message, NLM_F_MULTI};

use super::defect::Defect;
use super::kernel::{Dump, Dumper, Kernel};
use super::message::{Buffer, ExtAck, Request, refused};
use super::progress::Progress;
use super::session::Reference;
use super::socket::{Datagram, STRICT_CHECK, memory_for};
use super::tlvs::with_tlvs;

/// Bytes of the first datagram of a dump: a page less overhead (`NLMSG_GOODSIZE`).
pub const GOOD_SIZE: usize = 4096 - 320;
/// Bytes of an NLMSG_DONE.
const DONE_LEN: usize = 20;

type Slot<'a> = MutexGuard<'a, Option<Dump>>;

/// Starts a dump on the requester's socket: `EINTR` means that nothing is to be acknowledged.
pub fn start(
    kernel: &Arc<Kernel>,
    request: &Request,
    mut dumper: Box<dyn Dumper>,
    module: Option<Reference>,
    extack: &mut ExtAck,
) -> i64 {
    let slot = match kernel.state().sock(request.socket) {
        Ok(sock) => sock.dump.clone(),
        Err(_) => return refused(Errno::ECONNREFUSED),
    };
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let strict = match kernel.state().sock(request.socket) {
        Ok(sock) if sock.dumping && !kernel.has(Defect::SecondDumpReplaces) => return refused(Errno::EBUSY),
        Ok(sock) => sock.has(STRICT_CHECK),
        Err(_) => return refused(Errno::ECONNREFUSED),
    };
    let mut progress = Progress {
        request: request.clone(),
        seq: 0,
        prev_seq: 0,
        answer_flags: 0,
        least: 0,
        strict: strict && !kernel.has(Defect::StrictCheckLost),
        calls: 0,
        records: 0,
    };
    let refusal = dumper.start(kernel, &mut progress, extack);
    if refusal != 0 {
        return refusal;
    }
    *slot = Some(Dump { progress, dumper, status: i64::MAX, _module: module });
    if let Ok(sock) = kernel.state().sock(request.socket) {
        sock.dumping = true;
    }
    if kernel.has(Defect::DumpNeverStarts) {
        return refused(Errno::EINTR);
    }
    match more(kernel, request.socket, &mut slot) {
        Ok(()) if kernel.has(Defect::DumpAcknowledged) => 0,
        Ok(()) => refused(Errno::EINTR),
        Err(errno) => refused(errno),
    }
}

/// Fills the next datagram of a dump, for a receive call that found room.
pub fn go_on(kernel: &Arc<Kernel>, id: u64) -> Result<(), Errno> {
    let slot = kernel.state().sock(id)?.dump.clone();
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.is_none() && kernel.has(Defect::EndedDumpUnreported) {
        return Ok(());
    }
    more(kernel, id, &mut slot)
}

fn more(kernel: &Arc<Kernel>, id: u64, slot: &mut Slot<'_>) -> Result<(), Errno> {
    let dump = slot.as_mut().ok_or(Errno::EINVAL)?;
    let (limit, extended) = {
        let mut state = kernel.state();
        let sock = state.sock(id)?;
        let offered = if kernel.has(Defect::OfferIgnored) { 0 } else { sock.offered };
        let limit = dump.progress.least.max(GOOD_SIZE).max(offered);
        if !sock.takes_dump(memory_for(kernel.setup, limit)) && !kernel.has(Defect::QueueUnlimited) {
            return Err(Errno::ENOBUFS);
        }
        if kernel.has(Defect::StrictCheckLate) {
            dump.progress.strict = sock.has(STRICT_CHECK);
        }
        (limit, sock.has(libc::NETLINK_EXT_ACK))
    };
    let mut buffer = Buffer::new(limit);
    let mut extack = ExtAck::default();
    if dump.status > 0 {
        dump.status = dump.dumper.dumpit(kernel, &mut dump.progress, &mut buffer, &mut extack);
        if dump.status == refused(Errno::EMSGSIZE)
            && !buffer.bytes.is_empty()
            && kernel.setup.value::<Result<(), Errno>>("NL-DMP-010", "with_data").is_ok()
            && !kernel.has(Defect::FullBufferEndsDump)
        {
            dump.status = buffer.bytes.len() as i64;
        }
    }
    if dump.status > 0 || buffer.room() < DONE_LEN {
        deliver(kernel, id, buffer);
        return Ok(());
    }
    finish(kernel, dump, &mut buffer, extended, &extack);
    deliver(kernel, id, buffer);
    // A dump that is being ended counts as running: requests meanwhile wait here, or fail.
    dump.dumper.done(kernel, &mut dump.progress);
    if kernel.has(Defect::DoneTwice) {
        dump.dumper.done(kernel, &mut dump.progress);
    }
    if !kernel.has(Defect::BusyForEver) {
        kernel.state().sock(id)?.dumping = false;
    }
    **slot = None;
    Ok(())
}

/// Appends NLMSG_DONE.
fn finish(kernel: &Kernel, dump: &mut Dump, buffer: &mut Buffer, extended: bool, extack: &ExtAck) {
    let status = if kernel.has(Defect::DoneAlwaysZero) { 0 } else { dump.status as i32 };
    let header = &dump.progress.request;
    let mut done = Message::new(message::NLMSG_DONE)
        .with(NLM_F_MULTI | dump.progress.answer_flags)
        .seq(header.header.seq)
        .portid(header.portid)
        .bytes(&status.to_ne_bytes());
    dump.progress.check_consistent(kernel.setup, &mut done);
    // Formerly it had the text only (`netlink_dump_done()`).
    let text = ExtAck { text: extack.text.clone(), ..ExtAck::default() };
    let extack = if kernel.setup.value("NL-DMP-017", "offset") { extack } else { &text };
    if extended || kernel.has(Defect::ExtAckUnrequested) {
        let long = with_tlvs(kernel, done.clone(), status, extack);
        done.flags = long.flags;
        if long.len() as usize <= buffer.room() {
            done = long;
        }
    }
    if kernel.has(Defect::AnswerFlagsLost) {
        done.flags &= !dump.progress.answer_flags;
    }
    if kernel.has(Defect::DoneWithoutMulti) {
        done.flags &= !NLM_F_MULTI;
    }
    if !kernel.has(Defect::DoneMissing) {
        buffer.bytes.extend(done.encode());
    }
}

fn deliver(kernel: &Kernel, id: u64, buffer: Buffer) {
    let mut datagram = Datagram::new(kernel.setup, buffer.bytes, 0, 0);
    datagram.memory = memory_for(kernel.setup, buffer.limit);
    if let Ok(sock) = kernel.state().sock(id)
        && let Some(datagram) = sock.filtered(datagram, kernel.setup.defect)
    {
        sock.push(datagram);
    }
    kernel.wake();
}
