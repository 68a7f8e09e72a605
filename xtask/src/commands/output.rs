//! The standard output of what runs guests, which goes on when nobody can read.

use std::io::{self, ErrorKind, Write};

use anyhow::{Result, anyhow};
use nlconform::stdout;

/// The standard output, until it cannot be written any more: verdicts are for the results' folder then.
#[derive(Debug, Default)]
pub struct Output {
    ended: Option<io::Error>,
}

impl Output {
    /// Writes a line.
    pub fn line(&mut self, line: &str) {
        self.text(&format!("{line}\n"));
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) {
        if self.ended.is_none() {
            let mut out = io::stdout().lock();
            self.ended = out.write_all(text.as_bytes()).and_then(|()| out.flush()).err();
        }
    }

    /// Whether all was written that somebody wanted to read.
    ///
    /// # Errors
    /// Something could not be written, to a full disk for example; a reader that has gone away has seen enough.
    pub fn end(self) -> Result<()> {
        match self.ended {
            Some(why) if why.kind() != ErrorKind::BrokenPipe => Err(anyhow!(stdout::unwritable(why))),
            _ => Ok(()),
        }
    }
}
