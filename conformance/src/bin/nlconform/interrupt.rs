//! SIGINT, SIGTERM and SIGHUP end a run after the case that runs, so that its report is completed; a second one ends it
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
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores an atomic.
        let before = unsafe { sigaction(signal, &action) }
            .map_err(|errno| format!("cannot wait for {signal}: {errno}"))?;
        // nohup(1) wants the run to go on.
        if signal == Signal::SIGHUP && matches!(before.handler(), SigHandler::SigIgn) {
            // SAFETY: no handler is set.
            let _ = unsafe { sigaction(signal, &before) };
        }
    }
    Ok(())
}

/// Whether one came.
pub fn came() -> bool {
    CAME.load(Ordering::Relaxed)
}
