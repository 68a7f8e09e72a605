//! A journal's copy in memory that outlives the process that writes it: a case that is killed leaves what
//! passed until then.

use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use nix::libc::c_void;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use super::Entry;
use crate::event::Exchange;

/// Room for entries, in bytes. A case that fills it is told by its beginning.
const ROOM: usize = 256 << 10;
/// Longest text and message that is kept of an entry, in bytes.
const KEPT: usize = 1024;

/// The memory, shared with every process that was forked since it was made.
#[derive(Debug)]
pub struct BlackBox(NonNull<Memory>);

struct Memory {
    used: AtomicUsize,
    bytes: [AtomicU8; ROOM],
}

// SAFETY: the memory stays mapped, and holds atomics only.
unsafe impl Send for BlackBox {}
// SAFETY: the same.
unsafe impl Sync for BlackBox {}

static BOX: OnceLock<BlackBox> = OnceLock::new();

/// Has each journal of this process, and of those forked from it, leave a copy.
///
/// # Errors
/// When there is no memory.
pub fn keep() -> nix::Result<&'static BlackBox> {
    if let Some(kept) = kept() {
        return Ok(kept);
    }
    let len = size_of::<Memory>().try_into().expect("it has a size");
    let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping, aligned to a page, that stays; zeros are valid atomics.
    let memory: NonNull<c_void> = unsafe { mmap_anonymous(None, len, rights, MapFlags::MAP_SHARED)? };
    Ok(BOX.get_or_init(|| BlackBox(memory.cast())))
}

/// The one that is kept, if one is.
pub(super) fn kept() -> Option<&'static BlackBox> {
    BOX.get()
}

impl BlackBox {
    fn memory(&self) -> &Memory {
        // SAFETY: mapped for as long as the process lives.
        unsafe { self.0.as_ref() }
    }

    /// Forgets all, before another case.
    pub fn clear(&self) {
        let used = self.memory().used.swap(0, Ordering::Relaxed).min(ROOM);
        self.memory().bytes[..used].iter().for_each(|byte| byte.store(0, Ordering::Relaxed));
    }

    /// Adds an entry: its length, then its parts. The length comes last, and ends what is read when its
    /// writer was killed before that.
    pub(super) fn add(&self, action: &str, outcome: &str, message: Option<(i32, &[u8])>) {
        let (action, outcome) = (cut(action.as_bytes()), cut(outcome.as_bytes()));
        let (protocol, bytes) = message.map_or((NONE, &[][..]), |(protocol, bytes)| (protocol, cut(bytes)));
        let mut entry = Vec::with_capacity(16 + action.len() + outcome.len() + bytes.len());
        for text in [action, outcome] {
            entry.extend((text.len() as u16).to_le_bytes());
            entry.extend(text);
        }
        entry.extend(protocol.to_le_bytes());
        entry.extend(bytes);
        let memory = self.memory();
        let at = memory.used.fetch_add(2 + entry.len(), Ordering::Relaxed);
        let Some(room) = memory.bytes.get(at..at + 2 + entry.len()) else { return };
        room[2..].iter().zip(&entry).for_each(|(room, byte)| room.store(*byte, Ordering::Relaxed));
        let len = (entry.len() as u16).to_le_bytes();
        room[1].store(len[1], Ordering::Release);
        room[0].store(len[0], Ordering::Release);
    }

    /// What is there, in words.
    pub fn explain(&self) -> Vec<Exchange> {
        let bytes: Vec<u8> = self.memory().bytes.iter().map(|byte| byte.load(Ordering::Acquire)).collect();
        let mut rest = bytes.as_slice();
        let mut steps = Vec::new();
        while let Some(entry) = part(&mut rest).filter(|entry| !entry.is_empty()).and_then(read) {
            steps.push(entry.explain());
        }
        steps
    }
}

/// Stands for the protocol of an entry without a message.
const NONE: i32 = i32::MIN;

fn cut(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(KEPT)]
}

/// Takes a part with its length before it.
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk()?;
    let (part, after) = after.split_at_checked(u16::from_le_bytes(*len).into())?;
    *rest = after;
    Some(part)
}

fn read(mut entry: &[u8]) -> Option<Entry> {
    let action = String::from_utf8_lossy(part(&mut entry)?).into_owned();
    let outcome = String::from_utf8_lossy(part(&mut entry)?).into_owned();
    let (protocol, bytes) = entry.split_first_chunk()?;
    let protocol = i32::from_le_bytes(*protocol);
    Some(Entry { action, outcome, message: (protocol != NONE).then(|| (protocol, bytes.to_vec())) })
}

#[cfg(test)]
mod tests {
    use super::super::Journal;

    #[test]
    fn what_was_noted_is_there_until_it_is_cleared() {
        let kept = super::keep().unwrap();
        kept.clear();
        let journal = Journal::default();
        journal.note("socket 1: send", "ok", Some((16, &[0x14, 0, 0, 0])));
        journal.note("socket 1: close", "EBADF", None);
        let steps = kept.explain();
        assert_eq!(steps, journal.explain());
        assert_eq!(steps[1].outcome, "EBADF");
        kept.clear();
        assert!(kept.explain().is_empty());
        // More than there is room for.
        (0..1000).for_each(|_| journal.note("x".repeat(2000), "", None));
        assert!(kept.explain().len() > 200);
        kept.clear();
    }
}
