//! Cases that break the machine, to test that the lab survives. Only tests select them.

use std::hint::black_box;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::getppid;
use nlconform::adapters::linux::{self, KernelFault};
use nlconform::event::{Report, Verdict};
use nlconform::journal::Journal;
use nlconform::lend::STACK;
use nlconform::port::provider::Unable;

use crate::channel::Channel;
use crate::machine;

/// Fixed, so that a finding can be reproduced.
const FUZZ_SEED: u64 = 1;
/// Chosen so that a case's usual deadline is not reached.
const FUZZ_ROUNDS: u32 = 200;

/// A way to break.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// No fault: the case passes.
    Pass,
    /// The kernel panics.
    Panic,
    /// The kernel oopses.
    Oops,
    /// The kernel spins with interrupts off.
    Spin,
    /// The case never ends.
    Hang,
    /// The case takes a while, so that the machine can be killed meanwhile.
    Sleep,
    /// The case kills the process that it runs in.
    KillChild,
    /// The case kills the worker whose memory it has.
    KillWorker,
    /// The case leaves a thread behind.
    LeaveThread,
    /// The case overflows its stack.
    Overflow,
    /// The machine ends in the middle of the case.
    ExitGuest,
    /// The channel carries a line that is not JSON.
    Garbage,
    /// The channel carries half a line, and then nothing.
    HalfLine,
    /// The channel carries an endless line.
    LongLine,
    /// The console is flooded, and then the kernel panics.
    Flood,
    /// The kernel warns of something, and goes on.
    Warn,
    /// A checker of the kernel reports, and is silent from then on.
    WarnOnce,
    /// The same, and the case kills the process that it runs in.
    WarnOnceAndDie,
    /// The probe gets ioctls that are wrong; the case passes when the kernel lives on.
    FuzzProbe,
}

const NAMES: &[(&str, Fault)] = &[
    ("fault::pass", Fault::Pass),
    ("fault::panic", Fault::Panic),
    ("fault::oops", Fault::Oops),
    ("fault::spin", Fault::Spin),
    ("fault::hang", Fault::Hang),
    ("fault::sleep", Fault::Sleep),
    ("fault::kill-child", Fault::KillChild),
    ("fault::kill-worker", Fault::KillWorker),
    ("fault::leave-thread", Fault::LeaveThread),
    ("fault::overflow", Fault::Overflow),
    ("fault::exit-guest", Fault::ExitGuest),
    ("fault::garbage", Fault::Garbage),
    ("fault::half-line", Fault::HalfLine),
    ("fault::long-line", Fault::LongLine),
    ("fault::flood", Fault::Flood),
    ("fault::warn", Fault::Warn),
    ("fault::warn-once", Fault::WarnOnce),
    ("fault::warn-once-and-die", Fault::WarnOnceAndDie),
    ("fault::fuzz-probe", Fault::FuzzProbe),
];

impl Fault {
    /// The fault of this name.
    pub fn named(name: &str) -> Option<Fault> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, fault)| *fault)
    }

    /// Breaks the channel or the machine right here, if the fault is of that kind.
    pub fn break_channel(self, channel: &mut Channel) -> Result<()> {
        match self {
            Fault::ExitGuest => machine::end(),
            Fault::Garbage => channel.write(b"\xff\xfe this is no JSON\n"),
            Fault::HalfLine => {
                channel.write(b"{\"event\":\"finished\",\"case\":\"")?;
                forever();
            }
            Fault::LongLine => loop {
                channel.write(&[b'x'; 64 * 1024])?;
            },
            _ => Ok(()),
        }
    }

    /// Causes the other faults, in a process of their own like any case.
    pub fn report(self, name: &str) -> Report {
        let verdict = match self.in_child() {
            Ok(()) => Verdict::Pass,
            Err(unable) => Verdict::Broken { reason: format!("{unable:?}") },
        };
        Report::new(name, verdict)
    }

    fn in_child(self) -> Result<(), Unable> {
        match self {
            Fault::Panic => {
                Journal::default().note("lab: panic", "begun", None);
                linux::kernel_fault(KernelFault::Panic)?;
            }
            Fault::Oops => linux::kernel_fault(KernelFault::Oops)?,
            Fault::Spin => linux::kernel_fault(KernelFault::Spin)?,
            Fault::Hang => {
                Journal::default().note("lab: hang", "begun", None);
                forever();
            }
            Fault::Sleep => sleep(Duration::from_secs(5)),
            Fault::KillChild => raise(Signal::SIGKILL).unwrap_or_default(),
            Fault::KillWorker => kill(getppid(), Signal::SIGKILL).unwrap_or_default(),
            Fault::LeaveThread => drop(thread::spawn(|| forever())),
            Fault::Overflow => {
                let here = 0u8;
                println!("overflow: {} frames", overflow((&raw const here).addr()));
            }
            // By way of its log, where this is all that tells it from the kernel's own.
            Fault::Warn => warn("WARNING: CPU: 0 PID: 1 at lab/fault.c:1 warn+0x1/0x2").unwrap_or_default(),
            Fault::WarnOnce => warn(ONE_REPORT).unwrap_or_default(),
            Fault::WarnOnceAndDie => {
                warn(ONE_REPORT).unwrap_or_default();
                raise(Signal::SIGKILL).unwrap_or_default();
            }
            Fault::Flood => flood()?,
            Fault::FuzzProbe => println!("fuzz: {} ioctls accepted", linux::fuzz(FUZZ_SEED, FUZZ_ROUNDS)?),
            _ => {}
        }
        Ok(())
    }
}

fn forever() -> ! {
    loop {
        sleep(Duration::from_secs(3600));
    }
}

/// Recurses until it is a little below the stack whose top is at this address.
fn overflow(top: usize) -> usize {
    let frame = black_box([1u8; 1024]);
    if top - frame.as_ptr().addr() > STACK { 1 } else { overflow(top) + usize::from(frame[0]) }
}

const ONE_REPORT: &str = "BUG: KASAN: slab-use-after-free in warn+0x1/0x2";

fn warn(line: &str) -> std::io::Result<()> {
    std::fs::write("/dev/kmsg", format!("<4>{line}\n"))
}

/// Several megabytes, more than the host keeps.
fn flood() -> Result<(), Unable> {
    for n in 0..40_000 {
        println!("flood {n:06} {}", "~".repeat(80));
    }
    linux::kernel_fault(KernelFault::Panic)
}
