//! Conversion of the port's data to the probe's: arrays, names, calls and scripts.

use std::any::Any;

use super::abi::{self, Array};
use crate::port::provider::{Action, Call, Capture, Context, Net, On, RawDatagram, Step, Unable};

/// Each callback and its number.
pub const CALLBACKS: [(On, u8); abi::NLPROBE_ON_COUNT as usize] = [
    (On::Doit, abi::NLPROBE_ON_DOIT),
    (On::Dumpit, abi::NLPROBE_ON_DUMPIT),
    (On::Start, abi::NLPROBE_ON_START),
    (On::Done, abi::NLPROBE_ON_DONE),
    (On::PreDoit, abi::NLPROBE_ON_PRE_DOIT),
    (On::PostDoit, abi::NLPROBE_ON_POST_DOIT),
    (On::Bind, abi::NLPROBE_ON_BIND),
    (On::Unbind, abi::NLPROBE_ON_UNBIND),
    (On::Input, abi::NLPROBE_ON_INPUT),
    (On::Connector, abi::NLPROBE_ON_CONNECTOR),
    (On::Release, abi::NLPROBE_ON_RELEASE),
    (On::SockPrivInit, abi::NLPROBE_ON_PRIV_INIT),
    (On::SockPrivDestroy, abi::NLPROBE_ON_PRIV_DESTROY),
];

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
pub fn bits<T: Default + std::ops::BitOr<Output = T>>(bits: impl IntoIterator<Item = (bool, T)>) -> T {
    bits.into_iter().filter(|(holds, _)| *holds).fold(T::default(), |sum, (_, bit)| sum | bit)
}

/// Where and how a call is made.
pub fn call(how: &Call) -> Result<abi::Call, Unable> {
    let net = match how.net {
        Net::Own => abi::NLPROBE_NET_OWN,
        Net::Initial => abi::NLPROBE_NET_INITIAL,
        Net::Fd(fd) if fd >= 0 => fd,
        Net::Fd(fd) => return Err(Unable::Failed(format!("{fd} is not a file descriptor"))),
    };
    let context = match how.context {
        Context::Process => abi::NLPROBE_PROCESS,
        Context::Softirq => abi::NLPROBE_SOFTIRQ,
    };
    Ok(abi::Call { fail_nth: how.fail_nth, net, context, failed: 0 })
}

fn step(arena: &mut Arena, step: &Step) -> abi::Step {
    let on =
        CALLBACKS.iter().find(|(on, _)| *on == step.on).map_or(abi::NLPROBE_ON_COUNT, |(_, number)| *number);
    let cmd = step.cmd.map_or(-1, i16::from);
    abi::Step { on, cmd, call: step.call.unwrap_or(0), ..action(arena, &step.action) }
}

/// The part of a step that says what it does.
fn action(arena: &mut Arena, action: &Action) -> abi::Step {
    let plain = |action, a| abi::Step { action, a, ..Default::default() };
    let mut message = |action, a, b, bytes: &[u8]| {
        let bytes = arena.array(bytes.to_vec());
        abi::Step { action, a, b, bytes, ..Default::default() }
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
        Action::Capture(Capture::Attr(attr)) => {
            abi::Step { b: attr.into(), ..plain(abi::NLPROBE_CAPTURE, abi::NLPROBE_CAPTURE_ATTR) }
        }
        Action::Capture(what) => plain(abi::NLPROBE_CAPTURE, capture(what)),
        Action::SockPriv(make) => plain(abi::NLPROBE_SOCK_PRIV, make.into()),
        Action::Block => plain(abi::NLPROBE_BLOCK, 0),
        Action::Sleep(millis) => plain(abi::NLPROBE_SLEEP, millis.into()),
        Action::Datagram(RawDatagram { ref bytes, type_of_request, seq_of_request, portid_of_request }) => {
            let step = message(abi::NLPROBE_DATAGRAM, type_of_request, seq_of_request, bytes);
            abi::Step { c: portid_of_request, ..step }
        }
    }
}

fn capture(what: Capture) -> u64 {
    match what {
        Capture::Message => abi::NLPROBE_CAPTURE_MESSAGE,
        Capture::Attr(_) => abi::NLPROBE_CAPTURE_ATTR,
        Capture::AttrsPresent => abi::NLPROBE_CAPTURE_ATTRS_PRESENT,
        Capture::UserHeader => abi::NLPROBE_CAPTURE_USER_HEADER,
        Capture::DumpState => abi::NLPROBE_CAPTURE_DUMP_STATE,
        Capture::UserPointers => abi::NLPROBE_CAPTURE_USER_POINTERS,
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
