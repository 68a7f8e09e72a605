//! The worker: a process that lends its memory to the process of each case ([`nlconform::lend`]).
//!
//! What a case does to the rest of its process still ends with it. A case that does not end by itself leaves memory
//! that may not be used any more, so the worker ends with it, and the init, which has its own memory, starts the next
//! one.

use std::fs;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::prctl;
use nix::sys::signal::{SigEvent, SigSet, SigevNotify, Signal, kill};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::sys::wait::{WaitPidFlag, WaitStatus, wait, waitpid};
use nix::time::ClockId;
use nix::unistd::{ForkResult, Pid, fork};
use nlconform::event::Report;
use nlconform::lend::{Stack, lend};

use crate::whereabouts::whereabouts;

/// Time limit for the threads of a case to exit after the case.
const THREADS_TIMEOUT: Duration = Duration::from_secs(1);
/// Time limit for remaining processes of a case to exit.
const PROCESSES_TIMEOUT: Duration = Duration::from_secs(5);
/// Threads that a machine may have, those of the kernel included: a case that has more of them made goes on for ever.
const CROWD: u16 = 700;

/// Exit status of a worker that has done its work.
const DONE: i32 = 0;
/// Exit status of a worker that could not do its work.
const FAILED: i32 = 1;
/// Exit status of a worker whose case did not end by itself.
const LOST: i32 = 2;

/// Workers, one after another.
pub struct Workers {
    start: Instant,
    /// Time that each case has.
    deadline: Duration,
    /// The fork server, which outlives cases.
    spared: Option<Pid>,
    marks: &'static Marks,
    /// The first process of each case, in shared memory; 0 while it has none.
    first: &'static [AtomicI32],
}

/// What a worker reports to the init, in shared memory.
struct Marks {
    /// Number of the running case.
    case: AtomicUsize,
    /// When it began, in microseconds since the start.
    since: AtomicU64,
    /// Its process; 0 while none runs.
    pid: AtomicI32,
    /// The status with which its process has ended, if not by itself.
    status: AtomicI32,
}

/// A case that did not end by itself.
pub struct Lost {
    /// Its number.
    pub case: usize,
    /// Its time, in microseconds.
    pub micros: u64,
    /// How its process has ended; nothing when it has not, killed or not.
    pub status: Option<WaitStatus>,
    /// It was ended because there were too many threads.
    pub crowded: bool,
    /// Where it stood when its time was nearly over.
    pub stood: String,
}

/// The memory that cases run in.
pub struct Worker<'a> {
    workers: &'a Workers,
    /// The stack of each case.
    stack: Stack,
}

impl Workers {
    /// Sets up the shared marks of so many cases; starts no worker. The process `spared` is not killed after a case.
    ///
    /// # Errors
    /// When there is no memory, or this is not process 1.
    pub fn new(cases: usize, deadline: Duration, spared: Option<Pid>) -> Result<Workers> {
        ensure!(
            std::process::id() == 1,
            "workers are for process 1: what they leave behind is killed with all else"
        );
        // SAFETY: zeros are valid marks.
        let (marks, first) = unsafe { (&shared::<Marks>(1)?[0], shared(cases)?) };
        Ok(Workers { start: Instant::now(), deadline, spared, marks, first })
    }

    /// Number of the case that a process belongs to: process IDs rise, and each case that runs begins with one of
    /// its own.
    pub fn case_of(&self, pid: i32) -> Option<usize> {
        self.first.iter().rposition(|first| (1..=pid).contains(&first.load(Relaxed)))
    }

    /// Has a worker do `work`, and waits for it. Returns the case that it lost, if any: then the cases
    /// after it were not run.
    ///
    /// # Errors
    /// There is no worker, or `work` failed.
    pub fn run(&self, work: impl FnOnce(&mut Worker<'_>) -> Result<()>) -> Result<Option<Lost>> {
        let ends = SigSet::from(Signal::SIGCHLD);
        ends.thread_block()?;
        // SAFETY: the init has one thread, so the worker may allocate and lock.
        let worker = match unsafe { fork() }.context("starting a worker")? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                let _ = ends.thread_unblock();
                let done = Worker::new(self).and_then(|mut worker| work(&mut worker));
                if let Err(error) = &done {
                    eprintln!("nlconform: {error:#}");
                }
                end(if done.is_ok() { DONE } else { FAILED })
            }
        };
        let mut stood = Stood::default();
        let Some(ended) = self.wait_for(worker, &mut stood)? else {
            return Ok(Some(self.lost(None, stood)));
        };
        let crowded = std::mem::take(&mut stood.crowded);
        bury(self.spared);
        let status = match ended {
            WaitStatus::Exited(_, DONE) => return Ok(None),
            WaitStatus::Exited(_, LOST) => WaitStatus::from_raw(worker, self.marks.status.load(Relaxed))?,
            // Some ways to die end all processes that share the memory: a core dump (before Linux 5.16), or
            // running out of memory.
            WaitStatus::Signaled(..) => ended,
            _ => bail!("the worker failed; see the console"),
        };
        Ok(Some(Lost { crowded, ..self.lost(Some(status), stood) }))
    }

    fn lost(&self, status: Option<WaitStatus>, stood: Stood) -> Lost {
        let case = self.marks.case.load(Relaxed);
        let stood = if stood.case == Some(case) { stood.place } else { String::new() };
        Lost { case, micros: self.running_for(), status, crowded: false, stood }
    }

    /// Waits for the worker's end; nothing when a case's process outlives its time, and being killed, by
    /// far. Looks at the process of a case whose time is nearly over.
    fn wait_for(&self, worker: Pid, stood: &mut Stood) -> Result<Option<WaitStatus>> {
        let pace = (self.deadline / 10).clamp(Duration::from_millis(10), Duration::from_millis(500));
        let ends = SigSet::from(Signal::SIGCHLD);
        loop {
            match waitpid(worker, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::StillAlive => {}
                ended => return Ok(Some(ended)),
            }
            // Somebody else's end wakes us too.
            // SAFETY: both pointers are to what outlives the call.
            unsafe { libc::sigtimedwait(ends.as_ref(), std::ptr::null_mut(), TimeSpec::from(pace).as_ref()) };
            if threads() > CROWD {
                stood.crowded = true;
                // Nobody can start a process between one of these signals and the next.
                let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
                continue;
            }
            let (case, pid) = (self.marks.case.load(Relaxed), self.marks.pid.load(Relaxed));
            let time = Duration::from_micros(self.running_for());
            if pid != 0 && time > self.deadline + PROCESSES_TIMEOUT / 2 {
                stood.place = format!("{}{}", stood.place, whereabouts(Pid::from_raw(pid)));
                return Ok(None);
            }
            if pid != 0 && time > self.deadline * 7 / 10 && stood.case != Some(case) {
                stood.case = Some(case);
                stood.place = whereabouts(Pid::from_raw(pid));
            }
        }
    }

    /// Time since the running case began, in microseconds. One that begins just now, after the clock was read,
    /// has no time yet.
    fn running_for(&self) -> u64 {
        self.micros().saturating_sub(self.marks.since.load(Relaxed))
    }

    fn micros(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

/// `len` of what is all zero at first, in memory that this process shares with its children, for good.
///
/// # Errors
/// There is no memory.
///
/// # Safety
/// Zeros are a valid `T`.
unsafe fn shared<T>(len: usize) -> Result<&'static [T]> {
    let bytes = (len * size_of::<T>()).max(1).try_into()?;
    let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping, aligned to a page, that is large enough and stays; zeros are valid.
    unsafe {
        let start = mmap_anonymous(None, bytes, rights, MapFlags::MAP_SHARED)?;
        Ok(std::slice::from_raw_parts(start.cast().as_ptr(), len))
    }
}

/// Where a case's process stood.
#[derive(Default)]
struct Stood {
    case: Option<usize>,
    place: String,
    crowded: bool,
}

/// All threads of the machine.
fn threads() -> u16 {
    // SAFETY: all zero is a valid sysinfo, which the call fills.
    unsafe {
        let mut info: libc::sysinfo = std::mem::zeroed();
        libc::sysinfo(&mut info);
        info.procs
    }
}

/// Has the init run before all that wants to run, however much that is. Its children do not inherit it.
pub fn go_first() {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameter outlives the call. Without it, the init only comes later.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &first) };
}

impl Worker<'_> {
    fn new(workers: &Workers) -> Result<Worker<'_>> {
        // Processes that the cases leave behind are reaped by the worker.
        prctl::set_child_subreaper(true)?;
        Ok(Worker { workers, stack: Stack::new()? })
    }

    /// Runs case number `case` in a process that has this memory to itself until it ends, and is
    /// killed when its time is over. Returns only if `run` does; the worker ends otherwise.
    ///
    /// # Errors
    /// When there is no process.
    pub fn lend<F: FnOnce() -> Report>(&mut self, case: usize, run: F) -> Result<Report> {
        let Marks { case: number, since, pid, status: left } = self.workers.marks;
        number.store(case, Relaxed);
        since.store(self.workers.micros(), Relaxed);
        let mut report = None;
        let deadline = self.workers.deadline;
        let work = || {
            let this = std::process::id() as i32;
            pid.store(this, Relaxed);
            let _ = self.workers.first[case].compare_exchange(0, this, Relaxed, Relaxed);
            let Ok(_timer) = kill_after(deadline) else { return 1 };
            report = Some(run());
            if !is_alone() {
                eprintln!("nlconform: the case left threads behind");
                end(1); // a return would end this thread only
            }
            0
        };
        let (_, status) = lend(&mut self.stack, work).context("starting the process of a case")?;
        pid.store(0, Relaxed);
        if status != 0 {
            left.store(status, Relaxed);
            end(LOST);
        }
        bury(self.workers.spared);
        report.context("the process of a case exited with status 0 without a report")
    }
}

/// Waits until this process has no other threads, which would be killed anywhere in this memory.
/// False if one stays.
fn is_alone() -> bool {
    let start = Instant::now();
    // A thread of a scope ends a little later than the scope.
    while unshare(CloneFlags::CLONE_THREAD).is_err() {
        if start.elapsed() > THREADS_TIMEOUT {
            return false;
        }
        thread::yield_now();
    }
    true
}

/// Kills this process after `time`, unless the timer is dropped.
fn kill_after(time: Duration) -> nix::Result<Timer> {
    let kill = SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 };
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(kill))?;
    timer.set(Expiration::OneShot(time.into()), TimerSetTimeFlags::empty())?;
    Ok(timer)
}

/// Kills and reaps every process but the init, the caller and the one that is spared.
fn bury(spared: Option<Pid>) {
    let start = Instant::now();
    let Some(spared) = spared else {
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        while wait().is_ok() && start.elapsed() < PROCESSES_TIMEOUT {}
        return;
    };
    let kept = [Pid::from_raw(1), Pid::this(), spared];
    while start.elapsed() < PROCESSES_TIMEOUT {
        let others: Vec<_> = processes().filter(|pid| !kept.contains(pid)).collect();
        for pid in &others {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|ended| ended != WaitStatus::StillAlive) {}
        if others.is_empty() {
            return;
        }
        thread::yield_now();
    }
}

/// All processes that are not threads of the kernel.
fn processes() -> impl Iterator<Item = Pid> {
    /// The parent of the kernel's threads.
    const KTHREADD: &str = "2";
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Its name may have spaces and parentheses; after it come the state and the parent.
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        *pid != 2 && parent.is_some_and(|parent| parent != KTHREADD)
    })
    .map(Pid::from_raw)
}

fn end(status: i32) -> ! {
    // SAFETY: ends the process without running the exit handlers of the init.
    unsafe { libc::_exit(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_belongs_to_the_last_case_that_began_before_it() {
        // SAFETY: zeros are valid.
        let (marks, first) = unsafe { (&shared::<Marks>(1).unwrap()[0], shared::<AtomicI32>(4).unwrap()) };
        // The second and the last have not been run.
        first[0].store(10, Relaxed);
        first[2].store(20, Relaxed);
        let workers = Workers { start: Instant::now(), deadline: Duration::ZERO, spared: None, marks, first };
        let cases = [9, 10, 19, 20, 30].map(|pid| workers.case_of(pid));
        assert_eq!(cases, [None, Some(0), Some(0), Some(2), Some(2)]);
    }
}
