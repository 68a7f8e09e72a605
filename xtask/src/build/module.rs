//! The probe: built as an external module, in the cache and never in the project's tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use super::make::make;
use super::{BuiltKernel, Modules};
use crate::cache::{Cache, Entry, Kind, Making};
use crate::content::Key;
use crate::progress::Progress;

/// The module's file, as its Kbuild names it.
const MODULE: &str = "nlprobe.ko";

/// A module in the cache.
#[derive(Debug)]
pub struct BuiltModule {
    /// The .ko file.
    pub path: PathBuf,
    /// Keeps it in the cache.
    pub entry: Entry,
}

/// Builds the probe for a kernel, or finds it in the cache.
///
/// # Errors
/// When the kernel came without a build directory, or the build fails.
pub fn module(kernel: &BuiltKernel, cache: &Cache, progress: &Progress) -> Result<BuiltModule> {
    module_of(&crate::project_root().join("guest/probe"), kernel, cache, progress)
}

fn module_of(source: &Path, kernel: &BuiltKernel, cache: &Cache, progress: &Progress) -> Result<BuiltModule> {
    let build_dir = kernel
        .build_dir
        .as_deref()
        .context("the probe needs the kernel's build directory: give it with --kernel-build DIR")?;
    let label = format!("probe for {}", kernel.label);
    let make_it = |making: &Making| {
        let copy = making.dir.join("probe");
        refresh(source, &copy)?;
        let step = progress.step(format!("building the {label}"));
        let module = format!("M={}", copy.display());
        make(making, build_dir, &[&module, "modules"], "build.log", &step)?;
        step.done();
        Ok(())
    };
    let entry = match &kernel.modules {
        Modules::Fixed(kernel) => {
            let key = Key::new().files(source, "")?.finish();
            let key = format!("{kernel}-{key}");
            cache.entry(Kind::Module, &key, &label, progress, make_it)?
        }
        Modules::Incremental(key) => cache.updated(Kind::Module, key, &label, progress, make_it)?,
    };
    let path = entry.join("probe").join(MODULE);
    if !path.exists() {
        anyhow::bail!("{} builds no {MODULE}", source.display());
    }
    Ok(BuiltModule { path, entry })
}

/// Makes `to` hold the files of `from`. What has not changed keeps its time, so that make leaves it.
fn refresh(from: &Path, to: &Path) -> Result<()> {
    for file in WalkDir::new(from) {
        let file = file.with_context(|| format!("cannot read {}", from.display()))?;
        let copy = to.join(file.path().strip_prefix(from)?);
        if file.file_type().is_dir() {
            fs::create_dir_all(&copy)
        } else if fs::read(&copy).ok() != Some(fs::read(file.path())?) {
            fs::copy(file.path(), &copy).map(drop)
        } else {
            Ok(())
        }
        .with_context(|| format!("cannot write {}", copy.display()))?;
    }
    Ok(())
}
