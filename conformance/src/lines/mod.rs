//! An adapter's process: started for each case, driven by lines of JSON, never trusted. The adapters of
//! targets and of client libraries have different calls and answers; this is what they share.

mod buffer;
mod forkserver;
mod running;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::sysinfo::sysinfo;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use buffer::{Buffer, LONGEST, TooLong};
pub use forkserver::ForkServer;
use running::{Pipes, Running};

/// The time that an answer may take beyond the time that the call itself waits.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of its standard error that are kept, from its end.
const LAST_WORDS: usize = 4096;
/// How often is looked whether the adapter is still there: children that it left may keep its pipe open.
const LOOK: Duration = Duration::from_millis(100);
/// Time that an adapter has to exit after it has closed its standard output.
const PARTING: Duration = Duration::from_secs(1);

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

impl From<TooLong> for Silence {
    fn from(what: TooLong) -> Silence {
        Silence::Garbled(format!("wrote {what}"))
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

/// The adapter's output.
#[derive(Debug)]
struct Output {
    running: Running,
    pipe: File,
    received: Buffer,
    /// Its standard error, if the command has it piped, while it is open.
    stderr: Option<File>,
    /// The end of what came from there.
    words: Vec<u8>,
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
        lock(&self.answers).output.as_ref().and_then(|output| output.running.server().cloned())
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
        let output =
            Output { running, pipe: answers, received: Buffer::default(), stderr: words, words: Vec::new() };
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
        output.read_stderr();
        let text = String::from_utf8_lossy(&output.words);
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

impl Output {
    fn line(&mut self, deadline: Instant) -> Result<Vec<u8>, Silence> {
        loop {
            if let Some(line) = self.received.line()? {
                return Ok(line);
            }
            self.more(deadline)?;
        }
    }

    /// Whether it has written something that has not been read as a line.
    fn has_more(&mut self) -> bool {
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
        while since.elapsed() < PARTING {
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

fn unstarted(command: &Command, error: &std::io::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::NotFound => "; is there such a program, and the interpreter that it names?",
        _ => "",
    };
    format!("cannot start the adapter {}: {error}{hint}", command.get_program().to_string_lossy())
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
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

    /// Time that no answer needs, however slow the machine is.
    const LONG: Duration = Duration::from_secs(300);

    /// What becomes of a question to this script.
    fn asked(script: &str) -> (Silence, String) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stderr(Stdio::piped());
        let process = Process::<Plain>::start(&mut command, false).unwrap();
        let silence = process.ask(&json!({}), LONG).map(|answer| answer.ok).unwrap_err();
        (silence, process.last_words())
    }

    #[test]
    fn an_end_is_seen_whoever_keeps_the_pipes() {
        let ended = Silence::Ended("exit status: 3".to_owned());
        assert_eq!(asked("echo why >&2; sleep 30 & exit 3"), (ended, ", its last words: why".to_owned()));
        let panicked = asked("printf 'panic: why\\n\\ngoroutine 1\\n' >&2; exit 2").1;
        assert_eq!(panicked, ", its last words: panic: why");
        let closed = Silence::Garbled("closed its standard output".to_owned());
        assert_eq!(asked("exec >&-; exec sleep 600").0, closed);
    }

    /// An adapter that counts its questions, with the fork server preloaded.
    #[test]
    fn each_copy_goes_on_from_the_first_question() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("forkserver.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/preload/forkserver.c");
        let mut cc = Command::new("cc");
        cc.args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .args([source, "-ldl"]);
        assert!(cc.status().unwrap().success());
        let script = r#"echo $$ >> started; n=0; while read -r question; do n=$((n + 1))
            printf '{"seq":%s,"ok":%s}\n' "$(expr "$question" : '.*"seq":\([0-9]*\)')" $n; done"#;
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(dir.path());
        let first = Process::<Plain>::start_server(&mut command, library.to_str().unwrap()).unwrap();
        assert_eq!(first.ask(&json!({}), LONG).unwrap().ok, 1);
        let server = first.server().expect("it can be copied");
        drop(first);
        for _ in 0..3 {
            let copy = Process::<Plain>::copy(&server, false).unwrap();
            assert_eq!(copy.ask(&json!({}), LONG).unwrap().ok, 1);
            assert_eq!(copy.ask(&json!({}), LONG).unwrap().ok, 2);
        }
        // A copy that dies is missed at once, and what it has left unread is not the next one's.
        let copy = Process::<Plain>::copy(&server, false).unwrap();
        kill(Pid::from_raw(copy.id() as i32), Signal::SIGKILL).unwrap();
        let silence = copy.ask(&json!({}), LONG).map(|answer| answer.ok).unwrap_err();
        assert_eq!(silence, Silence::Ended("signal: 9 (SIGKILL)".to_owned()));
        drop(copy);
        let copy = Process::<Plain>::copy(&server, false).unwrap();
        assert_eq!(copy.ask(&json!({}), LONG).unwrap().ok, 1);
        let started = std::fs::read_to_string(dir.path().join("started")).unwrap();
        assert_eq!(started.lines().count(), 1);
    }

    #[test]
    fn what_comes_without_end_is_not_kept() {
        let ended = Silence::Ended("exit status: 4".to_owned());
        let said = asked("yes why | head -c 1000000 >&2; exit 4");
        assert_eq!(said, (ended, ", its last words: why".to_owned()));
        let long = format!("wrote a line of more than {LONGEST} bytes");
        assert_eq!(asked("read a; exec tr '\\0' x < /dev/zero").0, Silence::Garbled(long));
    }

    #[test]
    fn what_comes_unasked_is_not_an_answer() {
        let script = r#"printf '{"seq":1,"ok":1}\n{"seq":2,"ok":2}\n'; read a; exec sleep 600"#;
        let process = Process::<Plain>::start(Command::new("sh").args(["-c", script]), false).unwrap();
        // Whether the first one comes before its question is a race.
        let _ = process.ask(&json!({}), LONG);
        let unasked = Silence::Garbled("wrote a line before it was asked for one".to_owned());
        assert_eq!(process.ask(&json!({}), LONG).map(|answer| answer.ok).unwrap_err(), unasked);
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
                    let answer = process.ask(&json!({ "number": number }), LONG).unwrap();
                    assert_eq!(answer.ok, number);
                });
            }
        });
    }
}
