//! An adapter that is copied: guest/preload/forkserver.c, preloaded into it, stops it before it waits for its first
//! input, and each copy goes on from there. Copies share the adapter's pipes, so there is one at a time.

use std::fs::File;
use std::io::{IoSlice, Read, pipe};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, socketpair,
};
use nix::unistd::Pid;

use super::lock;
use super::running::Pipes;

/// The variable that has the descriptor of the control socket and the process ID of the parent.
const VARIABLE: &str = "NLCONFORM_FORKSERVER";
/// Time that a copy may take to start, and to end when it has been killed.
const COPY_TIMEOUT: Duration = Duration::from_secs(5);

/// The original, which has copies made of itself.
#[derive(Debug)]
pub struct ForkServer {
    pub(super) child: Mutex<Child>,
    control: OwnedFd,
    pipes: Pipes,
    /// The copy's ends, of which what a former copy has left is taken.
    ends: [File; 3],
}

/// What it tells (`struct news`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum News {
    /// It has stopped, and can be copied.
    Ready,
    /// There is a copy, with this process ID.
    Started(i32),
    /// The copy with this process ID has ended with this status.
    Ended(i32, i32),
}

impl ForkServer {
    /// Starts a program with this library preloaded.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, preload: &str) -> std::io::Result<ForkServer> {
        let (control, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let (input, questions) = pipe()?;
        let (answers, output) = pipe()?;
        let (words, errors) = pipe()?;
        let fd = theirs.as_raw_fd();
        command.env("LD_PRELOAD", preload).env(VARIABLE, format!("{fd}:{}", std::process::id()));
        command.stdin(input.try_clone()?).stdout(output.try_clone()?).stderr(errors.try_clone()?);
        // SAFETY: one system call.
        unsafe {
            command.pre_exec(move || {
                let inherited = std::os::fd::BorrowedFd::borrow_raw(fd);
                Ok(fcntl(inherited, FcntlArg::F_SETFD(FdFlag::empty())).map(drop)?)
            })
        };
        let child = Mutex::new(command.spawn()?);
        let owned = |end: OwnedFd| File::from(end);
        let pipes = Pipes {
            questions: owned(questions.into()),
            answers: owned(answers.try_clone()?.into()),
            words: Some(owned(words.try_clone()?.into())),
        };
        let ends = [owned(input.into()), owned(answers.into()), owned(words.into())];
        Ok(ForkServer { child, control, pipes, ends })
    }

    /// The process ID of the original.
    pub fn id(&self) -> u32 {
        lock(&self.child).id()
    }

    /// The original's pipes, for whoever speaks with a copy, or with the original if that cannot be copied.
    pub fn pipes(&self) -> std::io::Result<Pipes> {
        self.pipes.try_clone()
    }

    /// What it has told, if anything, within `time`.
    ///
    /// # Errors
    /// When it has ended.
    pub fn news(&self, time: Duration) -> std::io::Result<Option<News>> {
        let mut ready = [PollFd::new(self.control.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX))? == 0 {
            return Ok(None);
        }
        let mut words = [0; 12];
        if recv(self.control.as_raw_fd(), &mut words, MsgFlags::empty())? != words.len() {
            return Err(std::io::Error::other("the adapter cannot be copied"));
        }
        let word = |at| i32::from_ne_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]]);
        Ok(match word(0) {
            0 => Some(News::Ready),
            1 => Some(News::Started(word(4))),
            _ => Some(News::Ended(word(4), word(8))),
        })
    }

    /// Makes a copy that goes on in the network namespace of the caller, with what is in its standard input: its
    /// process ID.
    ///
    /// # Errors
    /// When there is none after a while.
    pub fn copy(&self) -> std::io::Result<i32> {
        let netns = File::open("/proc/self/ns/net")?;
        let given = [netns.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&given)];
        sendmsg::<()>(
            self.control.as_raw_fd(),
            &[IoSlice::new(b"c")],
            &rights,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        let deadline = Instant::now() + COPY_TIMEOUT;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            if let Some(News::Started(pid)) = self.news(left)? {
                return if pid > 0 { Ok(pid) } else { Err(std::io::Error::other("fork() failed")) };
            }
        }
        Err(std::io::ErrorKind::TimedOut.into())
    }

    /// Takes what a former copy has left in the pipes.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn clean(&self) -> std::io::Result<()> {
        self.ends.iter().try_for_each(drain)
    }

    /// How the copy with this process ID has ended, if it has, within `time`.
    ///
    /// # Errors
    /// When the original has ended.
    pub fn ended(&self, copy: i32, time: Duration) -> std::io::Result<Option<ExitStatus>> {
        while let Some(news) = self.news(time)? {
            if let News::Ended(pid, status) = news
                && pid == copy
            {
                return Ok(Some(ExitStatus::from_raw(status)));
            }
        }
        Ok(None)
    }

    /// Ends this copy.
    pub fn end(&self, copy: i32) {
        let _ = kill(Pid::from_raw(copy), Signal::SIGKILL);
        let _ = self.ended(copy, COPY_TIMEOUT);
    }
}

/// Takes what is in a pipe, if anything.
fn drain(mut pipe: &File) -> std::io::Result<()> {
    let mut chunk = [0; 64 * 1024];
    loop {
        let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::ZERO)? == 0 || pipe.read(&mut chunk)? == 0 {
            return Ok(());
        }
    }
}
