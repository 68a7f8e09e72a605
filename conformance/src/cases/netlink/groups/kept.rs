//! Memberships that other joins and leaves of the same socket do not touch.

use nix::errno::Errno;

use super::{forty_groups, has_listeners, multicast};
use crate::cases::cases;
use crate::outcome::{Outcome, expect_eq, expect_errno, expect_ok};
use crate::scene::bus::Bus;
use crate::scene::memberships::Change::{self, Bind, Join, Leave};
use crate::scene::memberships::change;

cases! {
    membership_lasts_until_it_is_left(CHANGES) => "NL-GRP-035";
}

/// In the end it is in one group: this one.
const CHANGES: &[(&str, (&[Change], u32))] = &[
    ("join", (&[Join(3)], 3)),
    ("second_join", (&[Join(3), Join(3)], 3)),
    ("leave_of_another", (&[Join(3), Join(5), Leave(5)], 3)),
    ("leave_of_another_twice", (&[Join(3), Join(5), Leave(5), Leave(5)], 3)),
    ("leave_of_another_joined_twice", (&[Join(3), Join(5), Join(5), Leave(5)], 3)),
    ("leave_of_one_never_joined", (&[Join(3), Leave(5)], 3)),
    ("leave_of_a_high_one_never_joined", (&[Join(3), Leave(40)], 3)),
    ("high_leave_of_a_low_one_never_joined", (&[Join(40), Leave(3)], 40)),
    ("high_bind_and_leave", (&[Join(40), Bind(0b1), Leave(1)], 40)),
    ("high_bind_to_others_and_none", (&[Join(40), Bind(0b11), Bind(0b100), Bind(0)], 40)),
    ("high_bind_to_none", (&[Join(40), Bind(0)], 40)),
    ("high_two_binds_and_leave", (&[Join(33), Join(40), Bind(0b1), Bind(0b1), Leave(1), Leave(33)], 40)),
    ("bind_to_fewer", (&[Bind(0b111), Bind(0b100)], 3)),
    ("bind_to_others", (&[Bind(0b11), Bind(0b100)], 3)),
];

fn membership_lasts_until_it_is_left(bus: &Bus<'_>, (changes, group): &(&[Change], u32)) -> Outcome {
    let (protocol, socket) = forty_groups(bus)?;
    change(&socket, changes)?;
    expect_eq("memberships", socket.memberships()?, [*group])?;
    expect_eq("netlink_has_listeners()", has_listeners(bus, protocol, *group)?, 1)?;
    expect_ok("nlmsg_multicast()", multicast(bus, protocol, *group)?)?;
    socket.receive_one()?;
    socket.leave(*group)?;
    expect_eq("netlink_has_listeners() after it left", has_listeners(bus, protocol, *group)?, 0)?;
    multicast(bus, protocol, *group)?;
    expect_errno("receive after it left", socket.receive_now(100, 0), Errno::EAGAIN)
}
