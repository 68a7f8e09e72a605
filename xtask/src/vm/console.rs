//! The serial console, watched with rexpect: for people, and for the kernel's last words.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use nlconform::signs::is_sign;
use rexpect::error::Error;
use rexpect::reader::Options;
use rexpect::session::StreamSession;

/// Lines kept from the start and from the end; a flood in between is counted and dropped.
const HEAD: usize = 500;
const TAIL: usize = 1500;
/// The most characters kept of a line.
const WIDTH: usize = 300;
/// The most lines of an excerpt.
const EXCERPT: usize = 60;

/// What the console has said so far. Grows while the guest runs.
#[derive(Debug)]
pub struct Console {
    lines: Arc<Mutex<Lines>>,
    watcher: Option<JoinHandle<()>>,
}

/// A place in the console's output.
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

#[derive(Debug, Default)]
struct Lines {
    head: Vec<String>,
    tail: VecDeque<String>,
    count: usize,
}

impl Console {
    /// Watches the guest's output until it ends.
    pub fn watch(output: impl Read + Send + 'static) -> Console {
        let lines = Arc::new(Mutex::new(Lines::default()));
        let kept = Arc::clone(&lines);
        let watcher = thread::spawn(move || {
            let mut session = StreamSession::new(output, io::sink(), Options::new());
            loop {
                // All complete lines at once: a flood taken line by line would cost its square.
                match session.exp_regex(r"(?s)\A.*\n") {
                    Ok((_, text)) => lock(&kept).add(&text),
                    Err(Error::EOF { got, .. }) => return lock(&kept).add(&got),
                    Err(_) => return,
                }
            }
        });
        Console { lines, watcher: Some(watcher) }
    }

    /// Waits until the guest's last output has been read. The guest must have ended.
    pub fn finish(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.join().expect("the watcher does not panic");
        }
    }

    /// Where it began.
    pub fn start(&self) -> Mark {
        Mark(0)
    }

    /// Where the console is now.
    pub fn mark(&self) -> Mark {
        Mark(lock(&self.lines).count)
    }

    /// What was said since, for a report: from the first word of trouble on, if there is one that
    /// `told` does not have already, else the last lines.
    pub fn since(&self, mark: Mark, told: &str) -> String {
        let lines: Vec<String> = lock(&self.lines).since(mark.0);
        let is_new = |line: &String| is_sign(line) && !told.contains(line.trim());
        let from = match lines.iter().position(is_new) {
            Some(at) => at,
            None => lines.len().saturating_sub(EXCERPT),
        };
        lines[from..].iter().take(EXCERPT).map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// The kernel's one line on why it gave up since, if it did.
    pub fn panic_since(&self, mark: Mark) -> Option<String> {
        let lines = lock(&self.lines).since(mark.0);
        lines.into_iter().find(|line| line.contains("Kernel panic"))
    }

    /// Everything that was kept.
    pub fn text(&self) -> String {
        lock(&self.lines).since(0).join("\n")
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().expect("no holder panics")
}

impl Lines {
    fn add(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.chars().filter(|c| !c.is_control()).take(WIDTH).collect();
            self.count += 1;
            if self.head.len() < HEAD {
                self.head.push(line);
                continue;
            }
            if self.tail.len() == TAIL {
                self.tail.pop_front();
            }
            self.tail.push_back(line);
        }
    }

    /// The lines from number `from` on, with one that says how many are missing.
    fn since(&self, from: usize) -> Vec<String> {
        let mut lines: Vec<String> = self.head.iter().skip(from).cloned().collect();
        let tail_from = self.count - self.tail.len();
        let missing = tail_from.saturating_sub(from.max(self.head.len()));
        if missing > 0 {
            lines.push(format!("[{missing} lines left out]"));
        }
        lines.extend(self.tail.iter().skip(from.saturating_sub(tail_from)).cloned());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(text: String) -> Console {
        let mut console = Console::watch(io::Cursor::new(text));
        console.finish();
        console
    }

    #[test]
    fn an_excerpt_begins_with_the_trouble() {
        let console = console("a\nb\nKernel panic - not syncing: ouch\r\nCall Trace:\n".into());
        assert_eq!(console.since(Mark(1), ""), "Kernel panic - not syncing: ouch\nCall Trace:");
        assert_eq!(console.panic_since(Mark(0)).unwrap(), "Kernel panic - not syncing: ouch");
        assert_eq!(console.panic_since(Mark(3)), None);
    }

    #[test]
    fn trouble_that_was_told_before_is_left_out() {
        let console = console("BUG: a\nmore\nKernel panic - not syncing: b\n".into());
        assert_eq!(console.since(Mark(0), "x\nBUG: a\n"), "Kernel panic - not syncing: b");
    }

    #[test]
    fn a_flood_keeps_its_beginning_and_its_end() {
        let flood: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
        let console = console(flood);
        let text = console.text();
        assert!(text.starts_with("line 0\n") && text.ends_with("line 99999"));
        assert!(text.contains("[98000 lines left out]"));
        assert_eq!(console.since(Mark(99_999), ""), "line 99999");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(console("\x1b[2Jx\x07\n".into()).text(), "[2Jx");
    }
}
