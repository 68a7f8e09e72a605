//! Processes that a case creates, and observers of their events.

use std::cell::Cell;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc::{NETLINK_CONNECTOR, POLLIN, SO_RCVBUFFORCE, SOL_SOCKET};

use super::socket::{QUIET, ROOM, WAIT};
use super::{Bus, Datagram, Socket};
use crate::outcome::{Failure, Outcome, broken, expect_empty, mismatch};
use crate::port::capability::Capability;
use crate::port::process::{self, Deed};
use crate::wire::connector::CnMsg;
use crate::wire::message::Message;
use crate::wire::process::{
    CN_IDX_PROC, Happening, PROC_CN_MCAST_IGNORE, PROC_CN_MCAST_LISTEN, PROC_EVENT_EXIT, PROC_EVENT_NONE,
    ProcEvent, Task, control, control_with_mask,
};

/// Room for the events of a busy machine, in bytes.
const BUFFER: u32 = 4 << 20;
/// An operation that does not exist.
pub const NO_OPERATION: u32 = 5;
/// Sequence number of each request: one that events do not have.
const SEQ: u32 = 0x5e90_0000;
/// The number of sockets that may have been closed while they listened.
const FORGOTTEN: usize = 64;

impl Bus<'_> {
    /// Creates a child that performs these actions, and waits until it exits. It is reaped when it is
    /// dropped: until then its events have its parent.
    ///
    /// # Errors
    /// `Broken` if no process could be created. An action may fail.
    pub fn process(&self, deeds: &[Deed]) -> Result<Process, Failure> {
        self.need_deeds(deeds)?;
        let inner = self.target.process(deeds)?;
        let maker = Task::leader(std::process::id());
        let did = format!("process {} of {}: {deeds:?}", inner.id(), maker.pid);
        self.journal.note(did, format!("{:?}", inner.done()), None);
        Ok(Process { inner, maker })
    }

    /// A member of the group of process events that has sent no request.
    pub fn member_for_events(&self) -> Result<Observer, Failure> {
        let observer = self.outside_observer()?;
        observer.socket.join(CN_IDX_PROC)?;
        Ok(observer)
    }

    /// A socket that is in no group, for requests only.
    pub fn outside_observer(&self) -> Result<Observer, Failure> {
        self.need(Capability::ProcEvents)?;
        let socket = self.bound(NETLINK_CONNECTOR)?;
        // Not every user may exceed the default.
        let _ = socket.set_at(SOL_SOCKET, SO_RCVBUFFORCE, BUFFER);
        let requests = Cell::new(socket.portid()? << 8); // ports differ in their low bits
        Ok(Observer { socket, listening: Cell::new(false), requests })
    }

    /// A member of the group of process events that listens to all events.
    ///
    /// # Errors
    /// A mismatch if that is not acknowledged; broken if it is refused.
    pub fn listener(&self) -> Result<Observer, Failure> {
        let observer = self.member_for_events()?;
        let ack = observer.listen()?;
        match observer.acknowledgement(ack)?.event.happening() {
            Happening::Acknowledged { err: 0 } => Ok(observer),
            other => broken(format!("listening was answered with {other:?}")),
        }
    }

    /// A member of the group of process events that listens to the events of this mask.
    pub fn listener_to(&self, mask: u32) -> Result<Observer, Failure> {
        let observer = self.member_for_events()?;
        observer.listen_to(mask)?;
        Ok(observer)
    }

    /// Brings the count of listeners to zero, whoever forgot to stop listening. Afterwards, events are
    /// generated only for listeners that the case itself created.
    ///
    /// # Errors
    /// `Broken` if the count does not reach zero.
    pub fn end_all_listening(&self) -> Outcome {
        let witness = self.member_for_events()?;
        for _ in 0..FORGOTTEN {
            let other = self.outside_observer()?;
            let listened = other.listen()?;
            if !witness.acknowledged(listened)? {
                // The count was below zero; this one counts.
                other.listening.set(false);
                continue;
            }
            let ignored = other.ignore()?;
            if !witness.acknowledged(ignored)? {
                return Ok(());
            }
            // On a new socket PROC_CN_MCAST_IGNORE has no effect without an earlier request.
            let forgotten = self.outside_observer()?;
            forgotten.request(control(NO_OPERATION))?;
            forgotten.ignore()?;
        }
        broken("another process keeps listening to process events")
    }
}

/// A process that was created for a case.
pub struct Process {
    inner: Box<dyn process::Process>,
    maker: Task,
}

impl Process {
    /// Its only or first thread.
    pub fn task(&self) -> Task {
        Task::leader(self.inner.id())
    }

    /// Its creator.
    pub fn maker(&self) -> Task {
        self.maker
    }

    /// The result of the n-th action: the ID of the task that it created, or 0.
    ///
    /// # Errors
    /// `Broken` if the process did not get to it.
    pub fn deed(&self, n: usize) -> Result<Result<u32, Errno>, Failure> {
        self.inner.done().get(n).copied().map_or_else(|| broken(format!("deed {n} was not done")), Ok)
    }

    /// The ID of the task that the n-th action created.
    ///
    /// # Errors
    /// `Broken` if it failed.
    pub fn made(&self, n: usize) -> Result<u32, Failure> {
        Ok(self.deed(n)??)
    }

    /// Reaps it; returns the status that `waitpid()` reports.
    pub fn reap(&mut self) -> Result<u32, Failure> {
        Ok(self.inner.reap()? as u32)
    }

    /// Itself and the tasks that its actions created.
    fn ids(&self) -> Vec<u32> {
        let made = self.inner.done().iter().flatten().copied().filter(|id| *id != 0);
        [self.inner.id()].into_iter().chain(made).collect()
    }

    /// Whether an event is about it or one of the tasks that its actions created.
    fn concerns(&self, event: &Event) -> bool {
        event.event.subject().is_some_and(|task| self.ids().contains(&task.pid))
    }
}

/// An event as received.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The message.
    pub message: Message,
    /// What it holds.
    pub msg: CnMsg,
    /// What that holds.
    pub event: ProcEvent,
}

impl Event {
    /// Whether it is the acknowledgement with this `ack`.
    fn acknowledges(&self, ack: u32) -> bool {
        self.event.what == PROC_EVENT_NONE && self.msg.ack == ack
    }
}

/// A socket that observes process events. When it is dropped it stops
/// listening.
pub struct Observer {
    /// The socket.
    pub socket: Socket,
    listening: Cell<bool>,
    /// Number of the last request; different for each socket.
    requests: Cell<u32>,
}

impl Observer {
    /// Sends a request; returns the `ack` that its acknowledgement must have.
    pub fn request(&self, request: CnMsg) -> Result<u32, Failure> {
        let number = self.requests.get() + 1;
        self.requests.set(number);
        self.socket.send(&CnMsg { seq: SEQ, ack: number, ..request }.in_message())?;
        Ok(number + 1)
    }

    /// Listens to all events; see [`Observer::request`].
    pub fn listen(&self) -> Result<u32, Failure> {
        self.listening.set(true);
        self.request(control(PROC_CN_MCAST_LISTEN))
    }

    /// Listens to the events of this mask; see [`Observer::request`].
    pub fn listen_to(&self, mask: u32) -> Result<u32, Failure> {
        self.listening.set(true);
        self.request(control_with_mask(PROC_CN_MCAST_LISTEN, mask))
    }

    /// Stops listening; see [`Observer::request`].
    pub fn ignore(&self) -> Result<u32, Failure> {
        self.listening.set(false);
        self.request(control(PROC_CN_MCAST_IGNORE))
    }

    /// Closes the socket without stopping to listen.
    pub fn close(self) {
        self.listening.set(false);
    }

    /// Waits for the next event of any process.
    ///
    /// # Errors
    /// A mismatch if none comes, or if what comes is not an event.
    pub fn next(&self) -> Result<Event, Failure> {
        self.until("an event", Some)
    }

    /// Receives an event if there is one, after those that are reported to be lost.
    pub fn take_or_lose(&self) -> Result<Option<Event>, Failure> {
        match self.socket.receive_now(ROOM, 0) {
            Err(Errno::ENOBUFS) => self.take(),
            received => self.read(received),
        }
    }

    /// Receives an event if there is one.
    fn take(&self) -> Result<Option<Event>, Failure> {
        self.read(self.socket.receive_now(ROOM, 0))
    }

    fn read(&self, received: Result<Datagram, Errno>) -> Result<Option<Event>, Failure> {
        let datagram = match received {
            Err(Errno::EAGAIN) => return Ok(None),
            datagram => datagram?,
        };
        let message = datagram.only()?;
        let Some(msg) = CnMsg::decode(&message.payload) else {
            return mismatch("payload", "a cn_msg", format_args!("{} bytes", message.payload.len()));
        };
        let Some(event) = ProcEvent::decode(&msg.data) else {
            return mismatch("data", "a proc_event", format_args!("{} bytes", msg.data.len()));
        };
        Ok(Some(Event { message, msg, event }))
    }

    /// Waits for the acknowledgement with this `ack`, skipping other events.
    ///
    /// # Errors
    /// A mismatch if it does not come.
    pub fn acknowledgement(&self, ack: u32) -> Result<Event, Failure> {
        self.until("an acknowledgement", |event| event.acknowledges(ack).then_some(event))
    }

    /// Whether the acknowledgement with this `ack` comes, skipping other events.
    pub fn acknowledged(&self, ack: u32) -> Result<bool, Failure> {
        Ok(self.what_is_there(|event| event.acknowledges(ack))?.is_some())
    }

    /// The events of a process and of the tasks that its actions created, up to the exits of all of them.
    ///
    /// # Errors
    /// A mismatch if an exit does not come.
    pub fn story(&self, process: &Process) -> Result<Vec<Event>, Failure> {
        let mut events = self.everything(process)?;
        events.retain(|event| process.concerns(event));
        Ok(events)
    }

    /// All events of any process, up to the exits of a process and of the tasks that its actions created.
    ///
    /// # Errors
    /// A mismatch if an exit does not come.
    pub fn everything(&self, process: &Process) -> Result<Vec<Event>, Failure> {
        let mut running = process.ids();
        let mut events = Vec::new();
        self.until("the exit of a process", |event| {
            if event.event.what == PROC_EVENT_EXIT {
                running.retain(|id| *id != event.event.word(0));
            }
            events.push(event);
            running.is_empty().then_some(())
        })?;
        Ok(events)
    }

    /// Waits for the next event of a process, skipping those of others.
    ///
    /// # Errors
    /// A mismatch if none comes.
    pub fn next_of(&self, process: &Process) -> Result<Event, Failure> {
        self.until("an event of a process", |event| process.concerns(&event).then_some(event))
    }

    /// The events of a process must be these, in order, and no others.
    ///
    /// # Errors
    /// A mismatch if one is missing, or if another one comes.
    pub fn expect_events(&self, process: &Process, kinds: &[u32]) -> Outcome {
        for (n, kind) in kinds.iter().enumerate() {
            let event = self.next_of(process)?;
            if event.event.what != *kind {
                let what = format!("event {n} of process {}", process.task().pid);
                return mismatch(&what, format_args!("{kind:#x}"), format_args!("{:#x}", event.event.what));
            }
        }
        self.expect_no_event(process)
    }

    /// There must be no event of the process.
    ///
    /// # Errors
    /// A mismatch if one comes.
    pub fn expect_no_event(&self, process: &Process) -> Outcome {
        let found = self.what_is_there(|event| process.concerns(event))?;
        let what = format!("events of process {}", process.task().pid);
        expect_empty(&what, found.map(|event| event.event.happening()).as_slice())
    }

    /// Receives until `found` returns something for an event.
    fn until<T>(&self, what: &str, mut found: impl FnMut(Event) -> Option<T>) -> Result<T, Failure> {
        let deadline = Instant::now() + WAIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.socket.raw().poll(POLLIN, left)? == 0 {
                return mismatch("what was received", what, format_args!("none within {WAIT:?}"));
            }
            if let Some(found) = self.take()?.and_then(&mut found) {
                return Ok(found);
            }
        }
    }

    /// The first event that `found` selects among those that are there, or that result from what was done so
    /// far.
    fn what_is_there(&self, found: impl Fn(&Event) -> bool) -> Result<Option<Event>, Failure> {
        let deadline = Instant::now() + QUIET;
        loop {
            match self.take()? {
                Some(event) if found(&event) => return Ok(Some(event)),
                Some(_) => {}
                None => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || self.socket.raw().poll(POLLIN, left)? == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        if self.listening.get() {
            let _ = self.request(control(PROC_CN_MCAST_IGNORE));
        }
    }
}
