//! A program of the user's, as it is asked for on one machine and started on another.

use std::collections::BTreeMap;
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
}

impl Program {
    /// A program among the machine's own files.
    pub fn here(argv: Vec<String>) -> Program {
        Program { argv, host: None }
    }

    /// The command that starts it.
    ///
    /// # Errors
    /// When there is no program to start.
    pub fn command(&self) -> Result<Command, String> {
        let (program, args) = self.argv.split_first().ok_or("a program and its arguments are needed")?;
        let mut command = Command::new(program);
        command.args(args);
        if let Some(Surroundings { directory, environment }) = &self.host {
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
