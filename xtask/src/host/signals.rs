//! SIGINT, SIGTERM and SIGHUP: what they do depends on what the lab is at.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// What is done with a signal.
enum Answer {
    /// It is kept for who asks: results may be being written.
    Keep,
    /// It ends this process, as by default.
    End,
    /// A run hears of it.
    Hand(Box<dyn Fn(Signal) + Send>),
}

struct State {
    answer: Answer,
    /// The first that came since the first run began.
    first: Option<Signal>,
}

static STATE: Mutex<State> = Mutex::new(State { answer: Answer::Keep, first: None });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has signals handed to `hand`, also one that has come already, until [`keep`].
pub fn hand_to(hand: impl Fn(Signal) + Send + 'static) {
    static STARTED: Once = Once::new();
    let mut state = state();
    if let Some(signal) = state.first {
        hand(signal);
    }
    state.answer = Answer::Hand(Box::new(hand));
    STARTED.call_once(|| {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        // Threads started later inherit this; children do not, their standard library sees to it.
        if signals.thread_block().is_ok() {
            thread::spawn(move || wait(signals));
        }
    });
}

/// The run is over: from now on signals are kept.
pub fn keep() {
    state().answer = Answer::Keep;
}

/// Nothing of this process would be lost, unless a run is going on: from now on signals end it, and one that has come
/// ends it now.
pub fn let_end() {
    let mut state = state();
    if let Answer::Keep = state.answer {
        state.answer = Answer::End;
        if let Some(signal) = state.first {
            end(signal);
        }
    }
}

/// The signal that has asked this process to end, since its first run began.
pub fn stopped() -> Option<Signal> {
    state().first
}

fn wait(signals: SigSet) {
    while let Ok(signal) = signals.wait() {
        let mut state = state();
        state.first.get_or_insert(signal);
        match &state.answer {
            Answer::Keep => {}
            Answer::End => end(signal),
            Answer::Hand(hand) => hand(signal),
        }
    }
}

/// Ends this process as if the signal had never been blocked.
fn end(signal: Signal) {
    let _ = SigSet::from(signal).thread_unblock();
    let _ = kill(Pid::this(), signal);
}
