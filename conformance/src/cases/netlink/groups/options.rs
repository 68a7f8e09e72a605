//! Options of SOL_NETLINK: their values, and who may set them.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{
    Failure, Outcome, expect, expect_empty, expect_eq, expect_errno, expect_ok, expect_result,
};
use crate::port::capability::Capability;
use crate::port::provider::{DONT_VALIDATE_DUMP_STRICT, Family, Op};
use crate::port::{Refused, Who};
use crate::scene::bus::{Bus, Socket};
use crate::wire::NETLINK_GET_STRICT_CHK;
use crate::wire::attr::Attrs;
use crate::wire::message::{Message, NLM_F_DUMP};
use crate::wire::route;

cases! {
    short_value_is_zero => "NL-GRP-003";
    short_group_is_refused => "NL-GRP-024";
    rest_of_a_long_value_is_ignored => "NL-GRP-003";
    rest_of_a_long_group_is_ignored => "NL-GRP-003";
    unreadable_value_is_refused(FLAGS) => "NL-GRP-023";
    option_is_on_or_off(FLAGS) => "NL-GRP-015";
    long_buffer_gets_4_bytes(FLAGS) => "NL-GRP-016";
    short_buffer_is_refused(FLAGS) => "NL-GRP-016";
    negative_length_is_refused(FLAGS) => "NL-GRP-016";
    listen_all_nsid_can_be_read => "NL-GRP-017";
    listen_all_nsid_needs_permission(SWITCHES) => "NL-GRP-018";
    listen_all_nsid_is_for_the_owner_of_the_namespace => "NL-GRP-018";
    length_that_cannot_be_written_back => "NL-GRP-019";
    unwritable_value_is_refused(FLAGS) => "NL-GRP-033";
    unwritable_length_is_refused(FLAGS) => "NL-GRP-033";
    unwritable_list_is_refused(UNWRITABLE) => "NL-GRP-033";
    strict_route_dump_is_checked => "NL-GRP-021";
    route_dump_without_strict_checking_succeeds => "NL-GRP-021";
    generic_dump_ignores_strict_checking(SWITCHES) => "NL-GRP-027";
}

const FLAGS: &[(&str, i32)] = &[
    ("pktinfo", libc::NETLINK_PKTINFO),
    ("broadcast_error", libc::NETLINK_BROADCAST_ERROR),
    ("no_enobufs", libc::NETLINK_NO_ENOBUFS),
    ("cap_ack", libc::NETLINK_CAP_ACK),
    ("ext_ack", libc::NETLINK_EXT_ACK),
    ("get_strict_chk", NETLINK_GET_STRICT_CHK),
];

fn short_value_is_zero(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    socket.set(libc::NETLINK_PKTINFO, 1)?;
    expect_eq("NETLINK_PKTINFO before", socket.get(libc::NETLINK_PKTINFO)?, 1)?;
    expect_ok("setsockopt() of 3 bytes", socket.set_bytes(libc::NETLINK_PKTINFO, &[0xff; 3]))?;
    expect_eq("NETLINK_PKTINFO", socket.get(libc::NETLINK_PKTINFO)?, 0)
}

fn short_group_is_refused(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    let joined = socket.set_bytes(libc::NETLINK_ADD_MEMBERSHIP, &[1; 3]);
    expect_errno("joining with 3 bytes", joined, bus.expected("group_0")?)?;
    expect_empty("memberships", socket.memberships()?)
}

fn rest_of_a_long_value_is_ignored(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    let value = [[1; 4], [0; 4]].concat();
    expect_ok("setsockopt() of 8 bytes", socket.set_bytes(libc::NETLINK_PKTINFO, &value))?;
    expect_eq("NETLINK_PKTINFO", socket.get(libc::NETLINK_PKTINFO)?, 1)
}

fn rest_of_a_long_group_is_ignored(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    let value = [3u32, 0xffff_ffff].map(u32::to_ne_bytes).concat();
    expect_ok("joining with 8 bytes", socket.set_bytes(libc::NETLINK_ADD_MEMBERSHIP, &value))?;
    expect_eq("memberships", socket.memberships()?, [3])
}

fn unreadable_value_is_refused(bus: &Bus<'_>, option: &i32) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    let set = socket.raw().refused(Refused::UnreadableValue(*option));
    expect_errno("setsockopt()", set, bus.expected("fault")?)
}

fn option_is_on_or_off(bus: &Bus<'_>, option: &i32) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    expect_eq("value at first", socket.get(*option), Ok(0))?;
    for (value, expected) in [(256, 1), (0, 0), (u32::MAX, 1)] {
        expect_ok("setsockopt()", socket.set(*option, value))?;
        expect_eq(&format!("value after {value}"), socket.get(*option), Ok(expected))?;
    }
    Ok(())
}

fn long_buffer_gets_4_bytes(bus: &Bus<'_>, option: &i32) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    expect_eq("value and length reported", socket.get_bytes(*option, 8)?, (vec![0; 4], 4))
}

fn short_buffer_is_refused(bus: &Bus<'_>, option: &i32) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    for room in [0, 3] {
        let got = socket.get_bytes(*option, room);
        expect_errno(&format!("getsockopt() into {room} bytes"), got, bus.expected("short")?)?;
    }
    Ok(())
}

fn negative_length_is_refused(bus: &Bus<'_>, option: &i32) -> Outcome {
    let got = bus.open(libc::NETLINK_ROUTE)?.raw().refused(Refused::NegativeRoom(*option));
    expect_errno("getsockopt() with length -1", got, bus.expected("short")?)
}

fn listen_all_nsid_can_be_read(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    let at_first = socket.get(libc::NETLINK_LISTEN_ALL_NSID);
    expect_result("getsockopt()", at_first, bus.expected("result")?)?;
    socket.set(libc::NETLINK_LISTEN_ALL_NSID, 256)?;
    let values = (at_first, socket.get(libc::NETLINK_LISTEN_ALL_NSID));
    expect("values before and after", values.0.is_err() || values == (Ok(0), Ok(1)), "0 and 1", values)
}

const SWITCHES: &[(&str, u32)] = &[("off", 0), ("on", 1)];

fn listen_all_nsid_needs_permission(bus: &Bus<'_>, value: &u32) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let set = bus.open(libc::NETLINK_ROUTE)?.set(libc::NETLINK_LISTEN_ALL_NSID, *value);
        expect_errno("setsockopt()", set, bus.expected("errno")?)
    })
}

fn listen_all_nsid_is_for_the_owner_of_the_namespace(bus: &Bus<'_>) -> Outcome {
    let set = || bus.try_open(libc::SOCK_RAW, libc::NETLINK_ROUTE)?.set(libc::NETLINK_LISTEN_ALL_NSID, 1);
    bus.run_as(Who::UserNamespaceRoot, || {
        expect_errno("setsockopt() in a foreign network namespace", set(), bus.expected("errno")?)
    })?;
    bus.run_as(Who::OwnNamespacesRoot, || {
        expect_ok("setsockopt() in a network namespace of one's own", set())
    })
}

fn length_that_cannot_be_written_back(bus: &Bus<'_>) -> Outcome {
    let got = bus.open(libc::NETLINK_ROUTE)?.raw().refused(Refused::ReadOnlyLength(99));
    expect_errno("getsockopt()", got, bus.expected("errno")?)
}

/// A socket of which this option can be read. Where it cannot, the memory for it is not what getsockopt() refuses.
fn readable(bus: &Bus<'_>, option: i32) -> Result<Socket, Failure> {
    let socket = bus.open(libc::NETLINK_ROUTE)?;
    match socket.get_bytes(option, 4) {
        Ok(_) => Ok(socket),
        Err(errno) => {
            Err(Failure::Skip(format!("the option cannot be read at all: getsockopt() fails with {errno:?}")))
        }
    }
}

fn unwritable_value_is_refused(bus: &Bus<'_>, option: &i32) -> Outcome {
    let got = readable(bus, *option)?.raw().refused(Refused::UnwritableValue(*option));
    expect_errno("getsockopt()", got, bus.expected("fault")?)
}

fn unwritable_length_is_refused(bus: &Bus<'_>, option: &i32) -> Outcome {
    let got = readable(bus, *option)?.raw().refused(Refused::ReadOnlyLength(*option));
    expect_errno("getsockopt()", got, bus.expected("fault")?)
}

const UNWRITABLE: &[(&str, Refused)] = &[
    ("value", Refused::UnwritableValue(libc::NETLINK_LIST_MEMBERSHIPS)),
    ("length", Refused::ReadOnlyLength(libc::NETLINK_LIST_MEMBERSHIPS)),
];

fn unwritable_list_is_refused(bus: &Bus<'_>, call: &Refused) -> Outcome {
    let socket = readable(bus, libc::NETLINK_LIST_MEMBERSHIPS)?;
    socket.join(1)?;
    expect_errno("getsockopt()", socket.raw().refused(*call), bus.expected("fault")?)?;
    expect_eq("memberships", socket.memberships()?, [1])
}

/// A dump of the interfaces that are up; no kernel has such a filter.
fn filtered_dump() -> Message {
    route::link(route::RTM_GETLINK, route::Link { flags: libc::IFF_UP as u32, ..Default::default() })
        .with(NLM_F_DUMP)
}

fn strict_route_dump_is_checked(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.set(NETLINK_GET_STRICT_CHK, 1)?;
    expect_errno("end of the dump", &socket.ask(&filtered_dump())?, bus.expected("errno")?)
}

fn route_dump_without_strict_checking_succeeds(bus: &Bus<'_>) -> Outcome {
    let answer = bus.bound(libc::NETLINK_ROUTE)?.ask(&filtered_dump())?;
    expect_ok("end of the dump", &answer)?;
    expect("interfaces", !answer.replies.is_empty(), "the loopback at least", &answer.replies)
}

/// The command is validated liberally, and stays so: it accepts an attribute that its family does not have.
fn generic_dump_ignores_strict_checking(bus: &Bus<'_>, strict: &u32) -> Outcome {
    let lax = Op::dumping(1).validate(DONT_VALIDATE_DUMP_STRICT);
    let family = Family { resv_start_op: 2, ..Family::named("nlc_lax") };
    let family = bus.register(family.op(lax))?;
    let socket = bus.generic()?;
    socket.set(NETLINK_GET_STRICT_CHK, *strict)?;
    let request = family.request(1, Attrs::new().u32(99, 0)).with(NLM_F_DUMP);
    expect_ok("end of the dump", &socket.ask(&request)?)
}
