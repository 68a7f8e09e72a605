//! The exchange between a case and its target, kept to explain a failure.

pub mod black_box;

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

use crate::event::{Event, Exchange};
use crate::wire::explain;

/// Where each step goes as it passes, if anywhere.
static SINK: OnceLock<File> = OnceLock::new();

/// Has each journal of this process write its steps to this file as they pass, one [`Event::Step`] a line.
pub fn send_steps_to(file: File) {
    let _ = SINK.set(file);
}

/// The number of entries kept. If a case does more, the last ones are kept.
const KEPT: usize = 60;
/// The number of bytes kept of one entry.
const KEPT_BYTES: usize = 4096;

/// One step, and its result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    action: String,
    outcome: String,
    /// Protocol and bytes, if it carried messages.
    message: Option<(i32, Vec<u8>)>,
}

/// A shared record of a case's exchange.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    entries: Vec<Entry>,
    dropped: usize,
}

impl Journal {
    /// Records a step. `message` is what was sent or received, with its protocol.
    pub fn note(&self, action: impl Into<String>, outcome: impl Into<String>, message: Option<(i32, &[u8])>) {
        let (action, outcome) = (action.into(), outcome.into());
        if let Some(kept) = black_box::kept() {
            kept.add(&action, &outcome, message);
        }
        let message =
            message.map(|(protocol, bytes)| (protocol, bytes[..bytes.len().min(KEPT_BYTES)].to_vec()));
        let entry = Entry { action, outcome, message };
        if let Some(sink) = SINK.get() {
            entry.send_to(sink);
        }
        self.append(vec![entry]);
    }

    /// Adds entries that were recorded elsewhere.
    pub fn append(&self, entries: Vec<Entry>) {
        let mut kept = self.kept();
        kept.entries.extend(entries);
        let surplus = kept.entries.len().saturating_sub(KEPT);
        kept.entries.drain(..surplus);
        kept.dropped += surplus;
    }

    /// Whether nothing has been noted yet.
    pub fn is_empty(&self) -> bool {
        self.kept().entries.is_empty()
    }

    /// Takes the entries, which leaves the journal empty.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.kept()).entries
    }

    /// The record for a report.
    pub fn explain(&self) -> Vec<Exchange> {
        let kept = self.kept();
        let dropped = (kept.dropped > 0).then(|| Exchange {
            action: format!("{} earlier steps omitted", kept.dropped),
            outcome: String::new(),
            bytes: String::new(),
            decoded: Vec::new(),
        });
        dropped.into_iter().chain(kept.entries.iter().map(Entry::explain)).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A thread of the case that panicked leaves the record valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// In one write, so that lines of two threads do not mix. If it fails there is nobody who could be told.
    fn send_to(&self, mut sink: &File) {
        if let Ok(mut line) = serde_json::to_vec(&Event::Step(self.explain())) {
            line.push(b'\n');
            let _ = sink.write_all(&line);
        }
    }

    fn explain(&self) -> Exchange {
        let (bytes, decoded) = match &self.message {
            Some((protocol, bytes)) => (hex::encode(bytes), explain::datagram(*protocol, bytes)),
            None => Default::default(),
        };
        Exchange { action: self.action.clone(), outcome: self.outcome.clone(), bytes, decoded }
    }
}
