//! The one schema of what a run is asked to do and what it reports: plans, events and verdicts.
//!
//! The same JSON lines are used on the virtual machine's channel, by `nlconform --format json`
//! and in results.json. A line is one [`Request`] or one [`Event`]. Nothing here assumes that the
//! implementation under test is the kernel side of a socket: [`Role`] says which side it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::program::Program;

/// Version of this schema. Additive changes do not raise it (docs/stability.md); a receiver takes older
/// ones, and refuses newer ones.
pub const PROTOCOL: u32 = 1;

/// The one rule for versions, here and in both adapter protocols: a peer's `version` is one up to the `newest` that is
/// known here.
///
/// # Errors
/// A sentence that names both.
pub fn check_version(version: u32, newest: u32) -> Result<(), String> {
    match (1..=newest).contains(&version) {
        true => Ok(()),
        false => Err(format!("it speaks version {version}, this nlconform 1 to {newest}")),
    }
}

/// What the driver of a run asks the runner to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Run these cases in this order, then send [`Event::Bye`]. A runner that could judge the next ones less well than those
    /// before may send it earlier, between two cases.
    Run(Plan),
    /// Run one program, forward its output, then send [`Event::Exited`] and [`Event::Bye`].
    Exec(Program),
}

/// The cases to run, and the expectations to judge them by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Plan {
    /// Full names of the cases, in order.
    pub cases: Vec<String>,
    /// The profile whose expectations hold, such as `linux-6.12`.
    pub profile: String,
    /// Time limit for a case, in milliseconds.
    pub deadline_ms: u64,
    /// The adapter of the client library that the cases judge; nothing where they judge the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Program>,
    /// Whether to send [`Event::Counters`] after the last case.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counters: bool,
    /// Whether to send each step of a case as it passes ([`Event::Step`]): what a case that costs its guest can leave.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub steps: bool,
}

/// Which side of the bus is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The implementation of AF_NETLINK: a kernel, a sandbox, an in-process bus.
    Target,
    /// A client library.
    Client,
}

/// What is under test, as it identifies itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Identity {
    /// The side under test.
    pub role: Role,
    /// Its name, such as `Linux`.
    pub name: String,
    /// Its version, such as `6.12.117`.
    pub version: String,
    /// For each [`Capability`](crate::port::capability::Capability) that a case may need: `None` when it is there, else why it is not.
    pub capabilities: BTreeMap<String, Option<String>>,
}

impl Identity {
    /// Name and version, if there is one.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version).trim_end().to_owned()
    }

    /// Whether whoever greets with this is what was asked for, with a name that can be shown.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, role: Role) -> Result<(), String> {
        if self.role != role {
            return Err(match role {
                Role::Target => "it is the adapter of a client library, not of a target".into(),
                Role::Client => "it is the adapter of a target, not of a client library".into(),
            });
        }
        let shown = [&self.name, &self.version];
        match shown.into_iter().find(|words| words.contains(|c: char| c.is_control())) {
            Some(words) => Err(format!("its name or version {words:?} has control characters")),
            None => Ok(()),
        }
    }

    /// Why cases that need this capability cannot run here, if they cannot.
    pub fn lacks(&self, capability: impl fmt::Display) -> Option<String> {
        match self.capabilities.get(&capability.to_string()) {
            Some(None) => None,
            Some(Some(fact)) => Some(format!("needs {capability}: {fact}")),
            None => Some(format!("needs {capability}, which is unknown to {}", self.name)),
        }
    }
}

/// One thing that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Sent first, and, for a plan with a client library, again when its adapter has answered `hello`.
    Hello {
        /// At most [`PROTOCOL`].
        protocol: u32,
        /// The target, then what is under test instead.
        identity: Identity,
    },
    /// What people should know of the run, before the first case; no verdict depends on it.
    Note {
        /// In one line.
        text: String,
    },
    /// A case is about to run; the next event about a case is its [`Event::Finished`].
    Started {
        /// Full name of the case.
        case: String,
    },
    /// A step of the case that runs has passed, if the plan asks for them.
    Step(Exchange),
    /// A case has its verdict.
    Finished(Report),
    /// Output of the program that [`Request::Exec`] asked for.
    Output {
        /// The output, in the order written; bytes that are not UTF-8 are replaced.
        text: String,
    },
    /// The program that [`Request::Exec`] asked for has ended.
    Exited {
        /// Exit status as a shell gives it: 128 + signal number when killed.
        status: i32,
    },
    /// Coverage counters of one object file of the target, if the plan asks for them.
    Counters {
        /// Path that the compiler gave to the file of counters.
        file: String,
        /// Its content in hexadecimal, in groups of four bytes.
        bytes: String,
    },
    /// The runner cannot go on; no verdict depends on it.
    Failed {
        /// What went wrong and what to do.
        error: String,
    },
    /// The request cannot be carried out, by this runner or any other.
    Refused {
        /// Why not, and what to do.
        error: String,
    },
    /// Sent last.
    Bye,
}

/// The outcome of one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    /// Full name of the case.
    pub case: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Time taken, in microseconds.
    pub micros: u64,
    /// URL or note from the list of known differences, if the verdict is on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// The requirements that the case was to check, when its verdict names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<Stated>,
    /// What passed between the case and the target, in order; empty for a pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exchange: Vec<Exchange>,
    /// The target's log while the case ran (a kernel's warnings and worse).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub console: String,
}

impl Report {
    /// A report on a case with only its verdict.
    pub fn new(case: impl Into<String>, verdict: Verdict) -> Report {
        Report {
            case: case.into(),
            verdict,
            micros: 0,
            known: None,
            requirements: Vec::new(),
            exchange: Vec::new(),
            console: String::new(),
        }
    }
}

/// The outcome of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Each expectation held.
    Pass,
    /// An expectation did not hold.
    Fail(Mismatch),
    /// The case did not get to its stimulus: its own preparation failed.
    Broken {
        /// What was being prepared and what went wrong.
        reason: String,
    },
    /// The target lacks something that the case needs.
    Skip {
        /// A fact about the target.
        reason: String,
    },
    /// The target, or the process that ran the case, died.
    Crash {
        /// How.
        reason: String,
    },
    /// The case did not end in time.
    Timeout {
        /// The time it had, in milliseconds.
        after_ms: u64,
    },
}

/// A requirement in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stated {
    /// Its ID.
    pub requirement: String,
    /// The requirement, with the values that hold for the profile put in.
    pub statement: String,
}

/// An expectation that did not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mismatch {
    /// ID of the requirement.
    pub requirement: String,
    /// The requirement, with the values that hold for the profile put in.
    pub statement: String,
    /// What was checked, such as `errno of the second registration`.
    pub what: String,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub got: String,
}

/// One step of the exchange between a case and the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Exchange {
    /// What was done, such as `socket 1: send` or `probe: register family`.
    pub action: String,
    /// The result, such as `ok` or `EEXIST`.
    pub outcome: String,
    /// The bytes that went with it, if any, in hexadecimal, in groups of four.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bytes: String,
    /// Those bytes, decoded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decoded: Vec<String>,
}
