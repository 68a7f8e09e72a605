//! More sockets than one datagram of sock_diag, or one read of /proc/net/netlink, has room for.

use std::collections::{HashMap, HashSet};

use nix::libc;

use super::proc::lines;
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_ok};
use crate::scene::bus::{Bus, Socket};
use crate::scene::threads::while_other;
use crate::wire::sock_diag::{self, Record};

cases! {
    file_lists_each_socket_once => "NL-PROC-007";
    file_is_well_formed_while_sockets_come_and_go => "NL-PROC-007";
    bound_sockets_are_listed_while_their_table_grows => "NL-DIAG-019";
    unbound_members_are_listed_once(DETAILS) => "NL-DIAG-013";
    unbound_members_of_all_protocols_are_listed_once => "NL-DIAG-013";
}

/// Bound sockets of protocols below, above and between others.
fn bound(bus: &Bus<'_>) -> Result<Vec<Socket>, Failure> {
    let protocols = [libc::NETLINK_ROUTE, libc::NETLINK_USERSOCK, libc::NETLINK_GENERIC];
    protocols.iter().cycle().take(150).map(|protocol| bus.bound(*protocol)).collect()
}

/// How often the file is read until each socket is there once.
const READS: usize = 10;

fn file_lists_each_socket_once(bus: &Bus<'_>) -> Outcome {
    let sockets = bound(bus)?;
    let listed = || -> Outcome {
        let lines = lines(bus)?;
        for socket in &sockets {
            let name = (socket.protocol(), socket.portid()?);
            let found = lines.iter().filter(|line| (line.protocol, line.portid) == name).count();
            expect_eq(&format!("lines of protocol {} and port {}", name.0, name.1), found, 1)?;
        }
        let protocols: Vec<i32> = lines.iter().map(|line| line.protocol).collect();
        expect("protocols", protocols.is_sorted(), "ascending", protocols)
    };
    // A worker of the kernel makes room for so many; until it has, reading begins anew in between.
    (1..READS).find_map(|_| listed().ok()).map_or_else(listed, Ok)
}

/// A place in the file is a count, so that a line may be missing or be there twice.
fn file_is_well_formed_while_sockets_come_and_go(bus: &Bus<'_>) -> Outcome {
    let _sockets = bound(bus)?;
    let pass = || -> Outcome {
        let passing = [bus.bound(libc::NETLINK_ROUTE)?, bus.bound(libc::NETLINK_USERSOCK)?];
        Ok(passing.iter().try_for_each(|socket| socket.join(1))?)
    };
    while_other(pass, || {
        (0..5).try_for_each(|_| {
            let protocols: Vec<i32> = lines(bus)?.iter().map(|line| line.protocol).collect();
            expect("protocols", protocols.is_sorted(), "ascending", protocols)
        })
    })
}

const DETAILS: &[(&str, (u32, &[u16]))] = &[
    ("none", (0, &[])),
    ("groups", (sock_diag::NDIAG_SHOW_GROUPS, &[sock_diag::NETLINK_DIAG_GROUPS])),
    ("memory", (sock_diag::NDIAG_SHOW_MEMINFO, &[sock_diag::NETLINK_DIAG_MEMINFO])),
    ("flags", (sock_diag::NDIAG_SHOW_FLAGS, &[sock_diag::NETLINK_DIAG_FLAGS])),
    (
        "groups_and_flags",
        (
            sock_diag::NDIAG_SHOW_GROUPS | sock_diag::NDIAG_SHOW_FLAGS,
            &[sock_diag::NETLINK_DIAG_GROUPS, sock_diag::NETLINK_DIAG_FLAGS],
        ),
    ),
    (
        "all",
        (
            sock_diag::NDIAG_SHOW_GROUPS | sock_diag::NDIAG_SHOW_MEMINFO | sock_diag::NDIAG_SHOW_FLAGS,
            &[sock_diag::NETLINK_DIAG_GROUPS, sock_diag::NETLINK_DIAG_MEMINFO, sock_diag::NETLINK_DIAG_FLAGS],
        ),
    ),
];

type Details<'d> = (u32, &'d [u16]);

const USERSOCK: u8 = libc::NETLINK_USERSOCK as u8;

/// Sockets whose records fill several datagrams.
const MANY: usize = 100;

/// How often each of these sockets is in a dump, each time with these attributes.
fn listed(
    bus: &Bus<'_>,
    protocol: u8,
    sockets: &[Socket],
    (show, shown): &Details<'_>,
) -> Result<Vec<usize>, Failure> {
    let answer = bus.diag()?.ask(&sock_diag::sockets(protocol, *show))?;
    expect_ok("end of the dump", &answer)?;
    let mut times: HashMap<u64, usize> = HashMap::new();
    for record in answer.replies.iter().filter_map(Record::read) {
        expect_eq("attributes of a record", &record.attributes[..], *shown)?;
        *times.entry(record.inode.into()).or_default() += 1;
    }
    sockets.iter().map(|socket| Ok(times.get(&socket.raw().inode()?).copied().unwrap_or(0))).collect()
}

/// A worker of the kernel makes the table larger; sockets that come before it has are in another one.
fn bound_sockets_are_listed_while_their_table_grows(bus: &Bus<'_>) -> Outcome {
    let diag = bus.diag()?;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        for _ in 0..20 {
            sockets.push(bus.bound(libc::NETLINK_USERSOCK)?);
        }
        let answer = diag.ask(&sock_diag::sockets(USERSOCK, 0))?;
        expect_ok("end of the dump", &answer)?;
        let listed: HashSet<u32> =
            answer.replies.iter().filter_map(Record::read).map(|record| record.portid).collect();
        for socket in &sockets {
            let port = socket.portid()?;
            expect("port IDs listed", listed.contains(&port), &format!("{port} among them"), &listed)?;
        }
    }
    Ok(())
}

fn unbound_members_are_listed_once(bus: &Bus<'_>, details: &Details<'_>) -> Outcome {
    let member = |_| -> Result<Socket, Failure> {
        let socket = bus.open(libc::NETLINK_USERSOCK)?;
        socket.join(1)?;
        Ok(socket)
    };
    let sockets = (0..MANY).map(member).collect::<Result<Vec<_>, _>>()?;
    let times = listed(bus, USERSOCK, &sockets, details)?;
    expect_eq("records of each socket", times, vec![1; MANY])
}

/// The first datagram ends within the sockets of one protocol, after those of another.
fn unbound_members_of_all_protocols_are_listed_once(bus: &Bus<'_>) -> Outcome {
    let member = |number: usize| -> Result<Socket, Failure> {
        let protocols = [libc::NETLINK_ROUTE, libc::NETLINK_USERSOCK, libc::NETLINK_GENERIC];
        let socket = bus.open(protocols[number % protocols.len()])?;
        // NETLINK_GENERIC's is that of the controller.
        socket.join(libc::GENL_ID_CTRL as u32).or_else(|_| socket.join(1))?;
        Ok(socket)
    };
    let sockets = (0..2 * MANY).map(member).collect::<Result<Vec<_>, _>>()?;
    let times = listed(bus, sock_diag::NDIAG_PROTO_ALL, &sockets, &(0, &[]))?;
    expect_eq("records of each socket", times, vec![1; 2 * MANY])
}
