//! Processes that a target makes for a case: what they do, as plain data.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::provider::Unable;

/// A process made for a case, which has ended and has not been reaped yet. Dropping it reaps it.
pub trait Process {
    /// Its id, as the case's process sees it.
    fn id(&self) -> u32;

    /// What came of each deed that it got to, in order: the id of the task that was made (0 where
    /// none was), or why it failed.
    fn done(&self) -> &[Result<u32, Errno>];

    /// Reaps it: the status that `waitpid()` gives, as a number.
    fn reap(&mut self) -> Result<i32, Unable>;
}

/// What a process does. When it has nothing left to do it exits with status 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Makes a task that does this, and waits until it has ended. In a thread deeds that end a
    /// process end all of it.
    Make(Kind, Vec<Deed>),
    /// Makes a child that does nothing, and traces it.
    Trace(Trace),
    /// Stays on this processor from now on.
    Pin(u32),
    /// `execve()`; nothing that follows is done if it succeeds.
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

/// The ways to make a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `fork()`.
    Fork,
    /// A process that shares the memory of its maker, who waits (`vfork()`).
    Vfork,
    /// A thread of the maker.
    Thread,
    /// A child of the maker's parent (`CLONE_PARENT`).
    Sibling,
    /// `fork()` into a new pid namespace.
    InPidNamespace,
}

/// Programs to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// One that exits with status 0.
    Binary,
    /// A script whose interpreter is the binary.
    Script,
    /// A file that does not exist.
    Missing,
}

/// The ways to trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Trace {
    /// `PTRACE_ATTACH` to the child, then `PTRACE_DETACH`.
    Attach,
    /// `PTRACE_SEIZE`, then `PTRACE_DETACH`.
    Seize,
    /// The child asks for it with `PTRACE_TRACEME`.
    Asked,
    /// `PTRACE_ATTACH`; the tracer then ends without detaching.
    Abandon,
    /// `PTRACE_ATTACH` to itself, which fails.
    Itself,
}
