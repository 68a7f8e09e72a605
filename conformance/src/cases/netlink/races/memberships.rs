//! A socket whose memberships change in one thread, and are looked at in another. The bitmap of groups moves where it
//! grows: KASAN and KCSAN report who reads the old one.

use nix::libc::{self, NETLINK_USERSOCK};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_empty, expect_eq, expect_ok};
use crate::port::provider::{Call, Family, KernelSend, Protocol, Verb};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Socket};
use crate::scene::threads::{at_once, rounds, while_other};
use crate::wire::address::Address;
use crate::wire::sock_diag::{self, NDIAG_SHOW_GROUPS, Record};

cases! {
    joins_race_with_getsockname => "NL-GRP-037";
    joins_race_with_the_list_of_groups => "NL-GRP-037";
    bind_races_with_join => "NL-GRP-037";
    first_joins_race_with_sock_diag => "NL-DIAG-020";
    first_joins_race_with_the_list_of_sockets => "NL-DIAG-020";
    growth_races_with_sock_diag [invasive] => "NL-DIAG-020";
}

const GROUP: u32 = 7;

/// Joins and leaves, for as long as a race lasts, and joins.
fn join_and_leave(socket: &Socket) -> Outcome {
    for _ in rounds() {
        socket.join(GROUP)?;
        socket.leave(GROUP)?;
    }
    expect_empty("groups after leaving", socket.memberships()?)?;
    socket.join(GROUP)?;
    expect_eq("groups after joining", socket.memberships()?, [GROUP])
}

fn joins_race_with_getsockname(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(NETLINK_USERSOCK)?;
    let ask = || {
        let groups = socket.name()?.groups;
        expect("groups", [0, 1 << (GROUP - 1)].contains(&groups), "none or that one", groups)
    };
    while_other(ask, || join_and_leave(&socket))
}

fn joins_race_with_the_list_of_groups(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(NETLINK_USERSOCK)?;
    let ask = || {
        let groups = socket.memberships()?;
        expect("groups", groups.is_empty() || groups == [GROUP], "none or that one", groups)
    };
    while_other(ask, || join_and_leave(&socket))
}

/// The groups of bind() and of a join are in the same bitmap, and counted together.
fn bind_races_with_join(bus: &Bus<'_>) -> Outcome {
    const GROUPS: [u32; 2] = [1, 40];
    let protocol = bus.create_protocol(&Protocol::with_groups(FREE_PROTOCOL, 64))?;
    for _ in rounds() {
        let socket = bus.bound(FREE_PROTOCOL)?;
        let address = Address { groups: 1, ..socket.name()? };
        at_once(|| Ok(socket.bind(address)?), || Ok(socket.join(40)?))?;
        expect_eq("groups", socket.memberships()?, GROUPS)?;
        for group in GROUPS {
            let send = KernelSend { group, cmd: 0x20, ..KernelSend::new(Verb::Multicast) };
            expect_ok("nlmsg_multicast()", bus.send_from(protocol, &send, &Call::default())?)?;
            socket.receive_one()?;
        }
    }
    Ok(())
}

/// What a socket that joins its first group must be shown with, as sock_diag has it.
fn is_whole(groups: &[u8]) -> bool {
    let bytes = (1u64 << (GROUP - 1)).to_ne_bytes();
    groups.iter().all(|byte| *byte == 0) || groups.starts_with(&bytes[..groups.len().min(8)])
}

fn first_joins(bus: &Bus<'_>) -> Outcome {
    rounds().try_for_each(|_| Ok(bus.bound(NETLINK_USERSOCK)?.join(GROUP)?))
}

fn records(asking: &Socket, protocol: i32) -> Result<Vec<Record>, Failure> {
    let answer = asking.ask(&sock_diag::sockets(protocol as u8, NDIAG_SHOW_GROUPS))?;
    Ok(answer.replies.iter().filter_map(Record::read).collect())
}

fn first_joins_race_with_sock_diag(bus: &Bus<'_>) -> Outcome {
    let asking = bus.diag()?;
    let inspect = || {
        let records = records(&asking, NETLINK_USERSOCK)?;
        let partial = records.iter().find(|record| !is_whole(&record.groups));
        expect("groups", partial.is_none(), "none or the one that each socket joins", partial)
    };
    while_other(inspect, || first_joins(bus))
}

fn first_joins_race_with_the_list_of_sockets(bus: &Bus<'_>) -> Outcome {
    let group = format!("{:08x}", 1 << (GROUP - 1));
    let inspect = || {
        let text = bus.file("/proc/net/netlink")?;
        let mut groups = text.lines().filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            (fields.next()? == NETLINK_USERSOCK.to_string()).then_some(())?;
            fields.nth(1)
        });
        let partial = groups.find(|groups| *groups != "00000000" && *groups != group);
        expect("groups", partial.is_none(), "none or the one that each socket joins", partial)
    };
    while_other(inspect, || first_joins(bus))
}

/// Each family has more groups than the bitmap has room for, so that it moves with each join.
fn growth_races_with_sock_diag(bus: &Bus<'_>) -> Outcome {
    const SOCKETS: usize = 20;
    const FAMILIES: usize = 12;
    let asking = bus.diag()?;
    let sockets = (0..SOCKETS).map(|_| bus.generic()).collect::<Result<Vec<_>, _>>()?;
    let group = |family: usize, n: usize| format!("g{family}_{n}");
    let inspect = || {
        let records = records(&asking, libc::NETLINK_GENERIC)?;
        let joined = |record: &Record| record.groups.iter().map(|byte| byte.count_ones()).sum::<u32>();
        let most = records.iter().map(joined).max();
        expect("groups of one socket", most <= Some(FAMILIES as u32), "those that it joined", most)
    };
    while_other(inspect, || {
        for number in 0..FAMILIES {
            let named = Family::named(&format!("nlc_growth{number}"));
            let family = (0..64).fold(named, |family, n| family.group(&group(number, n)));
            let last = *bus.register(family)?.groups.last().expect("it has groups");
            sockets.iter().try_for_each(|socket| socket.join(last))?;
        }
        Ok(())
    })
}
