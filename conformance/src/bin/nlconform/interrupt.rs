//! SIGINT and SIGTERM end a run after the case that runs, so that its report is completed; a second one ends it
//! at once.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static CAME: AtomicBool = AtomicBool::new(false);

/// From here on, the first of these signals is only noted.
pub fn watch() -> Result<(), String> {
    extern "C" fn note(_: c_int) {
        CAME.store(true, Ordering::Relaxed);
    }
    let flags = SaFlags::SA_RESTART | SaFlags::SA_RESETHAND;
    let action = SigAction::new(SigHandler::Handler(note), flags, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only stores an atomic.
        unsafe { sigaction(signal, &action) }
            .map_err(|errno| format!("cannot wait for {signal}: {errno}"))?;
    }
    Ok(())
}

/// Whether one came.
pub fn came() -> bool {
    CAME.load(Ordering::Relaxed)
}
