//! The modules that a guest loads: the probe, and the kernel's connector sample. Built as
//! external modules, in the cache and never in the project's or the kernel's tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use super::make::make;
use super::{BuiltKernel, Modules, unknown};
use crate::host::cache::{Cache, Entry, Kind, Making};
use crate::host::content::Key;
use crate::host::progress::Progress;

/// The probe's file name, from its Kbuild.
const PROBE: &str = "nlprobe.ko";
/// Increment when the way of building changes.
const RECIPE: &str = "1";
/// Where the build says what it does.
const LOG: &str = "build.log";
/// The sample, in the kernel's tree.
const SAMPLE: &str = "samples/connector/cn_test.c";

/// The modules in the cache.
#[derive(Debug)]
pub struct BuiltModules {
    /// The probe.
    pub probe: PathBuf,
    /// The sample; `None` if the kernel's tree is not available.
    pub sample: Option<PathBuf>,
    /// Keeps them in the cache.
    pub entry: Entry,
}

/// Builds the modules for a kernel, or finds them in the cache.
///
/// # Errors
/// The kernel has no build directory, or the build fails.
pub fn modules(kernel: &BuiltKernel, cache: &Cache, progress: &Progress) -> Result<BuiltModules> {
    modules_of(&crate::project_root().join("guest/probe"), kernel, cache, progress)
}

fn modules_of(
    probe: &Path,
    kernel: &BuiltKernel,
    cache: &Cache,
    progress: &Progress,
) -> Result<BuiltModules> {
    let build_dir = kernel
        .build_dir
        .as_ref()
        .context("the probe needs the kernel's build directory: give it with --kernel-build DIR")?;
    let label = format!("probe for {}", kernel.label);
    // kbuild leaves a link to the tree in which it was run.
    let sample = build_dir.dir.join("source").join(SAMPLE);
    let make_it = |making: &Making| {
        let modules = making.dir.join("modules");
        refresh(probe, &modules.join("probe"))?;
        fs::create_dir_all(modules.join("sample"))?;
        let mut kbuild = "obj-m := probe/\n".to_owned();
        if sample.exists() {
            copy_changed(&sample, &modules.join("sample/cn_test.c"))?;
            fs::write(modules.join("sample/Kbuild"), "obj-m := cn_test.o\n")?;
            kbuild += "obj-m += sample/\n";
        }
        fs::write(modules.join("Kbuild"), kbuild)?;
        let step = progress.step(format!("building the {label}"));
        let module = format!("M={}", modules.display());
        let compiler = build_dir.compiler().words();
        let args: Vec<_> =
            [module.as_str(), "modules"].into_iter().chain(compiler.iter().map(String::as_str)).collect();
        make(making, kernel.arch, build_dir, &args, LOG, &step)
            .map_err(|error| unknown_names(making, &label).unwrap_or(error))
            .map_err(|error| in_the_users_tree(&error, &modules, probe, &sample))?;
        step.done();
        Ok(())
    };
    let entry = match &kernel.modules {
        Modules::Fixed(kernel) => {
            let key = Key::new().part("recipe", RECIPE).files(probe, "")?.finish();
            let key = format!("{kernel}-{key}");
            cache.entry(Kind::Module, &key, &label, progress, make_it)?
        }
        Modules::Incremental(key) => cache.updated(Kind::Module, key, &label, progress, make_it)?,
    };
    let probe_module = entry.join("modules/probe").join(PROBE);
    if !probe_module.exists() {
        anyhow::bail!("{} does not build {PROBE}", probe.display());
    }
    let sample = Some(entry.join("modules/sample/cn_test.ko")).filter(|path| path.exists());
    Ok(BuiltModules { probe: probe_module, sample, entry })
}

/// The error of a build that failed because the kernel lacks, or has otherwise, what the probe uses.
fn unknown_names(making: &Making, label: &str) -> Option<anyhow::Error> {
    let log = making.dir.join(LOG);
    let names = unknown::names(&fs::read_to_string(&log).ok()?);
    if names.is_empty() {
        return None;
    }
    let names = names.join("\n");
    Some(anyhow::anyhow!(
        "the {label} does not compile, because the kernel lacks or changed:\n{names}\n\
         What differs between versions is said in guest/probe/compat.h. The compiler's own words: {}",
        log.display()
    ))
}

/// A build's error with the names of the files that were copied, which are those that people edit.
fn in_the_users_tree(error: &anyhow::Error, modules: &Path, probe: &Path, sample: &Path) -> anyhow::Error {
    let of = |path: &Path| path.display().to_string();
    let copies = [
        (of(&modules.join("probe")), of(probe)),
        (of(&modules.join("sample/cn_test.c")), of(sample)),
        // kbuild is run in the kernel's build directory, and may name files from where it is run.
    ];
    let named = copies.iter().fold(format!("{error:#}"), |text, (copy, file)| text.replace(copy, file));
    anyhow::anyhow!("{named}\n`--no-probe` goes on without the probe: cases that need it are skipped")
}

/// Makes `to` hold the files of `from`. What has not changed keeps its time, so that make leaves it.
fn refresh(from: &Path, to: &Path) -> Result<()> {
    for file in WalkDir::new(from) {
        let file = file.with_context(|| format!("cannot read {}", from.display()))?;
        let copy = to.join(file.path().strip_prefix(from)?);
        if file.file_type().is_dir() {
            fs::create_dir_all(&copy).with_context(|| format!("cannot write {}", copy.display()))?;
        } else {
            copy_changed(file.path(), &copy)?;
        }
    }
    Ok(())
}

fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).ok().as_ref() != Some(&new) {
        fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}
