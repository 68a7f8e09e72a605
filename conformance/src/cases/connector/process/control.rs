//! Requests to listen to process events.

use std::cell::Cell;

use nix::errno::Errno;

use super::stream::now_ns;
use crate::cases::cases;
use crate::outcome::{Outcome, expect, expect_eq, expect_ok};
use crate::port::capability::Capability;
use crate::port::{Outgoing, Who};
use crate::scene::bus::{Bus, NO_OPERATION};
use crate::wire::address::Address;
use crate::wire::connector::CnMsg;
use crate::wire::process::{
    CN_IDX_PROC, Happening, PROC_CN_MCAST_IGNORE, PROC_CN_MCAST_LISTEN, PROC_EVENT_EXIT, PROC_EVENT_FORK,
    ProcEvent, control, control_with_mask,
};

cases! {
    listening_is_acknowledged [initial_net] => "CNP-CTL-001";
    documented_listener_receives_events [initial_net] => "CNP-CTL-001", "CN-BIND-007";
    only_known_request_lengths_are_accepted(LENGTHS) [initial_net, loses] => "CNP-CTL-002";
    unknown_operation_is_refused(OPERATIONS) [initial_net, loses] => "CNP-CTL-003";
    unprivileged_listen_is_acknowledged_with_its_errno [initial_net, loses] => "CNP-CTL-004";
    request_from_another_namespace_is_ignored(STRANGERS) [initial_net] => "CNP-CTL-005";
    acknowledgement_is_an_event [initial_net, loses] => "CNP-CTL-006";
    last_ignore_is_not_acknowledged [initial_net, invasive, loses] => "CNP-CTL-007";
    acknowledgement_reaches_members [initial_net] => "CNP-CTL-008";
    each_ignore_lowers_the_count [initial_net, invasive] => "CNP-CTL-009";
    each_listen_raises_the_count [initial_net, invasive, loses] => "CNP-CTL-009";
    ignore_without_listen_does_not_count [initial_net, invasive, loses] => "CNP-CTL-010";
    second_listen_does_not_count [initial_net, invasive, loses] => "CNP-CTL-010";
    second_ignore_does_not_count [initial_net, invasive, loses] => "CNP-CTL-010";
    close_does_not_end_listening [initial_net, invasive, loses] => "CNP-CTL-011";
    member_receives_events_without_a_request [initial_net] => "CNP-CTL-012";
    listen_after_an_unknown_operation_counts_again [initial_net, invasive, loses] => "CNP-CTL-014";
    unknown_operation_replaces_the_mask [initial_net] => "CNP-CTL-014";
    request_without_memory_is_acknowledged_with_its_errno [initial_net] => "CNP-CTL-015";
}

fn listening_is_acknowledged(bus: &Bus<'_>) -> Outcome {
    let socket = bus.member_for_events()?;
    let ack = socket.listen()?;
    let answer = socket.acknowledgement(ack)?;
    expect_eq("answer", answer.event.happening(), Happening::Acknowledged { err: 0 })?;
    let process = bus.process(&[])?;
    socket.expect_events(&process, &[PROC_EVENT_FORK, PROC_EVENT_EXIT])
}

/// The pseudocode of the documents, with a group that exists.
fn documented_listener_receives_events(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::ProcEvents)?;
    let (sol_netlink, add_membership, on) = (270, 1, CN_IDX_PROC);
    let socket = bus.open_as(nix::libc::SOCK_DGRAM, nix::libc::NETLINK_CONNECTOR)?;
    expect_ok("bind()", socket.bind(Address { portid: 0, ..Address::groups(on) }))?;
    expect_ok("setsockopt()", socket.set_at(sol_netlink, add_membership, on))?;
    expect_ok("send()", socket.send(&control(PROC_CN_MCAST_LISTEN).in_message()))?;
    let process = bus.process(&[])?;
    loop {
        let msg = CnMsg::decode(&socket.receive_one()?.payload).unwrap_or_default();
        let event = ProcEvent::decode(&msg.data);
        if event.and_then(|event| event.subject()) == Some(process.task()) {
            break;
        }
    }
    expect_ok("send()", socket.send(&control(PROC_CN_MCAST_IGNORE).in_message()))
}

const LENGTHS: &[(&str, usize)] = &[("0", 0), ("3", 3), ("4", 4), ("5", 5), ("8", 8), ("12", 12)];

fn only_known_request_lengths_are_accepted(bus: &Bus<'_>, len: &usize) -> Outcome {
    let (witness, sender) = (bus.listener()?, bus.outside_observer()?);
    let mut request = control(NO_OPERATION);
    request.data.resize(*len, 0);
    let ack = sender.request(request)?;
    let lengths: String = bus.expected("lengths")?;
    let taken = lengths.split(" or ").any(|taken| taken == len.to_string());
    expect_eq("acknowledged", witness.acknowledged(ack)?, taken)
}

const OPERATIONS: &[(&str, u32)] = &[("0", 0), ("3", 3), ("5", NO_OPERATION), ("highest", u32::MAX)];

fn unknown_operation_is_refused(bus: &Bus<'_>, op: &u32) -> Outcome {
    let (witness, sender) = (bus.listener()?, bus.outside_observer()?);
    let ack = sender.request(control(*op))?;
    let err = bus.expected::<Errno>("errno")? as u32;
    expect_eq("answer", witness.acknowledgement(ack)?.event.happening(), Happening::Acknowledged { err })
}

fn unprivileged_listen_is_acknowledged_with_its_errno(bus: &Bus<'_>) -> Outcome {
    let witness = bus.listener()?;
    let ack = bus.run_as(Who::Nobody, || bus.outside_observer()?.listen())?;
    let expected = Happening::Acknowledged { err: bus.expected("err")? };
    expect_eq("answer", witness.acknowledgement(ack)?.event.happening(), expected)
}

const STRANGERS: &[(&str, Who)] =
    &[("user_namespace", Who::UserNamespaceRoot), ("pid_namespace", Who::OtherPid)];

fn request_from_another_namespace_is_ignored(bus: &Bus<'_>, who: &Who) -> Outcome {
    let witness = bus.listener()?;
    let ack = bus.run_as(*who, || bus.outside_observer()?.listen())?;
    expect_eq("acknowledged", witness.acknowledged(ack)?, false)
}

fn acknowledgement_is_an_event(bus: &Bus<'_>) -> Outcome {
    let (witness, sender) = (bus.listener()?, bus.outside_observer()?);
    let request = CnMsg { seq: 0x5e90_0000, ack: 200, ..control(NO_OPERATION) };
    let before = now_ns()?;
    sender.socket.send(&request.in_message())?;
    let answer = witness.acknowledgement(201)?;
    let times = before..=now_ns()?;
    expect("time", times.contains(&answer.event.timestamp_ns), &format!("within {times:?}"), &answer.event)?;
    expect_eq("flags", answer.msg.flags, 0)?;
    let unused = answer.event.data.get(4..).unwrap_or_default();
    expect("bytes after the errno", unused.iter().all(|byte| *byte == 0), "all zero", &answer.event.data)?;
    expect("seq", answer.msg.seq != request.seq, "that of the events, not of the request", answer.msg.seq)?;
    expect("cpu", answer.event.cpu != u32::MAX, "that of the sender", answer.event.cpu)?;
    expect_eq("nlmsg_seq", answer.message.seq, answer.msg.seq)
}

fn last_ignore_is_not_acknowledged(bus: &Bus<'_>) -> Outcome {
    bus.end_all_listening()?;
    let (witness, last) = (bus.member_for_events()?, bus.listener()?);
    let ack = last.ignore()?;
    expect_eq("acknowledged", witness.acknowledged(ack)?, false)
}

fn acknowledgement_reaches_members(bus: &Bus<'_>) -> Outcome {
    let (first, second) = (bus.member_for_events()?, bus.member_for_events()?);
    let outside = bus.outside_observer()?;
    let ack = outside.listen()?;
    first.acknowledgement(ack)?;
    second.acknowledgement(ack)?;
    outside.socket.expect_nothing("acknowledgement for a socket that is no member")
}

fn each_ignore_lowers_the_count(bus: &Bus<'_>) -> Outcome {
    bus.end_all_listening()?;
    let (listener, other) = (bus.listener()?, bus.outside_observer()?);
    other.ignore()?;
    let process = bus.process(&[])?;
    let silent = listener.expect_no_event(&process);
    // Brings the count back to one; the listener's own PROC_CN_MCAST_IGNORE then takes it to zero.
    let ack = other.request(control(PROC_CN_MCAST_LISTEN))?;
    silent?;
    expect_eq("acknowledged", listener.acknowledged(ack)?, true)
}

fn each_listen_raises_the_count(bus: &Bus<'_>) -> Outcome {
    bus.end_all_listening()?;
    let (witness, twice) = (bus.member_for_events()?, bus.listener()?);
    twice.listen()?;
    let ack = twice.ignore()?;
    let counted_once = !witness.acknowledged(ack)?;
    twice.ignore()?;
    let process = bus.process(&[])?;
    expect("after one IGNORE", !counted_once, "still listening", "no events any more")?;
    witness.expect_no_event(&process)
}

fn ignore_without_listen_does_not_count(bus: &Bus<'_>) -> Outcome {
    bus.end_all_listening()?;
    let (listener, other) = (bus.listener()?, bus.outside_observer()?);
    other.ignore()?;
    let process = bus.process(&[])?;
    listener.expect_events(&process, &[PROC_EVENT_FORK, PROC_EVENT_EXIT])
}

fn second_listen_does_not_count(bus: &Bus<'_>) -> Outcome {
    bus.end_all_listening()?;
    let (witness, twice) = (bus.member_for_events()?, bus.listener()?);
    twice.listen()?;
    twice.ignore()?;
    let process = bus.process(&[])?;
    witness.expect_no_event(&process)
}

fn second_ignore_does_not_count(bus: &Bus<'_>) -> Outcome {
    bus.end_all_listening()?;
    let (listener, other) = (bus.listener()?, bus.listener()?);
    other.ignore()?;
    other.ignore()?;
    let process = bus.process(&[])?;
    listener.expect_events(&process, &[PROC_EVENT_FORK, PROC_EVENT_EXIT])
}

fn close_does_not_end_listening(bus: &Bus<'_>) -> Outcome {
    bus.end_all_listening()?;
    let (witness, listener) = (bus.member_for_events()?, bus.listener()?);
    listener.close();
    let process = bus.process(&[])?;
    let seen = witness.expect_events(&process, &[PROC_EVENT_FORK, PROC_EVENT_EXIT]);
    bus.end_all_listening()?;
    seen
}

fn member_receives_events_without_a_request(bus: &Bus<'_>) -> Outcome {
    let (_listener, member) = (bus.listener()?, bus.member_for_events()?);
    let process = bus.process(&[])?;
    member.expect_events(&process, &[PROC_EVENT_FORK, PROC_EVENT_EXIT])
}

fn listen_after_an_unknown_operation_counts_again(bus: &Bus<'_>) -> Outcome {
    bus.end_all_listening()?;
    let (witness, listener) = (bus.member_for_events()?, bus.listener()?);
    listener.request(control(NO_OPERATION))?;
    listener.listen()?;
    listener.ignore()?;
    let process = bus.process(&[])?;
    let seen = witness.expect_events(&process, &[PROC_EVENT_FORK, PROC_EVENT_EXIT]);
    bus.end_all_listening()?;
    seen
}

fn unknown_operation_replaces_the_mask(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener_to(PROC_EVENT_FORK)?;
    listener.request(control_with_mask(NO_OPERATION, PROC_EVENT_EXIT))?;
    let process = bus.process(&[])?;
    listener.expect_events(&process, &[PROC_EVENT_EXIT])
}

/// The first request of a socket needs memory for what it asks.
fn request_without_memory_is_acknowledged_with_its_errno(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let err = bus.expected::<Errno>("errno")? as u32;
    let refused = Cell::new(false);
    let request = CnMsg { ack: 200, ..control(NO_OPERATION) };
    let outgoing = Outgoing { bytes: request.in_message().encode(), ..Outgoing::default() };
    bus.fail_each_of_step(
        || bus.outside_observer(),
        |sender| sender.socket.raw().send(&outgoing),
        |sender, _| {
            while let Some(event) = listener.take_or_lose()? {
                let answer =
                    event.msg.ack == 201 && event.event.happening() == Happening::Acknowledged { err };
                refused.set(refused.get() || answer);
            }
            listener.acknowledgement(sender.request(control(NO_OPERATION))?).map(drop)
        },
    )?;
    expect("acknowledgement of a request without memory", refused.get(), "one with the errno", "none")
}
