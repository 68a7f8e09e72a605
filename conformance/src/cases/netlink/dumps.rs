//! Dumps: what requests one, and what may happen while one runs.

mod buffers;
mod callbacks;
mod course;
mod ends;
mod stalls;

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno, expect_ok, expect_result};
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::dumps::{controller, families, links, numbers, policies, recorder, status};
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{
    self, Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_MATCH, NLM_F_MULTI, NLM_F_ROOT, NLMSG_DONE, NLMSG_ERROR,
};
use crate::wire::sock_diag;

cases! {
    one_dump_bit_is_a_do_request(BITS) => "NL-DMP-001";
    both_dump_bits_are_a_dump_request => "NL-DMP-001";
    one_dump_bit_is_a_dump_to_sock_diag(BITS) => "NL-DMP-027";
    messages_are_multi_and_done_is_last(PROTOCOLS) => "NL-DMP-002";
    messages_are_addressed_to_the_requester(PROTOCOLS) => "NL-DMP-002";
    dump_is_not_acknowledged(PROTOCOLS) => "NL-DMP-003";
    dump_that_cannot_start_is_refused => "NL-DMP-003";
    refused_dump_leaves_the_socket_free => "NL-DMP-003";
    second_dump_is_refused(DUMPS) => "NL-DMP-007";
    other_request_is_served_during_a_dump => "NL-DMP-007";
    first_dump_continues_after_the_refusal => "NL-DMP-007";
    long_dump_survives_other_requests => "NL-DMP-020", "NL-DMP-007";
    next_dump_may_start_before_done_is_read => "NL-DMP-008";
    dump_that_fits_ends_when_it_starts => "NL-DMP-008";
    port_is_free_at_once => "NL-DMP-021";
    two_sockets_dump_independently => "NL-DMP-024";
    + buffers;
    + callbacks;
    + course;
    + ends;
    + stalls;
}

const BITS: &[(&str, u16)] = &[("root", NLM_F_ROOT), ("match", NLM_F_MATCH)];

fn one_dump_bit_is_a_do_request(bus: &Bus<'_>, bit: &u16) -> Outcome {
    let socket = bus.generic()?;
    // In a do request, the controller requires the name or ID of a family.
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, Attrs::new()).with(*bit);
    socket.send(&request)?;
    let answer = socket.receive_one()?;
    expect_eq("type of the answer", answer.kind, NLMSG_ERROR)?;
    expect_errno("request without attributes", status(&answer), bus.expected("errno")?)
}

fn both_dump_bits_are_a_dump_request(bus: &Bus<'_>) -> Outcome {
    let answer = bus.generic()?.ask(&families())?;
    expect("replies", !answer.replies.is_empty(), "at least the controller", &answer.replies)?;
    expect_ok("end of the dump", answer.ack()?)
}

fn one_dump_bit_is_a_dump_to_sock_diag(bus: &Bus<'_>, bit: &u16) -> Outcome {
    let known = bus.bound(libc::NETLINK_USERSOCK)?;
    bus.inspect(&known)?;
    let socket = bus.diag()?;
    let mut request = sock_diag::sockets(libc::NETLINK_USERSOCK as u8, 0).seq(7);
    request.flags = message::NLM_F_REQUEST | bit;
    socket.send(&request)?;
    let first = socket.receive()?.messages;
    let kinds: Vec<_> = first.iter().map(|message| message.kind).collect();
    expect_eq("type of the first reply", kinds.first(), Some(&sock_diag::SOCK_DIAG_BY_FAMILY))
}

/// Makes the request for a dump.
type Request = fn() -> Message;

/// Dumps that are not empty on any system.
const DUMPS: &[(&str, Request)] = &[("families", families), ("policies", policies)];

const PROTOCOLS: &[(&str, (i32, Request))] = &[
    ("families", (libc::NETLINK_GENERIC, families)),
    ("policies", (libc::NETLINK_GENERIC, policies)),
    ("links", (libc::NETLINK_ROUTE, links)),
];

fn messages_are_multi_and_done_is_last(bus: &Bus<'_>, (protocol, dump): &(i32, Request)) -> Outcome {
    let socket = bus.bound(*protocol)?;
    socket.send(&dump())?;
    loop {
        for message in socket.receive()?.messages {
            expect("flags", message.flags & NLM_F_MULTI != 0, "NLM_F_MULTI", message.flags)?;
            if message.kind == NLMSG_DONE {
                expect_eq("flags of NLMSG_DONE", message.flags, NLM_F_MULTI)?;
                expect_eq("nlmsg_len of NLMSG_DONE", message.len(), 20)?;
                return expect_eq("status in NLMSG_DONE", message.status(), Some(0));
            }
        }
    }
}

fn messages_are_addressed_to_the_requester(bus: &Bus<'_>, (protocol, dump): &(i32, Request)) -> Outcome {
    let socket = bus.bound(*protocol)?;
    socket.send(&dump())?;
    loop {
        let datagram = socket.receive()?;
        expect_eq("sender of the datagram", datagram.from, Address::KERNEL)?;
        for message in datagram.messages {
            expect_eq("sequence number", message.seq, 7)?;
            expect_eq("port ID", message.portid, socket.portid()?)?;
            if message.kind == NLMSG_DONE {
                return Ok(());
            }
        }
    }
}

fn dump_is_not_acknowledged(bus: &Bus<'_>, (protocol, dump): &(i32, Request)) -> Outcome {
    let socket = bus.bound(*protocol)?;
    let answer = socket.ask(&dump().with(NLM_F_ACK))?;
    expect(
        "types of the messages",
        answer.replies.iter().all(|reply| reply.kind != NLMSG_ERROR),
        "no NLMSG_ERROR",
        &answer.replies,
    )?;
    socket.expect_nothing("message after the dump")
}

/// A dump that cannot start, because no family has this ID.
fn of_nobody() -> Message {
    let unknown = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_MAX_ID);
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, unknown).with(NLM_F_DUMP).seq(8)
}

fn dump_that_cannot_start_is_refused(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.send(&of_nobody())?;
    let answer = socket.receive_one()?;
    expect_eq("type of the answer", answer.kind, NLMSG_ERROR)?;
    expect_errno("dump", status(&answer), bus.expected("errno")?)
}

fn refused_dump_leaves_the_socket_free(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.send(&of_nobody())?;
    socket.receive_one()?;
    expect_ok("dump after the refusal", socket.ask(&policies())?)
}

/// A socket with a running dump that will not end before a receive.
fn dumping(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let socket = bus.generic()?;
    socket.send(&policies().seq(1))?;
    socket.wait(WAIT)?;
    Ok(socket)
}

/// Everything up to the end of the dump with this sequence number: its messages, and others.
fn sort_until_done(socket: &Socket, seq: u32) -> Result<(Vec<Message>, Vec<Message>), Failure> {
    let (mut dump, mut others) = (Vec::new(), Vec::new());
    loop {
        for message in socket.receive()?.messages {
            if message.seq == seq { &mut dump } else { &mut others }.push(message);
        }
        if dump.last().is_some_and(|message: &Message| message.kind == NLMSG_DONE) {
            return Ok((dump, others));
        }
    }
}

fn second_dump_is_refused(bus: &Bus<'_>, second: &Request) -> Outcome {
    bus.need_prompt_answers()?;
    let socket = dumping(bus)?;
    socket.send(&second().seq(2))?;
    let first = socket.receive()?.messages;
    expect("first datagram", first.iter().all(|reply| reply.seq == 1), "the first dump's", &first)?;
    let refusal = socket.receive_one()?;
    expect_eq("type and sequence number of the refusal", (refusal.kind, refusal.seq), (NLMSG_ERROR, 2))?;
    expect_errno("second dump", status(&refusal), bus.expected("errno")?)
}

fn other_request_is_served_during_a_dump(bus: &Bus<'_>) -> Outcome {
    bus.need_prompt_answers()?;
    let socket = dumping(bus)?;
    socket.send(&controller().with(NLM_F_ACK).seq(3))?;
    let (_, others) = sort_until_done(&socket, 1)?;
    let others: Vec<_> = others.iter().map(|message| (message.seq, message.kind)).collect();
    expect_eq("reply and acknowledgement in between", others, [(3, genl::GENL_ID_CTRL), (3, NLMSG_ERROR)])
}

fn first_dump_continues_after_the_refusal(bus: &Bus<'_>) -> Outcome {
    let alone = bus.generic()?.ask(&policies())?;
    let socket = dumping(bus)?;
    socket.send(&families().seq(2))?;
    let (mut dump, _) = sort_until_done(&socket, 1)?;
    expect_ok("end of the first dump", dump.pop().as_ref().map_or(i64::MIN, status))?;
    let payloads =
        |messages: Vec<Message>| -> Vec<_> { messages.into_iter().map(|message| message.payload).collect() };
    expect_eq("result of the first dump", payloads(dump), payloads(alone.replies))
}

fn long_dump_survives_other_requests(bus: &Bus<'_>) -> Outcome {
    bus.need_prompt_answers()?;
    let family = bus.register(recorder(100))?;
    let socket = bus.generic()?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(1))?;
    socket.send(&families().seq(2))?;
    socket.send(&controller().seq(3))?;
    let (mut dump, others) = sort_until_done(&socket, 1)?;
    let others: Vec<_> = others.iter().map(|message| (message.seq, message.kind)).collect();
    expect_eq("refusal and reply in between", others, [(2, NLMSG_ERROR), (3, genl::GENL_ID_CTRL)])?;
    expect_ok("end of the first dump", dump.pop().as_ref().map_or(i64::MIN, status))?;
    expect_eq("records of the first dump", numbers(&dump), (0..100).collect::<Vec<_>>())
}

/// The receive call that makes room for NLMSG_DONE ends the dump, not the one that reads that message.
fn next_dump_may_start_before_done_is_read(bus: &Bus<'_>) -> Outcome {
    let socket = dumping(bus)?;
    socket.receive()?;
    socket.send(&policies().seq(2))?;
    let end = socket.receive_one()?;
    expect_eq("type and sequence number of the first dump's end", (end.kind, end.seq), (NLMSG_DONE, 1))?;
    expect_ok("second dump", socket.answer_to(&policies().seq(2))?)
}

fn dump_that_fits_ends_when_it_starts(bus: &Bus<'_>) -> Outcome {
    bus.need_prompt_answers()?;
    let socket = bus.generic()?;
    if socket.ask(&families())?.datagrams.len() > 2 {
        // Not in a new network namespace, where there are few.
        return Err(Failure::Skip("the target has more families than one datagram holds".into()));
    }
    socket.send(&families().seq(1))?;
    socket.send(&families().seq(2))?;
    let (_, others) = sort_until_done(&socket, 1)?;
    let second = match others.first() {
        Some(answer) => answer.clone(),
        None => socket.receive()?.messages.swap_remove(0),
    };
    let second = if second.kind == NLMSG_ERROR { status(&second) } else { 0 };
    expect_result("second dump", second, bus.expected("second")?)
}

fn port_is_free_at_once(bus: &Bus<'_>) -> Outcome {
    let port = dumping(bus)?.portid()?;
    for _ in 0..50 {
        let socket = bus.open(libc::NETLINK_GENERIC)?;
        expect_ok("bind() to the port of the closed socket", socket.bind(Address::port(port)))?;
        socket.send(&policies())?;
        // Neither received nor peeked at: the dump must not end.
        socket.wait(WAIT)?;
    }
    Ok(())
}

fn two_sockets_dump_independently(bus: &Bus<'_>) -> Outcome {
    let (one, two) = (dumping(bus)?, dumping(bus)?);
    let first = [one.receive()?, two.receive()?];
    let last = [one.receive_one()?, two.receive_one()?];
    expect_eq("results of the dumps", &first[0].messages.len(), &first[1].messages.len())?;
    for end in last {
        expect_eq("type of the last message", end.kind, NLMSG_DONE)?;
        expect_ok("end of the dump", status(&end))?;
    }
    Ok(())
}
