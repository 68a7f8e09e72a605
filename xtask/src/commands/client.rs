//! `cargo xtask client`: the scenarios on one kernel or several, which judge a client library.

use std::any::Any;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use libtest_mimic::Arguments;
use nlconform::event::Role;
use nlconform::report::known::Known;

use super::Ended;
use super::test::{self, Made};
use crate::commands::args::{KernelArgs, MachineArgs};
use crate::making::user::{UserProgram, VARIANT};
use crate::running::schedule::{self, Job};
use crate::vm::{Place, Settings};

/// Arguments of `cargo xtask client`.
#[derive(Debug, Args)]
pub struct ClientArgs {
    #[command(flatten)]
    kernels: KernelArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// The library's adapter, a program with its arguments that speaks the protocol of
    /// docs/client-adapter.md. One that is not static sees the host's files, read-only
    #[arg(long, value_name = "COMMAND", required_unless_present = "list")]
    adapter: Option<String>,
    /// The file of the library's known differences
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Write the results to this folder [default: one of its own below target/results]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    #[command(flatten)]
    harness: Arguments,
}

/// Runs the scenarios and shows them.
pub fn client(mut args: ClientArgs) -> Result<Ended> {
    args.harness.test_threads = Some(1);
    let Some(cases) = test::selected(&args.harness, Role::Client)? else { return Ok(Ended::Well) };
    let known = args.known.as_deref().map(Known::read).transpose().map_err(|error| anyhow!(error))?;
    let command = args.adapter.as_deref().unwrap_or_default();
    let user = UserProgram::find(&command.split_whitespace().map(str::to_owned).collect::<Vec<_>>())?;
    let made = make(&args, &user, &cases)?;
    let results = args.results.as_deref();
    test::run(&args.harness, &args.machine, &made, &cases, known.unwrap_or_default(), results)
}

/// Makes the kernels and their guests' images, with the adapter in them if it is static.
fn make(args: &ClientArgs, user: &UserProgram, cases: &[String]) -> Result<Made> {
    let kernels = args.kernels.with_variant(VARIANT);
    let lab = kernels.open_lab()?;
    lab.explain_accel(args.machine.accel)?;
    let settings = Settings { host_files: user.is_on_host(), ..args.machine.settings() };
    Made::default().kernels(&kernels.specs()?, |spec| {
        let built = lab.build(spec)?;
        let machine = lab.machine(&built, &settings, |image| user.pack(image))?;
        let profile = schedule::profile(&built.kernel.release);
        let plan = schedule::client_plan(&profile, cases.to_vec(), user.program.clone());
        let target = built.kernel.label.clone();
        Ok((Job { target, place: Place::Machine(machine), plan }, Box::new(built) as Box<dyn Any>))
    })
}
