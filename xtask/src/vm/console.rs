//! The serial console, watched with rexpect: for people, and for the kernel's last words.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use nlconform::signs::is_sign;
use rexpect::error::Error;
use rexpect::reader::Options;
use rexpect::session::StreamSession;

/// Lines kept from the start and from the end; a flood in between is counted and dropped.
const HEAD: usize = 500;
const TAIL: usize = 1500;
/// The most characters kept of a line.
const WIDTH: usize = 300;
/// The most bytes of a line that are looked at.
const LINE: usize = 4096;
/// The most bytes that wait to be looked at. A guest that says more waits, as it would for a slow terminal.
const UNREAD: usize = 1 << 20;
/// Time to look at the last output of a guest that has ended, [`UNREAD`] bytes at most: a process that it left behind may
/// keep the console open.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The most lines of an excerpt.
const EXCERPT: usize = 60;

/// What the console has said so far. Grows while the guest runs.
#[derive(Debug)]
pub struct Console {
    lines: Arc<Mutex<Lines>>,
    /// Closed when the output has ended.
    watched: Receiver<()>,
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
        let (watches, watched) = mpsc::channel();
        thread::spawn(move || {
            let _watches = watches;
            let unread = Arc::new(Unread::default());
            let paced = Paced { output, unread: Arc::clone(&unread), line: 0 };
            let mut session = StreamSession::new(paced, io::sink(), Options::new());
            loop {
                // All complete lines at once: a flood taken line by line would cost its square.
                match session.exp_regex(r"(?s)\A.*\n") {
                    Ok((_, text)) => {
                        // It makes a character of each byte.
                        unread.took(text.chars().count());
                        lock(&kept).add(&text);
                    }
                    Err(Error::EOF { got, .. }) => return lock(&kept).add(&got),
                    Err(_) => return,
                }
            }
        });
        Console { lines, watched }
    }

    /// Waits until the guest's last output has been read. The guest must have ended.
    pub fn finish(&mut self) {
        self.finish_within(DRAIN_TIMEOUT);
    }

    fn finish_within(&self, time: Duration) {
        // Nothing is ever sent: either the watcher is done, or the time is over.
        let _ = self.watched.recv_timeout(time);
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
    /// `known` does not have already, else the last lines.
    pub fn since(&self, mark: Mark, known: &str) -> String {
        let lines: Vec<String> = lock(&self.lines).since(mark.0);
        let is_new = |line: &String| is_sign(line) && !known.contains(line.trim());
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

/// Output at the pace at which it is looked at, without the ends of endless lines: rexpect itself keeps everything that it
/// was not asked for yet.
struct Paced<R> {
    output: R,
    unread: Arc<Unread>,
    /// Bytes of the line so far.
    line: usize,
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.output.read(buffer)?;
            let mut kept = 0;
            for at in 0..read {
                self.line = if buffer[at] == b'\n' { 0 } else { self.line + 1 };
                if self.line <= LINE {
                    buffer[kept] = buffer[at];
                    kept += 1;
                }
            }
            if kept > 0 || read == 0 {
                self.unread.wait_for_room(kept);
                return Ok(kept);
            }
        }
    }
}

/// Bytes that were handed over and not looked at yet.
#[derive(Default)]
struct Unread {
    bytes: Mutex<usize>,
    fewer: Condvar,
}

impl Unread {
    fn wait_for_room(&self, more: usize) {
        let bytes = self.bytes.lock().expect("no holder panics");
        let mut bytes = self.fewer.wait_while(bytes, |bytes| *bytes >= UNREAD).expect("no holder panics");
        *bytes += more;
    }

    fn took(&self, some: usize) {
        *self.bytes.lock().expect("no holder panics") -= some;
        self.fewer.notify_one();
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
        let console = Console::watch(io::Cursor::new(text));
        // However slow the machine is, the output ends.
        console.finish_within(Duration::MAX);
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
    fn trouble_that_is_known_is_left_out() {
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
    fn an_endless_line_and_a_flood_are_not_kept_in_memory() {
        let unread = Arc::new(Unread::default());
        let paced = |output: Box<dyn Read + Send>| Paced { output, unread: Arc::clone(&unread), line: 0 };
        let mut endless = Vec::new();
        let output = io::repeat(b'x').take(8 << 20).chain(&b"\nnext\n"[..]);
        paced(Box::new(output)).read_to_end(&mut endless).unwrap();
        assert_eq!(endless.len(), LINE + "\nnext\n".len());

        unread.took(endless.len());
        let mut flood = paced(Box::new(io::repeat(b'\n').take(4 << 20)));
        let reader = thread::spawn(move || io::copy(&mut flood, &mut io::sink()).unwrap());
        while !reader.is_finished() {
            // Time to read all of it, were there no end of room.
            thread::sleep(Duration::from_millis(100));
            let some = *unread.bytes.lock().unwrap();
            assert!(some < 2 * UNREAD);
            unread.took(some);
        }
        assert_eq!(reader.join().unwrap(), 4 << 20);
    }

    #[test]
    fn who_keeps_the_console_open_keeps_nobody_waiting() {
        let (output, _left_behind) = io::pipe().unwrap();
        Console::watch(output).finish_within(Duration::from_millis(50));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(console("\x1b[2Jx\x07\n".into()).text(), "[2Jx");
    }
}
