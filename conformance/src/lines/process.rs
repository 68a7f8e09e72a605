//! A running adapter: questions that are asked of it, and the answers that find those who asked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::output::Output;
use super::running::{Pipes, Running};
use super::{Answer, ForkServer, Silence, lock};

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
    pipe: File,
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

impl<A: Answer> Process<A> {
    /// Starts the program. Of a standard error that `command` has piped, the end is kept: see
    /// [`Process::last_words`].
    ///
    /// # Errors
    /// In words, when there is none.
    pub fn start(command: &mut Command, parallel: bool) -> Result<Process<A>, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| unstarted(command, &error))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the adapter's pipes are missing".into());
        };
        let pipes = Pipes {
            questions: OwnedFd::from(input).into(),
            answers: OwnedFd::from(output).into(),
            words: child.stderr.take().map(|stderr| OwnedFd::from(stderr).into()),
        };
        Ok(Process::of(child.id(), Running::Child(child), pipes, parallel))
    }

    /// Starts the program with this library preloaded, which makes it a fork server if it can be one. Its standard
    /// error is piped.
    ///
    /// # Errors
    /// In words, when there is none.
    pub fn start_server(command: &mut Command, preload: &str) -> Result<Process<A>, String> {
        let server = ForkServer::start(command, preload).map_err(|error| unstarted(command, &error))?;
        let pipes = server.pipes().map_err(|error| format!("the adapter's pipes: {error}"))?;
        let running = Running::Copy { server: Arc::new(server), pid: None, ended: None };
        Ok(Process::of(0, running, pipes, false))
    }

    /// The fork server that it is a copy of.
    pub fn server(&self) -> Option<Arc<ForkServer>> {
        lock(&self.answers).output.as_ref().and_then(|output| output.running().server().cloned())
    }

    /// A copy that this server makes, in the network namespace of the caller.
    ///
    /// # Errors
    /// When the server has ended.
    pub fn copy(server: &Arc<ForkServer>, parallel: bool) -> std::io::Result<Process<A>> {
        let pipes = server.pipes()?;
        server.clean()?;
        let pid = server.copy()?;
        let running = Running::Copy { server: Arc::clone(server), pid: Some(pid), ended: None };
        Ok(Process::of(pid as u32, running, pipes, parallel))
    }

    fn of(id: u32, running: Running, pipes: Pipes, parallel: bool) -> Process<A> {
        let Pipes { questions, answers, words } = pipes;
        let output = Output::of(running, answers, words);
        Process {
            id,
            questions: Mutex::new(Questions { pipe: questions, seq: 0 }),
            answers: Mutex::new(Answers { output: Some(output), asked: BTreeMap::new(), broken: None }),
            news: Condvar::new(),
            parallel,
        }
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The last line that it has written to its standard error, or the one in which it panicked, as a part of a
    /// sentence.
    pub fn last_words(&self) -> String {
        let mut answers = lock(&self.answers);
        let Some(output) = &mut answers.output else { return String::new() };
        let text = output.last_words();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        // What Go and Rust write after it is where, not why.
        let panicked = lines.clone().find(|line| line.contains("panic"));
        panicked.or(lines.next_back()).map(|line| format!(", its last words: {line}")).unwrap_or_default()
    }

    /// Asks, and waits for the answer, which may take `time`.
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
        lock(&self.answers).ask(seq);
        // If the adapter has died, the read below reports it.
        let _ = questions.pipe.write_all(&line).and_then(|()| questions.pipe.flush());
        // Without parallel calls, the next caller waits here for the answer to this call.
        let _turn = (!self.parallel).then_some(questions);
        self.answer(seq, Instant::now() + time)
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
    /// Notes a call. What is there while no other call is outstanding is not an answer to anything.
    fn ask(&mut self, seq: u64) {
        let unasked = self.output.as_mut().is_some_and(Output::has_more);
        if self.asked.is_empty() && self.broken.is_none() && unasked {
            self.broken = Some(Silence::Garbled("wrote a line before it was asked for one".into()));
        }
        self.asked.insert(seq, None);
    }

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

fn unstarted(command: &Command, error: &std::io::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::NotFound => "; is there such a program, and the interpreter that it names?",
        _ => "",
    };
    format!("cannot start the adapter {}: {error}{hint}", command.get_program().to_string_lossy())
}
