//! Lines from a socket whose other end is not trusted.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The longest line that is accepted, in bytes: a report with its exchange.
pub const LONGEST: usize = 8 << 20;

/// Why there is no line.
#[derive(Debug, PartialEq, Eq)]
pub enum NoLine {
    /// The other side is gone.
    Closed,
    /// Nothing came in time.
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

    fn more(&mut self, deadline: Option<Instant>) -> Result<(), NoLine> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(NoLine::Deadline);
        }
        self.socket.set_read_timeout(left).map_err(|_| NoLine::Closed)?;
        let mut chunk = [0; 64 * 1024];
        match self.socket.read(&mut chunk) {
            Ok(0) => Err(NoLine::Closed),
            Ok(n) => {
                self.received.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(NoLine::Deadline),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(NoLine::Closed),
        }
    }
}
