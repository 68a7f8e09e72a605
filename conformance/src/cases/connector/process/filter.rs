//! Masks of process events.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Outcome, expect_eq};
use crate::port::process::{Deed, Program, Trace};
use crate::scene::bus::Bus;
use crate::wire::process::{
    ALL, COMM, COREDUMP, EXEC, EXIT, FORK, GID, Happening, NONZERO_EXIT, PTRACE, SID, UID,
};

cases! {
    mask_chooses_events(MASKS) [initial_net] => "CNP-FLT-001";
    mask_chooses_executions [initial_net] => "CNP-FLT-001";
    mask_chooses_tracing [initial_net] => "CNP-FLT-001";
    mask_that_means_all(ALMOST_ALL) [initial_net] => "CNP-FLT-002";
    request_without_mask_means_all [initial_net] => "CNP-FLT-002";
    only_failures_are_reported(EXITS) [initial_net] => "CNP-FLT-003";
    masked_listener_gets_no_acknowledgement [initial_net] => "CNP-FLT-004";
    after_ignore [initial_net] => "CNP-FLT-005";
    second_mask_replaces_the_first [initial_net] => "CNP-FLT-006";
}

const MASKS: &[(&str, u32)] = &[
    ("fork", FORK),
    ("uid", UID),
    ("gid", GID),
    ("sid", SID),
    ("comm", COMM),
    ("coredump", COREDUMP),
    ("exit", EXIT),
    ("fork_and_exit", FORK | EXIT),
    ("all_but_comm", ALL & !COMM),
];

fn mask_chooses_events(bus: &Bus<'_>, mask: &u32) -> Outcome {
    let listener = bus.listener_to(*mask)?;
    let process = bus.process(&[
        Deed::SetFsGroup(1001),
        Deed::SetFsUser(1001),
        Deed::SetSid,
        Deed::SetName("nlc_masked".into()),
        Deed::Raise(libc::SIGABRT),
    ])?;
    let happened = [FORK, GID, UID, SID, COMM, COREDUMP, EXIT];
    let chosen: Vec<u32> = happened.into_iter().filter(|what| what & mask != 0).collect();
    listener.expect_events(&process, &chosen)
}

fn mask_chooses_executions(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener_to(EXEC)?;
    let process = bus.process(&[Deed::SetSid, Deed::Exec(Program::Binary)])?;
    listener.expect_events(&process, &[EXEC])
}

fn mask_chooses_tracing(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener_to(PTRACE)?;
    let process = bus.process(&[Deed::SetSid, Deed::Trace(Trace::Attach)])?;
    listener.expect_events(&process, &[PTRACE, PTRACE])
}

/// Masks, and whether they mean all. What is acknowledged shows it: no bit stands for that.
const ALMOST_ALL: &[(&str, (u32, bool))] = &[
    ("none", (0, true)),
    ("unknown_bit", (0x400, true)),
    ("each", (ALL, true)),
    ("each_and_an_unknown", (ALL | 0x400, true)),
    ("all_but_fork", (ALL & !FORK, false)),
    ("all_but_exec", (ALL & !EXEC, false)),
    ("all_but_uid", (ALL & !UID, false)),
    ("all_but_gid", (ALL & !GID, false)),
    ("all_but_sid", (ALL & !SID, false)),
    ("all_but_ptrace", (ALL & !PTRACE, false)),
    ("all_but_comm", (ALL & !COMM, false)),
    ("all_but_nonzero_exit", (ALL & !NONZERO_EXIT, false)),
    ("all_but_coredump", (ALL & !COREDUMP, false)),
    ("all_but_exit", (ALL & !EXIT, false)),
];

fn mask_that_means_all(bus: &Bus<'_>, (mask, all): &(u32, bool)) -> Outcome {
    let listener = bus.member_for_events()?;
    let ack = listener.listen_to(*mask)?;
    expect_eq("acknowledged", listener.acknowledged(ack)?, *all)
}

fn request_without_mask_means_all(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener_to(FORK)?;
    let ack = listener.listen()?;
    listener.acknowledgement(ack)?;
    let process = bus.process(&[Deed::SetSid])?;
    listener.expect_events(&process, &[FORK, SID, EXIT])
}

/// Mask, how a process ends, and whether that is reported.
const EXITS: &[(&str, (u32, Deed, bool))] = &[
    ("success", (NONZERO_EXIT, Deed::Exit(0), false)),
    ("failure", (NONZERO_EXIT, Deed::Exit(3), true)),
    ("killed", (NONZERO_EXIT, Deed::Raise(libc::SIGKILL), true)),
    ("success_with_exit", (NONZERO_EXIT | EXIT, Deed::Exit(0), true)),
];

fn only_failures_are_reported(bus: &Bus<'_>, (mask, end, reported): &(u32, Deed, bool)) -> Outcome {
    let (witness, listener) = (bus.listener()?, bus.listener_to(*mask)?);
    let process = bus.process(std::slice::from_ref(end))?;
    // The process may still be about to report its end when its maker knows of it.
    witness.story(&process)?;
    listener.expect_events(&process, if *reported { &[EXIT] } else { &[] })
}

fn masked_listener_gets_no_acknowledgement(bus: &Bus<'_>) -> Outcome {
    let (witness, listener) = (bus.listener()?, bus.member_for_events()?);
    let ack = listener.listen_to(FORK)?;
    let answer = witness.acknowledgement(ack)?;
    expect_eq("what others see", answer.event.happening(), Happening::Acknowledged { err: 0 })?;
    expect_eq("acknowledged", listener.acknowledged(ack)?, false)
}

fn after_ignore(bus: &Bus<'_>) -> Outcome {
    let (witness, other) = (bus.listener()?, bus.listener()?);
    other.ignore()?;
    let process = bus.process(&[])?;
    witness.story(&process)?;
    match bus.expected::<String>("gets")?.as_str() {
        "all" => other.expect_events(&process, &[FORK, EXIT]),
        _ => other.expect_no_event(&process),
    }
}

fn second_mask_replaces_the_first(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener_to(FORK)?;
    listener.listen_to(EXIT)?;
    let process = bus.process(&[])?;
    listener.expect_events(&process, &[EXIT])
}
