//! Work in pieces, several at a time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Result, anyhow};

/// Does each piece of work once, so many at a time, until one fails.
///
/// # Errors
/// That of the piece that failed.
pub fn for_each<T: Send>(
    slots: usize,
    pieces: impl Iterator<Item = T>,
    work: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    let todo: Mutex<VecDeque<T>> = Mutex::new(pieces.collect());
    let work = || -> Result<()> {
        loop {
            let Some(piece) = locked(&todo).pop_front() else { return Ok(()) };
            work(piece)?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..slots).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().map_err(|_| anyhow!("a thread of the lab has panicked")).flatten()
        })
    })
}

/// What a mutex holds, whatever became of its last holder.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
