//! The client family: the one form of generic netlink that all scenarios speak (docs/client-adapter.md).

use nix::errno::Errno;

use super::Stage;
use crate::outcome::Failure;
use crate::port::provider::{Action, AttrKind, Family, On, Op, Policy, PolicyEntry, RawDatagram, Step};
use crate::scene::bus::Registered;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_MULTI};

/// Its name.
pub const FAMILY: &str = "nlc_client";
/// The name of its group, where it has one.
pub const GROUP: &str = "news";
/// Command of requests that are no dumps.
pub const DO: u8 = 1;
/// Command of dumps.
pub const DUMP: u8 = 2;
/// Command that is answered with one message, a number in it.
pub const CANARY: u8 = 20;
/// What the canary sings.
pub(super) const CANARY_NUMBER: u32 = 2020;

/// Types of its attributes.
pub const ATTRIBUTES: Attributes = Attributes { number: 1, filler: 2, text: 3, nest: 4, wide: 5 };

/// See [`ATTRIBUTES`].
pub struct Attributes {
    pub number: u16,
    pub filler: u16,
    pub text: u16,
    pub nest: u16,
    pub wide: u16,
}

/// Attributes of one number, as they stand in a message.
pub fn number(number: u32) -> Vec<u8> {
    Attrs::new().u32(ATTRIBUTES.number, number).as_bytes().to_vec()
}

/// What answers a request with a number.
pub fn numbered(value: u32) -> Action {
    Action::Reply(DO.into(), 0, number(value))
}

/// What [`DO`] does.
pub fn doing(action: Action) -> Step {
    Step::new(On::Doit, action).cmd(DO)
}

/// What each portion of [`DUMP`] does.
pub fn dumping(action: Action) -> Step {
    Step::new(On::Dumpit, action).cmd(DUMP)
}

/// Answers [`DUMP`] with just these datagrams: none of the core's own comes after them.
pub fn answering(family: Family, datagrams: impl IntoIterator<Item = RawDatagram>) -> Family {
    let start = |action| Step::new(On::Start, action).cmd(DUMP);
    let family = datagrams.into_iter().fold(family, |family, one| family.step(start(Action::Datagram(one))));
    family.step(start(Action::Return(-(Errno::EINTR as i64))))
}

/// A message of a dump: a number, and flags beside NLM_F_MULTI. Its type is the request's.
pub fn record(value: u32, flags: u16) -> Message {
    Message::new(0).with(NLM_F_MULTI | flags).bytes(&genl::header(DUMP, 1)).bytes(&number(value))
}

impl Stage<'_> {
    /// Registers the client family, with what the scenario adds to it.
    pub fn family(&self, script: impl FnOnce(Family) -> Family) -> Result<Registered<'_>, Failure> {
        self.family_named(FAMILY, script)
    }

    /// Registers another family of the same form.
    pub fn family_named(
        &self,
        name: &str,
        script: impl FnOnce(Family) -> Family,
    ) -> Result<Registered<'_>, Failure> {
        let canary = Action::Reply(CANARY.into(), 0, number(CANARY_NUMBER));
        let family = Family::named(name)
            .version(1)
            .policy(policy())
            .op(Op::doing(DO))
            .op(Op::dumping(DUMP))
            .op(Op::doing(CANARY))
            .group(GROUP)
            .step(Step::new(On::Doit, canary).cmd(CANARY));
        self.bus().register(script(family))
    }
}

fn policy() -> Policy {
    Policy::of([
        PolicyEntry::new(ATTRIBUTES.number, AttrKind::U32),
        PolicyEntry::new(ATTRIBUTES.filler, AttrKind::Binary),
        PolicyEntry::new(ATTRIBUTES.text, AttrKind::NulString),
        PolicyEntry::new(ATTRIBUTES.nest, AttrKind::Nested),
        PolicyEntry::new(ATTRIBUTES.wide, AttrKind::U64),
    ])
}
