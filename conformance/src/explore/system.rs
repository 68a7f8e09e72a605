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
use crate::wire::genl::GENL_MAX_ID;

/// Time for one call. None of them waits.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Exit status when a call does not return: it cannot be taken back, so the process ends.
pub const HANGS: i32 = 3;

/// This system. What its kernel logs while a sequence runs is part of what is observed.
pub struct System {
    linux: Linux,
    log: KernelLog,
    /// IDs that families get before the first ones are given again, if this can register any.
    ids_left: Option<usize>,
}

impl System {
    /// Finds out what it offers.
    #[expect(clippy::new_without_default, reason = "it queries the kernel; this is not a default value")]
    pub fn new() -> System {
        let linux = Linux::new();
        let ids_left = next_id(&linux).map(ids_after);
        System { linux, log: KernelLog::open().0, ids_left }
    }

    /// The system as a target.
    pub fn target(&self) -> &dyn Target {
        &self.linux
    }

    /// Lists of families are in the order of their IDs, which is that of registration until the first IDs are given
    /// again (`idr_alloc_cyclic()`). No sequence comes to that: the last IDs are used up before it.
    fn keep_ids_in_order(&mut self, calls: &[call::Call]) {
        let registers = |call: &&call::Call| {
            matches!(call, call::Call::Register { .. } | call::Call::RegisterAgain { .. })
        };
        let most = calls.iter().filter(registers).count();
        if self.ids_left.is_some_and(|left| left < most) {
            let mut last = next_id(&self.linux);
            self.ids_left = loop {
                let next = next_id(&self.linux);
                if next <= last {
                    break next.map(ids_after);
                }
                last = next;
            };
        }
        self.ids_left = self.ids_left.map(|left| left.saturating_sub(most));
    }
}

impl Side for System {
    fn name(&self) -> String {
        self.linux.identity().title()
    }

    fn observe(&mut self, calls: &[call::Call], hint: Option<&Observed>) -> Observed {
        self.keep_ids_in_order(calls);
        let mut observed = execute(&self.linux, calls, hint);
        let log = self.log.take();
        if let Some(splat) = splat::unannounced_by_any(&log) {
            observed.trouble = Some(format!("the kernel's log: {}", splat.trim()));
        }
        observed
    }
}

/// The ID that the next family gets, which is used up by asking.
///
/// The family has a group: generic netlink has 32 groups until a family with groups is registered, and 64 from then
/// on (`genl_validate_assign_mc_groups()`). Which families a kernel has of its own must not count.
fn next_id(linux: &Linux) -> Option<u16> {
    let provider = linux.provider().ok()?;
    let made = provider.register_family(&Family::named("explored").group("first"), &Call::default()).ok()?;
    let _ = provider.unregister_family(made.handle, &Call::default());
    (made.returned == 0).then_some(made.id)
}

fn ids_after(id: u16) -> usize {
    GENL_MAX_ID.saturating_sub(id).into()
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
