//! Process events: their form, numbers, times and order, and who gets them.

use nix::errno::Errno;
use nix::libc::{self, SO_RCVBUF, SOL_SOCKET};
use nix::time::{ClockId, clock_gettime};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno};
use crate::port::process::{Deed, Kind, Program, Trace};
use crate::port::{Outgoing, Who};
use crate::scene::bus::{Bus, Event, NO_OPERATION};
use crate::wire::address::Address;
use crate::wire::connector::CnMsg;
use crate::wire::message::{NLMSG_DONE, NLMSG_HDRLEN};
use crate::wire::process::{
    CN_IDX_PROC, Happening, PROC_EVENT, PROC_EVENT_COMM, PROC_EVENT_COREDUMP, PROC_EVENT_EXEC,
    PROC_EVENT_EXIT, PROC_EVENT_FORK, PROC_EVENT_GID, PROC_EVENT_PTRACE, PROC_EVENT_SID, PROC_EVENT_UID,
    ProcEvent, Task, control,
};
use crate::wire::{u32_at, u64_at};

cases! {
    events_have_the_documented_layout(LIVES) [initial_net] => "CNP-EV-001";
    numbers_are_consecutive_per_processor [initial_net] => "CNP-EV-002";
    events_without_a_receiver_are_numbered_too [initial_net] => "CNP-EV-002";
    time_is_the_monotonic_clock(LIVES) [initial_net] => "CNP-EV-003";
    pid_namespace_is_seen_from_outside [initial_net] => "CNP-EV-012";
    user_namespace_is_seen_from_outside [initial_net] => "CNP-EV-012";
    no_events_are_numbered_without_a_listener [initial_net, invasive, loses] => "CNP-EV-013";
    no_event_of_any_kind_comes_without_a_listener [initial_net, invasive, loses] => "CNP-EV-013";
    overrun_loses_events_of_one_member [initial_net] => "CNP-EV-014";
    event_without_memory_is_lost_alone [initial_net] => "CNP-EV-018";
    events_arrive_in_the_order_of_the_actions(LIVES) [initial_net] => "CNP-EV-015";
    other_network_namespace_receives_no_events [initial_net] => "CNP-EV-016";
    event_is_laid_out_alike_for_every_word_size [initial_net] => "CNP-EV-019";
    event_reaches_a_member_with_port_1 [initial_net] => "CNP-EV-020";
}

/// The actions of a process, and the events that report them.
struct Life {
    deeds: fn() -> Vec<Deed>,
    /// Kinds of events between fork and exit.
    events: &'static [u32],
}

const LIVES: &[(&str, Life)] = &[
    (
        "exec",
        Life {
            deeds: || vec![Deed::SetSid, Deed::Exec(Program::Script)],
            events: &[PROC_EVENT_SID, PROC_EVENT_EXEC],
        },
    ),
    (
        "ids",
        Life {
            deeds: || vec![Deed::SetGroups(1, 2, 3), Deed::SetUsers(1, 2, 3)],
            events: &[PROC_EVENT_GID, PROC_EVENT_UID],
        },
    ),
    (
        "core",
        Life {
            deeds: || vec![Deed::SetSid, Deed::SetFsUser(1), Deed::Raise(libc::SIGABRT)],
            events: &[PROC_EVENT_SID, PROC_EVENT_UID, PROC_EVENT_COREDUMP],
        },
    ),
    ("name", Life { deeds: || vec![Deed::SetName("nlc_life".into())], events: &[PROC_EVENT_COMM] }),
    (
        "tracer",
        Life {
            deeds: || vec![Deed::Trace(Trace::Attach)],
            // Of the child that it traces, until it no longer does.
            events: &[PROC_EVENT_FORK, PROC_EVENT_PTRACE, PROC_EVENT_PTRACE, PROC_EVENT_EXIT],
        },
    ),
];

/// The number of bytes of an event's data that are used.
fn used(what: u32) -> usize {
    match what {
        PROC_EVENT_EXEC | PROC_EVENT_SID => 8,
        PROC_EVENT_FORK | PROC_EVENT_UID | PROC_EVENT_GID | PROC_EVENT_PTRACE | PROC_EVENT_COREDUMP => 16,
        _ => 24,
    }
}

fn events_have_the_documented_layout(bus: &Bus<'_>, life: &Life) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&(life.deeds)())?;
    for Event { message, msg, event } in listener.story(&process)? {
        let header = (message.len() as usize, message.kind, message.flags, message.portid);
        expect_eq("nlmsg_len, type, flags, pid", header, (NLMSG_HDRLEN + 20 + PROC_EVENT, NLMSG_DONE, 0, 0))?;
        let bare = CnMsg { seq: msg.seq, data: msg.data.clone(), ..CnMsg::to(CN_IDX_PROC, CN_IDX_PROC) };
        expect_eq("cn_msg", &msg, &bare)?;
        expect_eq("bytes of its data", msg.data.len(), PROC_EVENT)?;
        let unused = &event.data[used(event.what)..];
        expect("bytes without meaning", unused.iter().all(|byte| *byte == 0), "all zero", &event.data)?;
    }
    Ok(())
}

/// The numbers of each processor's events must be consecutive.
fn expect_consecutive(events: &[Event]) -> Outcome {
    for (n, event) in events.iter().enumerate() {
        let before = events[..n].iter().rfind(|before| before.event.cpu == event.event.cpu);
        if let Some(before) = before {
            let what = format!("number after {} of processor {}", before.msg.seq, event.event.cpu);
            expect_eq(&what, event.msg.seq, before.msg.seq.wrapping_add(1))?;
        }
        expect_eq("nlmsg_seq", event.message.seq, event.msg.seq)?;
    }
    Ok(())
}

fn numbers_are_consecutive_per_processor(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let deeds = [Deed::Make(Kind::Fork, vec![]), Deed::SetSid, Deed::Make(Kind::Thread, vec![])];
    let process = bus.process(&deeds)?;
    expect_consecutive(&listener.everything(&process)?)
}

/// Actions on processor 0 that generate two events.
const PINNED: [Deed; 3] = [Deed::Pin(0), Deed::SetSid, Deed::SetFsUser(1)];

fn events_without_a_receiver_are_numbered_too(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let first = bus.process(&PINNED)?;
    let before = listener.story(&first)?.last().map_or(0, |exit| exit.msg.seq);
    listener.socket.leave(CN_IDX_PROC)?;
    bus.process(&PINNED)?;
    listener.socket.join(CN_IDX_PROC)?;
    let third = bus.process(&PINNED)?;
    let story = listener.story(&third)?;
    let after =
        story.iter().find(|event| event.event.what == PROC_EVENT_SID).map_or(0, |event| event.msg.seq);
    // The second process generated two events, whether or not anyone received them.
    expect("number of an event", after.wrapping_sub(before) > 2, &format!("beyond {before} + 2"), after)
}

pub(super) fn now_ns() -> Result<u64, Errno> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

fn time_is_the_monotonic_clock(bus: &Bus<'_>, life: &Life) -> Outcome {
    let listener = bus.listener()?;
    let before = now_ns()?;
    let process = bus.process(&[vec![Deed::Pin(0)], (life.deeds)()].concat())?;
    let story = listener.story(&process)?;
    let after = now_ns()?;
    let times: Vec<u64> = story.iter().map(|event| event.event.timestamp_ns).collect();
    let within = times.iter().all(|time| (before..=after).contains(time));
    expect("times", within, &format!("within {before}..={after}"), &times)?;
    expect("times of one process", times.is_sorted(), "in order", &times)
}

fn pid_namespace_is_seen_from_outside(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[Deed::Make(Kind::InPidNamespace, vec![Deed::SetSid])])?;
    let child = Task::leader(process.made(0)?);
    let story = listener.story(&process)?;
    let events: Vec<_> = story
        .iter()
        .map(|event| event.event.happening())
        .filter(|event| match event {
            Happening::Fork { child: task, .. } | Happening::Sid { task } => *task == child,
            _ => false,
        })
        .collect();
    let fork = Happening::Fork { parent: process.task(), child };
    expect_eq("events of the first process there", events, [fork, Happening::Sid { task: child }])
}

fn user_namespace_is_seen_from_outside(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[
        Deed::SetUsers(1234, 5678, 5678),
        Deed::EnterUserNamespace,
        Deed::SetUsers(0, 0, 0), // 5678, seen from outside
    ])?;
    process.made(2)?;
    let story = listener.story(&process)?;
    let events = story.iter().filter(|event| event.event.what == PROC_EVENT_UID);
    let task = process.task();
    let expected = [1234, 5678].map(|real| Happening::Uid { task, real, effective: 5678 });
    expect_eq("events", events.map(|event| event.event.happening()).collect::<Vec<_>>(), expected)
}

fn no_events_are_numbered_without_a_listener(bus: &Bus<'_>) -> Outcome {
    bus.end_all_listening()?;
    let listener = bus.listener()?;
    let mut events = listener.everything(&bus.process(&PINNED)?)?;
    listener.ignore()?;
    let unheard = bus.process(&PINNED)?;
    listener.expect_no_event(&unheard)?;
    listener.listen()?;
    events.extend(listener.everything(&bus.process(&PINNED)?)?);
    events.retain(|event| event.event.cpu == 0);
    expect_consecutive(&events)
}

fn no_event_of_any_kind_comes_without_a_listener(bus: &Bus<'_>) -> Outcome {
    bus.end_all_listening()?;
    let member = bus.member_for_events()?;
    LIVES.iter().try_for_each(|(_, life)| member.expect_no_event(&bus.process(&(life.deeds)())?))
}

fn overrun_loses_events_of_one_member(bus: &Bus<'_>) -> Outcome {
    let (witness, small) = (bus.listener()?, bus.member_for_events()?);
    small.socket.set_at(SOL_SOCKET, SO_RCVBUF, 0)?;
    let names = |n| Deed::SetName(format!("nlc_{n}"));
    let process = bus.process(&(0..60).map(names).collect::<Vec<_>>())?;
    let heard = witness.story(&process)?.iter().filter(|event| event.event.what == PROC_EVENT_COMM).count();
    expect_eq("events that the member with room received", heard, 60)?;
    let overrun = small.socket.receive_now(1024, 0).map(drop);
    expect_errno("receiving without room", overrun, bus.expected("errno")?)?;
    let mut left = 0;
    while small.socket.receive_now(1024, 0).is_ok() {
        left += 1;
    }
    expect("events left for the member without room", left < 60, "fewer than were sent", left)
}

/// The event is the acknowledgement of a request.
fn event_without_memory_is_lost_alone(bus: &Bus<'_>) -> Outcome {
    let (listener, sender) = (bus.listener()?, bus.outside_observer()?);
    let request = Outgoing { bytes: control(NO_OPERATION).in_message().encode(), ..Outgoing::default() };
    bus.fail_each_of_step(
        || Ok(()),
        |()| sender.socket.raw().send(&request),
        |(), sent| {
            if sent.is_err() {
                expect_errno("send()", sent, bus.expected("lost")?)?;
            }
            loop {
                match listener.socket.receive_now(1024, 0) {
                    Ok(_) => {}
                    Err(Errno::EAGAIN) => break,
                    lost => expect_errno("receive", lost.map(drop), bus.expected("lost")?)?,
                }
            }
            listener.acknowledgement(sender.request(control(NO_OPERATION))?).map(drop)
        },
    )
}

fn events_arrive_in_the_order_of_the_actions(bus: &Bus<'_>, life: &Life) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[vec![Deed::Pin(0)], (life.deeds)()].concat())?;
    let story: Vec<u32> = listener.story(&process)?.iter().map(|event| event.event.what).collect();
    expect_eq("events", story, [&[PROC_EVENT_FORK], life.events, &[PROC_EVENT_EXIT]].concat())
}

fn other_network_namespace_receives_no_events(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    bus.run_as(Who::OtherNet, || {
        let member = bus.member_for_events()?;
        let process = bus.process(&[Deed::Trace(Trace::Attach)])?;
        listener.story(&process)?;
        member.expect_no_event(&process)
    })
}

fn event_is_laid_out_alike_for_every_word_size(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let before = now_ns()?;
    let mut process = bus.process(&[Deed::Pin(0)])?;
    let message = listener.story(&process)?.pop().map(|exit| exit.message.encode()).unwrap_or_default();
    let after = now_ns()?;
    let event = message.get(bus.expected::<usize>("offset")?..).unwrap_or_default();
    let words: Vec<u32> = (0..PROC_EVENT).step_by(4).filter_map(|at| u32_at(event, at)).collect();
    let (task, parent) = (process.task(), process.maker());
    expect_eq("what and cpu", &words[..2], [PROC_EVENT_EXIT, 0])?;
    let time = u64_at(event, 8).unwrap_or_default();
    expect("timestamp_ns", (before..=after).contains(&time), &format!("within {before}..={after}"), time)?;
    let exit = [task.pid, task.tgid, process.reap()?, libc::SIGCHLD as u32, parent.pid, parent.tgid];
    expect_eq("event_data", &words[4..], exit)
}

/// A port ID that an event might leave out by mistake.
fn event_reaches_a_member_with_port_1(bus: &Bus<'_>) -> Outcome {
    let _listener = bus.listener()?;
    let member = bus.open(libc::NETLINK_CONNECTOR)?;
    match member.bind(Address { groups: 1 << (CN_IDX_PROC - 1), ..Address::port(1) }) {
        Err(Errno::EADDRINUSE) => return Err(Failure::Skip("another socket has port ID 1".into())),
        bound => bound?,
    }
    let process = bus.process(&[])?;
    loop {
        let msg = CnMsg::decode(&member.receive_one()?.payload).unwrap_or_default();
        if ProcEvent::decode(&msg.data).and_then(|event| event.subject()) == Some(process.task()) {
            return Ok(());
        }
    }
}
