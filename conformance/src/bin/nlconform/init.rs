//! As the first program of a system (`init=/nlconform`): the kernel passes more than what was asked for, and
//! nobody is there to turn the system off.

use std::ffi::OsString;
use std::path::Path;

use clap::{Command, CommandFactory};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::sync;

use crate::Cli;

/// Whether a kernel has started this process as its first one. In a container, where the arguments are a user's,
/// there is a /proc.
pub fn is_init() -> bool {
    std::process::id() == 1 && !Path::new("/proc/self").exists()
}

/// The arguments from the first command on. The kernel passes each word of its command line that it does not know,
/// and then those after `--`. Without a command it is `run`.
pub fn arguments() -> Vec<OsString> {
    from_command(std::env::args_os().collect(), &Cli::command())
}

fn from_command(mut words: Vec<OsString>, cli: &Command) -> Vec<OsString> {
    let is_command = |word: &OsString| word.to_str().is_some_and(|word| cli.find_subcommand(word).is_some());
    match words.iter().skip(1).position(is_command) {
        Some(before) => drop(words.drain(1..=before)),
        None => {
            words.truncate(1);
            words.push("run".into());
        }
    }
    words
}

/// Turns the system off: the kernel panics when its first process exits.
pub fn end() {
    sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_passes_before_the_command_is_left_out() {
        let told = |words: &[&str]| {
            let words = from_command(words.iter().map(OsString::from).collect(), &Cli::command());
            words.join(" ".as_ref()).into_string().unwrap()
        };
        assert_eq!(told(&["/nlconform", "splash", "run", "--invasive"]), "/nlconform run --invasive");
        assert_eq!(told(&["/nlconform", "list"]), "/nlconform list");
        assert_eq!(told(&["/nlconform", "splash"]), "/nlconform run");
        assert_eq!(told(&["/nlconform"]), "/nlconform run");
    }
}
