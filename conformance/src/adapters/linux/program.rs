//! Programs that exist on every machine, because they are created in memory.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::port::process::Program;

/// `exit_group(0)`, and the machine's number in ELF.
const CODE: (&[u8], u16) = if cfg!(target_arch = "x86_64") {
    (&[0x31, 0xff, 0xb8, 231, 0, 0, 0, 0x0f, 0x05], 62)
} else if cfg!(target_arch = "x86") {
    (&[0x31, 0xdb, 0xb8, 252, 0, 0, 0, 0xcd, 0x80], 3)
} else if cfg!(target_arch = "aarch64") {
    (&[0, 0, 0x80, 0xd2, 0xc8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4], 183)
} else if cfg!(target_arch = "riscv64") {
    (&[0x13, 5, 0, 0, 0x93, 8, 0xe0, 5, 0x73, 0, 0, 0], 243)
} else if cfg!(target_arch = "s390x") {
    (&[0xa7, 0x29, 0, 0, 0xa7, 0x19, 0, 248, 0x0a, 0], 22)
} else {
    (&[], 0)
};

/// `MFD_EXEC` (include/uapi/linux/memfd.h).
const MFD_EXEC: u32 = 0x10;
/// The load address of the binary.
const BASE: usize = 0x40_0000;
/// Whether addresses have 64 bits, and headers are those of ELF64.
const IS_WIDE: bool = size_of::<usize>() == 8;
/// Sizes of an ELF header and a program header.
const HEADER: [usize; 2] = if IS_WIDE { [64, 56] } else { [52, 32] };

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
    let headers = HEADER[0] + HEADER[1];
    let size = headers + code.len();
    let class = if IS_WIDE { 2 } else { 1 };
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    let mut bytes = b"\x7fELF".to_vec();
    bytes.extend([class, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // version 1
    for half in [2, machine] {
        bytes.extend(half.to_ne_bytes()); // ET_EXEC
    }
    bytes.extend(1u32.to_ne_bytes());
    // Entry, program headers, section headers.
    for address in [BASE + headers, HEADER[0], 0] {
        bytes.extend(address.to_ne_bytes());
    }
    bytes.extend(0u32.to_ne_bytes());
    // Sizes and counts of the headers.
    for half in [HEADER[0] as u16, HEADER[1] as u16, 1, 0, 0, 0] {
        bytes.extend(half.to_ne_bytes());
    }
    // The segment: PT_LOAD, and PF_R | PF_X, which ELF32 has in another place.
    let (kind, flags) = (1u32.to_ne_bytes(), 5u32.to_ne_bytes());
    bytes.extend(kind);
    if IS_WIDE {
        bytes.extend(flags);
    }
    for word in [0, BASE, BASE, size, size] {
        bytes.extend(word.to_ne_bytes());
    }
    if !IS_WIDE {
        bytes.extend(flags);
    }
    bytes.extend(0x1000usize.to_ne_bytes());
    bytes.extend(code);
    bytes
}
