//! Extended acknowledgements after requests of every length: their buffer is made for what they hold.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Outcome, expect_eq, expect_errno};
use crate::port::provider::{Action, AttrKind, Check, Family, On, Op, Policy, PolicyEntry};
use crate::scene::bus::Bus;
use crate::wire::ack::{self, Ack};
use crate::wire::attr::{Attrs, NLA_F_NESTED};
use crate::wire::message::NLM_F_ACK;

cases! {
    attributes_fit_after_any_request(CONTENTS) => "NL-ACK-004";
}

/// What the family's command does to the acknowledgement, the attributes of its request, and the types that are
/// expected.
type Content = (&'static [fn() -> Action], fn() -> Attrs, &'static [u16]);

/// A text whose NUL begins another word.
const TEXT: &str = "four";
const TEXT_OF_THE_RANGE: &[u16] =
    &[ack::NLMSGERR_ATTR_MSG, ack::NLMSGERR_ATTR_OFFS, ack::NLMSGERR_ATTR_POLICY | NLA_F_NESTED];

const CONTENTS: &[(&str, Content)] = &[
    ("text", (&[|| Action::ErrMsg(TEXT.into())], Attrs::new, &[ack::NLMSGERR_ATTR_MSG])),
    ("cookie", (&[|| Action::Cookie(7)], Attrs::new, &[ack::NLMSGERR_ATTR_COOKIE])),
    (
        "text_and_offset",
        (
            &[|| Action::ErrMsg(TEXT.into()), || Action::BadAttr(PADDING)],
            Attrs::new,
            &[ack::NLMSGERR_ATTR_MSG, ack::NLMSGERR_ATTR_OFFS],
        ),
    ),
    ("policy", (&[], || Attrs::new().u64(NUMBER, 99), TEXT_OF_THE_RANGE)),
    (
        "missing_attribute",
        (
            &[|| Action::MissAttr(NUMBER, Some(NEST))],
            || Attrs::new().nest(NEST, Attrs::new()),
            &[ack::NLMSGERR_ATTR_MISS_TYPE, ack::NLMSGERR_ATTR_MISS_NEST],
        ),
    ),
];

/// Attributes of the family: of any length, a number up to 9, and a nest.
const PADDING: u16 = 1;
const NUMBER: u16 = 2;
const NEST: u16 = 3;

/// Words of the request's first attribute: the answers pass the ends of a few sizes of memory blocks.
const LENGTHS: std::ops::Range<usize> = 40..160;

fn attributes_fit_after_any_request(bus: &Bus<'_>, (actions, attrs, expected): &Content) -> Outcome {
    let entries = [
        PolicyEntry::new(PADDING, AttrKind::Binary),
        PolicyEntry::new(NUMBER, AttrKind::U64).check(Check::WideRange(1, 9)),
        PolicyEntry::new(NEST, AttrKind::Nested),
    ];
    let family = Family::named("nlc_room").op(Op::doing(1)).policy(Policy::of(entries));
    let family = actions.iter().fold(family, |family, action| family.on(On::Doit, action()));
    let family = bus.register(family.on(On::Doit, Action::Return(-(libc::ERANGE as i64))))?;
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    for words in LENGTHS {
        let padded = Attrs::new().put(PADDING, &vec![0xa5; 4 * words]);
        let request = family.request(1, padded).attrs(attrs()).with(NLM_F_ACK);
        socket.send(&request)?;
        let refusal = Ack::read(&socket.receive_one()?).unwrap_or_default();
        expect_errno("request", &refusal, Errno::ERANGE)?;
        expect_eq(
            &format!("types after a request of {} bytes", request.len()),
            &refusal.order[..],
            *expected,
        )?;
    }
    Ok(())
}
