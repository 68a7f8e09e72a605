//! Nests and messages that kernel code takes back because something does not fit.

use nix::libc::EMSGSIZE;

use super::helpers::{GIVEN, call};
use crate::cases::cases;
use crate::outcome::{Outcome, expect_bytes, expect_eq};
use crate::port::provider::{Helper, HelperCall};
use crate::scene::bus::Bus;
use crate::wire::attr::{Attrs, NLA_F_NESTED};
use crate::wire::message::Message;

cases! {
    nest_is_ended_or_taken_back(NESTS) => "GENL-ATT-068";
    message_is_taken_back(MESSAGES) => "GENL-ATT-068";
}

const PAYLOAD: &[u8] = b"abcd";

/// The function, the room, and the type of the nest that must be there after an empty attribute; 0 for none.
type Nest = (Helper, u32, u16);

const NESTS: &[(&str, Nest)] = &[
    ("ended", (Helper::Nest, 16, GIVEN | NLA_F_NESTED)),
    ("taken_back", (Helper::Nest, 12, 0)),
    ("taken_back_when_empty", (Helper::Nest, 8, 0)),
    ("not_started", (Helper::Nest, 4, 0)),
    ("ended_without_flag", (Helper::NestNoflag, 16, GIVEN)),
    ("taken_back_without_flag", (Helper::NestNoflag, 12, 0)),
];

fn nest_is_ended_or_taken_back(bus: &Bus<'_>, (helper, room, nest): &Nest) -> Outcome {
    let made = HelperCall { helper: *helper, argument: *room, ..HelperCall::default() };
    let (returned, bytes) = call(bus, PAYLOAD, made)?;
    let first = Attrs::new().put(1, &[]);
    if *nest == 0 {
        expect_eq("return value", returned, -(EMSGSIZE as i64))?;
        return expect_bytes("attributes", bytes, first.as_bytes());
    }
    expect_eq("return value", returned, 0)?;
    let inner = Attrs::new().put(1, PAYLOAD);
    expect_bytes("attributes", bytes, first.put(*nest, inner.as_bytes()).as_bytes())
}

/// The function, the room, and what it returns. A message takes 20 bytes, of which one must remain.
const MESSAGES: &[(&str, (Helper, u32, i64))] = &[
    ("second", (Helper::Cancel, 40, 0)),
    ("second_that_does_not_fit", (Helper::Cancel, 36, -(EMSGSIZE as i64))),
    ("none", (Helper::CancelNull, 40, 0)),
];

fn message_is_taken_back(bus: &Bus<'_>, (helper, room, result): &(Helper, u32, i64)) -> Outcome {
    let made = HelperCall { helper: *helper, argument: *room, ..HelperCall::default() };
    let (returned, bytes) = call(bus, PAYLOAD, made)?;
    expect_eq("return value", returned, *result)?;
    expect_bytes("messages", bytes, Message::new(16).bytes(PAYLOAD).encode())
}
