//! `cargo xtask build`: builds kernels, the probe and the init, and prints their paths.

use anyhow::Result;
use clap::Args;

use super::Ended;
use crate::commands::args::KernelArgs;

/// Arguments of `cargo xtask build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    #[command(flatten)]
    kernels: KernelArgs,
}

/// Builds, and prints the paths.
pub fn build(args: &BuildArgs) -> Result<Ended> {
    let targets = args.kernels.targets()?;
    let lab = args.kernels.open_lab()?;
    for (arch, spec) in &targets {
        let built = lab.build(arch, spec)?;
        println!("{} {}", built.kernel.label, built.kernel.image.display());
        if let Ok(modules) = &built.modules {
            println!("probe for {} {}", built.kernel.label, modules.probe.display());
        }
    }
    Ok(Ended::Well)
}
