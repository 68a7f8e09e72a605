//! Callbacks that run a script, and the log of their calls: the counterpart of a provider's kernel code.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nlconform::port::Who;
use nlconform::port::provider::{Handle, LogEntry, On, Step};

use super::actions;
use super::credentials::acting;
use super::defect::Defect;
use super::dump::Progress;
use super::families::Family;
use super::kernel::Kernel;
use super::message::{Buffer, ExtAck, Request};
use super::validate::Attributes;

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

    fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn add(&self, entry: LogEntry) {
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

fn blank() -> LogEntry {
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
fn user(who: Option<Who>) -> u32 {
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
    script: Vec<Step>,
    calls: Mutex<BTreeMap<u32, u32>>,
}

/// One call of a callback: its arguments.
pub struct Run<'a> {
    /// The bus.
    pub kernel: &'a Kernel,
    /// The bus again, where a dump can be started.
    pub shared: Option<&'a Arc<Kernel>>,
    /// The callback.
    pub on: On,
    /// Command of a family.
    pub cmd: Option<u8>,
    /// The subject for the log.
    pub subject: u32,
    /// The request that it handles.
    pub request: Option<&'a Request>,
    /// The family.
    pub family: Option<&'a Family>,
    /// Number of the protocol.
    pub protocol: Option<i32>,
    /// The parsed attributes.
    pub attributes: Option<&'a Attributes>,
    /// The extended acknowledgement.
    pub extack: Option<&'a mut ExtAck>,
    /// The dump.
    pub progress: Option<&'a mut Progress>,
    /// What the dump fills.
    pub buffer: Option<&'a mut Buffer>,
    /// What was captured.
    pub captured: Vec<u8>,
    /// State of the dump when the call began: calls and records.
    pub state: [u32; 2],
}

impl<'a> Run<'a> {
    /// A call without a subject.
    pub fn new(kernel: &'a Kernel, on: On) -> Run<'a> {
        Run {
            kernel,
            shared: None,
            on,
            cmd: None,
            subject: 0,
            request: None,
            family: None,
            protocol: None,
            attributes: None,
            extack: None,
            progress: None,
            buffer: None,
            captured: Vec::new(),
            state: [0; 2],
        }
    }

    /// A call for a request.
    pub fn of_request(kernel: &'a Arc<Kernel>, on: On, request: &'a Request) -> Run<'a> {
        Run { request: Some(request), shared: Some(kernel), ..Run::new(kernel, on) }
    }
}

impl Object {
    /// A new one.
    pub fn new(handle: Handle, session: &Arc<Session>, script: Vec<Step>) -> Object {
        Object { handle, session: session.clone(), script, calls: Mutex::default() }
    }

    /// `bind()` of a protocol.
    pub fn bind(self: &Arc<Self>, kernel: &Kernel, protocol: i32, group: u32) -> i64 {
        self.membership(kernel, On::Bind, protocol, group)
    }

    /// `unbind()` of a protocol.
    pub fn unbind(self: &Arc<Self>, kernel: &Kernel, protocol: i32, group: u32) {
        if !kernel.has(Defect::UnbindForgotten) {
            self.membership(kernel, On::Unbind, protocol, group);
        }
    }

    fn membership(self: &Arc<Self>, kernel: &Kernel, on: On, protocol: i32, group: u32) -> i64 {
        self.run(Run { subject: group, protocol: Some(protocol), ..Run::new(kernel, on) })
    }

    /// Runs the script of a callback and logs the call.
    pub fn run(self: &Arc<Self>, mut run: Run<'_>) -> i64 {
        let entered_ns = self.session.now();
        if let Some(progress) = &mut run.progress {
            run.state = [progress.calls, progress.records];
        }
        let call = match &mut run.progress {
            Some(progress) if run.on == On::Dumpit => {
                progress.calls += 1;
                progress.calls
            }
            _ => {
                let mut calls = lock(&self.calls);
                let count = calls.entry(run.on as u32).or_default();
                *count += 1;
                *count
            }
        };
        let returned = self.steps(call, &mut run);
        let request = run.request.or(run.progress.as_ref().map(|progress| &progress.request));
        self.session.add(LogEntry {
            on: run.on,
            handle: self.handle,
            subject: run.subject,
            portid: request.map_or(0, |request| request.portid),
            seq: request.map_or(0, |request| request.header.seq),
            call,
            returned,
            uid: user(request.map_or_else(acting, |request| request.who)),
            entered_ns,
            left_ns: self.session.now(),
            bytes: run.captured,
            ..blank()
        });
        returned
    }

    fn steps(self: &Arc<Self>, call: u32, run: &mut Run<'_>) -> i64 {
        for step in &self.script {
            let meant = step.on == run.on
                && step.cmd.is_none_or(|cmd| run.cmd == Some(cmd))
                && step.call.is_none_or(|nth| nth == call);
            if !meant {
                continue;
            }
            if let Some(returned) = actions::perform(self, &step.action, run) {
                return returned;
            }
        }
        run.buffer.as_ref().map_or(0, |buffer| buffer.bytes.len() as i64)
    }
}
