//! Lines from a socket whose other end is not trusted.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nlconform::lines::{Buffer, TooLong};

/// The most bytes that one call moves.
const CHUNK: usize = 64 * 1024;

/// Why there is no line, or why one was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// The other side is gone.
    Closed,
    /// Nothing came, or went, in time.
    Deadline,
    /// What came is not what was to come; a text for people.
    Garbled(String),
}

impl From<TooLong> for Silence {
    fn from(what: TooLong) -> Silence {
        Silence::Garbled(format!("the guest sent {what}"))
    }
}

/// A socket that is read line by line.
#[derive(Debug)]
pub struct Lines {
    socket: UnixStream,
    received: Buffer,
}

impl Lines {
    /// The lines from this socket.
    pub fn new(socket: UnixStream) -> Lines {
        Lines { socket, received: Buffer::default() }
    }

    /// The socket, for writing.
    pub fn socket(&mut self) -> &mut UnixStream {
        &mut self.socket
    }

    /// The next line without its end; waits for it until `deadline`, or without a limit.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Vec<u8>, Silence> {
        loop {
            if let Some(line) = self.received.line()? {
                return Ok(line);
            }
            self.more(deadline)?;
        }
    }

    /// Sends all of these bytes; waits until `deadline`, or without a limit, for the other side to take them.
    pub fn send(&mut self, mut bytes: &[u8], deadline: Option<Instant>) -> Result<(), Silence> {
        while !bytes.is_empty() {
            self.socket.set_write_timeout(left(deadline)?).map_err(|_| Silence::Closed)?;
            // In parts: within one call, the time begins anew with whatever the other side takes.
            let sent = self.socket.write(&bytes[..bytes.len().min(CHUNK)]);
            bytes = &bytes[moved(sent)?..];
        }
        Ok(())
    }

    fn more(&mut self, deadline: Option<Instant>) -> Result<(), Silence> {
        self.socket.set_read_timeout(left(deadline)?).map_err(|_| Silence::Closed)?;
        let mut chunk = [0; CHUNK];
        match self.socket.read(&mut chunk) {
            Ok(0) => Err(Silence::Closed),
            read => {
                self.received.add(&chunk[..moved(read)?]);
                Ok(())
            }
        }
    }
}

/// The time until this deadline, if there is one.
fn left(deadline: Option<Instant>) -> Result<Option<Duration>, Silence> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left == Some(Duration::ZERO) { Err(Silence::Deadline) } else { Ok(left) }
}

/// How many bytes a read or a write moved; none if a signal came first.
fn moved(result: std::io::Result<usize>) -> Result<usize, Silence> {
    result.or_else(|error| match error.kind() {
        ErrorKind::WouldBlock => Err(Silence::Deadline),
        ErrorKind::Interrupted => Ok(0),
        _ => Err(Silence::Closed),
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
        assert_eq!(lines.send(&vec![b'x'; 8 << 20], deadline), Err(Silence::Deadline));
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
