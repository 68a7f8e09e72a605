//! An adapter's process: started for each case, driven by lines of JSON, never trusted. The adapters of
//! targets and of client libraries have different calls and answers; this is what they share.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The time that an answer may take beyond the time that the call itself waits.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The longest line that an adapter may write, in bytes.
const LONGEST: usize = 8 << 20;

/// An answer, as a protocol has it.
pub trait Answer: DeserializeOwned {
    /// The number of the question.
    fn seq(&self) -> u64;
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// None came in time.
    Late,
    /// The adapter has ended; how.
    Ended(String),
    /// The adapter wrote something else; what.
    Garbled(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silence::Late => f.write_str("the adapter did not answer in time"),
            Silence::Ended(how) => write!(f, "the adapter ended ({how})"),
            Silence::Garbled(what) => write!(f, "the adapter {what}"),
        }
    }
}

/// A question with its number.
#[derive(Serialize)]
struct Question<'a, C> {
    seq: u64,
    #[serde(flatten)]
    call: &'a C,
}

/// A running adapter whose answers are of type `A`. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Process<A> {
    id: u32,
    questions: Mutex<Questions>,
    answers: Mutex<Answers<A>>,
    /// Signalled when an answer was read, or when there will be none.
    news: Condvar,
    /// Whether a question may be asked while another one has no answer.
    parallel: bool,
}

#[derive(Debug)]
struct Questions {
    pipe: ChildStdin,
    seq: u64,
}

#[derive(Debug)]
struct Answers<A> {
    /// Threads that wait read for each other: the one that finds the reader here takes it for one line.
    output: Option<Output>,
    /// The outstanding calls, with their answers if already read.
    asked: BTreeMap<u64, Option<A>>,
    /// What the adapter did wrong. Nothing that it writes afterwards is an answer.
    broken: Option<Silence>,
}

/// The adapter's output.
#[derive(Debug)]
struct Output {
    child: Child,
    pipe: ChildStdout,
    received: Vec<u8>,
}

impl<A: Answer> Process<A> {
    /// Starts the program.
    ///
    /// # Errors
    /// In words, when there is none.
    pub fn start(command: &mut Command, parallel: bool) -> Result<Process<A>, String> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::NotFound => "; is there such a program, and the interpreter that it names?",
                _ => "",
            };
            format!("cannot start the adapter {}: {error}{hint}", command.get_program().to_string_lossy())
        })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the adapter's pipes are missing".into());
        };
        let id = child.id();
        let output = Output { child, pipe: output, received: Vec::new() };
        Ok(Process {
            id,
            questions: Mutex::new(Questions { pipe: input, seq: 0 }),
            answers: Mutex::new(Answers { output: Some(output), asked: BTreeMap::new(), broken: None }),
            news: Condvar::new(),
            parallel,
        })
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Asks, and waits for the answer, which may take `time` and [`PATIENCE`] beyond.
    ///
    /// # Errors
    /// What the adapter did instead.
    pub fn ask<C: Serialize>(&self, call: &C, time: Duration) -> Result<A, Silence> {
        let mut questions = lock(&self.questions);
        questions.seq += 1;
        let seq = questions.seq;
        let mut line = serde_json::to_vec(&Question { seq, call })
            .map_err(|error| Silence::Garbled(format!("cannot be asked: {error}")))?;
        line.push(b'\n');
        lock(&self.answers).asked.insert(seq, None);
        // If the adapter has died, the read below reports it.
        let _ = questions.pipe.write_all(&line).and_then(|()| questions.pipe.flush());
        // Without parallel calls, the next caller waits here for the answer to this call.
        let _turn = (!self.parallel).then_some(questions);
        self.answer(seq, Instant::now() + PATIENCE + time)
    }

    fn answer(&self, seq: u64, deadline: Instant) -> Result<A, Silence> {
        let mut answers = lock(&self.answers);
        loop {
            if let Some(Some(answer)) = answers.asked.get_mut(&seq).map(Option::take) {
                answers.asked.remove(&seq);
                return Ok(answer);
            }
            if let Some(why) = &answers.broken {
                return Err(why.clone());
            }
            answers = match answers.output.take() {
                Some(mut output) => {
                    drop(answers);
                    let line = output.line(deadline);
                    let mut answers = lock(&self.answers);
                    answers.output = Some(output);
                    answers.broken = line.and_then(|line| answers.sort_in(&line)).err();
                    self.news.notify_all();
                    answers
                }
                None if Instant::now() >= deadline => return Err(Silence::Late),
                None => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.news.wait_timeout(answers, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl<A: Answer> Answers<A> {
    fn sort_in(&mut self, line: &[u8]) -> Result<(), Silence> {
        let answer: A = serde_json::from_slice(line).map_err(|error| {
            let start: String = String::from_utf8_lossy(line).chars().take(200).collect();
            Silence::Garbled(format!("wrote a line that is not an answer ({error}): {start:?}"))
        })?;
        let seq = answer.seq();
        match self.asked.get_mut(&seq) {
            Some(place @ None) => {
                *place = Some(answer);
                Ok(())
            }
            _ => {
                let asked: Vec<_> = self.asked.keys().map(u64::to_string).collect();
                Err(Silence::Garbled(format!("answered call {seq} instead of {}", asked.join(" and "))))
            }
        }
    }
}

impl Output {
    fn line(&mut self, deadline: Instant) -> Result<Vec<u8>, Silence> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.received[searched..].iter().position(|&byte| byte == b'\n') {
                let rest = self.received.split_off(searched + at + 1);
                return Ok(std::mem::replace(&mut self.received, rest));
            }
            searched = self.received.len();
            if searched > LONGEST {
                return Err(Silence::Garbled(format!("wrote a line of more than {LONGEST} bytes")));
            }
            self.more(deadline)?;
        }
    }

    fn more(&mut self, deadline: Instant) -> Result<(), Silence> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        if left.is_zero() || poll(&mut ready, timeout) == Ok(0) {
            return Err(Silence::Late);
        }
        let mut chunk = [0; 64 * 1024];
        match self.pipe.read(&mut chunk) {
            Ok(0) => Err(Silence::Ended(
                self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string()),
            )),
            Ok(n) => {
                self.received.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Silence::Garbled(format!("cannot be read: {error}"))),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // This has no effect on a process that has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Plain {
        seq: u64,
        ok: u32,
    }

    impl Answer for Plain {
        fn seq(&self) -> u64 {
            self.seq
        }
    }

    #[test]
    fn parallel_answers_find_those_who_asked() {
        // Waits for two questions, and answers the second one first.
        let script = r#"read a; read b; printf '%s\n' "$b" "$a" |
            sed 's/.*"seq":\([0-9]*\).*"number":\([0-9]*\).*/{"seq":\1,"ok":\2}/'"#;
        let process = Process::<Plain>::start(Command::new("sh").args(["-c", script]), true).unwrap();
        thread::scope(|scope| {
            for number in [10, 20] {
                let process = &process;
                scope.spawn(move || {
                    let answer = process.ask(&json!({ "number": number }), Duration::ZERO).unwrap();
                    assert_eq!(answer.ok, number);
                });
            }
        });
    }
}
