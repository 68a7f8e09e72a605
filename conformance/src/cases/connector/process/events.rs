//! Process events: what each reports.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_empty, expect_eq, expect_errno};
use crate::port::process::{Deed, Kind, Program, Trace};
use crate::scene::bus::{Bus, Event, Process};
use crate::wire::process::{Happening, PROC_EVENT_EXIT, PROC_EVENT_FORK, Task};

cases! {
    fork_names_parent_and_child [initial_net] => "CNP-EV-004";
    new_process_is_reported(KINDS) [initial_net] => "CNP-EV-004";
    thread_belongs_to_its_process [initial_net] => "CNP-EV-004";
    exec_is_reported(PROGRAMS) [initial_net] => "CNP-EV-005";
    failed_exec_is_not_reported [initial_net] => "CNP-EV-005";
    change_of_a_uid_is_reported(USERS) [initial_net] => "CNP-EV-006";
    change_of_a_gid_is_reported(GROUPS) [initial_net] => "CNP-EV-006";
    setting_the_same_ids_is_not_reported(UNCHANGED) [initial_net] => "CNP-EV-006";
    setsid_is_reported [initial_net] => "CNP-EV-007";
    failed_setsid_is_not_reported [initial_net] => "CNP-EV-007";
    ptrace_is_reported(TRACES) [initial_net] => "CNP-EV-008";
    traceme_and_exit_of_the_tracer_are_not_reported(UNTRACED) [initial_net] => "CNP-EV-008";
    failed_ptrace_is_not_reported [initial_net] => "CNP-EV-008";
    new_name_is_reported [initial_net] => "CNP-EV-009";
    name_is_reported_as_it_is [initial_net] => "CNP-EV-009";
    long_name_is_truncated [initial_net] => "CNP-EV-009";
    name_written_to_proc_is_reported_or_not [initial_net] => "CNP-EV-009";
    core_dump_is_reported(CORES) [initial_net] => "CNP-EV-010";
    other_fatal_signals_report_no_core_dump(NO_CORES) [initial_net] => "CNP-EV-010";
    exit_reports_the_status(ENDS) [initial_net] => "CNP-EV-011";
    exit_of_a_thread_has_no_parent [initial_net] => "CNP-EV-017";
    exit_of_an_autoreaped_child_has_no_parent [initial_net] => "CNP-EV-017";
}

/// What the process did between its fork and its exit, according to its events.
pub(super) fn happenings(story: &[Event], task: Task) -> Vec<Happening> {
    let of_task = |event: &&Event| event.event.subject() == Some(task);
    let between = |event: &&Event| ![PROC_EVENT_FORK, PROC_EVENT_EXIT].contains(&event.event.what);
    story.iter().filter(of_task).filter(between).map(|event| event.event.happening()).collect()
}

/// The events between fork and exit of a process that performs these actions.
fn reported(bus: &Bus<'_>, deeds: &[Deed]) -> Result<(Process, Vec<Happening>), Failure> {
    let listener = bus.listener()?;
    let process = bus.process(deeds)?;
    let happenings = happenings(&listener.story(&process)?, process.task());
    Ok((process, happenings))
}

/// The event of this kind for the task with this ID.
fn event(story: &[Event], what: u32, pid: u32) -> Option<Happening> {
    let found = |event: &&Event| {
        event.event.what == what && event.event.subject().is_some_and(|task| task.pid == pid)
    };
    story.iter().find(found).map(|event| event.event.happening())
}

fn fork_names_parent_and_child(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[])?;
    let expected = Happening::Fork { parent: process.maker(), child: process.task() };
    expect_eq("first event", listener.next_of(&process)?.event.happening(), expected)
}

const KINDS: &[(&str, Kind)] = &[("fork", Kind::Fork), ("vfork", Kind::Vfork), ("sibling", Kind::Sibling)];

fn new_process_is_reported(bus: &Bus<'_>, kind: &Kind) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[Deed::Make(*kind, vec![])])?;
    let parent = if *kind == Kind::Sibling { process.maker() } else { process.task() };
    let child = Task::leader(process.made(0)?);
    let story = listener.story(&process)?;
    expect_eq("event", event(&story, PROC_EVENT_FORK, child.pid), Some(Happening::Fork { parent, child }))
}

fn thread_belongs_to_its_process(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[Deed::Make(Kind::Thread, vec![])])?;
    let child = Task { pid: process.made(0)?, tgid: process.task().tgid };
    let story = listener.story(&process)?;
    // Its parent is its process's parent.
    let expected = Happening::Fork { parent: process.maker(), child };
    expect_eq("event", event(&story, PROC_EVENT_FORK, child.pid), Some(expected))
}

const PROGRAMS: &[(&str, Program)] = &[("binary", Program::Binary), ("script", Program::Script)];

fn exec_is_reported(bus: &Bus<'_>, program: &Program) -> Outcome {
    let (process, happenings) = reported(bus, &[Deed::Exec(*program)])?;
    expect_eq("events", happenings, [Happening::Exec { task: process.task() }])
}

fn failed_exec_is_not_reported(bus: &Bus<'_>) -> Outcome {
    let (process, happenings) = reported(bus, &[Deed::Exec(Program::Missing)])?;
    expect_errno("execve()", process.deed(0)?, Errno::ENOENT)?;
    expect_empty("events", happenings)
}

const SAME: u32 = u32::MAX;

/// What changes the IDs, then the resulting real and effective ID.
const USERS: &[(&str, (Deed, u32, u32))] = &[
    ("real", (Deed::SetUsers(1001, SAME, SAME), 1001, 0)),
    ("effective", (Deed::SetUsers(SAME, 1002, SAME), 0, 1002)),
    ("saved", (Deed::SetUsers(SAME, SAME, 1003), 0, 0)),
    ("all", (Deed::SetUsers(1001, 1002, 1003), 1001, 1002)),
    ("filesystem", (Deed::SetFsUser(1004), 0, 0)),
];

fn change_of_a_uid_is_reported(bus: &Bus<'_>, (deed, real, effective): &(Deed, u32, u32)) -> Outcome {
    let (process, happenings) = reported(bus, std::slice::from_ref(deed))?;
    process.made(0)?;
    let expected = Happening::Uid { task: process.task(), real: *real, effective: *effective };
    expect_eq("events", happenings, [expected])
}

/// Like [`USERS`].
const GROUPS: &[(&str, (Deed, u32, u32))] = &[
    ("real", (Deed::SetGroups(1001, SAME, SAME), 1001, 0)),
    ("effective", (Deed::SetGroups(SAME, 1002, SAME), 0, 1002)),
    ("saved", (Deed::SetGroups(SAME, SAME, 1003), 0, 0)),
    ("all", (Deed::SetGroups(1001, 1002, 1003), 1001, 1002)),
    ("filesystem", (Deed::SetFsGroup(1004), 0, 0)),
];

fn change_of_a_gid_is_reported(bus: &Bus<'_>, (deed, real, effective): &(Deed, u32, u32)) -> Outcome {
    let (process, happenings) = reported(bus, std::slice::from_ref(deed))?;
    process.made(0)?;
    let expected = Happening::Gid { task: process.task(), real: *real, effective: *effective };
    expect_eq("events", happenings, [expected])
}

const UNCHANGED: &[(&str, Deed)] = &[
    ("users", Deed::SetUsers(0, 0, 0)),
    ("groups", Deed::SetGroups(0, 0, 0)),
    ("supplementary", Deed::SetSupplementary(1001)),
];

fn setting_the_same_ids_is_not_reported(bus: &Bus<'_>, deed: &Deed) -> Outcome {
    let (process, happenings) = reported(bus, std::slice::from_ref(deed))?;
    process.made(0)?;
    expect_empty("events", happenings)
}

fn setsid_is_reported(bus: &Bus<'_>) -> Outcome {
    let (process, happenings) = reported(bus, &[Deed::SetSid])?;
    process.made(0)?;
    expect_eq("events", happenings, [Happening::Sid { task: process.task() }])
}

fn failed_setsid_is_not_reported(bus: &Bus<'_>) -> Outcome {
    let (process, happenings) = reported(bus, &[Deed::SetSid, Deed::SetSid])?;
    expect_errno("setsid() of a session leader", process.deed(1)?, Errno::EPERM)?;
    expect_eq("number of events", happenings.len(), 1)
}

const TRACES: &[(&str, Trace)] = &[("attach", Trace::Attach), ("seize", Trace::Seize)];

fn ptrace_is_reported(bus: &Bus<'_>, trace: &Trace) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[Deed::Trace(*trace)])?;
    let (task, tracer) = (Task::leader(process.made(0)?), process.task());
    let happenings = happenings(&listener.story(&process)?, task);
    let begun = Happening::Ptrace { task, tracer };
    expect_eq("events", happenings, [begun, Happening::Ptrace { task, tracer: Task::NONE }])
}

/// Ways to trace, and the number of events.
const UNTRACED: &[(&str, (Trace, usize))] =
    &[("traceme", (Trace::Asked, 0)), ("tracer_ends", (Trace::Abandon, 1))];

fn traceme_and_exit_of_the_tracer_are_not_reported(
    bus: &Bus<'_>,
    (trace, events): &(Trace, usize),
) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[Deed::Trace(*trace)])?;
    let happenings = happenings(&listener.story(&process)?, Task::leader(process.made(0)?));
    expect_eq("number of events", happenings.len(), *events)
}

fn failed_ptrace_is_not_reported(bus: &Bus<'_>) -> Outcome {
    let (process, happenings) = reported(bus, &[Deed::Trace(Trace::Itself)])?;
    expect_errno("ptrace() of itself", process.deed(0)?, Errno::EPERM)?;
    expect_empty("events", happenings)
}

fn new_name_is_reported(bus: &Bus<'_>) -> Outcome {
    let (process, happenings) = reported(bus, &[Deed::SetName("nlc_name".into())])?;
    expect_eq("events", happenings, [Happening::Comm { task: process.task(), name: "nlc_name".into() }])
}

fn name_is_reported_as_it_is(bus: &Bus<'_>) -> Outcome {
    let name = "nlc_%d %x%%";
    let (process, happenings) = reported(bus, &[Deed::SetName(name.into())])?;
    expect_eq("events", happenings, [Happening::Comm { task: process.task(), name: name.into() }])
}

fn long_name_is_truncated(bus: &Bus<'_>) -> Outcome {
    let (process, happenings) = reported(bus, &[Deed::SetName("nlc_sixteen_bytes".into())])?;
    expect_eq(
        "events",
        happenings,
        [Happening::Comm { task: process.task(), name: "nlc_sixteen_byt".into() }],
    )
}

fn name_written_to_proc_is_reported_or_not(bus: &Bus<'_>) -> Outcome {
    let (process, happenings) = reported(bus, &[Deed::WriteName("nlc_written".into())])?;
    process.made(0)?;
    let event = Happening::Comm { task: process.task(), name: "nlc_written".into() };
    let announced: usize = bus.expected("written")?;
    expect_eq("events", happenings, vec![event; announced])
}

const CORES: &[(&str, i32)] =
    &[("quit", libc::SIGQUIT), ("abort", libc::SIGABRT), ("segmentation_fault", libc::SIGSEGV)];

fn core_dump_is_reported(bus: &Bus<'_>, signal: &i32) -> Outcome {
    let (process, happenings) = reported(bus, &[Deed::Raise(*signal)])?;
    let expected = Happening::Coredump { task: process.task(), parent: process.maker() };
    expect_eq("events before the exit", happenings, [expected])
}

const NO_CORES: &[(&str, i32)] = &[("kill", libc::SIGKILL), ("terminate", libc::SIGTERM)];

fn other_fatal_signals_report_no_core_dump(bus: &Bus<'_>, signal: &i32) -> Outcome {
    let (_, happenings) = reported(bus, &[Deed::Raise(*signal)])?;
    expect_empty("events before the exit", happenings)
}

const ENDS: &[(&str, (Deed, u32))] = &[
    ("success", (Deed::Exit(0), 0)),
    ("failure", (Deed::Exit(3), 3 << 8)),
    ("killed", (Deed::Raise(libc::SIGKILL), libc::SIGKILL as u32)),
    ("aborted", (Deed::Raise(libc::SIGABRT), libc::SIGABRT as u32)),
];

fn exit_reports_the_status(bus: &Bus<'_>, (deed, code): &(Deed, u32)) -> Outcome {
    let listener = bus.listener()?;
    let mut process = bus.process(std::slice::from_ref(deed))?;
    let story = listener.story(&process)?;
    let exit = Happening::Exit {
        task: process.task(),
        code: *code,
        signal: libc::SIGCHLD as u32,
        parent: process.maker(),
    };
    expect_eq("last event", story.last().map(|event| event.event.happening()), Some(exit))?;
    expect_eq("status from waitpid()", process.reap()?, *code)
}

fn exit_of_a_thread_has_no_parent(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[Deed::Make(Kind::Thread, vec![])])?;
    let task = Task { pid: process.made(0)?, tgid: process.task().tgid };
    let story = listener.story(&process)?;
    let exit = Happening::Exit { task, code: 0, signal: u32::MAX, parent: Task::NONE };
    expect_eq("event", event(&story, PROC_EVENT_EXIT, task.pid), Some(exit))
}

fn exit_of_an_autoreaped_child_has_no_parent(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let child = Deed::Make(Kind::Fork, vec![Deed::Exit(4)]);
    let process = bus.process(&[Deed::IgnoreChildren, child])?;
    let task = Task::leader(process.made(1)?);
    let story = listener.story(&process)?;
    let exit = Happening::Exit { task, code: 4 << 8, signal: libc::SIGCHLD as u32, parent: Task::NONE };
    expect_eq("event", event(&story, PROC_EVENT_EXIT, task.pid), Some(exit))
}
