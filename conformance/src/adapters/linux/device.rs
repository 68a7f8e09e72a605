//! /dev/nlprobe: its ioctls, and the meaning of their errors.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;

use super::abi::{self, Fault, Info, Ioctl, NLPROBE_ABI, NLPROBE_FAULT, NLPROBE_INFO, Plain};
use crate::port::provider::Unable;

const PATH: &str = "/dev/nlprobe";

/// One open file of the probe. What was registered through it is undone when it is dropped.
pub struct Device(File);

impl Device {
    /// Opens the device, if it has the ABI of this adapter, and returns what it says of the kernel.
    pub fn open() -> Result<(Device, Info), Unable> {
        let opened = OpenOptions::new().read(true).write(true).open(PATH);
        let device = Device(opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                Unable::Unsupported(format!("no {PATH}: the module nlprobe is not loaded"))
            }
            ErrorKind::StorageFull => {
                Unable::Failed("the module nlprobe holds too much of files long closed: load it anew".into())
            }
            _ => Unable::Failed(format!("opening {PATH}: {error}")),
        })?);
        let mut info = Info::default();
        device.call(&NLPROBE_INFO, &mut info)?;
        if info.abi != NLPROBE_ABI {
            let reason = format!("{PATH} has ABI {}, this suite ABI {NLPROBE_ABI}", info.abi);
            return Err(Unable::Unsupported(reason));
        }
        Ok((device, info))
    }

    /// One ioctl. What the pointers in `argument` refer to must live until it returns.
    pub fn call<T: Plain>(&self, ioctl: &Ioctl<T>, argument: &mut T) -> Result<(), Unable> {
        // SAFETY: the argument has the type, and therefore the size, of this ioctl.
        let returned = unsafe { self.raw(ioctl.code, argument.bytes_mut().as_mut_ptr()) };
        returned.map_err(|errno| unable(ioctl.name, errno))
    }

    /// One ioctl by its number.
    ///
    /// # Safety
    /// If `argument` points to memory of this process, there must be as many bytes as the number
    /// says; the same holds for the buffer of a log, the only other memory that the probe writes to.
    pub unsafe fn raw(&self, code: libc::Ioctl, argument: *mut u8) -> Result<(), Errno> {
        // SAFETY: the caller's promise.
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), code, argument) }).map(drop)
    }
}

fn unable(verb: &str, errno: Errno) -> Unable {
    match errno {
        Errno::EOPNOTSUPP => Unable::Unsupported(format!("{verb}: not supported by this kernel ({errno:?})")),
        Errno::ENOTTY => {
            Unable::Unsupported(format!("{verb}: not supported by the module nlprobe ({errno:?})"))
        }
        Errno::EINVAL => Unable::Failed(format!("{verb}: malformed or unsafe arguments ({errno:?})")),
        Errno::ENOSPC => Unable::Failed(format!("{verb}: too many objects ({errno:?})")),
        _ => Unable::Failed(format!("{verb}: {errno}")),
    }
}

/// Ways in which the probe can break the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum KernelFault {
    /// It panics.
    Panic = abi::NLPROBE_FAULT_PANIC,
    /// It oopses.
    Oops = abi::NLPROBE_FAULT_OOPS,
    /// It spins forever with interrupts off.
    Spin = abi::NLPROBE_FAULT_SPIN,
}

/// Breaks the kernel. Returns if that failed, or if the kernel survives.
///
/// # Errors
/// If there is no probe, or if it was loaded without permission to break the kernel.
pub fn kernel_fault(fault: KernelFault) -> Result<(), Unable> {
    Device::open()?.0.call(&NLPROBE_FAULT, &mut Fault { kind: fault as u32 })
}
