//! Lines from a socket whose other end is not trusted.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The longest line that is accepted, in bytes: a report with its exchange.
pub const LONGEST: usize = 8 << 20;

/// The most bytes that one call moves.
const CHUNK: usize = 64 * 1024;

/// Why there is no line, or why one was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum NoLine {
    /// The other side is gone.
    Closed,
    /// Nothing came, or went, in time.
    Deadline,
    /// What came is longer than [`LONGEST`].
    TooLong,
}

/// A socket that is read line by line.
#[derive(Debug)]
pub struct Lines {
    socket: UnixStream,
    received: Vec<u8>,
}

impl Lines {
    /// The lines from this socket.
    pub fn new(socket: UnixStream) -> Lines {
        Lines { socket, received: Vec::new() }
    }

    /// The socket, for writing.
    pub fn socket(&mut self) -> &mut UnixStream {
        &mut self.socket
    }

    /// The next line without its end; waits for it until `deadline`, or without a limit.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Vec<u8>, NoLine> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.received[searched..].iter().position(|&byte| byte == b'\n') {
                let rest = self.received.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.received, rest);
                line.pop();
                return Ok(line);
            }
            searched = self.received.len();
            if searched > LONGEST {
                return Err(NoLine::TooLong);
            }
            self.more(deadline)?;
        }
    }

    /// Sends all of these bytes; waits until `deadline`, or without a limit, for the other side to take them.
    pub fn send(&mut self, mut bytes: &[u8], deadline: Option<Instant>) -> Result<(), NoLine> {
        while !bytes.is_empty() {
            self.socket.set_write_timeout(left(deadline)?).map_err(|_| NoLine::Closed)?;
            // In parts: within one call, the time begins anew with whatever the other side takes.
            let sent = self.socket.write(&bytes[..bytes.len().min(CHUNK)]);
            bytes = &bytes[moved(sent)?..];
        }
        Ok(())
    }

    fn more(&mut self, deadline: Option<Instant>) -> Result<(), NoLine> {
        self.socket.set_read_timeout(left(deadline)?).map_err(|_| NoLine::Closed)?;
        let mut chunk = [0; CHUNK];
        match self.socket.read(&mut chunk) {
            Ok(0) => Err(NoLine::Closed),
            read => {
                self.received.extend_from_slice(&chunk[..moved(read)?]);
                Ok(())
            }
        }
    }
}

/// The time until this deadline, if there is one.
fn left(deadline: Option<Instant>) -> Result<Option<Duration>, NoLine> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left == Some(Duration::ZERO) { Err(NoLine::Deadline) } else { Ok(left) }
}

/// How many bytes a read or a write moved; none if a signal came first.
fn moved(result: std::io::Result<usize>) -> Result<usize, NoLine> {
    result.or_else(|error| match error.kind() {
        ErrorKind::WouldBlock => Err(NoLine::Deadline),
        ErrorKind::Interrupted => Ok(0),
        _ => Err(NoLine::Closed),
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_takes_a_little_again_and_again_has_no_more_time() {
        let (mut other, socket) = UnixStream::pair().unwrap();
        let reader = thread::spawn(move || {
            while other.read(&mut [0; 64 * 1024]).is_ok_and(|read| read > 0) {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let mut lines = Lines::new(socket);
        let deadline = Some(Instant::now() + Duration::from_millis(100));
        assert_eq!(lines.send(&vec![b'x'; 8 << 20], deadline), Err(NoLine::Deadline));
        drop(lines);
        reader.join().unwrap();
    }

    #[test]
    fn what_is_sent_arrives_whole() {
        let (mut other, socket) = UnixStream::pair().unwrap();
        let sent: Vec<u8> = (0..=255).cycle().take(4 << 20).collect();
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            other.read_to_end(&mut got).map(|_| got)
        });
        let mut lines = Lines::new(socket);
        assert_eq!(lines.send(&sent, None), Ok(()));
        drop(lines);
        assert!(reader.join().unwrap().unwrap() == sent);
    }
}
