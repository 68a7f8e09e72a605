//! Random invalid ioctls, which the probe must refuse or survive.
//!
//! They are valid arguments in which some fields are overwritten, also in the arrays
//! that they point to, so that some get far. None breaks the kernel on purpose, and
//! none waits for long.

use nix::libc;

use super::abi::{self, Array, Ioctl, Plain};
use super::device::Device;
use super::encode::Arena;
use super::random::Random;
use crate::port::provider::{On, Unable};

/// Addresses at which a process has no memory.
const NOWHERE: [u64; 4] = [0, 8, 0xffff_8000_0000_0000, u64::MAX - 7];

/// Issues a few ioctls on a newly opened probe, `rounds` times; returns how many were accepted. The same
/// seed gives the same ioctls, except for the addresses in them.
///
/// # Errors
/// If there is no probe with this ABI.
pub fn fuzz(seed: u64, rounds: u32) -> Result<u32, Unable> {
    Device::open()?;
    let mut random = Random::new(seed);
    let mut accepted = 0;
    for _ in 0..rounds {
        let (device, _) = Device::open()?;
        // SAFETY: a `Fuzz` provides as many bytes as the number says, or an invalid address, and
        // logs have buffers of their own.
        let mut issue = |code, argument| accepted += u32::from(unsafe { device.raw(code, argument) }.is_ok());
        for _ in 0..=random.below(12) {
            Fuzz { random: &mut random, arena: Arena::default(), issue: &mut issue }.any();
        }
    }
    Ok(accepted)
}

/// The construction of one ioctl.
struct Fuzz<'f> {
    random: &'f mut Random,
    arena: Arena,
    issue: &'f mut dyn FnMut(libc::Ioctl, *mut u8),
}

impl Fuzz<'_> {
    fn any(&mut self) {
        match self.random.below(17) {
            0 => self.garbage(),
            1 => self.nowhere(),
            2 => self.unknown(),
            3 => self.corrupted(&abi::NLPROBE_INFO, abi::Info::default()),
            4 | 5 => self.family(),
            6 => self.registration(&abi::NLPROBE_REGISTER),
            7 => self.registration(&abi::NLPROBE_UNREGISTER),
            8 => self.protocol(),
            9 => self.send(),
            10 => self.callback(),
            11 => self.connector_send(),
            12 => self.tap(),
            13 => self.state(),
            14 => self.log(),
            15 => {
                let handle = self.handle();
                self.corrupted(&abi::NLPROBE_PROTOCOL_END, handle);
                let id = self.id();
                self.corrupted(&abi::NLPROBE_CALLBACK_END, id);
            }
            _ => {
                self.corrupted(&abi::NLPROBE_WATCH_RELEASE, ());
                self.corrupted(&abi::NLPROBE_RELEASE, ());
            }
        }
    }

    /// Issues an ioctl, with the argument intact or with a field overwritten.
    fn corrupted<T: Plain>(&mut self, ioctl: &Ioctl<T>, mut argument: T) {
        self.random.corrupt(argument.bytes_mut());
        self.exact(ioctl, argument);
    }

    fn exact<T: Plain>(&mut self, ioctl: &Ioctl<T>, mut argument: T) {
        (self.issue)(ioctl.code, argument.bytes_mut().as_mut_ptr());
    }

    /// One of the ioctls, except those that break the kernel or write to where their argument
    /// says.
    fn harmless(&mut self) -> libc::Ioctl {
        let harmless = abi::IOCTLS.iter().map(|(_, code)| *code);
        let harmless =
            harmless.filter(|code| ![abi::NLPROBE_FAULT.code, abi::NLPROBE_LOG.code].contains(code));
        self.random.pick(&harmless.collect::<Vec<_>>())
    }

    /// Nothing of it is right.
    fn garbage(&mut self) {
        let code = self.harmless();
        let mut bytes = [0; 512];
        self.random.fill(&mut bytes);
        (self.issue)(code, bytes.as_mut_ptr());
    }

    /// An invalid address as the argument.
    fn nowhere(&mut self) {
        let code = self.harmless();
        let address = self.random.pick(&NOWHERE);
        (self.issue)(code, address as *mut u8);
    }

    /// A number that no ioctl has: another size, direction or place in the list.
    fn unknown(&mut self) {
        let code = self.harmless() ^ (1 << self.random.below(32));
        if !abi::IOCTLS.iter().any(|(_, known)| *known == code) {
            let mut bytes = vec![0; 1 << 14];
            self.random.fill(&mut bytes);
            (self.issue)(code, bytes.as_mut_ptr());
        }
    }

    fn family(&mut self) {
        let call = self.call();
        let policies = self.random.below(3) as i64;
        let maxattr = self.random.below(10) as u32;
        let argument = abi::Family {
            registration: abi::Registration { call, ..Default::default() },
            name: self.name(),
            id: self.random.below(3) as u32,
            hdrsize: 4 * self.random.below(3) as u32,
            version: 1,
            maxattr,
            policy: self.random.below(1 + policies as u64) as i32 - 1,
            flags: self.random.below(16) as u32,
            resv_start_op: self.random.below(8) as u32,
            missing_array: abi::NLPROBE_OPS_COUNT,
            ops: self.many(8, |fuzz| fuzz.op(policies)),
            groups: self.many(6, |fuzz| abi::Group { name: fuzz.name(), flags: fuzz.random.below(4) as u32 }),
            policies: self.policies(policies as usize),
            script: self.script(),
        };
        self.corrupted(&abi::NLPROBE_FAMILY, argument);
    }

    fn op(&mut self, policies: i64) -> abi::Op {
        let flags = self.random.below(16) as u8;
        abi::Op {
            kind: self.random.below(abi::NLPROBE_OPS_COUNT.into()) as u8,
            cmd: self.random.below(12) as u8,
            flags,
            validate: self.random.below(8) as u8,
            internal_flags: 0,
            callbacks: self.random.pick(&[
                abi::NLPROBE_OP_DOIT,
                abi::NLPROBE_OP_DUMPIT,
                abi::NLPROBE_OP_DOIT | abi::NLPROBE_OP_DUMPIT,
                abi::NLPROBE_OP_START | abi::NLPROBE_OP_DUMPIT | abi::NLPROBE_OP_DONE,
                flags.into(),
            ]) as u8,
            reserved: 0,
            maxattr: self.random.below(10) as u32,
            policy: self.random.below(1 + policies as u64) as i32 - 1,
        }
    }

    fn policies(&mut self, count: usize) -> Array {
        let mut policies = Vec::new();
        for _ in 0..count {
            let entries = self.many(10, Fuzz::entry);
            let mut policy = abi::Policy { entries, maxattr: 10, strict_start_type: 0 };
            self.random.corrupt(policy.bytes_mut());
            policies.push(policy);
        }
        self.arena.array(policies)
    }

    fn entry(&mut self) -> abi::PolicyEntry {
        let checks = self.random.pick(&[1, abi::NLPROBE_CHECK_COUNT]);
        abi::PolicyEntry {
            attr: self.random.below(10) as u16,
            len: self.random.below(10) as u16,
            kind: self.random.below(abi::NLPROBE_KIND_COUNT.into()) as u8,
            check: self.random.below(checks.into()) as u8,
            reserved: 0,
            a: self.random.below(3),
            b: self.random.below(9),
            text: self.bytes(20),
        }
    }

    fn script(&mut self) -> Array {
        let count = self.random.below(5);
        let steps = (0..count).map(|_| self.step()).collect();
        self.arena.array(steps)
    }

    /// A step that does not block its callback for long, whatever else may be wrong with it.
    fn step(&mut self) -> abi::Step {
        let everywhere = [
            abi::NLPROBE_RETURN,
            abi::NLPROBE_BAD_ATTR,
            abi::NLPROBE_COOKIE,
            abi::NLPROBE_CAPTURE,
            abi::NLPROBE_SLEEP,
        ];
        let mut step = abi::Step {
            on: self.random.pick(&[On::Doit, On::Input, On::Connector]) as u8,
            action: self.random.pick(&everywhere) as u8,
            cmd: self.random.below(4) as i16 - 1,
            call: self.random.below(3) as u32,
            a: self.random.below(2),
            ..Default::default()
        };
        if self.random.once_in(3) {
            step.on = self.random.below(abi::NLPROBE_ON_COUNT.into()) as u8;
            step.action = self.random.below(abi::NLPROBE_ACTION_COUNT.into()) as u8;
            step.bytes = self.bytes(40);
        }
        self.random.corrupt(step.bytes_mut());
        if [abi::NLPROBE_BLOCK, abi::NLPROBE_SLEEP].contains(&step.action.into()) {
            step.action = abi::NLPROBE_SLEEP as u8;
            step.a = step.a.min(1);
        }
        step
    }

    fn registration(&mut self, ioctl: &Ioctl<abi::Registration>) {
        let argument = abi::Registration { call: self.call(), handle: self.handle(), ..Default::default() };
        self.corrupted(ioctl, argument);
    }

    fn protocol(&mut self) {
        let argument = abi::Protocol {
            call: self.call(),
            protocol: self.random.below(33) as i32,
            groups: self.random.below(100) as u32,
            flags: self.random.below(16) as u32,
            script: self.script(),
            ..Default::default()
        };
        self.corrupted(&abi::NLPROBE_PROTOCOL, argument);
    }

    fn send(&mut self) {
        let argument = abi::Send {
            call: self.call(),
            handle: self.handle(),
            verb: self.random.below(abi::NLPROBE_VERB_COUNT.into()) as u32,
            arg: self.random.below(64) as u32,
            group: self.random.below(4) as u32,
            portid: self.random.below(2) as u32,
            seq: 1,
            r#type: self.random.below(40) as u16,
            flags: self.random.number() as u16,
            raw: self.random.below(2) as u32,
            payload: self.bytes(200),
            ..Default::default()
        };
        self.corrupted(&abi::NLPROBE_SEND, argument);
    }

    fn callback(&mut self) {
        let name = self.bytes(u64::from(abi::NLPROBE_CN_NAME) + 4);
        let (call, id, script) = (self.call(), self.id(), self.script());
        self.corrupted(
            &abi::NLPROBE_CALLBACK,
            abi::Callback { call, id, name, script, ..Default::default() },
        );
    }

    fn connector_send(&mut self) {
        let payload = self.bytes(200);
        let argument = abi::ConnectorSend {
            call: self.call(),
            id: self.id(),
            len: payload.count as u16,
            group: self.random.below(10) as u32,
            filter: self.random.below(2) as u32,
            payload,
            ..Default::default()
        };
        self.corrupted(&abi::NLPROBE_CONNECTOR_SEND, argument);
    }

    fn tap(&mut self) {
        let (ifindex, add) = (self.random.below(3) as u32, self.random.below(2) as u32);
        self.corrupted(&abi::NLPROBE_TAP, abi::Tap { result: 0, ifindex, add });
    }

    fn state(&mut self) {
        let mut argument = abi::State::default();
        self.random.corrupt(argument.bytes_mut());
        argument.wait_ms = brief(argument.wait_ms);
        self.exact(&abi::NLPROBE_STATE, argument);
    }

    fn log(&mut self) {
        let buffer = self.arena.array(vec![0u8; self.random.below(2 << 16) as usize]);
        let mut argument = abi::Log { buffer, ..Default::default() };
        self.random.corrupt(argument.bytes_mut());
        argument.wait_ms = brief(argument.wait_ms);
        // Entries must not overwrite this process's memory, except the buffer.
        if argument.buffer.ptr != buffer.ptr || argument.buffer.count > buffer.count {
            argument.buffer.ptr = self.random.pick(&NOWHERE);
        }
        self.exact(&abi::NLPROBE_LOG, argument);
    }

    fn call(&mut self) -> abi::Call {
        let fail_nth = if self.random.once_in(4) { self.random.below(30) as u32 } else { 0 };
        let net =
            self.random.pick(&[abi::NLPROBE_NET_OWN, abi::NLPROBE_NET_OWN, abi::NLPROBE_NET_INITIAL, 0]);
        let contexts = u64::from(abi::NLPROBE_CONTEXT_COUNT);
        let context = if self.random.once_in(4) { self.random.below(contexts) as u32 } else { 0 };
        abi::Call { fail_nth, net, context, failed: 0 }
    }

    /// Mostly one that exists.
    fn handle(&mut self) -> u32 {
        self.random.below(5) as u32
    }

    fn id(&mut self) -> abi::CbId {
        abi::CbId { idx: 100 + self.random.below(3) as u32, val: self.random.below(2) as u32 }
    }

    fn name(&mut self) -> [u8; abi::NLPROBE_NAME as usize] {
        let mut name = [0; abi::NLPROBE_NAME as usize];
        name[..4].copy_from_slice(b"fuzz");
        name[4] = b'a' + self.random.below(26) as u8;
        name
    }

    /// Up to this many bytes.
    fn bytes(&mut self, most: u64) -> Array {
        let mut bytes = vec![0; self.random.below(most + 1) as usize];
        self.random.fill(&mut bytes);
        self.arena.array(bytes)
    }

    /// Up to this many items, sometimes with a field overwritten.
    fn many<T: Plain + 'static>(&mut self, most: u64, mut make: impl FnMut(&mut Self) -> T) -> Array {
        let mut items = Vec::new();
        for _ in 0..self.random.below(most) {
            let mut item = make(self);
            self.random.corrupt(item.bytes_mut());
            items.push(item);
        }
        self.arena.array(items)
    }
}

/// A short wait, or one that is too long to be accepted.
fn brief(wait_ms: u32) -> u32 {
    if wait_ms > abi::NLPROBE_MAX_WAIT { wait_ms } else { wait_ms % 3 }
}

#[cfg(test)]
#[path = "fuzz_tests.rs"]
mod tests;
