//! What adapters in Rust share: the lines of docs/client-adapter.md. An adapter implements [`Handle`], and serves it.
//!
//! A call runs in a thread of its own, which is left behind when the call's deadline has passed.

mod attribute;
mod outcome;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{collections::HashMap, io};

pub use attribute::{Attribute, NEST};
pub use outcome::{End, Error, Family, Message, Notice, Outcome, Process};
use serde::Deserialize;
use serde_json::{Value, json};

const CAPABILITIES: &[&str] = &[
    "generic",
    "raw",
    "connector",
    "proc-events",
    "dump",
    "events",
    "big-groups",
    "shared-socket",
    "ext-ack",
    "ext-ack-offset",
    "warnings",
    "options",
    "receive-buffer",
    "deadlines",
    "parallel-calls",
];

const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;

/// Who is driven.
pub struct Greeting<'a> {
    pub name: &'a str,
    pub version: &'a str,
    /// Parts of a message that a caller cannot see.
    pub hidden: &'a [&'a str],
    pub own_code: &'a [&'a str],
    /// Capabilities that the library lacks, with the reasons; `*` stands for all that are not named.
    pub lacks: &'a [(&'a str, Option<&'a str>)],
}

impl Greeting<'_> {
    /// Why the library lacks a capability.
    fn reason(&self, able: &str) -> Option<&str> {
        let named = |able: &str| self.lacks.iter().find(|(name, _)| *name == able);
        named(able).or_else(|| named("*")).and_then(|(_, reason)| *reason)
    }

    fn line(&self) -> Value {
        let capabilities: HashMap<_, _> =
            CAPABILITIES.iter().map(|able| (*able, self.reason(able))).collect();
        json!({ "version": 1, "language": "Rust", "hidden": self.hidden, "own_code": self.own_code,
            "identity": { "role": "client", "name": self.name, "version": self.version,
                "capabilities": capabilities } })
    }
}

/// Socket options that are wished for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Options {
    pub ext_ack: bool,
    pub cap_ack: bool,
    pub buffer: Option<u32>,
}

impl Options {
    /// The names of the wishes among these, for a library that cannot fulfil them.
    pub fn among(&self, names: &[&'static str]) -> Vec<&'static str> {
        let wished =
            [("ext_ack", self.ext_ack), ("cap_ack", self.cap_ack), ("buffer", self.buffer.is_some())];
        wished
            .into_iter()
            .filter(|(name, wished)| *wished && names.contains(name))
            .map(|(name, _)| name)
            .collect()
    }
}

/// A question, of which each call uses some members.
#[derive(Deserialize)]
pub struct Question {
    seq: u64,
    call: String,
    #[serde(default)]
    handle: usize,
    #[serde(default)]
    deadline_ms: u64,
    #[serde(default)]
    protocol: i32,
    #[serde(default)]
    options: Options,
    #[serde(default)]
    expects: Option<String>,
    /// Name of the family, if the question is about one.
    #[serde(default)]
    pub family: Option<String>,
    /// Type of the message; of one to a family the family's ID.
    #[serde(default, rename = "type")]
    pub kind: u16,
    #[serde(default)]
    pub command: u8,
    #[serde(default)]
    pub attributes: Vec<Attribute>,
    #[serde(default)]
    pub payload: Vec<u8>,
    #[serde(default)]
    number: u32,
}

impl Question {
    /// NLM_F_DUMP, or NLM_F_ACK where an acknowledgement is expected.
    pub fn flags(&self) -> u16 {
        match self.expects.as_deref() {
            None => NLM_F_DUMP,
            Some("ack" | "both") => NLM_F_ACK,
            Some(_) => 0,
        }
    }
}

/// A call that is being made: what its caller has learned so far, and until when it may wait.
#[derive(Clone)]
pub struct Call {
    outcome: Arc<Mutex<Outcome>>,
    deadline: Instant,
}

impl Call {
    /// Adds a message that the caller was given.
    pub fn message(&self, message: Message) {
        lock(&self.outcome).messages.push(message);
    }

    /// Adds what the caller learned beside the end.
    pub fn notice(&self, notice: Notice) {
        lock(&self.outcome).notices.push(notice);
    }

    /// Time that is left.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What an adapter defines: an open handle of the library. A call that fails has an end other than success.
pub trait Handle: Sized + Send + Sync + 'static {
    /// Opens it; names the wishes that the library cannot fulfil.
    fn open(protocol: i32, options: &Options) -> Result<(Self, Vec<&'static str>), String>;

    /// Asks for a family.
    fn resolve(&self, _family: &str) -> Result<Family, End> {
        Err(End::Unsupported)
    }

    /// Makes a request or a dump.
    fn request(&self, _question: &Question, _call: &Call) -> Result<(), End> {
        Err(End::Unsupported)
    }

    /// Joins a group, or leaves it.
    fn set_membership(&self, _group: u32, _joins: bool) -> Result<(), End> {
        Err(End::Unsupported)
    }

    /// Subscribes to process events.
    fn listen(&self) -> Result<(), End> {
        Err(End::Unsupported)
    }

    /// Waits for what the library hands over next of multicasts, for as long as the call has. It is not left behind: an
    /// event that it is given later would be lost.
    fn next_event(&self, _call: &Call) -> Result<(), End> {
        Err(End::Unsupported)
    }

    /// Closes it, though calls may still wait.
    fn close(&self) {}
}

/// A handle, and the IDs of the families that have been resolved on it.
struct Open<H> {
    library: H,
    families: Mutex<HashMap<String, u16>>,
}

impl<H: Handle> Open<H> {
    fn resolve(&self, family: &str) -> Result<Family, End> {
        let found = self.library.resolve(family)?;
        lock(&self.families).insert(family.to_owned(), found.id);
        Ok(found)
    }

    fn request(&self, question: &mut Question, call: &Call) -> Result<(), End> {
        if let Some(family) = &question.family {
            let known = lock(&self.families).get(family).copied();
            question.kind = known.map_or_else(|| self.resolve(family).map(|found| found.id), Ok)?;
        }
        self.library.request(question, call)
    }

    fn call(&self, mut question: Question, call: &Call) -> Result<(), End> {
        match question.call.as_str() {
            "resolve" => {
                let found = self.resolve(question.family.as_deref().unwrap_or(""))?;
                lock(&call.outcome).family = Some(found);
                Ok(())
            }
            "request" | "dump" => self.request(&mut question, call),
            "join" => self.library.set_membership(question.number, true),
            "leave" => self.library.set_membership(question.number, false),
            "listen" => self.library.listen(),
            _ => Err(End::Unsupported),
        }
    }
}

/// Answers questions until there are no more.
pub fn serve<H: Handle>(greeting: &Greeting<'_>) {
    let parallel = greeting.reason("parallel-calls").is_none();
    let mut handles: Vec<Option<Arc<Open<H>>>> = Vec::new();
    for line in io::stdin().lines() {
        let line = line.expect("the suite asks");
        let question: Question = serde_json::from_str(&line).expect("questions are JSON");
        let (seq, at) = (question.seq, question.handle);
        match question.call.as_str() {
            "hello" => answer(seq, "ok", greeting.line()),
            "open" => match H::open(question.protocol, &question.options) {
                Ok((library, ignored)) => {
                    answer(seq, "ok", json!({ "handle": handles.len(), "ignored": ignored }));
                    handles.push(Some(Arc::new(Open { library, families: Mutex::default() })));
                }
                Err(why) => answer(seq, "failed", why.into()),
            },
            "close" => {
                let closed = handles.get_mut(at).and_then(Option::take);
                closed.inspect(|handle| handle.library.close());
                answer(seq, "ok", Value::Null);
            }
            _ => match handles.get(at).cloned().flatten() {
                // Threads are processes to the process connector, which reports them.
                Some(handle) if !parallel => make(handle, question),
                Some(handle) => drop(thread::spawn(move || make(handle, question))),
                None => answer(seq, "failed", "no such handle".into()),
            },
        }
    }
}

/// Makes a call. But for `next_event` it has a thread, and is left behind when its deadline has passed.
fn make<H: Handle>(handle: Arc<Open<H>>, question: Question) {
    let (seq, time) = (question.seq, Duration::from_millis(question.deadline_ms));
    let call = Call { outcome: Arc::default(), deadline: Instant::now() + time };
    let ended = if question.call == "next-event" {
        Ok(handle.library.next_event(&call))
    } else {
        let (sender, ended) = channel();
        let own = call.clone();
        thread::spawn(move || sender.send(handle.call(question, &own)));
        ended.recv_timeout(time)
    };
    let end = match ended {
        Ok(Ok(())) => End::Done,
        Ok(Err(end)) => end,
        Err(RecvTimeoutError::Timeout) => End::Timeout,
        Err(RecvTimeoutError::Disconnected) => End::Library { words: "it panicked".into() },
    };
    if let End::Unsupported = end {
        return answer(seq, "unsupported", "the library has no such thing".into());
    }
    let mut outcome = lock(&call.outcome);
    outcome.end = end;
    answer(seq, "ok", json!(*outcome));
}

fn answer(seq: u64, member: &str, value: Value) {
    println!("{}", json!({ "seq": seq, member: value }));
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
