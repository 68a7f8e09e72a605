//! A family that only validates attributes, for the cases about policies.

use nix::libc;

use crate::outcome::{Failure, Outcome, expect_eq, expect_errno, expect_ok};
use crate::port::provider::{Action, Capture, DONT_VALIDATE_STRICT, Family, On, Op, Policy, PolicyEntry};
use crate::scene::bus::{Bus, Registered, Socket};
use crate::wire::ack::Ack;
use crate::wire::attr::{Attrs, NLA_HDRLEN};
use crate::wire::message::{self, Message, NLM_F_ACK};
use crate::wire::{align, genl};

/// The command that is validated strictly.
pub const STRICT: u8 = 1;
/// The command that is validated liberally.
pub const LIBERAL: u8 = 2;

/// Offset of the first attribute of a request.
pub const FIRST: u32 = (message::NLMSG_HDRLEN + genl::GENL_HDRLEN) as u32;

/// Offset of the attribute after these.
pub fn after(attrs: &Attrs) -> u32 {
    FIRST + attrs.as_bytes().len() as u32
}

/// Offset of the first attribute inside an attribute at this offset.
pub const fn within(offset: u32) -> u32 {
    offset + NLA_HDRLEN as u32
}

/// The size of an attribute with a payload of this many bytes.
pub const fn taken(payload: usize) -> u32 {
    align(NLA_HDRLEN + payload) as u32
}

/// How a request ends: `None` if it is accepted, else the names of the values that the
/// requirement has for the errno and for the message.
pub type End = Option<(&'static str, &'static str)>;

/// The end for a requirement with a single error.
pub const REFUSED: End = Some(("errno", "message"));

/// A family with this policy, which logs attribute 1. Only below `resv_start_op` can a command be
/// validated liberally.
pub fn family(policy: Policy) -> Family {
    Family { resv_start_op: u32::from(LIBERAL) + 1, ..Family::named("nlc_validated") }
        .policy(policy)
        .op(Op::doing(STRICT))
        .op(Op::doing(LIBERAL).validate(DONT_VALIDATE_STRICT))
        .on(On::Doit, Action::Capture(Capture::Attr(1)))
}

/// The family, registered, and a socket with NETLINK_EXT_ACK.
pub struct Validated<'b> {
    bus: &'b Bus<'b>,
    family: Registered<'b>,
    socket: Socket,
}

impl<'b> Validated<'b> {
    /// A family with this policy; attribute 1 is logged.
    pub fn by(bus: &'b Bus<'b>, policy: Policy) -> Result<Self, Failure> {
        Validated::registered(bus, family(policy))
    }

    /// A family whose attribute 1 is described by this entry.
    pub fn by_entry(bus: &'b Bus<'b>, entry: PolicyEntry) -> Result<Self, Failure> {
        Validated::by(bus, Policy::of([entry]))
    }

    /// Any family.
    pub fn registered(bus: &'b Bus<'b>, family: Family) -> Result<Self, Failure> {
        Ok(Validated { bus, family: bus.register(family)?, socket: explaining(bus)? })
    }

    /// The answer to a request for this command with these attributes.
    pub fn ask(&self, cmd: u8, attrs: Attrs) -> Result<Ack, Failure> {
        self.ask_with(self.request(cmd, attrs).with(NLM_F_ACK))
    }

    /// The answer to this request.
    pub fn ask_with(&self, request: Message) -> Result<Ack, Failure> {
        self.socket.ask(&request)?.ack().cloned()
    }

    /// A request for this command.
    pub fn request(&self, cmd: u8, attrs: Attrs) -> Message {
        self.family.request(cmd, attrs)
    }

    /// A strict request with these attributes must end like this.
    pub fn strictly(&self, attrs: Attrs, end: End) -> Outcome {
        let offset = FIRST;
        expect_end(self.bus, "strict request", &self.ask(STRICT, attrs)?, end, Some(offset))
    }

    /// A liberal request with these attributes must end like this.
    pub fn liberally(&self, attrs: Attrs, end: End) -> Outcome {
        let offset = FIRST;
        expect_end(self.bus, "liberal request", &self.ask(LIBERAL, attrs)?, end, Some(offset))
    }

    /// What the callbacks logged: sequence numbers and bytes.
    pub fn logged(&self, on: On) -> Result<Vec<(u32, Vec<u8>)>, Failure> {
        Ok(self.bus.calls(on)?.into_iter().map(|entry| (entry.seq, entry.bytes)).collect())
    }
}

/// A socket with NETLINK_EXT_ACK.
pub fn explaining(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    Ok(socket)
}

/// An answer must end like this; an error must report the attribute at this offset.
pub fn expect_end(bus: &Bus<'_>, what: &str, ack: &Ack, end: End, offset: Option<u32>) -> Outcome {
    let Some((errno, message)) = end else { return expect_ok(what, ack) };
    expect_errno(what, ack, bus.expected(errno)?)?;
    expect_eq("message", ack.message.clone(), Some(bus.expected::<String>(message)?))?;
    expect_eq("offset of the attribute", ack.offset, offset)
}
