//! A provider, what it registered, and the log of its callbacks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nlconform::port::Who;
use nlconform::port::provider::{Handle, LogEntry, On, Step};

use super::credentials::acting;
use super::defect::Defect;
use super::setup::Setup;

/// The state of one provider, shared by its callbacks.
pub struct Session {
    log: Mutex<Vec<LogEntry>>,
    filled: Condvar,
    gate: Mutex<Gate>,
    opened: Condvar,
    releases: AtomicU32,
    references: AtomicU32,
    referenced: AtomicU32,
    started: Instant,
    /// Logs the release of sockets.
    pub watching: AtomicBool,
}

#[derive(Default)]
struct Gate {
    waiting: u32,
    opened: u64,
}

/// A reference to the module of a provider.
pub struct Reference(Arc<Session>);

impl Reference {
    /// One more.
    pub fn new(session: &Arc<Session>) -> Reference {
        session.references.fetch_add(1, Ordering::SeqCst);
        session.referenced.fetch_add(1, Ordering::SeqCst);
        Reference(session.clone())
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.0.references.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Session {
    /// A new one, with nothing registered.
    pub fn new() -> Session {
        Session {
            log: Mutex::default(),
            filled: Condvar::new(),
            gate: Mutex::default(),
            opened: Condvar::new(),
            releases: AtomicU32::new(0),
            references: AtomicU32::new(0),
            referenced: AtomicU32::new(0),
            started: Instant::now(),
            watching: AtomicBool::new(false),
        }
    }

    /// References that others hold.
    pub fn references(&self) -> u32 {
        self.references.load(Ordering::SeqCst)
    }

    /// References that others ever held.
    pub fn references_ever(&self) -> u32 {
        self.referenced.load(Ordering::SeqCst)
    }

    /// Nanoseconds since the session began.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Logs a call.
    pub fn add(&self, entry: LogEntry) {
        lock(&self.log).push(entry);
        self.filled.notify_all();
    }

    /// Logs `NETLINK_URELEASE`.
    pub fn log_release(&self, protocol: i32, portid: u32) {
        if !self.watching.load(Ordering::SeqCst) {
            return;
        }
        let now = self.now();
        let call = self.releases.fetch_add(1, Ordering::SeqCst) + 1;
        self.add(LogEntry {
            on: On::Release,
            subject: protocol as u32,
            portid,
            call,
            // There is one network namespace.
            returned: 1,
            entered_ns: now,
            left_ns: now,
            ..blank()
        });
    }

    /// Takes the log, waiting for a first entry.
    pub fn take_log(&self, time: Duration) -> Vec<LogEntry> {
        let log = lock(&self.log);
        let mut log = self
            .filled
            .wait_timeout_while(log, time, |log| log.is_empty())
            .map(|(log, _)| log)
            .unwrap_or_else(|poisoned| poisoned.into_inner().0);
        std::mem::take(&mut *log)
    }

    /// How many callbacks wait, waiting for a first one.
    pub fn blocked(&self, time: Duration) -> u32 {
        let gate = lock(&self.gate);
        let waited = self.opened.wait_timeout_while(gate, time, |gate| gate.waiting == 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting
    }

    /// Lets waiting callbacks continue.
    pub fn release(&self) {
        lock(&self.gate).opened += 1;
        self.opened.notify_all();
    }

    /// Waits until it may continue.
    pub fn block(&self) {
        let mut gate = lock(&self.gate);
        gate.waiting += 1;
        self.opened.notify_all();
        let before = gate.opened;
        let waited =
            self.opened.wait_timeout_while(gate, Duration::from_secs(10), |gate| gate.opened == before);
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting -= 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An entry of the log without what is special to a call.
pub fn blank() -> LogEntry {
    LogEntry {
        on: On::Release,
        handle: 0,
        subject: 0,
        portid: 0,
        seq: 0,
        call: 0,
        returned: 0,
        tgid: std::process::id(),
        uid: user(acting()),
        entered_ns: 0,
        left_ns: 0,
        bytes: Vec::new(),
    }
}

/// A user's UID.
pub fn user(who: Option<Who>) -> u32 {
    match who {
        Some(Who::Nobody | Who::NetworkAdministrator) => 65534,
        _ => 0,
    }
}

/// An object that a provider registered, and the script of its callbacks.
pub struct Object {
    /// Its handle.
    pub handle: Handle,
    /// Its provider.
    pub session: Arc<Session>,
    /// The script.
    pub script: Vec<Step>,
    calls: Mutex<BTreeMap<u32, u32>>,
}

impl Object {
    /// A new one.
    pub fn new(handle: Handle, session: &Arc<Session>, script: Vec<Step>) -> Object {
        Object { handle, session: session.clone(), script, calls: Mutex::default() }
    }

    /// Logs that a message to a group that the family does not have was left to its caller, where it is.
    pub fn leave(&self, setup: Setup, group: u32) {
        if setup.value::<bool>("GENL-MC-032", "freed") != setup.has(Defect::WrongGroupFrees) {
            return;
        }
        let now = self.session.now();
        self.session.add(LogEntry {
            on: On::Left,
            handle: self.handle,
            subject: group,
            entered_ns: now,
            left_ns: now,
            ..blank()
        });
    }

    /// One more call of this callback; how many that makes.
    pub fn count(&self, on: On) -> u32 {
        let mut calls = lock(&self.calls);
        let count = calls.entry(on as u32).or_default();
        *count += 1;
        *count
    }
}
