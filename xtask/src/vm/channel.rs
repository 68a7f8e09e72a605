//! The lab's end of the channel: JSON lines from a guest that is not trusted.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nlconform::event::{Event, Request};

use super::lines::{LONGEST, Lines, NoLine};

/// Time that a guest gets to take a request. What it does not read fills the socket, and then nothing more goes in.
const SEND: Duration = Duration::from_secs(20);

/// Why there is no event.
#[derive(Debug, PartialEq, Eq)]
pub enum Silence {
    /// The other side is gone.
    Closed,
    /// Nothing came in time.
    Deadline,
    /// What came is not an event; a text for people.
    Garbled(String),
}

/// The socket whose other end is the guest's virtio-serial port.
#[derive(Debug)]
pub struct Channel(Lines);

impl Channel {
    /// A channel over this end.
    pub fn new(socket: UnixStream) -> Channel {
        Channel(Lines::new(socket))
    }

    /// Sends one request.
    ///
    /// # Errors
    /// The guest is gone, or does not read.
    pub fn send(&mut self, request: &Request) -> Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        let socket = self.0.socket();
        socket.set_write_timeout(Some(SEND))?;
        socket.write_all(&line).context("the guest does not take the request")
    }

    /// The next event; waits for it until `deadline`, or without a limit.
    pub fn receive(&mut self, deadline: Option<Instant>) -> Result<Event, Silence> {
        let line = self.0.next(deadline)?;
        serde_json::from_slice(&line).map_err(|error| {
            let text: String = String::from_utf8_lossy(&line).chars().take(200).collect();
            Silence::Garbled(format!("the guest sent a line that is not an event ({error}): {text:?}"))
        })
    }
}

impl From<NoLine> for Silence {
    fn from(why: NoLine) -> Silence {
        match why {
            NoLine::Closed => Silence::Closed,
            NoLine::Deadline => Silence::Deadline,
            NoLine::TooLong => {
                Silence::Garbled(format!("the guest sent a line of more than {LONGEST} bytes"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UnixStream, Channel) {
        let (guest, host) = UnixStream::pair().unwrap();
        (guest, Channel::new(host))
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(50))
    }

    #[test]
    fn events_are_told_apart_by_lines() {
        let (mut guest, mut channel) = pair();
        guest.write_all(b"{\"event\":\"started\",\"case\":\"a\"}\n{\"event\":\"b").unwrap();
        assert_eq!(channel.receive(None), Ok(Event::Started { case: "a".into() }));
        assert_eq!(channel.receive(soon()), Err(Silence::Deadline));
        guest.write_all(b"ye\"}\n").unwrap();
        assert_eq!(channel.receive(None), Ok(Event::Bye));
    }

    #[test]
    fn half_a_line_is_no_event() {
        let (mut guest, mut channel) = pair();
        guest.write_all(b"{\"event\":\"bye\"}").unwrap();
        drop(guest);
        assert_eq!(channel.receive(None), Err(Silence::Closed));
    }

    #[test]
    fn what_is_no_event_is_quoted() {
        let (mut guest, mut channel) = pair();
        guest.write_all(b"\xff\x1b[2Jhello\n").unwrap();
        let Err(Silence::Garbled(message)) = channel.receive(None) else { panic!("taken for an event") };
        assert!(message.contains("hello") && !message.contains('\x1b'), "{message}");
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let (mut guest, mut channel) = pair();
        let flood = std::thread::spawn(move || while guest.write_all(&[b'x'; 1 << 20]).is_ok() {});
        assert!(matches!(channel.receive(None), Err(Silence::Garbled(_))));
        drop(channel);
        flood.join().unwrap();
    }
}
