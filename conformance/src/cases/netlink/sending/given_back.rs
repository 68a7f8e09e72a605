//! Memory that is given back, whatever becomes of a request.

mod small;
mod sockets;

use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect, expect_eq, expect_errno, expect_ok, mismatch};
use crate::port::capability::Capability;
use crate::port::provider::{
    Action, AttrKind, Call, Check, Family, KernelSend, Net, On, Op, Policy, PolicyEntry, Protocol, Step, Verb,
};
use crate::port::{Outgoing, Receive};
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
    + small;
    + sockets;
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

/// Something that takes memory and must give it back, the family that it needs, and how often it is done: often
/// enough that what would be left is several times [`LIMIT`].
type Turn = (fn() -> Family, fn(&Bus<'_>, &Registered<'_>) -> Outcome, u32);

const TURNS: &[(&str, Turn)] = &[
    (
        "request_whose_attributes_are_refused",
        (costly, |bus, family| ask(bus, family.request(1, wrong())), 64),
    ),
    (
        "request_that_its_command_refuses",
        (costly, |bus, family| ask(bus, family.request(2, Attrs::new())), 64),
    ),
    ("request_that_succeeds", (costly, |bus, family| ask(bus, family.request(1, Attrs::new())), 64)),
    (
        "dump_whose_attributes_are_refused",
        (costly, |bus, family| ask(bus, family.request(3, wrong()).with(NLM_F_DUMP)), 64),
    ),
    (
        "dump_that_its_start_refuses",
        (costly, |bus, family| ask(bus, family.request(3, Attrs::new()).with(NLM_F_DUMP)), 64),
    ),
    (
        "dump_that_is_given_up",
        (costly, |bus, family| give_up(bus, family.request(4, Attrs::new()).with(NLM_F_DUMP)), 64),
    ),
    ("dump_without_memory", (costly, dump_without_memory, 16)),
    ("policy_dump_that_is_given_up", (of_many_policies, policies_given_up, 100)),
    ("policy_dump_without_memory", (of_many_policies, policy_dump_without_memory, 64)),
    ("description_that_finds_no_room", (of_many_commands, description_that_finds_no_room, 128)),
    ("member_that_is_closed", (costly, member_that_is_closed, 128)),
    ("multicast_that_the_family_filters", (costly, multicast_that_the_family_filters, 16)),
    ("kernel_socket_that_is_refused", (costly, |bus, _| kernel_socket_that_is_refused(bus), 160)),
    ("kernel_socket_in_another_namespace", (costly, |bus, _| kernel_socket_in_another_namespace(bus), 64)),
    ("answers_that_nobody_reads", (costly, |bus, family| unread(bus, family.request(1, Attrs::new())), 64)),
];

/// Bytes of kernel memory by which others may change what is measured.
const LIMIT: u64 = 192 << 10;

/// How often the kernel gets the processor for what it gives back later, as after an RCU grace period.
const PAUSES: u32 = 150;

/// How often the turns are taken before memory counts as lost.
const ROUNDS: u32 = 4;

/// Bytes of a message whose buffer is the largest of small objects, of 8 KiB.
const FILLER: usize = 7000;

/// The highest type of an attribute: an array of pointers for so many has 32 KiB.
const HIGHEST: u16 = 4095;

fn wrong() -> Attrs {
    Attrs::new().u8(HIGHEST, 0)
}

/// A family with costly requests: 1 succeeds, 2 fails, 3 is a dump that does not start, 4 one that does
/// not end by itself.
fn costly() -> Family {
    let refused = Action::Return(-(libc::EIO as i64));
    let mut family = Family::named("nlc_costly").group("events");
    family.ops = vec![Op::doing(1), Op::doing(2), Op::dumping(3), Op::dumping(4)];
    family
        .policy(Policy::of([PolicyEntry::new(HIGHEST, AttrKind::U32)]))
        .step(Step::new(On::Doit, refused.clone()).cmd(2))
        .step(Step::new(On::Start, refused).cmd(3))
        .step(Step::new(On::Dumpit, Action::records(1000, 500)).cmd(4))
}

/// A family whose policies need a large table. A command has a small one, which is found first.
fn of_many_policies() -> Family {
    const POLICIES: u16 = 200;
    let nest = |n: u16| PolicyEntry::new(n, AttrKind::Nested).len(1).check(Check::Nested(n.into()));
    let mut family =
        Family::named("nlc_policies").policy(Policy::of((1..=POLICIES).map(nest).collect::<Vec<_>>()));
    family.policies.extend((0..POLICIES).map(|_| Policy::of([PolicyEntry::new(1, AttrKind::Flag)])));
    family.ops = vec![Op { policy: Some(1), maxattr: 1, ..Op::doing(5) }, Op::doing(1)];
    family
}

/// A family that the controller has no room to describe.
fn of_many_commands() -> Family {
    (0..255).fold(Family::named("nlc_large"), |family, cmd| family.op(Op::doing(cmd)))
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

fn dump_without_memory(bus: &Bus<'_>, family: &Registered<'_>) -> Outcome {
    without_memory(bus, &family.request(4, Attrs::new()).with(NLM_F_DUMP).seq(7))
}

fn policy_dump_without_memory(bus: &Bus<'_>, family: &Registered<'_>) -> Outcome {
    without_memory(bus, &get_policy(Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, family.id)))
}

/// Each of the allocations for the request fails once.
fn without_memory(bus: &Bus<'_>, request: &Message) -> Outcome {
    let outgoing = Outgoing { bytes: request.encode(), ..Outgoing::default() };
    bus.fail_each_of_step(
        || bus.generic(),
        |socket| socket.raw().send(&outgoing),
        |socket, _| {
            drop(socket);
            Ok(())
        },
    )
}

fn policies_given_up(bus: &Bus<'_>, family: &Registered<'_>) -> Outcome {
    give_up(bus, get_policy(Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, family.id)))
}

fn description_that_finds_no_room(bus: &Bus<'_>, family: &Registered<'_>) -> Outcome {
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, family.id);
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs).with(NLM_F_ACK);
    expect_errno("GETFAMILY", bus.generic()?.ask(&request)?, Errno::EMSGSIZE)
}

/// Groups of a protocol, of which each member has 8 KiB of bits.
const GROUPS: u32 = 65_536;

/// Registers the protocol with so many groups, once.
fn with_many_groups(bus: &Bus<'_>) -> Outcome {
    if bus.try_open(libc::SOCK_RAW, FREE_PROTOCOL).is_err() {
        bus.create_protocol(&many_groups())?;
    }
    Ok(())
}

fn many_groups() -> Protocol {
    Protocol::with_groups(FREE_PROTOCOL, GROUPS)
}

fn member_that_is_closed(bus: &Bus<'_>, _: &Registered<'_>) -> Outcome {
    with_many_groups(bus)?;
    Ok(bus.open(FREE_PROTOCOL)?.join(GROUPS)?)
}

/// Its list of listeners is made before it turns out that there is one already.
fn kernel_socket_that_is_refused(bus: &Bus<'_>) -> Outcome {
    with_many_groups(bus)?;
    let (_, returned) = bus.provider()?.create_protocol(&many_groups(), &Call::default())?;
    expect_errno("second netlink_kernel_create()", returned, Errno::ENOMEM)
}

/// The protocol has its list of listeners already.
fn kernel_socket_in_another_namespace(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetNamespaces)?;
    with_many_groups(bus)?;
    let initial = Call { net: Net::Initial, ..Call::default() };
    let (handle, returned) = bus.provider()?.create_protocol(&many_groups(), &initial)?;
    expect_ok("netlink_kernel_create() in the initial namespace", returned)?;
    Ok(bus.provider()?.release_protocol(handle)?)
}

fn multicast_that_the_family_filters(bus: &Bus<'_>, family: &Registered<'_>) -> Outcome {
    let member = bus.generic()?;
    member.join(family.groups[0])?;
    let send = KernelSend { payload: vec![7; 30_000], ..KernelSend::new(Verb::MulticastFiltered(0)) };
    expect_errno("genlmsg_multicast_netns_filtered()", family.send(send)?, Errno::ESRCH)
}

/// Bytes of kernel memory that cannot be reclaimed: of small objects, and of those in many pieces.
fn memory(bus: &Bus<'_>) -> Result<u64, Failure> {
    let text = bus.file("/proc/meminfo")?;
    Ok(bytes_of(&text, "SUnreclaim:")? + bytes_of(&text, "VmallocUsed:")?)
}

/// Has KASAN, where the kernel has it, give back what it keeps of freed memory, up to a 32nd of the machine's
/// (kasan_quarantine_reduce() mm/kasan/quarantine.c): it keeps the buffers of messages instead.
fn fill_quarantine(bus: &Bus<'_>) -> Outcome {
    let room = bytes_of(&bus.file("/proc/meminfo")?, "MemTotal:")? / 32;
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let to = Some(Address::port(socket.portid()?).encode());
    let message = Outgoing { bytes: vec![7; FILLER], to, ..Outgoing::default() };
    // Some more, because each processor has a list of its own. A host of great size has no more than this.
    for _ in 0..(room / FILLER as u64 * 5 / 4).min(10_000) {
        expect_ok("send()", socket.raw().send(&message))?;
        socket.raw().receive(&Receive { room: 1, flags: libc::MSG_DONTWAIT })?;
    }
    Ok(())
}

/// A line of /proc/meminfo, in bytes.
fn bytes_of(meminfo: &str, name: &str) -> Result<u64, Failure> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    match line.split_whitespace().next().map(str::parse::<u64>) {
        Some(Ok(kilobytes)) => Ok(kilobytes << 10),
        _ => broken(format!("/proc/meminfo has no {name}")),
    }
}

fn memory_is_given_back(bus: &Bus<'_>, (family, turn, times): &Turn) -> Outcome {
    let family = bus.register(family())?;
    given_back(bus, *times, || turn(bus, &family))
}

/// Takes so many turns, and then as many again, after which no more memory may be in use. Caches grow now and
/// then by more than [`LIMIT`], but only memory that is lost is there after each of several rounds.
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
    let mut left = 0;
    for round in 0..ROUNDS {
        let before = memory(bus)?;
        turns()?;
        left = left_since(bus, before)?;
        if left <= LIMIT {
            return Ok(());
        }
        if round == 0 {
            fill_quarantine(bus)?;
        }
    }
    mismatch("bytes of memory that each round leaves", "about none", left)
}

/// The bytes that are in use beyond those of before. Some are given back a while later, and on a busy host no time
/// is long enough: what counts is how often the kernel had the processor for it.
fn left_since(bus: &Bus<'_>, before: u64) -> Result<u64, Failure> {
    for _ in 0..PAUSES {
        if memory(bus)? <= before + LIMIT {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(memory(bus)?.saturating_sub(before))
}
