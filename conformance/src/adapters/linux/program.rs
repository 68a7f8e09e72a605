//! Programs that exist on every machine, because they are created in memory.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::port::process::Program;

/// `exit_group(0)`, and the machine's number in ELF.
#[cfg(target_arch = "x86_64")]
const CODE: (&[u8], u16) = (&[0x31, 0xff, 0xb8, 231, 0, 0, 0, 0x0f, 0x05], 62);
/// `exit_group(0)`, and the machine's number in ELF.
#[cfg(target_arch = "aarch64")]
const CODE: (&[u8], u16) = (&[0, 0, 0x80, 0xd2, 0xc8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4], 183);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const CODE: (&[u8], u16) = (&[], 0);

/// `MFD_EXEC` (include/uapi/linux/memfd.h).
const MFD_EXEC: u32 = 0x10;
/// The load address of the binary.
const BASE: u64 = 0x40_0000;
/// Bytes of an ELF header and one program header.
const HEADERS: usize = 64 + 56;

/// `execve()`. Returns only when it fails.
pub fn execute(program: Program) -> Errno {
    let result = match program {
        Program::Missing => path_execute("/nonexistent/program"),
        Program::Binary => binary().and_then(|file| path_execute(&path(&file))),
        Program::Script => binary().and_then(|interpreter| {
            let script = in_memory(format!("#!{}\n", path(&interpreter)).as_bytes())?;
            path_execute(&path(&script))
        }),
    };
    result.err().unwrap_or(Errno::UnknownErrno)
}

fn path_execute(path: &str) -> Result<(), Errno> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    nix::unistd::execve(&path, &[&path], &[] as &[&CString]).map(drop)
}

fn path(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn binary() -> Result<OwnedFd, Errno> {
    if CODE.0.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    in_memory(&elf(CODE.0, CODE.1))
}

/// A file that disappears with its last descriptor. Programs inherit it: an interpreter opens its
/// script by the descriptor's name.
fn in_memory(content: &[u8]) -> Result<OwnedFd, Errno> {
    // Newer kernels want this flag for files to be executed; older ones do not know it.
    let fd = memfd_create(c"nlconform", MFdFlags::from_bits_retain(MFD_EXEC))
        .or_else(|_| memfd_create(c"nlconform", MFdFlags::empty()))?;
    let mut file = File::from(fd);
    file.write_all(content).map_err(|_| Errno::last())?;
    Ok(file.into())
}

/// A static executable: the headers and the code, loaded as one segment.
fn elf(code: &[u8], machine: u16) -> Vec<u8> {
    let size = (HEADERS + code.len()) as u64;
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    let mut bytes = b"\x7fELF".to_vec();
    bytes.extend([2, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // 64 bits, byte order, version 1
    for half in [2, machine] {
        bytes.extend(half.to_ne_bytes()); // ET_EXEC
    }
    bytes.extend(1u32.to_ne_bytes());
    // Entry, program headers, section headers.
    for long in [BASE + HEADERS as u64, 64, 0] {
        bytes.extend(long.to_ne_bytes());
    }
    bytes.extend(0u32.to_ne_bytes());
    // Sizes and counts of the headers.
    for half in [64u16, 56, 1, 0, 0, 0] {
        bytes.extend(half.to_ne_bytes());
    }
    // The segment: PT_LOAD, readable and executable.
    for word in [1u32, 5] {
        bytes.extend(word.to_ne_bytes());
    }
    for long in [0, BASE, BASE, size, size, 0x1000] {
        bytes.extend(long.to_ne_bytes());
    }
    bytes.extend(code);
    bytes
}
