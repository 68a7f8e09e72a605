//! Progress of long work: a spinner or a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use humansize::{BINARY, format_size};
use indicatif::{ProgressBar, ProgressStyle};

/// Without a terminal, long work reports at this interval that it continues.
const PLAIN_PACE: Duration = Duration::from_secs(30);

/// Says one line to people. Nothing fails when nobody reads it any more.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// Where progress is shown: the standard error, so that results keep the standard output.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
}

impl Progress {
    /// Checks whether the standard error is a terminal.
    pub fn new() -> Progress {
        Progress { terminal: stderr().is_terminal() }
    }

    /// Prints one line that stays.
    pub fn note(&self, line: &str) {
        say(line);
    }

    /// Starts a step, named as in `building kernel 6.12`.
    pub fn step(&self, what: impl Into<String>) -> Step {
        let what = what.into();
        let bar = self.terminal.then(|| {
            let bar = ProgressBar::new_spinner().with_style(spinner());
            bar.set_prefix(what.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if bar.is_none() {
            self.note(&format!("{what} ..."));
        }
        Step { what, bar, begun: Instant::now(), said: Mutex::new(Instant::now()), made: Mutex::default() }
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}

/// A running step. Dropped before [`Step::done`], it disappears in favour of the error.
#[derive(Debug)]
pub struct Step {
    what: String,
    bar: Option<ProgressBar>,
    begun: Instant,
    said: Mutex<Instant>,
    /// Files made, of about how many.
    made: Mutex<(u32, u32)>,
}

impl Step {
    /// Has the lines in which kbuild names what it makes counted, of about so many.
    pub fn count(&self, about: u32) {
        *self.made.lock().expect("no holder panics") = (0, about);
    }

    /// Shows the latest line of the work's own output.
    pub fn tail(&self, line: &str) {
        let counted = self.counted(line);
        let line = counted.as_deref().unwrap_or(line);
        match &self.bar {
            Some(bar) => bar.set_message(line.trim().to_owned()),
            None => self.paced(|| line.trim().to_owned()),
        }
    }

    /// The line with its number, if lines are counted.
    fn counted(&self, line: &str) -> Option<String> {
        let mut made = self.made.lock().expect("no holder panics");
        let (count, about) = &mut *made;
        if *about == 0 {
            return None;
        }
        let word = line.trim_start().split(' ').next().unwrap_or_default();
        let names_a_file =
            line.starts_with("  ") && word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
        *count += u32::from(names_a_file);
        Some(format!("{count} of about {about}: {}", line.trim()))
    }

    /// Shows how many bytes of how many are done.
    pub fn bytes(&self, done: u64, total: Option<u64>) {
        match (&self.bar, total) {
            (Some(bar), Some(total)) => {
                if bar.length() != Some(total) {
                    bar.set_length(total);
                    bar.set_style(byte_bar());
                }
                bar.set_position(done);
            }
            (Some(bar), None) => bar.set_message(format_size(done, BINARY)),
            (None, _) => self.paced(|| format_size(done, BINARY)),
        }
    }

    /// Ends the step with one line that stays.
    pub fn done(self) {
        let line = format!("{}: {:.1} s", self.what, self.begun.elapsed().as_secs_f32());
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        say(line);
    }

    fn paced(&self, line: impl FnOnce() -> String) {
        let mut said = self.said.lock().expect("no holder panics");
        if said.elapsed() >= PLAIN_PACE {
            *said = Instant::now();
            let seconds = self.begun.elapsed().as_secs();
            say(format_args!("{} ... {seconds} s: {}", self.what, line()));
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {elapsed:.dim} {wide_msg:.dim}")
        .expect("a valid template")
}

fn byte_bar() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes} {eta:.dim}")
        .expect("a valid template")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kbuild_makes_is_counted() {
        let step = Progress::new().step("building");
        assert_eq!(step.counted("  CC      a.o"), None);
        step.count(1200);
        assert_eq!(step.counted("  CC      a.o").unwrap(), "1 of about 1200: CC      a.o");
        assert_eq!(step.counted("a.c:1: warning: x").unwrap(), "1 of about 1200: a.c:1: warning: x");
        assert_eq!(step.counted("  LD [M]  b.ko").unwrap(), "2 of about 1200: LD [M]  b.ko");
    }
}
