//! What stands behind the port: Linux's system calls, and programs that speak JSON lines.

pub mod json;
pub mod linux;
