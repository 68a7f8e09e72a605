//! `cargo xtask explore`: random sequences of calls in guests of a kernel, on the kernel and on the reference
//! implementation.

mod between;
mod campaign;
mod explorer;
pub mod variants;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use nlconform::explore::Finding;
use nlconform::explore::command::ExploreArgs;

use self::between::between;
use self::campaign::campaign;
use self::explorer::Explorer;
use super::Ended;
use super::args::{KernelArgs, MachineArgs};
use crate::making::program::{self, Program};

/// Arguments of `cargo xtask explore`.
#[derive(Debug, Args)]
pub struct ExploreCommand {
    #[command(flatten)]
    kernels: KernelArgs,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    explore: ExploreArgs,
    /// Compare two kernels of kernel-configs/kernels.toml with each other, and none with the reference
    #[arg(long, value_names = ["KERNEL", "KERNEL"], num_args = 2, conflicts_with_all = ["which", "replay"])]
    between: Option<Vec<String>>,
}

/// Explores one kernel after the other.
pub fn explore(args: &ExploreCommand) -> Result<Ended> {
    let kernels = match &args.between {
        Some(kernel) => KernelArgs { kernel: kernel.clone(), ..args.kernels.clone() },
        None => args.kernels.clone(),
    };
    let specs = kernels.specs()?;
    let arch = kernels.one_arch("exploration is for")?;
    if args.between.is_some() && specs.len() != 2 {
        bail!("--between needs two kernels");
    }
    if let Some(file) = &args.explore.replay {
        Finding::read(file).map_err(|error| anyhow!(error))?;
    }
    args.explore.prepare_keep().map_err(|error| anyhow!(error))?;
    let lab = kernels.open_lab()?;
    lab.explain_accel(args.machine.accel)?;
    let explorer = program::build(Program::Explorer, arch, &lab.cache, &lab.progress)?;
    if let (Some(_), [one, other]) = (&args.between, specs.as_slice()) {
        let (one, other) = (lab.build(arch, one)?, lab.build(arch, other)?);
        let side = |built| Explorer::new(args.machine.settings(), &lab, built, &explorer);
        let well = between(&args.explore, [side(&one), side(&other)], &lab.progress)?;
        return Ok(if well { Ended::Well } else { Ended::Failed });
    }
    let mut well = true;
    for spec in &specs {
        let built = lab.build(arch, spec)?;
        println!("{}", built.kernel.label);
        let explorer = Explorer::new(args.machine.settings(), &lab, &built, &explorer);
        well &= match &args.explore.replay {
            Some(file) => explorer.replay(file)?,
            None => campaign(&explorer, &args.explore, args.machine.jobs(), &lab.progress)?,
        };
    }
    Ok(if well { Ended::Well } else { Ended::Failed })
}
