//! The example bus passes each case that it offers what is needed for.

#[path = "../examples/bus/main.rs"]
mod bus;

use std::process::ExitCode;

fn main() -> ExitCode {
    bus::main()
}
