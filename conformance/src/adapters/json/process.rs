//! The adapter's process: started for each case, driven line by line, never trusted.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::protocol::{Answer, Ask, Call, Told};

/// The time that an answer may take beyond the time that the call itself waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest line that an adapter may write, in bytes.
const LONGEST: usize = 8 << 20;
const LATE: &str = "the adapter did not answer in time";

/// A running adapter. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Process {
    questions: Mutex<Questions>,
    answers: Mutex<Answers>,
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
struct Answers {
    /// Threads that wait read for each other: the one that finds the reader here takes it for one line.
    output: Option<Output>,
    /// The outstanding calls, with their answers if already read.
    asked: BTreeMap<u64, Option<Told>>,
    /// What the adapter did wrong. Nothing that it writes afterwards is an answer.
    broken: Option<String>,
}

/// The adapter's output.
#[derive(Debug)]
struct Output {
    child: Child,
    pipe: ChildStdout,
    received: Vec<u8>,
}

impl Process {
    /// Starts the program.
    pub fn start(argv: &[String], parallel: bool) -> Result<Process, String> {
        let (program, args) = argv.split_first().ok_or("the adapter's command is empty")?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the adapter {program}: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the adapter's pipes are missing".into());
        };
        let output = Output { child, pipe: output, received: Vec::new() };
        Ok(Process {
            questions: Mutex::new(Questions { pipe: input, seq: 0 }),
            answers: Mutex::new(Answers { output: Some(output), asked: BTreeMap::new(), broken: None }),
            news: Condvar::new(),
            parallel,
        })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// A sentence that says what the adapter did instead, if there is no answer.
    pub fn ask(&self, call: &Call) -> Result<Told, String> {
        let mut questions = lock(&self.questions);
        questions.seq += 1;
        let seq = questions.seq;
        let mut line =
            serde_json::to_vec(&Ask { seq, call: call.clone() }).map_err(|error| error.to_string())?;
        line.push(b'\n');
        lock(&self.answers).asked.insert(seq, None);
        // If the adapter has died, the read below reports it.
        let _ = questions.pipe.write_all(&line).and_then(|()| questions.pipe.flush());
        // Without parallel calls, the next caller waits here for the answer to this call.
        let _turn = (!self.parallel).then_some(questions);
        self.answer(seq, Instant::now() + PATIENCE + Duration::from_millis(call.waits_ms()))
    }

    fn answer(&self, seq: u64, deadline: Instant) -> Result<Told, String> {
        let mut answers = lock(&self.answers);
        loop {
            if let Some(Some(told)) = answers.asked.get_mut(&seq).map(Option::take) {
                answers.asked.remove(&seq);
                return Ok(told);
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
                None if Instant::now() >= deadline => return Err(LATE.into()),
                None => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.news.wait_timeout(answers, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Answers {
    fn sort_in(&mut self, line: &[u8]) -> Result<(), String> {
        let answer: Answer = serde_json::from_slice(line).map_err(|error| {
            let start: String = String::from_utf8_lossy(line).chars().take(200).collect();
            format!("the adapter wrote a line that is not an answer ({error}): {start:?}")
        })?;
        match self.asked.get_mut(&answer.seq) {
            Some(place @ None) => {
                *place = Some(answer.told);
                Ok(())
            }
            _ => {
                let asked: Vec<_> = self.asked.keys().map(u64::to_string).collect();
                Err(format!("the adapter answered call {} instead of {}", answer.seq, asked.join(" and ")))
            }
        }
    }
}

impl Output {
    fn line(&mut self, deadline: Instant) -> Result<Vec<u8>, String> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.received[searched..].iter().position(|&byte| byte == b'\n') {
                let rest = self.received.split_off(searched + at + 1);
                return Ok(std::mem::replace(&mut self.received, rest));
            }
            searched = self.received.len();
            if searched > LONGEST {
                return Err(format!("the adapter wrote a line of more than {LONGEST} bytes"));
            }
            self.more(deadline)?;
        }
    }

    fn more(&mut self, deadline: Instant) -> Result<(), String> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        if left.is_zero() || poll(&mut ready, timeout) == Ok(0) {
            return Err(LATE.into());
        }
        let mut chunk = [0; 64 * 1024];
        match self.pipe.read(&mut chunk) {
            Ok(0) => Err(match self.child.wait() {
                Ok(status) => format!("the adapter ended ({status})"),
                Err(error) => format!("the adapter ended: {error}"),
            }),
            Ok(n) => {
                self.received.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(format!("cannot read from the adapter: {error}")),
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

    use super::*;

    #[test]
    fn parallel_answers_find_those_who_asked() {
        // Waits for two questions, and answers the second one first.
        let script = r#"read a; read b; printf '%s\n' "$b" "$a" |
            sed 's/.*"seq":\([0-9]*\).*"version":\([0-9]*\).*/{"seq":\1,"ok":\2}/'"#;
        let argv = ["sh", "-c", script].map(str::to_owned);
        let process = Process::start(&argv, true).unwrap();
        thread::scope(|scope| {
            for version in [10, 20] {
                let process = &process;
                scope.spawn(move || match process.ask(&Call::Hello { version }) {
                    Ok(Told::Ok(value)) => assert_eq!(value, version),
                    other => panic!("{other:?}"),
                });
            }
        });
    }
}
