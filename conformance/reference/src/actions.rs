//! The steps of scripts.

use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nlconform::port::provider::{Action, Capture, On, RawDatagram};
use nlconform::wire::attr::Attrs;
use nlconform::wire::genl::{GENL_CMD_CAP_DO, GENL_CMD_CAP_DUMP};
use nlconform::wire::message::{Message, NLM_F_MULTI, batch};

use super::acks;
use super::attribute::Slot;
use super::defect::Defect;
use super::message::{Buffer, ExtAck, Request, padded, refused};
use super::run::Run;
use super::session::Object;

/// The most characters of a formatted message, with its NUL (`NETLINK_MAX_FMTMSG_LEN`).
const FORMATTED: usize = 80;
/// Bytes of `cb->ctx`.
const STATE: usize = 48;

/// Runs one step; returns the call's return value if the step ends the call.
pub fn perform(object: &Arc<Object>, action: &Action, run: &mut Run<'_>) -> Option<i64> {
    match action {
        Action::Return(value) => return Some(*value),
        Action::Reply(cmd, flags, payload) => return reply(run, *cmd, *flags, payload),
        Action::Put(cmd, flags, payload) => return put(run, *cmd, *flags, payload),
        Action::Records { until, size, emsgsize } => return records(run, *until, *size, *emsgsize),
        Action::Datagram(datagram) => return send_datagram(run, datagram),
        Action::Ack(errno) => return acknowledge(run, *errno),
        // Not a step of a call: the script starts one.
        Action::StartDump => {}
        Action::Notify(group, cmd, payload) => notify(object, run, *group, *cmd, payload),
        Action::Capture(what) => capture(run, *what),
        Action::Block => object.session.block(),
        Action::Sleep(millis) => std::thread::sleep(Duration::from_millis((*millis).into())),
        Action::DumpSeq(seq) => with(&mut run.progress, |progress| progress.seq = *seq),
        Action::AnswerFlags(flags) => with(&mut run.progress, |progress| progress.answer_flags = *flags),
        Action::MinDumpAlloc(bytes) if !run.kernel.has(Defect::MinimumIgnored) => {
            with(&mut run.progress, |progress| progress.least = *bytes as usize);
        }
        Action::MinDumpAlloc(_) => {}
        // It has no such functions, and does not say that it has.
        Action::Helper(_) => {}
        Action::ErrMsg(text) => with(&mut run.extack, |extack| extack.text = Some(text.clone())),
        Action::ErrMsgFmt(text) => {
            let longest = if run.kernel.has(Defect::LongMessages) { text.len() } else { FORMATTED - 1 };
            let text = text.chars().take(longest).collect();
            with(&mut run.extack, |extack| extack.text = Some(text));
        }
        Action::Cookie(value) => {
            with(&mut run.extack, |extack| extack.cookie = Some(value.to_ne_bytes()));
        }
        Action::BadAttr(kind) => {
            let at = slot(run, *kind).map(|slot| slot.at);
            with(&mut run.extack, |extack| extack.bad_attr = at);
        }
        Action::MissAttr(kind, nest) => {
            let nest = nest.and_then(|nest| slot(run, nest)).map(|slot| slot.at);
            with(&mut run.extack, |extack| {
                extack.miss_type = Some((*kind).into());
                extack.miss_nest = nest;
            });
        }
    }
    None
}

fn with<T>(target: &mut Option<&mut T>, change: impl FnOnce(&mut T)) {
    if let Some(target) = target {
        change(target);
    }
}

fn slot(run: &Run<'_>, kind: u16) -> Option<Slot> {
    run.attributes?.get(kind)
}

/// The request that a call is about; a dump's is in its progress.
fn request_of<'r>(run: &'r Run<'_>) -> Option<&'r Request> {
    run.request.or(run.progress.as_ref().map(|progress| &progress.request))
}

/// The headers of a message of a family or, with `cmd` as its type, of a protocol.
fn headed(run: &Run<'_>, cmd: u16, flags: u16) -> Message {
    let (seq, portid) = request_of(run).map_or((0, 0), |request| (request.header.seq, request.portid));
    let seq = if run.kernel.has(Defect::ReplyWithoutSequence) { 0 } else { seq };
    match run.family {
        Some(family) => family.message(cmd as u8, flags).seq(seq).portid(portid),
        None => Message::new(cmd).with(flags).seq(seq).portid(portid),
    }
}

fn reply(run: &mut Run<'_>, cmd: u16, flags: u16, payload: &[u8]) -> Option<i64> {
    answer(run, padded(&headed(run, cmd, flags).bytes(payload)))
}

/// Sends the requester this datagram.
fn answer(run: &Run<'_>, datagram: Vec<u8>) -> Option<i64> {
    let portid = request_of(run).map_or(0, |request| request.portid);
    let sent = run.kernel.unicast(run.protocol.unwrap_or(libc::NETLINK_GENERIC), portid, datagram);
    (sent < 0).then_some(sent)
}

/// Without an extended acknowledgement, and without another acknowledgement after it.
fn acknowledge(run: &Run<'_>, errno: u16) -> Option<i64> {
    let (request, protocol) = (run.request?, run.protocol?);
    acks::acknowledge(run.kernel, protocol, request, -i32::from(errno), &ExtAck::default());
    Some(refused(Errno::EINTR))
}

fn send_datagram(run: &mut Run<'_>, datagram: &RawDatagram) -> Option<i64> {
    let request = request_of(run)?;
    let (mut messages, rest) = Message::decode_all(&datagram.bytes);
    for (bit, message) in messages.iter_mut().take(64).enumerate() {
        let asks = |mask: u64| mask >> bit & 1 != 0;
        if asks(datagram.type_of_request) {
            message.kind = request.header.kind;
        }
        if asks(datagram.seq_of_request) {
            message.seq = request.header.seq;
        }
        if asks(datagram.portid_of_request) {
            message.portid = request.portid;
        }
    }
    let bytes = [&batch(&messages), rest].concat();
    let Some(buffer) = run.buffer.as_mut() else { return answer(run, bytes) };
    if buffer.append(&bytes) { None } else { Some(full(buffer)) }
}

/// `genl_notify()`: a requester that wants an echo gets one copy, even if it is a member.
fn notify(object: &Object, run: &mut Run<'_>, group: u32, cmd: u8, payload: &[u8]) {
    const ECHO: u16 = nlconform::wire::message::NLM_F_ECHO;
    let (Some(family), Some(request)) = (run.family, run.request) else { return };
    let Some(group) = family.group(group) else { return object.leave(run.kernel.setup, group) };
    let message = padded(&headed(run, cmd.into(), 0).bytes(payload));
    let echo = request.header.flags & ECHO != 0;
    run.kernel.notify(libc::NETLINK_GENERIC, group, request.portid, echo, message);
}

fn put(run: &mut Run<'_>, cmd: u16, flags: u16, payload: &[u8]) -> Option<i64> {
    let message = headed(run, cmd, flags).bytes(payload);
    let buffer = run.buffer.as_mut()?;
    if buffer.put(&message) { None } else { Some(full(buffer)) }
}

/// What dumpit returns when the next message does not fit.
fn full(buffer: &Buffer) -> i64 {
    match buffer.bytes.len() {
        0 => refused(Errno::EMSGSIZE),
        len => len as i64,
    }
}

fn records(run: &mut Run<'_>, until: u32, size: u32, emsgsize: bool) -> Option<i64> {
    loop {
        let number = run.progress.as_ref()?.records;
        if number >= until {
            return None;
        }
        let kind = run.cmd.map_or_else(|| request_of(run).map_or(0, |it| it.header.kind), u16::from);
        let flags = if run.kernel.has(Defect::RecordsWithoutMulti) { 0 } else { NLM_F_MULTI };
        let attrs = Attrs::new().u32(1, number).put(2, &vec![0; size as usize]);
        let mut message = headed(run, kind, flags).attrs(attrs);
        let (kernel, buffer, progress) = (run.kernel, run.buffer.as_mut()?, run.progress.as_mut()?);
        if message.len() as usize > buffer.room() {
            if kernel.has(Defect::RecordLost) {
                progress.records += 1;
            }
            return Some(match buffer.bytes.len() {
                len if len > 0 && !emsgsize => len as i64,
                _ => refused(Errno::EMSGSIZE),
            });
        }
        progress.check_consistent(kernel.setup, &mut message);
        buffer.put(&message);
        progress.records += 1;
    }
}

/// Those of the command that this callback belongs to.
fn internal_flags(run: &Run<'_>) -> Option<u8> {
    let ask = if run.progress.is_some() { GENL_CMD_CAP_DUMP } else { GENL_CMD_CAP_DO };
    let command = run.family?.command(run.cmd?, ask)?;
    (run.on != On::Doit).then_some(command.op.internal_flags)
}

fn capture(run: &mut Run<'_>, what: Capture) {
    let Some(request) = request_of(run) else { return };
    let bytes = request.bytes.clone();
    match what {
        Capture::Message => run.captured.extend_from_slice(&bytes),
        Capture::Attr(kind) => {
            if let Some(slot) = slot(run, kind) {
                run.captured.extend_from_slice(slot.data(&bytes));
            }
        }
        Capture::AttrsPresent => {
            let present = run.attributes.map(|attributes| attributes.present()).unwrap_or_default();
            run.captured.extend(present);
        }
        Capture::UserHeader => {
            let Some(family) = run.family.filter(|_| run.progress.is_none()) else { return };
            run.captured.extend(4u32.to_ne_bytes());
            run.captured.extend_from_slice(bytes.get(20..20 + family.hdrsize()).unwrap_or_default());
        }
        Capture::UserPointers => run.captured.extend([0; 16]),
        Capture::InternalFlags => run.captured.extend(internal_flags(run)),
        Capture::Info => {
            let (seq, portid) = (request.header.seq, request.portid);
            let seq = if run.kernel.has(Defect::ReplyWithoutSequence) { 0 } else { seq };
            let portid = if run.kernel.has(Defect::InfoWithoutSender) { 0 } else { portid };
            run.captured.extend([seq, portid, 1, 1, 1, 1, 1].map(u32::to_ne_bytes).concat());
        }
        Capture::DumpState => {
            let Some(progress) = &run.progress else { return };
            let mut state = [0; STATE];
            state[..4].copy_from_slice(&run.state[0].to_ne_bytes());
            state[4..8].copy_from_slice(&run.state[1].to_ne_bytes());
            run.captured.extend(u32::from(progress.strict).to_ne_bytes());
            run.captured.extend(state);
        }
    }
}
