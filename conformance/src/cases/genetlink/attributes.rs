//! Attribute parsing and policies.

use nix::libc;

use crate::bus::Bus;
use crate::cases::cases;
use crate::outcome::{Outcome, expect_eq, expect_errno};
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::DUMP;

cases! {
    unknown_type_is_refused(UNKNOWN_TYPES) => "GENL-ATT-001";
}

const UNKNOWN_TYPES: &[(&str, u16)] = &[("0", 0), ("11", 11), ("highest", 0x3fff)];

/// The controller's GETPOLICY is validated strictly and knows the types up to 10.
fn unknown_type_is_refused(bus: &Bus<'_>, kind: &u16) -> Outcome {
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    let attrs = Attrs::new().u16(genl::ATTR_FAMILY_ID, genl::ID_CTRL).u32(*kind, 0);
    let answer = socket.ask(&genl::request(genl::ID_CTRL, genl::CMD_GETPOLICY, attrs).with(DUMP))?;
    let ack = answer.ack()?;
    expect_errno("request", ack, bus.expected("errno")?)?;
    expect_eq("message", ack.message.clone(), Some(bus.expected::<String>("message")?))?;
    expect_eq("offset of the second attribute", ack.offset, Some(16 + 4 + 8))
}
