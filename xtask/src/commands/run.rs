//! `cargo xtask run`: any program, in a guest.

use anyhow::Result;
use clap::Args;

use super::Ended;
use crate::commands::args::{KernelArgs, MachineArgs};
use crate::commands::output::Output;
use crate::making::user::{UserProgram, VARIANT};
use crate::running::conversation::exec;
use crate::running::session::say_notes;
use crate::vm::{Place, Settings};

/// Arguments of `cargo xtask run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    kernels: KernelArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// A program of the host; one that is not static sees the host's files, read-only
    #[arg(value_name = "PROGRAM")]
    program: String,
    /// Its arguments
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs the program; its exit status becomes the command's.
pub fn run_program(args: &RunArgs) -> Result<Ended> {
    let argv: Vec<_> = [&args.program].into_iter().chain(&args.args).cloned().collect();
    let (arch, _) = args.kernels.one_target("a program runs")?;
    let user = UserProgram::find(&argv, arch)?;
    let kernels = if user.is_on_host() { args.kernels.with_variant(VARIANT) } else { args.kernels.clone() };
    let (_, spec) = kernels.one_target("a program runs")?;
    let lab = kernels.open_lab()?;
    let built = lab.build(arch, &spec)?;
    let settings = Settings { host_files: user.is_on_host(), ..args.machine.settings() };
    let machine = lab.machine(&built, &settings, |image| user.pack(image))?;
    let mut output = Output::default();
    let status = exec(&Place::Machine(machine), user.program, &mut say_notes, &mut |text| {
        output.text(text);
    })?;
    output.end()?;
    Ok(Ended::Status(status))
}
