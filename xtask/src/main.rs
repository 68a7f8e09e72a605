//! `cargo xtask`: the lab's command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use humansize::{BINARY, format_size};
use xtask::build::{self, KernelSpec};
use xtask::cache::{Cache, Listing};
use xtask::progress::Progress;
use xtask::provision::{self, Purpose};
use xtask::source::Kernels;
use xtask::{doctor, guest_init};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Builds kernels, boots them, and runs the cases inside"
)]
enum Cli {
    /// Build a kernel, the probe and the guest's init, and say where they are
    Build(BuildArgs),
    /// Show what the cache holds, or remove some of it
    Cache {
        #[command(subcommand)]
        action: Option<CacheAction>,
    },
    /// Say what is fine and what is missing on this host
    Doctor,
}

#[derive(Args)]
struct BuildArgs {
    /// A kernel of kernel-configs/kernels.toml [default: the one named there]
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// Build this kernel tree instead, incrementally and out of it
    #[arg(long, value_name = "DIR", conflicts_with = "kernel")]
    kernel_src: Option<PathBuf>,
    /// Add kernel-configs/NAME.config to the configuration (can be repeated)
    #[arg(long, value_name = "NAME")]
    variant: Vec<String>,
    /// Do not install missing packages
    #[arg(long)]
    no_install: bool,
}

#[derive(Subcommand)]
enum CacheAction {
    /// Remove what is not in use
    Prune {
        /// Only what has not been used for so many days
        #[arg(long, value_name = "DAYS", required_unless_present = "all")]
        older_than: Option<u64>,
        /// All of it
        #[arg(long, conflicts_with = "older_than")]
        all: bool,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse() {
        Cli::Build(args) => build_all(args),
        Cli::Cache { action } => cache(action),
        Cli::Doctor => doctor::report(Vec::new(), &mut std::io::stdout()).map_err(Into::into),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn build_all(args: BuildArgs) -> Result<bool> {
    let progress = Progress::new();
    provision::ensure(
        &[Purpose::Kernel, Purpose::Init],
        !args.no_install,
        &progress,
    )?;
    let cache = Cache::open()?;
    let variants = args.variant;
    let spec = match args.kernel_src {
        Some(dir) => KernelSpec::Tree { dir, variants },
        None => KernelSpec::Named {
            name: match args.kernel {
                Some(name) => name,
                None => Kernels::load()?.default,
            },
            variants,
        },
    };
    let kernel = build::kernel(&spec, &cache, &progress)?;
    println!("kernel  {} {}", kernel.release, kernel.image.display());
    let module = build::module(&kernel, &cache, &progress)?;
    println!("probe   {}", module.path.display());
    let init = guest_init::build(&cache, &progress)?;
    println!("init    {}", init.path.display());
    Ok(true)
}

fn cache(action: Option<CacheAction>) -> Result<bool> {
    let cache = Cache::open()?;
    match action {
        None => {
            println!("{}", cache.root().display());
            show(&cache.list()?);
        }
        Some(CacheAction::Prune { older_than, .. }) => {
            let days = older_than.unwrap_or(0);
            let removed = cache.prune(Duration::from_secs(days * 24 * 60 * 60))?;
            show(&removed);
            let size: u64 = removed.iter().map(|listing| listing.size).sum();
            println!("removed {}", format_size(size, BINARY));
        }
    }
    Ok(true)
}

fn show(listings: &[Listing]) {
    for listing in listings {
        let label = listing.label.as_deref().unwrap_or("unfinished");
        let idle = listing.used.elapsed().unwrap_or_default().as_secs();
        println!(
            "{:<10} {:>10} {:>14} {label}",
            listing.kind,
            format_size(listing.size, BINARY),
            match idle / 3600 {
                0 => "now".to_owned(),
                hours @ 1..48 => format!("{hours} h ago"),
                hours => format!("{} days ago", hours / 24),
            },
        );
    }
}
