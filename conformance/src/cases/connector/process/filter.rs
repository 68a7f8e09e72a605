//! Masks of process events.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Outcome, expect_eq};
use crate::port::process::{Deed, Program, Trace};
use crate::scene::bus::Bus;
use crate::wire::process::{
    Happening, PROC_EVENT_ALL, PROC_EVENT_COMM, PROC_EVENT_COREDUMP, PROC_EVENT_EXEC, PROC_EVENT_EXIT,
    PROC_EVENT_FORK, PROC_EVENT_GID, PROC_EVENT_NONZERO_EXIT, PROC_EVENT_PTRACE, PROC_EVENT_SID,
    PROC_EVENT_UID,
};

cases! {
    mask_selects_events(MASKS) [initial_net] => "CNP-FLT-001";
    mask_selects_exec [initial_net] => "CNP-FLT-001";
    mask_selects_ptrace [initial_net] => "CNP-FLT-001";
    mask_of_unknown_bits_selects_all(ALMOST_ALL) [initial_net] => "CNP-FLT-002";
    listen_without_mask_selects_all [initial_net] => "CNP-FLT-002";
    nonzero_exit_selects_failures(EXITS) [initial_net] => "CNP-FLT-003";
    masked_listener_gets_no_acknowledgement [initial_net] => "CNP-FLT-004";
    member_after_ignore_receives_events_or_not [initial_net] => "CNP-FLT-005";
    second_mask_replaces_the_first [initial_net] => "CNP-FLT-006";
}

const MASKS: &[(&str, u32)] = &[
    ("fork", PROC_EVENT_FORK),
    ("uid", PROC_EVENT_UID),
    ("gid", PROC_EVENT_GID),
    ("sid", PROC_EVENT_SID),
    ("comm", PROC_EVENT_COMM),
    ("coredump", PROC_EVENT_COREDUMP),
    ("exit", PROC_EVENT_EXIT),
    ("fork_and_exit", PROC_EVENT_FORK | PROC_EVENT_EXIT),
    ("all_but_comm", PROC_EVENT_ALL & !PROC_EVENT_COMM),
];

fn mask_selects_events(bus: &Bus<'_>, mask: &u32) -> Outcome {
    let listener = bus.listener_to(*mask)?;
    let process = bus.process(&[
        Deed::SetFsGroup(1001),
        Deed::SetFsUser(1001),
        Deed::SetSid,
        Deed::SetName("nlc_masked".into()),
        Deed::Raise(libc::SIGABRT),
    ])?;
    let happened = [
        PROC_EVENT_FORK,
        PROC_EVENT_GID,
        PROC_EVENT_UID,
        PROC_EVENT_SID,
        PROC_EVENT_COMM,
        PROC_EVENT_COREDUMP,
        PROC_EVENT_EXIT,
    ];
    let chosen: Vec<u32> = happened.into_iter().filter(|what| what & mask != 0).collect();
    listener.expect_events(&process, &chosen)
}

fn mask_selects_exec(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener_to(PROC_EVENT_EXEC)?;
    let process = bus.process(&[Deed::SetSid, Deed::Exec(Program::Binary)])?;
    listener.expect_events(&process, &[PROC_EVENT_EXEC])
}

fn mask_selects_ptrace(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener_to(PROC_EVENT_PTRACE)?;
    let process = bus.process(&[Deed::SetSid, Deed::Trace(Trace::Attach)])?;
    listener.expect_events(&process, &[PROC_EVENT_PTRACE, PROC_EVENT_PTRACE])
}

/// Masks, and whether they select all events. An acknowledgement shows it: no bit stands for one.
const ALMOST_ALL: &[(&str, (u32, bool))] = &[
    ("none", (0, true)),
    ("unknown_bit", (0x400, true)),
    ("each", (PROC_EVENT_ALL, true)),
    ("each_and_an_unknown", (PROC_EVENT_ALL | 0x400, true)),
    ("all_but_fork", (PROC_EVENT_ALL & !PROC_EVENT_FORK, false)),
    ("all_but_exec", (PROC_EVENT_ALL & !PROC_EVENT_EXEC, false)),
    ("all_but_uid", (PROC_EVENT_ALL & !PROC_EVENT_UID, false)),
    ("all_but_gid", (PROC_EVENT_ALL & !PROC_EVENT_GID, false)),
    ("all_but_sid", (PROC_EVENT_ALL & !PROC_EVENT_SID, false)),
    ("all_but_ptrace", (PROC_EVENT_ALL & !PROC_EVENT_PTRACE, false)),
    ("all_but_comm", (PROC_EVENT_ALL & !PROC_EVENT_COMM, false)),
    ("all_but_nonzero_exit", (PROC_EVENT_ALL & !PROC_EVENT_NONZERO_EXIT, false)),
    ("all_but_coredump", (PROC_EVENT_ALL & !PROC_EVENT_COREDUMP, false)),
    ("all_but_exit", (PROC_EVENT_ALL & !PROC_EVENT_EXIT, false)),
];

fn mask_of_unknown_bits_selects_all(bus: &Bus<'_>, (mask, all): &(u32, bool)) -> Outcome {
    let listener = bus.member_for_events()?;
    let ack = listener.listen_to(*mask)?;
    expect_eq("acknowledged", listener.acknowledged(ack)?, *all)
}

fn listen_without_mask_selects_all(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener_to(PROC_EVENT_FORK)?;
    let ack = listener.listen()?;
    listener.acknowledgement(ack)?;
    let process = bus.process(&[Deed::SetSid])?;
    listener.expect_events(&process, &[PROC_EVENT_FORK, PROC_EVENT_SID, PROC_EVENT_EXIT])
}

/// Mask, how a process exits, and whether that is reported.
const EXITS: &[(&str, (u32, Deed, bool))] = &[
    ("success", (PROC_EVENT_NONZERO_EXIT, Deed::Exit(0), false)),
    ("failure", (PROC_EVENT_NONZERO_EXIT, Deed::Exit(3), true)),
    ("killed", (PROC_EVENT_NONZERO_EXIT, Deed::Raise(libc::SIGKILL), true)),
    ("success_with_exit", (PROC_EVENT_NONZERO_EXIT | PROC_EVENT_EXIT, Deed::Exit(0), true)),
];

fn nonzero_exit_selects_failures(bus: &Bus<'_>, (mask, end, reported): &(u32, Deed, bool)) -> Outcome {
    let (witness, listener) = (bus.listener()?, bus.listener_to(*mask)?);
    let process = bus.process(std::slice::from_ref(end))?;
    // When the parent learns of the exit, the process may not have reported it yet.
    witness.story(&process)?;
    listener.expect_events(&process, if *reported { &[PROC_EVENT_EXIT] } else { &[] })
}

fn masked_listener_gets_no_acknowledgement(bus: &Bus<'_>) -> Outcome {
    let (witness, listener) = (bus.listener()?, bus.member_for_events()?);
    let ack = listener.listen_to(PROC_EVENT_FORK)?;
    let answer = witness.acknowledgement(ack)?;
    expect_eq("what others see", answer.event.happening(), Happening::Acknowledged { err: 0 })?;
    expect_eq("acknowledged", listener.acknowledged(ack)?, false)
}

fn member_after_ignore_receives_events_or_not(bus: &Bus<'_>) -> Outcome {
    let (witness, other) = (bus.listener()?, bus.listener()?);
    other.ignore()?;
    let process = bus.process(&[])?;
    witness.story(&process)?;
    match bus.expected::<String>("gets")?.as_str() {
        "all" => other.expect_events(&process, &[PROC_EVENT_FORK, PROC_EVENT_EXIT]),
        _ => other.expect_no_event(&process),
    }
}

fn second_mask_replaces_the_first(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener_to(PROC_EVENT_FORK)?;
    listener.listen_to(PROC_EVENT_EXIT)?;
    let process = bus.process(&[])?;
    listener.expect_events(&process, &[PROC_EVENT_EXIT])
}
