//! Conversion of the port's data to the probe's: arrays, names, calls and scripts.

use std::any::Any;

use super::abi::{self, Array};
use crate::port::provider::{Action, Call, Capture, HelperCall, Net, RawDatagram, Step, Unable};

/// Owns the memory that an argument points to. It must outlive the ioctl.
#[derive(Default)]
pub struct Arena(Vec<Box<dyn Any>>);

impl Arena {
    /// Stores these items; they stay in place until the arena is dropped.
    pub fn array<T: 'static>(&mut self, items: Vec<T>) -> Array {
        let array = Array { ptr: items.as_ptr() as u64, count: items.len() as u32, reserved: 0 };
        self.0.push(Box::new(items));
        array
    }

    /// The same for items that are converted one by one.
    pub fn map<T, U: 'static>(&mut self, items: &[T], mut encode: impl FnMut(&mut Arena, &T) -> U) -> Array {
        let encoded = items.iter().map(|item| encode(self, item)).collect();
        self.array(encoded)
    }

    /// A script.
    pub fn script(&mut self, steps: &[Step]) -> Array {
        self.map(steps, step)
    }
}

/// A name, padded with NULs.
pub fn name<const ROOM: usize>(text: &str) -> Result<[u8; ROOM], Unable> {
    let mut name = [0; ROOM];
    match name.get_mut(..text.len()) {
        Some(bytes) => bytes.copy_from_slice(text.as_bytes()),
        None => return Err(Unable::Failed(format!("the name {text:?} has more than {ROOM} bytes"))),
    }
    Ok(name)
}

/// Those bits whose condition holds.
pub fn bits(bits: impl IntoIterator<Item = (bool, u32)>) -> u32 {
    bits.into_iter().filter(|(holds, _)| *holds).fold(0, |sum, (_, bit)| sum | bit)
}

/// Where and how a call is made.
pub fn call(how: &Call) -> Result<abi::Call, Unable> {
    let net = match how.net {
        Net::Own => abi::NLPROBE_NET_OWN,
        Net::Initial => abi::NLPROBE_NET_INITIAL,
        Net::Fd(fd) if fd >= 0 => fd,
        Net::Fd(fd) => return Err(Unable::Failed(format!("{fd} is not a file descriptor"))),
    };
    Ok(abi::Call { fail_nth: how.fail_nth, net, context: how.context as u32, failed: 0 })
}

fn step(arena: &mut Arena, step: &Step) -> abi::Step {
    let cmd = step.cmd.map_or(-1, i16::from);
    abi::Step { on: step.on as u8, cmd, call: step.call.unwrap_or(0), ..action(arena, &step.action) }
}

/// The part of a step that says what it does.
fn action(arena: &mut Arena, action: &Action) -> abi::Step {
    let plain = |action: u32, a| abi::Step { action: action as u8, a, ..Default::default() };
    let mut message = |action, a, b, bytes: &[u8]| {
        let bytes = arena.array(bytes.to_vec());
        abi::Step { b, bytes, ..plain(action, a) }
    };
    match *action {
        Action::Return(value) => plain(abi::NLPROBE_RETURN, value as u64),
        Action::ErrMsg(ref text) => message(abi::NLPROBE_ERR_MSG, 0, 0, text.as_bytes()),
        Action::ErrMsgFmt(ref text) => message(abi::NLPROBE_ERR_MSG_FMT, 0, 0, text.as_bytes()),
        Action::BadAttr(attr) => plain(abi::NLPROBE_BAD_ATTR, attr.into()),
        Action::Cookie(cookie) => plain(abi::NLPROBE_COOKIE, cookie),
        Action::MissAttr(attr, nest) => {
            let b = nest.map_or(u64::MAX, u64::from);
            abi::Step { b, ..plain(abi::NLPROBE_MISS_ATTR, attr.into()) }
        }
        Action::Reply(cmd, flags, ref bytes) => message(abi::NLPROBE_REPLY, cmd.into(), flags.into(), bytes),
        Action::Notify(group, cmd, ref bytes) => {
            message(abi::NLPROBE_NOTIFY, group.into(), cmd.into(), bytes)
        }
        Action::Put(cmd, flags, ref bytes) => message(abi::NLPROBE_PUT, cmd.into(), flags.into(), bytes),
        Action::Records { until, size, emsgsize } => {
            abi::Step { b: size.into(), c: emsgsize.into(), ..plain(abi::NLPROBE_RECORDS, until.into()) }
        }
        Action::DumpSeq(seq) => plain(abi::NLPROBE_DUMP_SEQ, seq.into()),
        Action::AnswerFlags(flags) => plain(abi::NLPROBE_ANSWER_FLAGS, flags.into()),
        Action::MinDumpAlloc(size) => plain(abi::NLPROBE_MIN_DUMP_ALLOC, size.into()),
        Action::StartDump => plain(abi::NLPROBE_START_DUMP, 0),
        Action::Capture(what) => {
            let (what, b) = capture(what);
            abi::Step { b, ..plain(abi::NLPROBE_CAPTURE, what.into()) }
        }
        Action::Block => plain(abi::NLPROBE_BLOCK, 0),
        Action::Sleep(millis) => plain(abi::NLPROBE_SLEEP, millis.into()),
        Action::Datagram(RawDatagram { ref bytes, type_of_request, seq_of_request, portid_of_request }) => {
            let step = message(abi::NLPROBE_DATAGRAM, type_of_request, seq_of_request, bytes);
            abi::Step { c: portid_of_request, ..step }
        }
        Action::Helper(HelperCall { helper, attr, argument, ref bytes }) => {
            let step = message(abi::NLPROBE_HELPER, helper as u64, attr.into(), bytes);
            abi::Step { c: argument.into(), ..step }
        }
        Action::Ack(errno) => plain(abi::NLPROBE_ACK, errno.into()),
    }
}

/// What is captured, and of which attribute.
fn capture(what: Capture) -> (u32, u64) {
    match what {
        Capture::Message => (abi::NLPROBE_CAPTURE_MESSAGE, 0),
        Capture::Attr(attr) => (abi::NLPROBE_CAPTURE_ATTR, attr.into()),
        Capture::AttrsPresent => (abi::NLPROBE_CAPTURE_ATTRS_PRESENT, 0),
        Capture::UserHeader => (abi::NLPROBE_CAPTURE_USER_HEADER, 0),
        Capture::DumpState => (abi::NLPROBE_CAPTURE_DUMP_STATE, 0),
        Capture::UserPointers => (abi::NLPROBE_CAPTURE_USER_POINTERS, 0),
        Capture::InternalFlags => (abi::NLPROBE_CAPTURE_INTERNAL_FLAGS, 0),
        Capture::Info => (abi::NLPROBE_CAPTURE_INFO, 0),
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
