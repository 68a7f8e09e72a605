//! What fails when there is no memory, and that nothing else does: each allocation of a call is made to fail,
//! one after the other.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect, expect_eq, expect_errno, expect_ok};
use crate::port::process::Deed;
use crate::port::provider::Protocol;
use crate::port::{self, Outgoing};
use crate::scene::FREE_PROTOCOL;
use crate::scene::PORT;
use crate::scene::bus::{Bus, Socket};
use crate::scene::dumps::{controller, numbers, recorder, status};
use crate::wire::ack::Ack;
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR};
use crate::wire::sock_diag::{self, Record};

cases! {
    socket_is_opened_or_refused(PROTOCOLS) => "NL-MEM-001";
    refused_socket_leaves_its_module => "NL-MEM-007";
    call_succeeds_or_changes_nothing(CALLS) => "NL-MEM-002";
    message_is_delivered_or_refused(MESSAGES) => "NL-MEM-003";
    kernel_socket_is_created_or_not => "NL-MEM-004";
    start_of_a_socket_dump_fails_or_not => "NL-MEM-005";
    network_namespace_is_made_or_not => "NL-MEM-008";
    dump_goes_on_without_its_larger_buffer => "NL-MEM-009";
    answer_arrives_without_its_copy => "NL-MEM-010";
}

/// What failed must be one of the errors that the requirement names.
fn expect_refusal(bus: &Bus<'_>, what: &str, errno: Errno, names: &[&str]) -> Outcome {
    let expected: Vec<Errno> = names.iter().map(|name| bus.expected(name)).collect::<Result<_, _>>()?;
    expect(what, expected.contains(&errno), &format!("success, or one of {expected:?}"), errno)
}

const PROTOCOLS: &[(&str, i32)] = &[("usersock", libc::NETLINK_USERSOCK), ("route", libc::NETLINK_ROUTE)];

fn socket_is_opened_or_refused(bus: &Bus<'_>, protocol: &i32) -> Outcome {
    bus.fail_each_of_step(
        || Ok(()),
        |()| bus.open_unrecorded(*protocol).map(|socket| socket.bind(&Address::KERNEL.encode())),
        |(), opened| {
            match opened {
                Err(errno) => expect_refusal(bus, "socket()", errno, &["errno", "buffers", "files"])?,
                Ok(Err(errno)) => expect_refusal(bus, "bind()", errno, &["errno", "buffers"])?,
                Ok(Ok(())) => {}
            }
            bus.bound(*protocol).map(drop)
        },
    )
}

fn refused_socket_leaves_its_module(bus: &Bus<'_>) -> Outcome {
    let provider = bus.provider()?;
    let protocol = Protocol::with_groups(FREE_PROTOCOL, 1);
    expect_ok("netlink_kernel_create()", provider.create_protocol(&protocol, &Default::default())?.1)?;
    let before = provider.module_references()?;
    bus.fail_each_of_step(
        || Ok(()),
        |()| bus.open_unrecorded(FREE_PROTOCOL).map(drop),
        |(), _| expect_eq("references to the module", provider.module_references()?, before),
    )
}

type UserCall = fn(&dyn port::Socket) -> Result<(), Errno>;

// bind() to a port only and connect() allocate nothing.
const CALLS: &[(&str, UserCall)] = &[
    ("bind_to_groups", |socket| socket.bind(&Address { groups: 0b101, ..Address::port(PORT) }.encode())),
    ("join", |socket| {
        socket.set_option(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, &1u32.to_ne_bytes())
    }),
    ("first_send", |socket| send(socket, Address::groups(2), 10)),
];

fn send(socket: &dyn port::Socket, to: Address, len: usize) -> Result<(), Errno> {
    let outgoing = Outgoing { bytes: vec![7; len], to: Some(to.encode()), ..Outgoing::default() };
    match socket.send(&outgoing) {
        // There is no socket at port 0, which gets it as well.
        Ok(_) | Err(Errno::ECONNREFUSED) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn call_succeeds_or_changes_nothing(bus: &Bus<'_>, call: &UserCall) -> Outcome {
    let state = |socket: &Socket| Ok::<_, Failure>((socket.name()?, socket.memberships()?));
    let settled = bus.open(libc::NETLINK_USERSOCK)?;
    call(settled.raw())?;
    let (name, groups) = state(&settled)?;
    drop(settled);
    bus.fail_each_of_step(
        || bus.open(libc::NETLINK_USERSOCK),
        |socket| call(socket.raw()),
        |socket, returned| {
            if let Err(errno) = returned {
                expect_refusal(bus, "call", errno, &["errno", "buffers"])?;
                expect("memberships", socket.memberships()?.is_empty(), "none", socket.memberships()?)?;
                expect_ok("the same call again", call(socket.raw()))?;
            }
            let (now, joined) = state(&socket)?;
            let bound = |address: &Address| address.portid != 0;
            expect_eq(
                "groups, and whether it is bound",
                (joined, bound(&now)),
                (groups.clone(), bound(&name)),
            )
        },
    )
}

/// Whether it goes to a group, and its length.
const MESSAGES: &[(&str, (bool, usize))] = &[
    ("unicast", (false, 100)),
    ("large_unicast", (false, 30_000)),
    ("multicast", (true, 100)),
    ("large_multicast", (true, 30_000)),
];

fn message_is_delivered_or_refused(bus: &Bus<'_>, (to_group, len): &(bool, usize)) -> Outcome {
    let members = [bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?];
    members.iter().try_for_each(|member| member.join(3))?;
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    let (to, receivers) = match to_group {
        true => (Address::groups(0b100), &members[..]),
        false => (Address::port(members[0].portid()?), &members[..1]),
    };
    bus.fail_each_of_step(
        || Ok(()),
        |()| send(sender.raw(), to, *len),
        |(), sent| {
            for receiver in receivers {
                match (receiver.receive_now(1 << 16, 0), sent) {
                    (Ok(datagram), Ok(())) => expect_eq("length", datagram.incoming.bytes.len(), *len)?,
                    (Err(Errno::EAGAIN), Err(errno)) => {
                        expect_refusal(bus, "sending", errno, &["errno", "buffers"])?;
                    }
                    (Err(errno), _) => expect_refusal(bus, "receiving", errno, &["buffers"])?,
                    (Ok(_), Err(errno)) => expect_refusal(bus, "sending", errno, &["errno", "buffers"])?,
                }
            }
            expect_ok("sending the next", send(sender.raw(), to, *len))?;
            receivers.iter().try_for_each(|receiver| {
                expect_eq("length of the next", receiver.receive()?.incoming.bytes.len(), *len)
            })
        },
    )
}

fn kernel_socket_is_created_or_not(bus: &Bus<'_>) -> Outcome {
    let protocol = Protocol { input: true, ..Protocol::with_groups(FREE_PROTOCOL, 64) };
    bus.fail_each_of_call(|how| {
        let provider = bus.provider()?;
        let (handle, returned) = provider.create_protocol(&protocol, how)?;
        let handle = match returned {
            0 => handle,
            returned => {
                expect_errno("netlink_kernel_create()", returned, bus.expected("errno")?)?;
                expect_errno(
                    "socket() of the protocol",
                    bus.try_open(libc::SOCK_RAW, FREE_PROTOCOL),
                    Errno::EPROTONOSUPPORT,
                )?;
                let (handle, again) = provider.create_protocol(&protocol, &Default::default())?;
                expect_ok("netlink_kernel_create() once more", again)?;
                handle
            }
        };
        expect_ok("socket() of the protocol", bus.try_open(libc::SOCK_RAW, FREE_PROTOCOL))?;
        Ok(provider.release_protocol(handle)?)
    })
}

fn start_of_a_socket_dump_fails_or_not(bus: &Bus<'_>) -> Outcome {
    let listed = bus.bound(libc::NETLINK_USERSOCK)?;
    let inode = listed.raw().inode()?;
    let request = sock_diag::sockets(sock_diag::NDIAG_PROTO_ALL, sock_diag::NDIAG_SHOW_MEMINFO).seq(7);
    let outgoing = Outgoing { bytes: request.encode(), ..Outgoing::default() };
    bus.fail_each_of_step(
        || bus.diag(),
        |socket| socket.raw().send(&outgoing),
        |socket, sent| {
            if let Err(errno) = sent {
                expect_refusal(bus, "sending", errno, &["errno", "buffers"])?;
            }
            while let Ok(datagram) = socket.receive_now(1 << 16, 0) {
                let is_end = |message: &&Message| [NLMSG_ERROR, NLMSG_DONE].contains(&message.kind);
                let ends = datagram.messages.iter().filter(is_end);
                for errno in ends.filter_map(Ack::read).filter_map(|ack| ack.result().err()) {
                    expect_refusal(bus, "answer", errno, &["errno", "buffers"])?;
                }
            }
            let next = bus.diag()?.ask(&request)?;
            expect_ok("next dump", &next)?;
            let records = next.replies.iter().filter_map(Record::read);
            expect_eq("its records of the socket", records.filter(|r| u64::from(r.inode) == inode).count(), 1)
        },
    )
}

/// Allocations that fail in one process, one after the other.
const AT_ONCE: usize = 25;
/// More allocations than a network namespace takes.
const MOST: u32 = 1000;

fn network_namespace_is_made_or_not(bus: &Bus<'_>) -> Outcome {
    let attempts: Vec<u32> = (1..=MOST).collect();
    for attempts in attempts.chunks(AT_ONCE) {
        let deed = |nth| Deed::Failing(nth, Box::new(Deed::EnterNetNamespace));
        let deeds: Vec<Deed> = attempts.iter().copied().map(deed).collect();
        let process = bus.process(&deeds)?;
        for n in 0..attempts.len() {
            match process.deed(n)? {
                Ok(_) => {}
                Err(Errno::ERANGE) => return Ok(()),
                Err(errno) => {
                    let known = ["errno", "uevents", "name", "sysctl"];
                    expect_refusal(bus, "unshare(CLONE_NEWNET)", errno, &known)?;
                }
            }
        }
    }
    broken(format!("a network namespace takes more than {MOST} allocations"))
}

/// A buffer of two pages: it comes from the slabs, and not from the page allocator.
fn dump_goes_on_without_its_larger_buffer(bus: &Bus<'_>) -> Outcome {
    const ROOM: usize = 6000;
    const RECORDS: u32 = 60;
    let family = bus.register(recorder(RECORDS))?;
    let request = family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(7);
    bus.fail_each_of_rest(&request, ROOM, |socket, first| {
        let mut messages = first?.messages;
        while !messages.iter().any(|message| message.kind == NLMSG_DONE) {
            messages.extend(socket.receive_into(ROOM)?.messages);
        }
        expect_eq("records", numbers(&messages), (0..RECORDS).collect::<Vec<_>>())?;
        expect_eq("end of the dump", messages.last().map(status), Some(0))
    })
}

/// The controller makes its answer in a buffer of a page. To copy it is the last that memory is needed for.
fn answer_arrives_without_its_copy(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let outgoing = Outgoing { bytes: controller().seq(7).encode(), ..Outgoing::default() };
    let mut answered = Vec::new();
    bus.fail_each_of_step(
        || Ok(()),
        |()| socket.raw().send(&outgoing),
        |(), _| {
            let answer = socket.receive_now(1 << 16, 0);
            answered.push(answer.is_ok_and(|it| it.only().is_ok_and(|it| it.kind == genl::GENL_ID_CTRL)));
            Ok(())
        },
    )?;
    // Nothing failed in the last call of all.
    let of_last_failure = answered.iter().rev().nth(1);
    expect_eq("whether the answer arrives if the last allocation fails", of_last_failure, Some(&true))
}
