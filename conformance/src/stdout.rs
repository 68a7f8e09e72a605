//! The standard output of programs that print with `println!()`, which panics where it cannot write.

use std::fmt::Display;
use std::io::Write;
use std::panic;
use std::process::exit;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, raise, signal};

/// How the standard library begins that panic.
const PANIC: &str = "failed printing to stdout: ";

/// What cannot be written to the standard output, as an error in words.
pub fn unwritable(why: impl Display) -> String {
    format!("standard output: {why}")
}

/// Has this program end where it cannot print: quietly, as SIGPIPE ends others, if nobody reads any more, and else with
/// one line and status 2.
pub fn end_where_unwritable(program: &'static str) {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<String>();
        let Some(why) = text.and_then(|text| text.strip_prefix(PANIC)) else { return usual(info) };
        if why.ends_with(&format!("(os error {})", Errno::EPIPE as i32)) {
            // SAFETY: no handler is set.
            let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
            let _ = raise(Signal::SIGPIPE);
        } else {
            let _ = writeln!(std::io::stderr(), "{program}: {}", unwritable(why));
        }
        exit(2);
    }));
}
