//! The adapter's process: started for each case anew, asked line by line, never trusted.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::protocol::{Answer, Ask, Call, Told};

/// Time that an answer may take beyond what the call itself waits for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest line that an adapter may write, in bytes.
const LONGEST: usize = 8 << 20;

/// A running adapter. It is killed with this value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    received: Vec<u8>,
    seq: u64,
    /// What it did wrong. Nothing it says afterwards can be taken for an answer.
    broken: Option<String>,
}

impl Process {
    /// Starts the program.
    pub fn start(argv: &[String]) -> Result<Process, String> {
        let (program, args) = argv.split_first().ok_or("an adapter is a program and its arguments")?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the adapter {program}: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err("the adapter has no pipes".into());
        };
        Ok(Process { child, input, output, received: Vec::new(), seq: 0, broken: None })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// In words, when there is none: whatever the adapter did instead.
    pub fn ask(&mut self, call: &Call) -> Result<Told, String> {
        if let Some(why) = &self.broken {
            return Err(why.clone());
        }
        self.exchange(call).inspect_err(|why| self.broken = Some(why.clone()))
    }

    fn exchange(&mut self, call: &Call) -> Result<Told, String> {
        self.seq += 1;
        let mut line = serde_json::to_vec(&Ask { seq: self.seq, call: call.clone() })
            .map_err(|error| error.to_string())?;
        line.push(b'\n');
        // An adapter that has died is told of by the reading below.
        let _ = self.input.write_all(&line).and_then(|()| self.input.flush());
        let line = self.line(Instant::now() + PATIENCE + Duration::from_millis(call.waits_ms()))?;
        let text = String::from_utf8_lossy(&line);
        let answer: Answer = serde_json::from_slice(&line).map_err(|error| {
            let start: String = text.chars().take(200).collect();
            format!("the adapter answered with a line that is no answer ({error}): {start:?}")
        })?;
        match answer.seq == self.seq {
            true => Ok(answer.told),
            false => Err(format!("the adapter answered question {}, but was asked {}", answer.seq, self.seq)),
        }
    }

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
        let mut ready = [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
        if left.is_zero() || poll(&mut ready, timeout) == Ok(0) {
            return Err("the adapter gave no answer in time".to_owned());
        }
        let mut chunk = [0; 64 * 1024];
        match self.output.read(&mut chunk) {
            Ok(0) => Err(match self.child.wait() {
                Ok(status) => format!("the adapter ended ({status})"),
                Err(error) => format!("the adapter ended: {error}"),
            }),
            Ok(n) => {
                self.received.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(format!("the adapter cannot be read from: {error}")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without effect on one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
