//! Groups of the connector.

use nix::libc::NETLINK_CONNECTOR;

use crate::bus::Bus;
use crate::cases::cases;
use crate::outcome::{Outcome, expect_errno, expect_ok};

cases! {
    last_group_can_be_joined => "CN-BIND-001";
    group_out_of_range_is_refused(NO_GROUPS) => "CN-BIND-001";
}

fn last_group_can_be_joined(bus: &Bus<'_>) -> Outcome {
    let last: u32 = bus.expected("groups")?;
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    expect_ok("joining the last group", socket.join(last))?;
    expect_errno("joining the one behind it", socket.join(last + 1), bus.expected("errno")?)
}

const NO_GROUPS: &[(&str, u32)] = &[("zero", 0), ("the_documents_12345", 12345), ("highest", u32::MAX)];

fn group_out_of_range_is_refused(bus: &Bus<'_>, group: &u32) -> Outcome {
    let socket = bus.bound(NETLINK_CONNECTOR)?;
    expect_errno("joining", socket.join(*group), bus.expected("errno")?)
}
