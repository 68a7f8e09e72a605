//! A child that borrows this process's memory until it ends, as that of `vfork()` does.
//!
//! A copy of the memory costs more than most of what is done in a child, above all on an emulated processor: page
//! tables, page faults and translated addresses start anew with each.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use nix::unistd::Pid;

/// Room on the stack of such a child, in bytes.
pub const STACK: usize = 2 << 20;
/// Size of the guard below it, in bytes.
const GUARD: usize = 64 << 10;

/// The stack of one child at a time.
pub struct Stack(NonNull<c_void>);

impl Stack {
    /// Reserves one.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new() -> Result<Stack, Errno> {
        let len = (GUARD + STACK).try_into().map_err(|_| Errno::ENOMEM)?;
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, and the guard at its beginning.
        unsafe {
            let bottom = mmap_anonymous(None, len, rights, MapFlags::MAP_PRIVATE | MapFlags::MAP_STACK)?;
            let stack = Stack(bottom);
            mprotect(bottom, GUARD, ProtFlags::PROT_NONE)?;
            Ok(stack)
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, which no child uses: each was waited for.
        let _ = unsafe { munmap(self.0, GUARD + STACK) };
    }
}

/// Runs `work` in a child, and waits for its end: returns the child's ID and its status, as waitpid(2) gives it. What
/// `work` returns is the exit status. Where `clone()` gives the child a copy of the memory, as QEMU's user mode
/// does, that is all that comes back.
///
/// # Errors
/// There is no child.
pub fn lend<F: FnOnce() -> c_int>(stack: &mut Stack, work: F) -> Result<(Pid, c_int), Errno> {
    let mut work = Some(work);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let mut status = 0;
    // SAFETY: the child has a stack of its own, whose top is the end of the mapping; this thread waits for its end,
    // and `work` and `status` outlive it. Nothing here allocates: the child may have been killed while it did.
    unsafe {
        let top = stack.0.byte_add(GUARD + STACK).as_ptr();
        let child = Errno::result(libc::clone(borrow::<F>, top, flags, (&raw mut work).cast()))?;
        while libc::waitpid(child, &mut status, 0) == -1 && Errno::last() == Errno::EINTR {}
        Ok((Pid::from_raw(child), status))
    }
}

/// The child.
extern "C" fn borrow<F: FnOnce() -> c_int>(work: *mut c_void) -> c_int {
    // SAFETY: the lender waits, so there is no other user.
    let work = unsafe { &mut *work.cast::<Option<F>>() };
    work.take().map_or(1, |work| work())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::WaitStatus;
    use std::thread;

    #[test]
    fn work_is_done_elsewhere_with_the_callers_memory() {
        let (mut stack, mut seen) = (Stack::new().unwrap(), String::new());
        for turn in 1..=3 {
            let (child, status) = lend(&mut stack, || {
                seen += &format!("{turn} ");
                turn
            })
            .unwrap();
            assert_ne!(child, Pid::this());
            assert_eq!(WaitStatus::from_raw(child, status), Ok(WaitStatus::Exited(child, turn)));
        }
        assert_eq!(seen, "1 2 3 ");
    }

    #[test]
    fn several_threads_lend_at_once() {
        thread::scope(|scope| {
            for turn in 0..4 {
                scope.spawn(move || {
                    let mut stack = Stack::new().unwrap();
                    let mut made = Vec::new();
                    for _ in 0..20 {
                        lend(&mut stack, || {
                            made.push(vec![turn; 1000]);
                            0
                        })
                        .unwrap();
                    }
                    assert_eq!(made.len(), 20);
                });
            }
        });
    }
}
