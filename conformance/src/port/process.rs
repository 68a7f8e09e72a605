//! Processes that a target creates for a case: what they do, as plain data.

use nix::errno::Errno;

use super::provider::Unable;

/// A process created for a case, which has exited and has not been reaped yet. Dropping it reaps it.
pub trait Process {
    /// Its ID, as the case's process sees it.
    fn id(&self) -> u32;

    /// The result of each action that it got to, in order: the ID of the task that it created (0 if
    /// none), or why it failed.
    fn done(&self) -> &[Result<u32, Errno>];

    /// Reaps it; returns the status from `waitpid()`, as a number.
    fn reap(&mut self) -> Result<i32, Unable>;
}

/// An action of a process. After its last action a process exits with status 0.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Creates a task that performs these, and waits until it has exited. In a thread, actions that end a
    /// process end the whole process.
    Make(Kind, Vec<Deed>),
    /// Creates a child that does nothing, and traces it.
    Trace(Trace),
    /// Creates a child that traces this process, and all that it creates, from now on (`PTRACE_SEIZE`).
    BeTraced,
    /// Runs only on this processor from now on.
    Pin(u32),
    /// `execve()`; if it succeeds, later actions are not performed.
    Exec(Program),
    /// `setresuid()`.
    SetUsers(u32, u32, u32),
    /// `setfsuid()`.
    SetFsUser(u32),
    /// `setresgid()`.
    SetGroups(u32, u32, u32),
    /// `setfsgid()`.
    SetFsGroup(u32),
    /// `setgroups()` with one group.
    SetSupplementary(u32),
    /// Enters a new user namespace, where its effective user and group become 0.
    EnterUserNamespace,
    /// Enters a new network namespace.
    EnterNetNamespace,
    /// Performs this action while the nth memory allocation, counting from 1, that the target makes for it fails.
    /// Where there are not that many, its result is `ERANGE`.
    Failing(u32, Box<Deed>),
    /// `setsid()`.
    SetSid,
    /// `prctl(PR_SET_NAME)`.
    SetName(String),
    /// Writes /proc/self/comm.
    WriteName(String),
    /// Ignores `SIGCHLD`, so that its children are reaped at once.
    IgnoreChildren,
    /// Sends itself a signal that ends it. No core is written.
    Raise(i32),
    /// `exit_group()`.
    Exit(i32),
}

/// The ways to create a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `fork()`.
    Fork,
    /// A process that shares the memory of its creator, which waits (`vfork()`).
    Vfork,
    /// A thread of the creator.
    Thread,
    /// A child of the creator's parent (`CLONE_PARENT`).
    Sibling,
    /// `fork()` into a new PID namespace.
    InPidNamespace,
}

/// Programs to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// One that exits with status 0.
    Binary,
    /// A script whose interpreter is the binary.
    Script,
    /// A file that does not exist.
    Missing,
}

/// The ways to trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// `PTRACE_ATTACH` to the child, then `PTRACE_DETACH`.
    Attach,
    /// `PTRACE_SEIZE`, then `PTRACE_DETACH`.
    Seize,
    /// The same of a second thread of the child, whose ID is the action's result.
    SeizeThread,
    /// The child asks for it with `PTRACE_TRACEME`.
    Asked,
    /// `PTRACE_ATTACH`; the tracer then ends without detaching.
    Abandon,
    /// `PTRACE_ATTACH` to itself, which fails.
    Itself,
}
