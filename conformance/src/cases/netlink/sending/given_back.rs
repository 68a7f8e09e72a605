//! Memory that is given back, whatever becomes of a request.

use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect, expect_eq, expect_errno, expect_ok};
use crate::port::Outgoing;
use crate::port::capability::Capability;
use crate::port::provider::{
    Action, AttrKind, Call, Check, Family, On, Op, Policy, PolicyEntry, Protocol, Step,
};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Registered, Socket};
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP, NLMSG_NOOP, UNKNOWN};
use crate::wire::route;

cases! {
    request_leaves_nothing_with_the_kernel(REQUESTS) => "NL-SEND-027";
    dump_holds_its_request_until_its_end => "NL-SEND-027";
    dump_holds_its_request_until_the_close => "NL-SEND-027";
    memory_is_given_back(TURNS) [invasive] => "GENL-MEM-006";
    memory_of_sockets_is_given_back(TURNS_OF_SOCKETS) [invasive] => "NL-MEM-006";
}

/// A protocol, and what makes a datagram for it.
type Request = (i32, fn() -> Vec<u8>);

/// Requests that succeed, that fail, that are no requests, and that are not even messages.
const REQUESTS: &[(&str, Request)] = &[
    ("success", (libc::NETLINK_ROUTE, || Message::request(NLMSG_NOOP).with(NLM_F_ACK).encode())),
    ("failure", (libc::NETLINK_ROUTE, || route::refused(7).encode())),
    ("no_request", (libc::NETLINK_ROUTE, || Message::new(route::RTM_GETLINK).encode())),
    ("too_short", (libc::NETLINK_ROUTE, || vec![1; 7])),
    ("longer_than_the_datagram", (libc::NETLINK_GENERIC, || Message::request(16).claim_len(999).encode())),
    ("unknown_family", (libc::NETLINK_GENERIC, || Message::request(UNKNOWN).with(NLM_F_ACK).encode())),
    (
        "unknown_command",
        (libc::NETLINK_GENERIC, || genl::request(genl::GENL_ID_CTRL, 250, Attrs::new()).encode()),
    ),
    ("wrong_attribute", (libc::NETLINK_GENERIC, || get_policy(Attrs::new().u32(99, 0)).encode())),
    ("refused_dump", (libc::NETLINK_GENERIC, || get_policy(Attrs::new()).encode())),
    ("large", (libc::NETLINK_GENERIC, || Message::request(UNKNOWN).bytes(&[7; 30_000]).encode())),
];

fn get_policy(attrs: Attrs) -> Message {
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs).with(NLM_F_DUMP).seq(7)
}

fn request_leaves_nothing_with_the_kernel(bus: &Bus<'_>, (protocol, request): &Request) -> Outcome {
    let socket = bus.bound(*protocol)?;
    for _ in 0..10 {
        expect_ok("send()", socket.send_bytes(&request()))?;
        while socket.receive_now(1 << 16, 0).is_ok() {}
    }
    expect_eq("memory of the kernel's queue", bus.kernel_queue(*protocol)?, 0)
}

/// A dump that does not end in its first portion.
fn dumping<'b>(bus: &'b Bus<'_>) -> Result<(Registered<'b>, Socket, Message), Failure> {
    let dumps = Family::named("nlc_holding").op(Op::dumping(1)).on(On::Dumpit, Action::records(100, 500));
    let family = bus.register(dumps)?;
    let request = family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(7);
    let socket = bus.generic()?;
    socket.send(&request)?;
    let held = bus.kernel_queue(libc::NETLINK_GENERIC)?;
    expect("memory of the kernel's queue while a dump runs", held > 0, "that of the request", held)?;
    Ok((family, socket, request))
}

fn dump_holds_its_request_until_its_end(bus: &Bus<'_>) -> Outcome {
    let (_family, socket, request) = dumping(bus)?;
    socket.answer_to(&request)?;
    expect_eq("memory of the kernel's queue at its end", bus.kernel_queue(libc::NETLINK_GENERIC)?, 0)
}

fn dump_holds_its_request_until_the_close(bus: &Bus<'_>) -> Outcome {
    let (_family, socket, _) = dumping(bus)?;
    drop(socket);
    expect_eq("memory of the kernel's queue after close()", bus.kernel_queue(libc::NETLINK_GENERIC)?, 0)
}

/// Something that takes memory and must give it back, and how often it is done: often enough that what
/// would be left is several times [`LIMIT`].
type Turn = (fn(&Bus<'_>, &Registered<'_>) -> Outcome, u32);

const TURNS: &[(&str, Turn)] = &[
    ("request_whose_attributes_are_refused", (|bus, family| ask(bus, family.request(1, wrong())), 64)),
    ("request_that_its_command_refuses", (|bus, family| ask(bus, family.request(2, Attrs::new())), 64)),
    ("request_that_succeeds", (|bus, family| ask(bus, family.request(1, Attrs::new())), 64)),
    (
        "dump_whose_attributes_are_refused",
        (|bus, family| ask(bus, family.request(3, wrong()).with(NLM_F_DUMP)), 64),
    ),
    (
        "dump_that_its_start_refuses",
        (|bus, family| ask(bus, family.request(3, Attrs::new()).with(NLM_F_DUMP)), 64),
    ),
    (
        "dump_that_is_given_up",
        (|bus, family| give_up(bus, family.request(4, Attrs::new()).with(NLM_F_DUMP)), 64),
    ),
    ("policy_dump_that_is_given_up", (policies_given_up, 250)),
    ("member_that_is_closed", (member_that_is_closed, 128)),
    ("answers_that_nobody_reads", (|bus, family| unread(bus, family.request(1, Attrs::new())), 64)),
];

/// Bytes of kernel memory by which others may change what is measured.
const LIMIT: u64 = 192 << 10;

/// How often the kernel gets the processor for what it gives back later, as after an RCU grace period.
const PAUSES: u32 = 400;

/// The highest type of an attribute: an array of pointers for so many has 32 KiB.
const HIGHEST: u16 = 4095;

fn wrong() -> Attrs {
    Attrs::new().u8(HIGHEST, 0)
}

/// A family with costly requests: 1 succeeds, 2 fails, 3 is a dump that does not start, 4 one that does
/// not end by itself. Its policies are many.
fn costly<'b>(bus: &'b Bus<'_>) -> Result<Registered<'b>, Failure> {
    const POLICIES: u16 = 60;
    let nests =
        (1..=POLICIES).map(|n| PolicyEntry::new(n, AttrKind::Nested).len(1).check(Check::Nested(n.into())));
    let entries: Vec<_> = nests.chain([PolicyEntry::new(HIGHEST, AttrKind::U32)]).collect();
    let mut family = Family::named("nlc_costly").policy(Policy::of(entries));
    family.policies.extend((0..POLICIES).map(|_| Policy::of([PolicyEntry::new(1, AttrKind::Flag)])));
    family.ops = vec![Op::doing(1), Op::doing(2), Op::dumping(3), Op::dumping(4)];
    let refused = Action::Return(-(libc::EIO as i64));
    bus.register(
        family
            .step(Step::new(On::Doit, refused.clone()).cmd(2))
            .step(Step::new(On::Start, refused).cmd(3))
            .step(Step::new(On::Dumpit, Action::records(1000, 500)).cmd(4)),
    )
}

fn ask(bus: &Bus<'_>, request: Message) -> Outcome {
    bus.generic()?.ask(&request.with(NLM_F_ACK)).map(drop)
}

/// Asks for a dump and closes the socket.
fn give_up(bus: &Bus<'_>, request: Message) -> Outcome {
    Ok(bus.generic()?.send(&request).map(drop)?)
}

fn unread(bus: &Bus<'_>, request: Message) -> Outcome {
    let socket = bus.generic()?;
    for _ in 0..3 {
        socket.send(&request.clone().with(NLM_F_ACK))?;
    }
    Ok(())
}

fn policies_given_up(bus: &Bus<'_>, family: &Registered<'_>) -> Outcome {
    give_up(bus, get_policy(Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, family.id)))
}

/// Groups of a protocol, of which each member has 8 KiB of bits.
const GROUPS: u32 = 65_536;

fn member_that_is_closed(bus: &Bus<'_>, _: &Registered<'_>) -> Outcome {
    if bus.try_open(libc::SOCK_RAW, FREE_PROTOCOL).is_err() {
        let protocol = Protocol::with_groups(FREE_PROTOCOL, GROUPS);
        expect_ok(
            "netlink_kernel_create()",
            bus.provider()?.create_protocol(&protocol, &Call::default())?.1,
        )?;
    }
    Ok(bus.open(FREE_PROTOCOL)?.join(GROUPS)?)
}

/// A datagram whose loss shows.
const LARGE: usize = 30_000;
/// One that only memory in many pieces holds.
const HUGE: usize = 5 << 20;

/// The same without a family.
type TurnOfSockets = (fn(&Bus<'_>) -> Outcome, u32);

const TURNS_OF_SOCKETS: &[(&str, TurnOfSockets)] = &[
    ("huge_datagram_that_is_read", (huge_datagram_that_is_read, 1)),
    ("huge_datagram_that_nobody_reads", (|bus| huge_datagram(bus).map(drop), 1)),
    ("datagram_that_nobody_reads", (|bus| queued(bus).map(drop), 16)),
    ("datagram_that_was_peeked_at", (datagram_that_was_peeked_at, 16)),
    ("datagram_that_finds_no_room", (datagram_that_finds_no_room, 16)),
    ("datagram_whose_wait_is_interrupted", (datagram_whose_wait_is_interrupted, 8)),
    ("datagram_to_nobody", (datagram_to_nobody, 16)),
    ("datagram_to_who_is_connected_elsewhere", (datagram_to_who_is_connected_elsewhere, 16)),
    ("datagram_that_is_filtered", (datagram_that_is_filtered, 16)),
    ("multicast_that_all_filter", (multicast_that_all_filter, 16)),
    ("multicast_that_finds_no_room", (multicast_that_finds_no_room, 16)),
    ("multicast_whose_loss_is_reported", (multicast_whose_loss_is_reported, 16)),
    ("multicast_that_nobody_reads", (multicast_that_nobody_reads, 16)),
    ("bind_to_a_port_in_use", (bind_to_a_port_in_use, 16)),
];

/// Sends a datagram, not through the bus, which would note its bytes.
fn send(socket: &Socket, to: Address, len: usize) -> Result<usize, Errno> {
    let outgoing = Outgoing {
        bytes: vec![7; len],
        to: Some(to.encode()),
        flags: libc::MSG_DONTWAIT,
        ..Outgoing::default()
    };
    socket.raw().send(&outgoing)
}

/// A sender, and a receiver that has a large datagram in its queue, which therefore takes no other. What
/// it has in its queue goes when nothing refers to the receiver any more.
fn queued(bus: &Bus<'_>) -> Result<(Socket, Socket), Failure> {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    receiver.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?; // the minimum
    expect_ok("send()", send(&sender, Address::port(receiver.portid()?), LARGE))?;
    Ok((sender, receiver))
}

fn huge_datagram(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    sender.set_at(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 2 * HUGE as u32)?;
    expect_ok("send()", send(&sender, Address::port(receiver.portid()?), HUGE))?;
    Ok(receiver)
}

fn huge_datagram_that_is_read(bus: &Bus<'_>) -> Outcome {
    expect_ok("receive", huge_datagram(bus)?.receive_now(10, 0))
}

fn datagram_that_was_peeked_at(bus: &Bus<'_>) -> Outcome {
    let (_, receiver) = queued(bus)?;
    expect_ok("peek", receiver.receive_now(10, libc::MSG_PEEK))
}

fn datagram_that_finds_no_room(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = queued(bus)?;
    expect_errno("send()", send(&sender, Address::port(receiver.portid()?), LARGE), Errno::EAGAIN)
}

fn datagram_whose_wait_is_interrupted(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::Processes)?;
    let (sender, receiver) = queued(bus)?;
    let to = Some(Address::port(receiver.portid()?).encode());
    let sent = sender.raw().send_interrupted(&Outgoing { bytes: vec![7; LARGE], to, ..Outgoing::default() });
    expect_errno("send()", sent, Errno::EINTR)
}

fn datagram_to_nobody(bus: &Bus<'_>) -> Outcome {
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    expect_errno("send()", send(&sender, Address::port(777), LARGE), Errno::ECONNREFUSED)
}

fn datagram_to_who_is_connected_elsewhere(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = queued(bus)?;
    receiver.connect(Address::port(777))?;
    let sent = send(&sender, Address::port(receiver.portid()?), LARGE);
    expect_errno("send()", sent, Errno::ECONNREFUSED)
}

fn datagram_that_is_filtered(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    bus.attach_filter(&receiver, 0)?;
    expect_ok("send()", send(&sender, Address::port(receiver.portid()?), LARGE))
}

/// Sends a large datagram to a group. Nobody is at port 0, which it goes to as well.
fn multicast(sender: &Socket) -> Outcome {
    expect_errno("send()", send(sender, Address::groups(1), LARGE), Errno::ECONNREFUSED)
}

fn multicast_that_all_filter(bus: &Bus<'_>) -> Outcome {
    let (sender, member) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    member.join(1)?;
    bus.attach_filter(&member, 0)?;
    multicast(&sender)
}

fn multicast_that_finds_no_room(bus: &Bus<'_>) -> Outcome {
    let (sender, member) = queued(bus)?;
    member.join(1)?;
    multicast(&sender)
}

fn multicast_whose_loss_is_reported(bus: &Bus<'_>) -> Outcome {
    let (sender, member) = queued(bus)?;
    member.join(1)?;
    member.set(libc::NETLINK_BROADCAST_ERROR, 1)?;
    multicast(&sender)
}

fn multicast_that_nobody_reads(bus: &Bus<'_>) -> Outcome {
    let members = [bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?];
    members.iter().try_for_each(|member| member.join(1))?;
    multicast(&bus.bound(libc::NETLINK_USERSOCK)?)
}

fn bind_to_a_port_in_use(bus: &Bus<'_>) -> Outcome {
    let (owner, late) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.open(libc::NETLINK_USERSOCK)?);
    expect_errno("bind()", late.bind(owner.name()?), Errno::EADDRINUSE)?;
    late.bind(Address::KERNEL)?;
    expect_ok("send()", send(&owner, Address::port(late.portid()?), LARGE))
}

/// Bytes of kernel memory that cannot be reclaimed: of small objects, and of those in many pieces.
fn memory(bus: &Bus<'_>) -> Result<u64, Failure> {
    let text = bus.file("/proc/meminfo")?;
    let kilobytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        match line.split_whitespace().next().map(str::parse::<u64>) {
            Some(Ok(kilobytes)) => Ok(kilobytes),
            _ => broken(format!("/proc/meminfo has no {name}")),
        }
    };
    Ok((kilobytes("SUnreclaim:")? + kilobytes("VmallocUsed:")?) << 10)
}

fn memory_is_given_back(bus: &Bus<'_>, (turn, times): &Turn) -> Outcome {
    let family = costly(bus)?;
    given_back(bus, *times, || turn(bus, &family))
}

fn memory_of_sockets_is_given_back(bus: &Bus<'_>, (turn, times): &TurnOfSockets) -> Outcome {
    given_back(bus, *times, || turn(bus))
}

/// Takes so many turns, and then as many again, after which no more memory may be in use.
fn given_back(bus: &Bus<'_>, times: u32, turn: impl Fn() -> Outcome) -> Outcome {
    let turns = || {
        for _ in 0..times {
            turn()?;
            bus.journal().take();
        }
        Ok::<_, Failure>(())
    };
    // The first ones fill caches that stay.
    turns()?;
    let before = memory(bus)?;
    turns()?;
    // Some of it is given back a while later, and on a busy host no time is long enough: what counts is how often
    // the kernel had the processor for it.
    for _ in 0..PAUSES {
        if memory(bus)? <= before + LIMIT {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let left = memory(bus)?.saturating_sub(before);
    expect("bytes of memory that are left", left <= LIMIT, "about none", left)
}
