//! Where a process stands that does not end: in which system call, by /proc.

use std::fmt::Write;
use std::fs;

use nix::libc;
use nix::unistd::Pid;

/// System calls that cases wait in.
const CALLS: &[(&str, libc::c_long)] = &[
    ("read", libc::SYS_read),
    ("write", libc::SYS_write),
    ("close", libc::SYS_close),
    #[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64")))]
    ("poll", libc::SYS_poll),
    ("ppoll", libc::SYS_ppoll),
    ("ioctl", libc::SYS_ioctl),
    ("nanosleep", libc::SYS_nanosleep),
    ("clock_nanosleep", libc::SYS_clock_nanosleep),
    ("socket", libc::SYS_socket),
    ("connect", libc::SYS_connect),
    ("bind", libc::SYS_bind),
    ("sendto", libc::SYS_sendto),
    ("sendmsg", libc::SYS_sendmsg),
    ("recvfrom", libc::SYS_recvfrom),
    ("recvmsg", libc::SYS_recvmsg),
    // The C library's way to all of the socket's calls.
    #[cfg(any(target_arch = "s390x", target_arch = "x86"))]
    ("socketcall", libc::SYS_socketcall),
    ("setsockopt", libc::SYS_setsockopt),
    ("getsockopt", libc::SYS_getsockopt),
    ("wait4", libc::SYS_wait4),
    ("futex", libc::SYS_futex),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("exit_group", libc::SYS_exit_group),
];

/// A line for each of a process's threads, and its stack in the kernel where the kernel tells it.
pub fn whereabouts(pid: Pid) -> String {
    let mut text = String::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let id = task.file_name();
        let call = call(&read("syscall"));
        // The kernel's function in which it sleeps; 0 when it does not.
        let waits = match read("wchan").trim() {
            "" | "0" => String::new(),
            function => format!(", and waits in {function}()"),
        };
        let _ = writeln!(text, "task {} of the case is in {call}{waits}", id.display());
        for line in read("stack").lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// A line of /proc/PID/syscall in words: number, six arguments, stack and instruction pointer; or
/// `running`.
fn call(line: &str) -> String {
    let mut words = line.split_whitespace();
    let number = words.next().unwrap_or("an unknown place");
    let name = number
        .parse::<libc::c_long>()
        .ok()
        .and_then(|number| CALLS.iter().find(|(_, known)| *known == number));
    match (name, words.next()) {
        (Some((name, _)), Some(first)) => format!("{name}({first}, ...)"),
        (None, Some(_)) => format!("system call {number}"),
        _ => format!("user space or on a processor ({number})"),
    }
}
