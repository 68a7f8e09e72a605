//! `cargo xtask client`: the scenarios on one kernel or several, which judge a client library.

use std::any::Any;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use nlconform::event::Role;
use nlconform::report::known::Known;

use super::Ended;
use super::test::{self, Made, RunArgs};
use crate::commands::args::{KernelArgs, MachineArgs};
use crate::making::clients::Client;
use crate::making::preload;
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
    /// The library's adapter, a program with its arguments, separated by spaces, that speaks the protocol of
    /// docs/client-adapter.md. One that is not static sees the host's files, read-only
    #[arg(long, value_name = "COMMAND", required_unless_present_any = ["list", "client"])]
    adapter: Option<String>,
    /// A library whose adapter is in conformance/clients: the lab installs and builds it
    #[arg(long, value_name = "NAME", conflicts_with = "adapter")]
    client: Option<String>,
    /// The file of the library's known differences [default: that in conformance/clients/known, if there is one]
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

/// Runs the scenarios and shows them.
pub fn client(args: ClientArgs) -> Result<Ended> {
    let Some(cases) = args.run.cases(Role::Client)? else { return Ok(Ended::Well) };
    let client = args.client.as_deref().map(Client::named).transpose()?;
    let of_client = client.as_ref().map(Client::known_file).filter(|file| file.exists());
    let known = args.known.clone().or(of_client);
    let known = known.as_deref().map(Known::read).transpose().map_err(|error| anyhow!(error))?;
    let known = known.unwrap_or_default();
    test::run(&args.run, &args.machine, &cases, &known, || make(&args, client.as_ref(), &cases))
}

/// Makes the adapter, and the kernels and their guests' images, with the adapter in them if it is static.
fn make(args: &ClientArgs, client: Option<&Client>, cases: &[String]) -> Result<Made> {
    let kernels = args.kernels.with_variant(VARIANT);
    let arch = kernels.one_arch("an adapter is a program of")?;
    // What is wrong with the command is seen before anything is built.
    let targets = kernels.targets()?;
    let given = args.adapter.as_deref().map(|command| {
        UserProgram::find(&command.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), arch)
    });
    let given = given.transpose()?;
    let lab = kernels.open_lab()?;
    lab.explain_accel(args.machine.accel)?;
    let mut made = Made::default();
    let mut user = match (given, client) {
        (Some(user), _) => user,
        (None, Some(client)) => {
            let built = client.obtain(&lab.cache, &lab.progress, !args.kernels.no_install)?;
            let user = UserProgram::find(&built.argv, arch)?;
            made.held.push(Box::new(built));
            user
        }
        (None, None) => bail!("an adapter is needed: --adapter COMMAND, or --client NAME"),
    };
    if user.is_on_host() {
        let library = preload::obtain(&lab.cache, &lab.progress, !args.kernels.no_install)?;
        user.preload(&library.join(preload::LIBRARY))?;
        made.held.push(Box::new(library));
    }
    let settings = Settings { host_files: user.is_on_host(), ..args.machine.settings() };
    made.kernels(&targets, |arch, spec| {
        let built = lab.build(arch, spec)?;
        let machine = lab.machine(&built, &settings, |image| user.pack(image))?;
        let profile = schedule::profile(&built.kernel.release);
        let plan = schedule::client_plan(
            &profile,
            cases.to_vec(),
            built.kernel.needs.factor(),
            user.program.clone(),
        );
        let target = built.kernel.label.clone();
        Ok((Job { target, place: Place::Machine(machine), plan }, Box::new(built) as Box<dyn Any>))
    })
}
