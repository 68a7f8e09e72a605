//! Implementations of the port: by Linux's system calls, and by programs that speak JSON lines.

pub mod json;
pub mod linux;
