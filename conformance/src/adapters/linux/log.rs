//! Conversion of the probe's log to the port's.

use std::mem::size_of;

use super::abi::{self, Plain};
use crate::port::provider::{LogEntry, On, Unable};

/// Bytes of the largest entry.
pub const LARGEST: usize = size_of::<abi::LogEntry>() + abi::NLPROBE_MAX_CAPTURE as usize;

/// The entries in the bytes that an ioctl returned.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<LogEntry>, Unable> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (entry, rest) = first(bytes).ok_or_else(|| {
            Unable::Failed(format!("NLPROBE_LOG: not a log entry: {:02x?}", &bytes[..bytes.len().min(64)]))
        })?;
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

fn first(bytes: &[u8]) -> Option<(LogEntry, &[u8])> {
    let entry = abi::LogEntry::read(bytes)?;
    let (_, after) = bytes.split_at_checked(size_of::<abi::LogEntry>())?;
    let captured = after.get(..entry.len as usize)?;
    let rest = after.get(captured.len().next_multiple_of(8)..)?;
    let entry = LogEntry {
        on: *On::ALL.get(entry.on as usize)?,
        handle: entry.handle,
        subject: entry.subject,
        portid: entry.portid,
        seq: entry.seq,
        call: entry.call,
        returned: entry.returned,
        tgid: entry.tgid,
        uid: entry.uid,
        entered_ns: entry.entered_ns,
        left_ns: entry.left_ns,
        bytes: captured.to_vec(),
    };
    Some((entry, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(on: u32, captured: &[u8]) -> Vec<u8> {
        let mut entry = abi::LogEntry { on, returned: -22, len: captured.len() as u32, ..Default::default() };
        let mut bytes = [entry.bytes_mut(), captured].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn entries_follow_one_another_aligned() {
        let bytes = [encoded(abi::NLPROBE_ON_DONE, b"abc"), encoded(abi::NLPROBE_ON_BIND, b"")].concat();
        let entries = decode(&bytes).unwrap();
        let seen: Vec<_> = entries.iter().map(|entry| (entry.on, entry.returned, &entry.bytes[..])).collect();
        assert_eq!(seen, [(On::Done, -22, &b"abc"[..]), (On::Bind, -22, b"")]);
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let whole = encoded(abi::NLPROBE_ON_DONE, b"abc");
        for cut in 1..whole.len() {
            assert!(decode(&whole[..cut]).is_err(), "{cut} bytes");
        }
        assert!(decode(&encoded(abi::NLPROBE_ON_COUNT, b"")).is_err());
    }
}
