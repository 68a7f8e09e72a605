//! A program of the user's, as it is asked for on one machine and started on another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::chroot;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Where a virtual machine has the root of its host, when it has that.
pub const HOST_ROOT: &str = "/host";
/// The tag by which it mounts that.
pub const HOST_TAG: &str = "host";

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Program {
    /// The program, as a path, and its arguments.
    pub argv: Vec<String>,
    /// For a program among the host's files: how it runs there. Other programs find the machine's own
    /// files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Surroundings>,
}

/// What a program has around it on the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Surroundings {
    /// The working directory, absolute.
    pub directory: String,
    /// The environment, all of it.
    pub environment: BTreeMap<String, String>,
    /// The library that makes an adapter a fork server (guest/preload/forkserver.c), as a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preload: Option<String>,
}

impl Program {
    /// A program among the machine's own files.
    pub fn here(argv: Vec<String>) -> Program {
        Program { argv, host: None }
    }

    /// The library that makes it a fork server. A program that brings a LD_PRELOAD of its own cannot be one.
    pub fn preload(&self) -> Option<&str> {
        let Surroundings { environment, preload, .. } = self.host.as_ref()?;
        if environment.contains_key("LD_PRELOAD") { None } else { preload.as_deref() }
    }

    /// The command that starts it.
    ///
    /// # Errors
    /// When there is no program to start.
    pub fn command(&self) -> Result<Command, String> {
        let (program, args) = self.argv.split_first().ok_or("a program and its arguments are needed")?;
        let mut command = Command::new(program);
        command.args(args);
        // SAFETY: system calls; nothing is allocated after the fork.
        unsafe { command.pre_exec(goes_first_without_memory) };
        if let Some(Surroundings { directory, environment, .. }) = &self.host {
            command.env_clear().envs(environment);
            let directory = directory.clone();
            // SAFETY: two system calls; the strings were made before the fork.
            unsafe {
                command
                    .pre_exec(move || chroot(HOST_ROOT).and_then(|()| std::env::set_current_dir(&directory)))
            };
        }
        Ok(command)
    }
}

/// When memory runs out, it is the program that ends, and not who judges it.
fn goes_first_without_memory() -> io::Result<()> {
    // A machine without this file has no say in it.
    let _ = File::options()
        .write(true)
        .open("/proc/self/oom_score_adj")
        .and_then(|mut file| file.write_all(b"1000"));
    Ok(())
}
