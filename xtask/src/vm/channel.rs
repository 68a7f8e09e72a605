//! The lab's end of the channel: JSON lines from a guest that is not trusted.

use std::os::unix::net::UnixStream;
use std::time::Instant;

use nlconform::event::{Event, Request};

use super::lines::{Lines, Silence};

/// The socket whose other end is the guest's virtio-serial port.
#[derive(Debug)]
pub struct Channel {
    lines: Lines,
    size: usize,
}

impl Channel {
    /// A channel over this end.
    pub fn new(socket: UnixStream) -> Channel {
        Channel { lines: Lines::new(socket), size: 0 }
    }

    /// Sends one request, of which the guest has to take enough for the rest to fit into the socket until `deadline`,
    /// if there is one.
    ///
    /// # Errors
    /// The guest is gone, or does not read.
    pub fn send(&mut self, request: &Request, deadline: Option<Instant>) -> Result<(), Silence> {
        let mut line = serde_json::to_vec(request).expect("a request is JSON");
        line.push(b'\n');
        self.lines.send(&line, deadline)
    }

    /// The next event; waits for it until `deadline`, or without a limit.
    ///
    /// # Errors
    /// What came instead of an event: nothing in time, the end, or something else.
    pub fn receive(&mut self, deadline: Option<Instant>) -> Result<Event, Silence> {
        let line = self.lines.next(deadline)?;
        self.size = line.len();
        serde_json::from_slice(&line).map_err(|error| {
            let text: String = String::from_utf8_lossy(&line).chars().take(200).collect();
            Silence::Garbled(format!("the guest sent a line that is not an event ({error}): {text:?}"))
        })
    }

    /// Bytes of the last event, as the guest has sent it.
    pub fn size(&self) -> usize {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

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
