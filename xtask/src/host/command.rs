//! Long-running host commands: the output goes to a log, its last line is shown, its end on failure.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Write, pipe};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Error, Result, anyhow, bail};
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::host::progress::Step;
use crate::host::signals;

/// Lines of a failed command's log that are shown.
const SHOWN: usize = 20;

/// Has a command speak English, whatever its user speaks: its words are searched, and keyed.
pub fn in_english(command: &mut Command) -> &mut Command {
    command.env("LC_ALL", "C").env_remove("LANGUAGE")
}

/// Has the kernel send a process this signal when the thread that starts it dies: also when the lab is killed with
/// SIGKILL.
pub fn tie(command: &mut Command, signal: Signal) {
    let parent = std::process::id();
    let before_exec = move || {
        set_pdeathsig(signal)?;
        // The parent may have died before the request was made.
        // SAFETY: getppid() has no preconditions.
        if unsafe { libc::getppid() } as u32 != parent {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: prctl and getppid are async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(before_exec) };
}

/// Why a program does not start, and what to do.
pub fn unstarted(program: &str, error: io::Error) -> Error {
    let hint = match error.kind() {
        ErrorKind::NotFound => "`cargo xtask doctor` shows what to install",
        ErrorKind::WouldBlock => TOO_MANY,
        _ => return Error::new(error).context(format!("cannot run {program}")),
    };
    anyhow!("cannot run {program}: {hint}")
}

/// What to do when there can be no further process or thread (EAGAIN).
pub const TOO_MANY: &str =
    "the limit of processes is reached: raise it (`ulimit -u`, or pids.max of the cgroup), or lower --jobs";

/// Runs `command` to its end with its output in `log`.
///
/// # Errors
/// It cannot be started, or it fails: then with the lines of its log that name the
/// errors (else its last lines) and the path of the log.
pub fn run_logged(command: &mut Command, log: &Path, step: &Step) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let (reader, writer) = pipe()?;
    in_english(command).stdout(Stdio::from(writer.try_clone()?));
    command.stderr(Stdio::from(writer));
    // It may take many minutes, and all that a signal would cost is what it makes.
    signals::let_end();
    let mut child = command.spawn().map_err(|error| unstarted(&program, error))?;
    // The command still holds both ends that the child got; the pipe must close with the child.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let outcome = keep_lines(BufReader::new(reader), log, step);
    if outcome.is_err() {
        // Without a reader the child would hang or die of SIGPIPE, and its log would say nothing.
        child.kill()?;
    }
    let status = child.wait()?;
    let lines = outcome?;
    if !status.success() {
        bail!(
            "{program} failed ({status}):\n{}\nthe complete log: {}",
            telling(&lines).join("\n"),
            log.display()
        );
    }
    Ok(())
}

fn keep_lines(mut output: impl BufRead, log: &Path, step: &Step) -> Result<Vec<String>> {
    let unwritable = || format!("cannot write {}", log.display());
    let mut file = File::create(log).with_context(unwritable)?;
    let mut lines = Vec::new();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        file.write_all(&line).with_context(unwritable)?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        step.tail(&text);
        lines.push(text);
        line.clear();
    }
    Ok(lines)
}

/// The lines from the first that names an error on; the last lines if none does.
fn telling(lines: &[String]) -> &[String] {
    let first = lines
        .iter()
        .position(|line| line.contains("error:") || line.contains("***") || line.contains("Error "));
    let from = first.map_or(lines.len().saturating_sub(SHOWN), |at| at.saturating_sub(2));
    &lines[from..lines.len().min(from + SHOWN)]
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::thread;

    use super::*;
    use crate::host::progress::Progress;

    fn run(script: &str) -> (Result<()>, String) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let step = Progress::new().step("testing");
        let result = run_logged(Command::new("sh").args(["-c", script]), &log, &step);
        (result, std::fs::read_to_string(&log).unwrap())
    }

    #[test]
    fn a_failure_shows_the_error_and_not_what_followed_long_after() {
        let (result, log) = run("echo a.c:1: error: no; seq 100 >&2; exit 3");
        let message = format!("{:#}", result.unwrap_err());
        assert!(message.contains("a.c:1: error: no"), "{message}");
        assert!(message.contains("exit status: 3"), "{message}");
        assert!(!message.contains("\n99\n"), "{message}");
        assert!(log.ends_with("100\n"));
    }

    #[test]
    fn a_program_that_does_not_start_is_said_with_what_to_do() {
        let told = |kind: ErrorKind| format!("{:#}", unstarted("make", kind.into()));
        assert!(told(ErrorKind::NotFound).contains("doctor"));
        assert!(told(ErrorKind::WouldBlock).contains("ulimit -u"));
        assert_eq!(told(ErrorKind::PermissionDenied), "cannot run make: permission denied");
    }

    #[test]
    fn a_process_that_is_tied_ends_with_the_thread_that_started_it() {
        let start = || {
            let mut command = Command::new("sleep");
            tie(command.arg("60"), Signal::SIGTERM);
            command.spawn().unwrap()
        };
        let mut child = thread::spawn(start).join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
    }

    #[test]
    fn a_command_speaks_english() {
        // As GNU programs choose: LANGUAGE before LC_ALL, but for the locale C.
        let (result, log) = run("echo $LC_ALL ${LANGUAGE-none}");
        assert!(result.is_ok() && log == "C none\n", "{log}");
    }

    #[test]
    fn a_failure_without_a_word_of_error_shows_the_end() {
        let (result, _) = run("seq 100; exit 1");
        let message = format!("{:#}", result.unwrap_err());
        assert!(message.contains("\n100\n"), "{message}");
    }
}
