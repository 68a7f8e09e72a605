//! /proc/net/netlink: the sockets as a file.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_empty, expect_eq, mismatch};
use crate::port::Who;
use crate::port::provider::{Action, Family, On, Op, Protocol};
use crate::scene::bus::{Bus, Socket};
use crate::scene::refused::{WAYS, Way, owner_and_refused};
use crate::scene::{FREE_PROTOCOL, PORT};
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::message::NLM_F_DUMP;

cases! {
    first_line_names_the_columns => "NL-PROC-004";
    line_describes_the_socket => "NL-PROC-001";
    kernel_sockets_are_listed => "NL-PROC-001";
    other_namespaces_are_not_listed => "NL-PROC-001";
    bound_socket_is_listed => "NL-PROC-002";
    unbound_member_is_not_listed => "NL-PROC-002";
    closed_socket_is_not_listed => "NL-PROC-002";
    dump_is_marked_while_it_runs => "NL-PROC-003";
    losses_are_counted => "NL-PROC-005";
    receive_queue_is_reported => "NL-PROC-006";
    what_was_sent_takes_nothing_of_the_sender => "NL-PROC-013";
    address_is_not_shown => "NL-PROC-012";
    socket_of_a_refused_bind_is_listed_once_it_has_a_port(WAYS) => "NL-PROC-002", "NL-BIND-027";
    open_sockets_are_counted => "NL-PROC-008";
    released_kernel_socket_is_taken_off_the_count => "NL-PROC-014";
    socket_that_never_joined_has_no_groups => "NL-PROC-001";
    anybody_may_read => "NL-PROC-011";
    protocol_is_described => "NL-PROC-010";
}

const FILE: &str = "/proc/net/netlink";
/// Number of columns.
const COLUMNS: usize = 10;

/// A line of the file.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) protocol: i32,
    pub(super) portid: u32,
    groups: String,
    received: u32,
    sent: u32,
    dump: u32,
    pub(super) references: u32,
    drops: u32,
    inode: u64,
}

impl Line {
    fn read(line: &str) -> Option<Line> {
        let columns = <[&str; COLUMNS]>::try_from(line.split_whitespace().collect::<Vec<_>>()).ok()?;
        let [_address, protocol, portid, groups, received, sent, dump, references, drops, inode] = columns;
        Some(Line {
            protocol: protocol.parse().ok()?,
            portid: portid.parse().ok()?,
            groups: groups.into(),
            received: received.parse().ok()?,
            sent: sent.parse().ok()?,
            dump: dump.parse().ok()?,
            references: references.parse().ok()?,
            drops: drops.parse().ok()?,
            inode: inode.parse().ok()?,
        })
    }
}

pub(super) fn lines(bus: &Bus<'_>) -> Result<Vec<Line>, Failure> {
    let read = |line: &str| Line::read(line).map_or_else(|| mismatch("line", "ten columns", line), Ok);
    bus.file(FILE)?.lines().skip(1).map(read).collect()
}

/// The lines of a socket.
fn lines_of(bus: &Bus<'_>, socket: &Socket) -> Result<Vec<Line>, Failure> {
    let inode = socket.raw().inode()?;
    Ok(lines(bus)?.into_iter().filter(|line| line.inode == inode).collect())
}

pub(super) fn line_of(bus: &Bus<'_>, socket: &Socket) -> Result<Line, Failure> {
    match <[Line; 1]>::try_from(lines_of(bus, socket)?) {
        Ok([line]) => Ok(line),
        Err(lines) => mismatch("lines of the socket", 1, lines.len()),
    }
}

fn first_line_names_the_columns(bus: &Bus<'_>) -> Outcome {
    let text = bus.file(FILE)?;
    expect_eq("first line", text.lines().next(), Some(bus.expected::<String>("head")?.as_str()))
}

fn line_describes_the_socket(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    socket.bind(Address { groups: 0x8001, ..Address::port(0x8000_0777) })?;
    let line = line_of(bus, &socket)?;
    expect("references", line.references > 0, "some", line.references)?;
    let expected = Line {
        protocol: libc::NETLINK_USERSOCK,
        portid: 0x8000_0777,
        groups: "00008001".into(),
        received: 0,
        sent: 0,
        dump: 0,
        references: line.references,
        drops: 0,
        inode: socket.raw().inode()?,
    };
    expect_eq("line of the socket", line, expected)
}

fn kernel_sockets_are_listed(bus: &Bus<'_>) -> Outcome {
    let kernel = lines(bus)?.into_iter().filter(|line| line.portid == 0);
    let protocols: Vec<i32> = kernel.map(|line| line.protocol).collect();
    let there = protocols.contains(&libc::NETLINK_ROUTE);
    expect("protocols of the lines with port ID 0", there, "NETLINK_ROUTE among them", protocols)
}

fn other_namespaces_are_not_listed(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let elsewhere = bus.run_as(Who::OtherNet, || Ok(lines_of(bus, &socket)?.len()))?;
    expect_eq("lines of the socket as read in another network namespace", elsewhere, 0)
}

fn bound_socket_is_listed(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    expect_empty("lines before the bind", lines_of(bus, &socket)?)?;
    socket.bind(Address::KERNEL)?;
    expect_eq("lines after it", lines_of(bus, &socket)?.len(), 1)
}

fn unbound_member_is_not_listed(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    socket.join(1)?;
    expect_empty("lines of the socket", lines_of(bus, &socket)?)
}

fn closed_socket_is_not_listed(bus: &Bus<'_>) -> Outcome {
    let socket = bus.open(libc::NETLINK_USERSOCK)?;
    socket.bind(Address::port(PORT))?;
    let duplicate = socket.duplicate()?;
    let listed = || {
        let found = |line: &Line| (line.protocol, line.portid) == (libc::NETLINK_USERSOCK, PORT);
        Ok::<_, Failure>(lines(bus)?.iter().any(found))
    };
    drop(socket);
    expect_eq("listed while a descriptor is open", listed()?, true)?;
    drop(duplicate);
    expect_eq("listed afterwards", listed()?, false)
}

fn dump_is_marked_while_it_runs(bus: &Bus<'_>) -> Outcome {
    let recorder = Family::named("nlc_recorder").op(Op::dumping(1));
    let family = bus.register(recorder.on(On::Dumpit, Action::records(100, 500)))?;
    let socket = bus.generic()?;
    let request = family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(1);
    socket.send(&request)?;
    expect_eq("Dump after the request", line_of(bus, &socket)?.dump, 1)?;
    socket.answer_to(&request)?;
    expect_eq("Dump after the dump", line_of(bus, &socket)?.dump, 0)
}

fn losses_are_counted(bus: &Bus<'_>) -> Outcome {
    const SENT: u32 = 20;
    let (member, sender) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    member.join(1)?;
    member.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 1)?;
    member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    for _ in 0..SENT {
        // Each message also goes to port 0, where no socket is.
        let _ = sender.send_to(Address::groups(1), &[0; 1000]);
    }
    let lost = line_of(bus, &member)?.drops;
    let received = (0..SENT).map_while(|_| member.receive_now(1000, 0).ok()).count() as u32;
    expect("messages received", received < SENT, "fewer than were sent", received)?;
    expect_eq("Drops", lost, SENT - received)
}

fn receive_queue_is_reported(bus: &Bus<'_>) -> Outcome {
    let (one, two) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    one.send_to(Address::port(two.portid()?), &[0; 1000])?;
    let received = line_of(bus, &two)?.received;
    expect("Rmem with 1000 bytes in the queue", received > 1000, "more than that", received)?;
    two.receive()?;
    expect_eq("Rmem afterwards", line_of(bus, &two)?.received, 0)
}

fn what_was_sent_takes_nothing_of_the_sender(bus: &Bus<'_>) -> Outcome {
    let (one, two) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    one.send_to(Address::port(two.portid()?), &[0; 1000])?;
    expect("Rmem of the receiver", line_of(bus, &two)?.received > 0, "more than 0", 0)?;
    expect_eq("Wmem of sender and receiver", [line_of(bus, &one)?.sent, line_of(bus, &two)?.sent], [0, 0])
}

/// A hash of an address has 32 bits. One that has 32 bits itself looks like a hash.
fn address_is_not_shown(bus: &Bus<'_>) -> Outcome {
    if bus.sizes().long < 8 {
        return Err(Failure::Skip("a hash of an address looks like an address of 32 bits".into()));
    }
    bus.bound(libc::NETLINK_USERSOCK)?;
    let text = bus.run_as(Who::Nobody, || bus.file(FILE))?;
    for line in text.lines().skip(1) {
        let column = line.split_whitespace().next().unwrap_or_default();
        // Where there is no key for the hash yet, it is no number.
        let address = u64::from_str_radix(column, 16).unwrap_or(0);
        expect("first column as read by nobody", address <= u32::MAX.into(), "at most 32 bits", column)?;
    }
    Ok(())
}

fn socket_of_a_refused_bind_is_listed_once_it_has_a_port(bus: &Bus<'_>, way: &Way) -> Outcome {
    let (_owner, refused) = owner_and_refused(bus, libc::NETLINK_ROUTE)?;
    expect_empty("lines after the refusal", lines_of(bus, &refused)?)?;
    way(&refused)?;
    expect_eq("port ID in the line of the socket", line_of(bus, &refused)?.portid, refused.portid()?)
}

/// The line of /proc/net/protocols that is about netlink.
fn protocol(bus: &Bus<'_>) -> Result<Vec<String>, Failure> {
    let text = bus.file("/proc/net/protocols")?;
    let line = text.lines().find(|line| line.starts_with("NETLINK ")).unwrap_or_default();
    Ok(line.split_whitespace().map(str::to_owned).collect())
}

/// The sockets that it counts.
fn counted(bus: &Bus<'_>) -> Result<u32, Failure> {
    let columns = protocol(bus)?;
    match columns.get(2).map(|sockets| sockets.parse()) {
        Some(Ok(sockets)) => Ok(sockets),
        _ => mismatch("line of NETLINK in /proc/net/protocols", "a number of sockets", columns.join(" ")),
    }
}

fn open_sockets_are_counted(bus: &Bus<'_>) -> Outcome {
    let before = counted(bus)?;
    let sockets = [bus.open(libc::NETLINK_ROUTE)?, bus.bound(libc::NETLINK_USERSOCK)?];
    expect_eq("sockets with two more", counted(bus)?, before + 2)?;
    drop(sockets);
    expect_eq("sockets afterwards", counted(bus)?, before)
}

fn released_kernel_socket_is_taken_off_the_count(bus: &Bus<'_>) -> Outcome {
    let _sockets = [bus.open(libc::NETLINK_USERSOCK)?, bus.open(libc::NETLINK_USERSOCK)?];
    let (before, protocol) = (counted(bus)?, Protocol::with_groups(FREE_PROTOCOL, 32));
    let handle = bus.create_protocol(&protocol)?;
    expect_eq("sockets with one of the kernel's more", counted(bus)?, before)?;
    bus.provider()?.release_protocol(handle)?;
    expect_eq("sockets after it was released", counted(bus)?, before - 1)
}

fn socket_that_never_joined_has_no_groups(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    expect_eq("Groups", line_of(bus, &socket)?.groups.as_str(), "00000000")
}

fn anybody_may_read(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let listed = bus.run_as(Who::Nobody, || Ok(lines_of(bus, &socket)?.len()))?;
    expect_eq("lines of the socket as read by nobody", listed, 1)
}

fn protocol_is_described(bus: &Bus<'_>) -> Outcome {
    let columns = protocol(bus)?.into_iter().skip(3).take(5).collect::<Vec<_>>().join(" ");
    expect_eq("columns after the sockets", columns, bus.expected::<String>("columns")?)
}
