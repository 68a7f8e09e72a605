//! What an adapter writes, read with a deadline, and why nothing more comes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::sysinfo::sysinfo;

use super::running::Running;
use super::{Buffer, Silence};

/// Bytes of its standard error that are kept, from its end.
const LAST_WORDS: usize = 4096;
/// How often is looked whether the adapter is still there: children that it left may keep its pipe open.
const LOOK: Duration = Duration::from_millis(100);
/// Time that an adapter has to exit after it has closed its standard output.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The adapter's output.
#[derive(Debug)]
pub(super) struct Output {
    running: Running,
    pipe: File,
    received: Buffer,
    /// Its standard error, if the command has it piped, while it is open.
    stderr: Option<File>,
    /// The end of what came from there.
    words: Vec<u8>,
}

impl Output {
    /// What `running` writes to these pipes.
    pub(super) fn of(running: Running, answers: File, words: Option<File>) -> Output {
        Output { running, pipe: answers, received: Buffer::default(), stderr: words, words: Vec::new() }
    }

    /// What writes it.
    pub(super) fn running(&self) -> &Running {
        &self.running
    }

    /// The end of what its standard error has had.
    pub(super) fn last_words(&mut self) -> String {
        self.read_stderr();
        String::from_utf8_lossy(&self.words).into_owned()
    }

    /// The next line.
    ///
    /// # Errors
    /// There is none by the deadline, or there will be none.
    pub(super) fn line(&mut self, deadline: Instant) -> Result<Vec<u8>, Silence> {
        loop {
            if let Some(line) = self.received.line()? {
                return Ok(line);
            }
            self.more(deadline)?;
        }
    }

    /// Whether it has written something that has not been read as a line.
    pub(super) fn has_more(&mut self) -> bool {
        let mut ready = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        let polled = poll(&mut ready, PollTimeout::ZERO);
        let readable = ready[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN));
        !self.received.is_empty() || polled == Ok(1) && readable
    }

    /// Reads what comes next.
    fn more(&mut self, deadline: Instant) -> Result<(), Silence> {
        while !self.is_readable(deadline)? {}
        let mut chunk = [0; 64 * 1024];
        match self.pipe.read(&mut chunk) {
            Ok(0) => Err(self.parting()),
            Ok(n) => {
                self.received.add(&chunk[..n]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Silence::Garbled(format!("cannot be read: {error}"))),
        }
    }

    /// Whether there is something to read, or the end; waits a while for it.
    fn is_readable(&mut self, deadline: Instant) -> Result<bool, Silence> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Silence::Late);
        }
        // Asked before the poll: what it wrote before its end is read first.
        let ended = self.running.try_wait();
        let (readable, said) = {
            let mut ready = vec![PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
            ready.extend(self.stderr.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
            // An interrupted call has found nothing.
            let _ = poll(&mut ready, PollTimeout::try_from(left.min(LOOK)).unwrap_or(PollTimeout::MAX));
            let has_news = |fd: &PollFd<'_>| fd.any() == Some(true);
            (has_news(&ready[0]), ready.get(1).is_some_and(has_news))
        };
        if said {
            self.read_stderr();
        }
        match ended {
            Ok(Some(status)) if !readable => Err(Silence::Ended(status.to_string())),
            Ok(None) if !readable => self.keeps_to_its_memory().map(|()| false),
            _ => Ok(readable),
        }
    }

    /// Ends it when it has taken more than five eighths of the system's memory. Without this, one that eats memory slowly
    /// takes from the system what that needs for files, long before the kernel kills it.
    fn keeps_to_its_memory(&mut self) -> Result<(), Silence> {
        let all = sysinfo().map_or(u64::MAX, |info| info.ram_total());
        let Some(taken) = self.running.memory().filter(|taken| *taken > all / 8 * 5) else { return Ok(()) };
        self.running.end();
        let (taken, all) = (taken >> 20, all >> 20);
        Err(Silence::Ended(format!(
            "stopped when it had taken {taken} MiB of the system's {all} MiB of memory"
        )))
    }

    /// Reads once what its standard error has, and keeps the end of it: it may write there without end.
    fn read_stderr(&mut self) {
        let Some(pipe) = &mut self.stderr else { return };
        let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::ZERO) != Ok(1) {
            return;
        }
        let mut chunk = [0; 64 * 1024];
        match pipe.read(&mut chunk) {
            Ok(0) | Err(_) => self.stderr = None,
            Ok(n) => {
                self.words.extend_from_slice(&chunk[..n]);
                self.words.drain(..self.words.len().saturating_sub(LAST_WORDS));
            }
        }
    }

    /// Why it has closed its standard output: it exits, or should not have done so.
    fn parting(&mut self) -> Silence {
        let since = Instant::now();
        while since.elapsed() < EXIT_TIMEOUT {
            match self.running.try_wait() {
                Ok(Some(status)) => return Silence::Ended(status.to_string()),
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                Err(error) => return Silence::Ended(error.to_string()),
            }
        }
        Silence::Garbled("closed its standard output".to_owned())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.running.end();
    }
}
