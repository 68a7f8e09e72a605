//! The system that this process runs on, as one of the two sides.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::Side;
use super::call::Call;
use super::execute::execute;
use super::seen::Observed;
use crate::adapters::linux::{KernelLog, Linux};
use crate::port::Target;
use crate::splat;

/// Time for one sequence. Nothing in it waits.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// This system. What its kernel logs while a sequence runs is part of what is observed.
pub struct System {
    linux: Linux,
    log: KernelLog,
}

impl System {
    /// Finds out what it offers.
    #[allow(clippy::new_without_default)] // it queries the kernel; this is not a default value
    pub fn new() -> System {
        System { linux: Linux::new(), log: KernelLog::open() }
    }

    /// The system as a target.
    pub fn target(&self) -> &dyn Target {
        &self.linux
    }
}

impl Side for System {
    fn name(&self) -> String {
        let identity = self.linux.identity();
        format!("{} {}", identity.name, identity.version)
    }

    fn observe(&mut self, calls: &[Call], hint: Option<&Observed>) -> Observed {
        let mut observed = execute(&self.linux, calls, hint);
        let log = self.log.take();
        if let Some(splat) = splat::unannounced_by_any(&log) {
            observed.trouble = Some(format!("the kernel's log: {}", splat.trim()));
        }
        observed
    }
}

/// Ends this process if `beat` does not change for too long: a call that does not return cannot be taken back.
pub fn watch(beat: &'static AtomicU64) {
    std::thread::spawn(move || {
        let (mut last, mut since) = (beat.load(Relaxed), Instant::now());
        loop {
            std::thread::sleep(DEADLINE / 20);
            let now = beat.load(Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > DEADLINE {
                eprintln!("a call does not return: given up");
                std::process::exit(3);
            }
        }
    });
}
