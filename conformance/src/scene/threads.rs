//! Races: a second thread that does something at the same moment, or for as long.

use std::panic::resume_unwind;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::bus::WAIT;
use crate::outcome::{Failure, Outcome, broken, expect_eq, mismatch};

/// Milliseconds for which a race is repeated.
static TIME: AtomicU32 = AtomicU32::new(50);
/// How often it is repeated at most, in a millisecond.
const ROUNDS: u32 = 6;
/// For how long a call must wait to count as one that waits.
const GLANCE: Duration = Duration::from_millis(10);

/// The numbers of the rounds of a race, from 0 on, until their time is over.
pub struct Rounds {
    start: Instant,
    time: Duration,
    next: u32,
    end: u32,
}

/// Repeats races for as long as fits cases that may take this long: on a slow kernel they may take longer, and one that
/// watches for data races sees only some of what it could.
pub fn repeat_races_within(deadline: Duration) {
    TIME.store((deadline.as_millis() / 200) as u32, Ordering::Relaxed);
}

/// The rounds of a case that repeats a race: as many as fit into its time.
pub fn rounds() -> Rounds {
    let time = TIME.load(Ordering::Relaxed);
    let length = Duration::from_millis(time.into());
    Rounds { start: Instant::now(), time: length, next: 0, end: time * ROUNDS }
}

impl Iterator for Rounds {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let round = self.next;
        self.next += 1;
        (round < self.end && self.start.elapsed() < self.time).then_some(round)
    }
}

/// Runs `other` repeatedly in a second thread for as long as `this` takes, and once at least: a thread that comes late
/// has then still made its call.
pub fn while_other<T>(
    other: impl Fn() -> Outcome + Sync,
    this: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (start, done) = (Barrier::new(2), AtomicBool::new(false));
    thread::scope(|scope| {
        let other: ScopedJoinHandle<'_, Outcome> = scope.spawn(|| {
            start.wait();
            loop {
                other()?;
                if done.load(Ordering::Acquire) {
                    return Ok(());
                }
            }
        });
        start.wait();
        let result = this();
        done.store(true, Ordering::Release);
        joined(other)?;
        result
    })
}

/// Runs both at the same moment, and returns their results.
pub fn at_once<A, B: Send>(
    this: impl FnOnce() -> Result<A, Failure>,
    other: impl FnOnce() -> Result<B, Failure> + Send,
) -> Result<(A, B), Failure> {
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            start.wait();
            other()
        });
        start.wait();
        let this = this();
        let other = joined(other);
        Ok((this?, other?))
    })
}

/// What `call` returns, which waits in a second thread until `cause` has happened in this one. If that may fail to
/// end it, it has a timeout of its own, longer than [`WAIT`].
///
/// # Errors
/// A mismatch if it does not wait, or still waits afterwards.
pub fn ended_by<T: Send>(
    call: impl FnOnce() -> T + Send,
    cause: impl FnOnce() -> Outcome,
) -> Result<T, Failure> {
    thread::scope(|scope| {
        let (returned, end) = mpsc::channel();
        let call = scope.spawn(move || {
            let value = call();
            let _ = returned.send(());
            value
        });
        let waits = end.recv_timeout(GLANCE).is_err();
        cause()?;
        expect_eq("whether the call waited before", waits, true)?;
        match end.recv_timeout(WAIT) {
            Err(RecvTimeoutError::Timeout) => mismatch("call that waited", "returned", "waits"),
            // A panic closes the channel.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(joined(call)),
        }
    })
}

/// What each of two calls returns, which wait until `cause` has happened, as with [`ended_by`].
///
/// # Errors
/// See [`ended_by`].
pub fn both_ended_by<T: Send>(
    [first, second]: [impl FnOnce() -> T + Send; 2],
    cause: impl FnOnce() -> Outcome,
) -> Result<[T; 2], Failure> {
    let mut of_second = None;
    let of_first = ended_by(first, || ended_by(second, cause).map(|value| of_second = Some(value)))?;
    let of_second = of_second.map_or_else(|| broken("the second call was not made"), Ok)?;
    Ok([of_first, of_second])
}

/// What a thread returned. Its panic continues in this one: it may carry [`Died`](crate::port::Died).
pub fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
