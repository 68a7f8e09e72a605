//! `cargo xtask export`: the suite as one directory, for a lab that is not this one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::Ended;
use crate::host::cache::Cache;
use crate::host::packages::{self, Purpose};
use crate::host::progress::Progress;
use crate::making::program::{self, Program};
use crate::vm::Arch;

/// Arguments of `cargo xtask export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The directory, which must not exist yet
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Do not install missing host packages
    #[arg(long)]
    no_install: bool,
}

/// Writes the directory: the runner, the probe's source with a Makefile, and the script that uses both.
pub fn export(args: &ExportArgs) -> Result<Ended> {
    if args.dir.exists() {
        bail!("{} exists already: remove it, or name another directory", args.dir.display());
    }
    // Whole or not at all: it appears under its name when everything is in it.
    let parent = std::path::absolute(&args.dir)?.parent().map(Path::to_owned).unwrap_or_default();
    let draft = tempfile::Builder::new()
        .prefix(".nlconform-export-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(&parent)
        .with_context(|| format!("cannot write to {}", parent.display()))?;
    let progress = Progress::new();
    packages::ensure(&packages::needs_of(&[Purpose::Program]), !args.no_install, &progress)?;
    let runner = program::build(Program::Runner, Arch::of_host(), &Cache::open()?, &progress)?;
    fill(draft.path(), &runner.path).with_context(|| format!("cannot write to {}", parent.display()))?;
    fs::rename(draft.path(), &args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    println!("{}", args.dir.join("run.sh").display());
    Ok(Ended::Well)
}

fn fill(dir: &Path, runner: &Path) -> Result<()> {
    let probe = dir.join("probe");
    fs::create_dir(&probe)?;
    for file in fs::read_dir(crate::project_root().join("guest/probe"))? {
        let file = file?;
        let is_source = ["c", "h"].iter().any(|kind| file.path().extension().is_some_and(|ext| ext == *kind));
        if is_source || ["Kbuild", "COPYING"].iter().any(|name| file.file_name() == *name) {
            fs::copy(file.path(), probe.join(file.file_name()))?;
        }
    }
    fs::write(probe.join("Makefile"), include_str!("Makefile.probe"))?;
    fs::copy(runner, dir.join("nlconform"))?;
    let script = dir.join("run.sh");
    fs::write(&script, include_str!("run.sh"))?;
    for program in [script, dir.join("nlconform")] {
        fs::set_permissions(program, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
