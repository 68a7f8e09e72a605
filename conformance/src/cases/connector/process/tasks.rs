//! Process events: which tasks they name, where threads and tracers could be taken for others.

use nix::libc;

use super::events::happenings;
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect_eq};
use crate::port::process::{Deed, Kind, Program, Trace};
use crate::scene::bus::{Bus, Event, Process};
use crate::wire::process::{Happening, Task};

cases! {
    event_of_a_thread_names_it(CHANGES) [initial_net] => "CNP-EV-021";
    core_dump_of_a_thread_names_it [initial_net] => "CNP-EV-021";
    tracing_thread_is_named [initial_net] => "CNP-EV-021";
    traced_thread_is_named [initial_net] => "CNP-EV-021";
    child_of_a_thread_has_it_for_its_parent [initial_net] => "CNP-EV-022";
    session_of_a_thread_is_its_processs [initial_net] => "CNP-EV-023";
    program_of_a_thread_is_its_processs(PROGRAMS) [initial_net] => "CNP-EV-023";
    name_that_a_thread_writes_is_its_processs_or_not [initial_net] => "CNP-EV-009";
    tracer_is_not_the_parent(ENDS) [initial_net] => "CNP-EV-024";
    parent_of_a_traced_child_is_not_its_tracer [initial_net] => "CNP-EV-024";
}

/// The thread that the process's first action creates performs this one.
fn in_a_thread(deed: Deed) -> Deed {
    Deed::Make(Kind::Thread, vec![deed])
}

/// The thread that the process's first action created.
fn thread(process: &Process) -> Result<Task, Failure> {
    Ok(Task { pid: process.made(0)?, tgid: process.task().tgid })
}

/// The new task of the first fork that is like this.
fn forked(story: &[Event], like: impl Fn(Task, Task) -> bool) -> Result<Task, Failure> {
    let child = |event: &Event| match event.event.happening() {
        Happening::Fork { parent, child } if like(parent, child) => Some(child),
        _ => None,
    };
    story.iter().find_map(child).map_or_else(|| broken("no event of the new task"), Ok)
}

/// What happened of this kind.
fn those(story: &[Event], kind: impl Fn(&Happening) -> bool) -> Vec<Happening> {
    story.iter().map(|event| event.event.happening()).filter(kind).collect()
}

/// The parents that the events of a task name. An EXIT event names none if the task has been reaped by then, which it
/// may have been where its parent waits for it.
fn parents(story: &[Event], task: Task) -> Vec<Task> {
    let parent = |event: &Event| match event.event.happening() {
        Happening::Fork { parent, child } if child == task => Some(parent),
        Happening::Coredump { task: of, parent } | Happening::Exit { task: of, parent, .. } if of == task => {
            Some(parent)
        }
        _ => None,
    };
    story.iter().filter_map(parent).filter(|parent| *parent != Task::NONE).collect()
}

/// What a thread does, and the event that reports it.
type Change = (fn() -> Deed, fn(Task) -> Happening);

const CHANGES: &[(&str, Change)] = &[
    (
        "name",
        (|| Deed::SetName("nlc_thread".into()), |task| Happening::Comm { task, name: "nlc_thread".into() }),
    ),
    ("user", (|| Deed::SetFsUser(1004), |task| Happening::Uid { task, real: 0, effective: 0 })),
    ("group", (|| Deed::SetFsGroup(1004), |task| Happening::Gid { task, real: 0, effective: 0 })),
];

fn event_of_a_thread_names_it(bus: &Bus<'_>, (deed, happening): &Change) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[in_a_thread(deed())])?;
    let thread = thread(&process)?;
    expect_eq("events", happenings(&listener.story(&process)?, thread), [happening(thread)])
}

fn core_dump_of_a_thread_names_it(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[in_a_thread(Deed::Raise(libc::SIGABRT))])?;
    let (leader, parent) = (process.task(), process.maker());
    let story = listener.everything(&process)?;
    let task = forked(&story, |_, child| child.tgid == leader.tgid && child != leader)?;
    let dumps =
        those(&story, |event| matches!(event, Happening::Coredump { task, .. } if task.tgid == leader.tgid));
    expect_eq("core dumps", dumps, [Happening::Coredump { task, parent }])
}

fn tracing_thread_is_named(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[in_a_thread(Deed::Trace(Trace::Attach))])?;
    let tracer = thread(&process)?;
    let story = listener.everything(&process)?;
    let task = forked(&story, |parent, child| parent.tgid == tracer.tgid && child.tgid != tracer.tgid)?;
    let begun = Happening::Ptrace { task, tracer };
    expect_eq("events", happenings(&story, task), [begun, Happening::Ptrace { task, tracer: Task::NONE }])
}

fn traced_thread_is_named(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[Deed::Trace(Trace::SeizeThread)])?;
    let (pid, tracer) = (process.made(0)?, process.task());
    let story = listener.story(&process)?;
    let task = forked(&story, |_, child| child.pid == pid)?;
    let begun = Happening::Ptrace { task, tracer };
    expect_eq("events", happenings(&story, task), [begun, Happening::Ptrace { task, tracer: Task::NONE }])
}

fn child_of_a_thread_has_it_for_its_parent(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[in_a_thread(Deed::Make(Kind::Fork, vec![]))])?;
    let thread = thread(&process)?;
    let story = listener.everything(&process)?;
    let child = forked(&story, |parent, child| parent.tgid == thread.tgid && child.tgid != thread.tgid)?;
    let mut parents = parents(&story, child);
    parents.dedup();
    expect_eq("parent in its FORK and in its EXIT event", parents, [thread])
}

fn session_of_a_thread_is_its_processs(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[in_a_thread(Deed::SetSid)])?;
    process.made(0)?;
    let sessions = those(&listener.story(&process)?, |event| matches!(event, Happening::Sid { .. }));
    expect_eq("events", sessions, [Happening::Sid { task: process.task() }])
}

const PROGRAMS: &[(&str, Program)] = &[("binary", Program::Binary), ("script", Program::Script)];

fn program_of_a_thread_is_its_processs(bus: &Bus<'_>, program: &Program) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[in_a_thread(Deed::Exec(*program))])?;
    let task = process.task();
    let (mut executed, mut running) = (Vec::new(), 2);
    // The thread takes the ID of the first one, whose EXIT event may have either.
    while running > 0 {
        match listener.next()?.event.happening() {
            event @ Happening::Exec { task: of } if of.tgid == task.tgid => executed.push(event),
            Happening::Exit { task: of, .. } if of.tgid == task.tgid => running -= 1,
            _ => {}
        }
    }
    expect_eq("events", executed, [Happening::Exec { task }])
}

fn name_that_a_thread_writes_is_its_processs_or_not(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[in_a_thread(Deed::WriteName("nlc_written".into()))])?;
    process.made(0)?;
    let names = those(&listener.story(&process)?, |event| matches!(event, Happening::Comm { .. }));
    let event = Happening::Comm { task: process.task(), name: "nlc_written".into() };
    expect_eq("events", names, vec![event; bus.expected("written")?])
}

/// How the traced process ends.
const ENDS: &[(&str, Deed)] = &[("exit", Deed::Exit(3)), ("core_dump", Deed::Raise(libc::SIGABRT))];

fn tracer_is_not_the_parent(bus: &Bus<'_>, end: &Deed) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[Deed::BeTraced, end.clone()])?;
    process.made(0)?;
    let mut parents = parents(&listener.story(&process)?, process.task());
    parents.dedup();
    expect_eq("parent in the events that name it", parents, [process.maker()])
}

fn parent_of_a_traced_child_is_not_its_tracer(bus: &Bus<'_>) -> Outcome {
    let listener = bus.listener()?;
    let process = bus.process(&[Deed::BeTraced, Deed::Make(Kind::Fork, vec![])])?;
    process.made(0)?;
    let child = Task::leader(process.made(1)?);
    let mut parents = parents(&listener.story(&process)?, child);
    parents.dedup();
    expect_eq("parent in its FORK and in its EXIT event", parents, [process.task()])
}
