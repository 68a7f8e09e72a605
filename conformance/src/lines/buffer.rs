//! Lines of bytes that come in pieces, from somebody who is not trusted.

use std::fmt;

/// The longest line that is accepted, in bytes: a report with its exchange.
pub const LONGEST: usize = 8 << 20;

/// A line is longer than [`LONGEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line of more than {LONGEST} bytes")
    }
}

/// What has come and has not been taken as a line.
#[derive(Debug, Default)]
pub struct Buffer {
    received: Vec<u8>,
    /// So many bytes of it hold no end of a line.
    searched: usize,
}

impl Buffer {
    /// More has come.
    pub fn add(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// Takes the next line, without its end, if it is whole.
    ///
    /// # Errors
    /// It is not whole, and too long already.
    pub fn line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        if let Some(at) = self.received[self.searched..].iter().position(|&byte| byte == b'\n') {
            let rest = self.received.split_off(self.searched + at + 1);
            let mut line = std::mem::replace(&mut self.received, rest);
            line.pop();
            self.searched = 0;
            return Ok(Some(line));
        }
        self.searched = self.received.len();
        if self.searched > LONGEST { Err(TooLong) } else { Ok(None) }
    }

    /// Whether all that has come has been taken.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_in_order() {
        let mut buffer = Buffer::default();
        for piece in ["a", "b\nc", "\n\nd"] {
            buffer.add(piece.as_bytes());
        }
        let lines: Vec<_> = std::iter::from_fn(|| buffer.line().unwrap()).collect();
        assert_eq!(lines, [&b"ab"[..], b"c", b""]);
        assert!(!buffer.is_empty());
        buffer.add(b"\n");
        assert_eq!(buffer.line(), Ok(Some(b"d".to_vec())));
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_line_without_end_is_too_long() {
        let mut buffer = Buffer::default();
        buffer.add(&vec![b'x'; LONGEST]);
        assert_eq!(buffer.line(), Ok(None));
        buffer.add(b"x");
        assert_eq!(buffer.line(), Err(TooLong));
    }
}
