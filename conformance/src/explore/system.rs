//! The system that this process runs on, as one of the two sides.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Side;
use super::call;
use super::execute::{MADE, execute};
use super::seen::Observed;
use crate::adapters::linux::{KernelLog, Linux};
use crate::port::Target;
use crate::port::provider::{Call, Family};
use crate::splat;

/// Time for one call. None of them waits.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Exit status when a call does not return: it cannot be taken back, so the process ends.
pub const HANGS: i32 = 3;

/// This system. What its kernel logs while a sequence runs is part of what is observed.
pub struct System {
    linux: Linux,
    log: KernelLog,
}

impl System {
    /// Finds out what it offers.
    #[expect(clippy::new_without_default, reason = "it queries the kernel; this is not a default value")]
    pub fn new() -> System {
        let linux = Linux::new();
        make_room_for_groups(&linux);
        System { linux, log: KernelLog::open().0 }
    }

    /// The system as a target.
    pub fn target(&self) -> &dyn Target {
        &self.linux
    }
}

impl Side for System {
    fn name(&self) -> String {
        self.linux.identity().title()
    }

    fn observe(&mut self, calls: &[call::Call], hint: Option<&Observed>) -> Observed {
        let mut observed = execute(&self.linux, calls, hint);
        let log = self.log.take();
        if let Some(splat) = splat::unannounced_by_any(&log) {
            observed.trouble = Some(format!("the kernel's log: {}", splat.trim()));
        }
        observed
    }
}

/// Generic netlink has 32 groups until a family with groups is registered, and 64 from then on
/// (`genl_validate_assign_mc_groups()`). Which families a kernel has of its own must not count.
fn make_room_for_groups(linux: &Linux) {
    let Ok(provider) = linux.provider() else { return };
    let family = Family::named("explored").group("first");
    if let Ok(made) = provider.register_family(&family, &Call::default()) {
        let _ = provider.unregister_family(made.handle, &Call::default());
    }
}

/// Ends this process with [`HANGS`] if for too long no call returns. `of` names the sequence.
pub fn watch(of: impl Fn() -> String + Send + 'static) {
    std::thread::spawn(move || {
        let (mut last, mut since) = (MADE.load(Relaxed), Instant::now());
        loop {
            std::thread::sleep(DEADLINE / 20);
            let now = MADE.load(Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > DEADLINE {
                eprintln!("a call of {} does not return: given up", of());
                std::process::exit(HANGS);
            }
        }
    });
}
