//! A kernel: configured from fragments, built outside of its tree, kept by everything that went into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::config::{Wanted, title};
use super::make::{make, toolchain};
use super::{BuildDir, BuiltKernel, KernelSpec, Modules, Needs, release};
use crate::host::cache::{Cache, Entry, Kind, Making};
use crate::host::command::run_logged;
use crate::host::content::Key;
use crate::host::progress::{Progress, Step};
use crate::making::shipped::Shipped;
use crate::making::source::{Kernels, copy, tree};
use crate::vm::Arch;

/// Files that the build of a kernel makes, about.
const OBJECTS: u32 = 1200;
/// To be raised when the way of building changes, so that no cached kernel is taken for a new one.
const RECIPE: &str = "1";

/// Builds a kernel, or finds it in the cache. For a developer's tree make is always run, which
/// builds what changed.
///
/// # Errors
/// The source cannot be obtained, Kconfig drops a wanted symbol, or the build fails.
pub fn kernel(
    arch: &'static Arch,
    spec: &KernelSpec,
    cache: &Cache,
    progress: &Progress,
) -> Result<BuiltKernel> {
    match spec {
        KernelSpec::Named { name, variants } => named(arch, name, variants, &[], cache, progress),
        KernelSpec::Patched { name, patches } => named(arch, name, &[], patches, cache, progress),
        KernelSpec::Tree { dir, copy, variants } => of_tree(arch, dir, *copy, variants, cache, progress),
        KernelSpec::Image { image, build_dir, modules } => {
            of_image(arch, image, build_dir.as_deref(), modules.as_deref())
        }
        KernelSpec::Shipped(_) if !arch.is_host() => bail!(
            "packaged kernels are taken for this host's architecture only, not for {}: build one, or give its \
             --kernel-image",
            arch.name
        ),
        KernelSpec::Shipped(origin) => Ok(of_shipped(arch, origin.obtain(cache, progress)?)),
    }
}

fn named(
    arch: &'static Arch,
    name: &str,
    variants: &[String],
    patches: &[PathBuf],
    cache: &Cache,
    progress: &Progress,
) -> Result<BuiltKernel> {
    let kernels = Kernels::load()?;
    let kernel = kernels.get(name)?;
    let mut wanted = Wanted::of_variants(arch, variants)?;
    let needs = Needs::of_variants(variants)?;
    for without in &kernel.without {
        if !wanted.remove(&without.symbol) {
            bail!("kernels.toml drops {} for kernel {name}, but no fragment wants it", without.symbol);
        }
    }
    let source = kernels.source(&kernel, cache, progress)?;
    let mut key = Key::new()
        .part("recipe", RECIPE)
        .part("source", &source.identity)
        .part("path", source.dir.as_os_str().as_encoded_bytes())
        .part("config", wanted.to_allconfig())
        .part("toolchain", toolchain(arch)?);
    if !needs.make.is_empty() {
        key = key.part("make", needs.make.join(" "));
    }
    for patch in patches {
        let text = fs::read(patch).with_context(|| format!("cannot read {}", patch.display()))?;
        key = key.part("patch", text);
    }
    // Its configuration and its compiler are those of an architecture; the name is for people.
    let words: Vec<_> = [arch.label(name).replace(' ', "-")]
        .into_iter()
        .chain(variants.iter().map(|variant| title(variant)))
        .collect();
    let key = format!("{}-{}", words.join("-"), key.finish());
    let mut label = label(arch, &source.version, variants);
    if !patches.is_empty() {
        label += " (patched)";
    }
    let entry = cache.resumed(Kind::Kernel, &key, &label, progress, |making| {
        let step = progress.step(format!("building {label}"));
        match patches {
            [] => build(making, arch, &source.dir, &wanted, &needs, &step)?,
            _ => {
                let patched = patched(making, &source.dir, patches, &step)?;
                build(making, arch, &patched, &wanted, &needs, &step)?;
            }
        }
        step.done();
        Ok(())
    })?;
    let mut kernel = built(arch, label, needs, Modules::Fixed(key), entry)?;
    kernel.held.push(source.entry);
    Ok(kernel)
}

/// A copy of `source`, beside what is built, with these patches applied in order. Files that no patch
/// changes are shared with the original.
fn patched(making: &Making, source: &Path, patches: &[PathBuf], step: &Step) -> Result<PathBuf> {
    let tree = making.dir.join("patched");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let mut copy = Command::new("cp");
    copy.args(["--archive", "--link", "--"]).args([source, &tree]).stdin(making.stdin()?);
    run_logged(&mut copy, &making.dir.join("copy.log"), step)?;
    for patch in patches {
        let mut apply = Command::new("patch");
        apply.args(["--strip=1", "--fuzz=0", "--no-backup-if-mismatch", "--batch", "--forward"]);
        apply.arg("--directory").arg(&tree).arg("--input").arg(patch).stdin(making.stdin()?);
        run_logged(&mut apply, &making.dir.join("patch.log"), step)
            .with_context(|| format!("{} does not apply", patch.display()))?;
    }
    Ok(tree)
}

/// The kernel of a developer's tree, or of a copy of it.
fn of_tree(
    arch: &'static Arch,
    dir: &Path,
    copied: bool,
    variants: &[String],
    cache: &Cache,
    progress: &Progress,
) -> Result<BuiltKernel> {
    let tree = if copied { tree::find(dir)? } else { tree::check(dir, arch)? };
    let wanted = Wanted::of_variants(arch, variants)?;
    let needs = Needs::of_variants(variants)?;
    let key = Key::new()
        .part(if copied { "copy of tree" } else { "tree" }, tree.as_os_str().as_encoded_bytes())
        .part("config", wanted.to_allconfig())
        .finish();
    let shown = |path: &Path| path.display().to_string();
    let label = label(arch, &shown(&tree), variants);
    let entry = cache.updated(Kind::Tree, &key, &label, progress, |making| {
        let mut source = tree.clone();
        if copied {
            source = making.dir.join("tree");
            let step = progress.step(format!("copying {}", tree.display()));
            copy::bring(&tree, &source)?;
            step.done();
        }
        let step = progress.step(format!("building {label}"));
        // What a compiler complains of is in the tree that people edit.
        build(making, arch, &source, &wanted, &needs, &step)
            .map_err(|error| anyhow!(format!("{error:#}").replace(&shown(&source), &shown(&tree))))?;
        step.done();
        Ok(())
    })?;
    built(arch, label, needs, Modules::Incremental(key), entry)
}

/// The kernel that was built in this entry of the cache.
fn built(
    arch: &'static Arch,
    label: String,
    needs: Needs,
    modules: Modules,
    entry: Entry,
) -> Result<BuiltKernel> {
    Ok(BuiltKernel {
        arch,
        release: release::of_build(&entry)?,
        label,
        image: entry.join(arch.image.1),
        build_dir: Some(BuildDir { dir: entry.to_path_buf(), root: None }),
        module_tree: None,
        is_general: false,
        needs,
        modules,
        held: vec![entry],
    })
}

fn of_image(
    arch: &'static Arch,
    image: &Path,
    build_dir: Option<&Path>,
    modules: Option<&Path>,
) -> Result<BuiltKernel> {
    let canonical =
        |path: &Path| path.canonicalize().with_context(|| format!("cannot read {}", path.display()));
    let image = canonical(image)?;
    let release = release::of_image(&image)?;
    let headers = build_dir.map(canonical).transpose()?;
    if let Some(dir) = &headers {
        release::check(dir, &release)?;
    }
    let headers = headers.map(|dir| BuildDir { dir, root: None });
    let modules = modules.map(canonical).transpose()?;
    Ok(of_shipped(arch, Shipped { release, image, modules, headers, fixed: None, entry: None }))
}

/// A kernel that the lab has not built.
fn of_shipped(arch: &'static Arch, shipped: Shipped) -> BuiltKernel {
    let modules = match (shipped.fixed, &shipped.headers) {
        (Some(key), _) => Modules::Fixed(key),
        (None, Some(BuildDir { dir, .. })) => {
            Modules::Incremental(Key::new().part("build", dir.as_os_str().as_encoded_bytes()).finish())
        }
        (None, None) => Modules::Incremental(Key::new().finish()),
    };
    BuiltKernel {
        arch,
        label: label(arch, &shipped.release, &[]),
        release: shipped.release,
        image: shipped.image,
        build_dir: shipped.headers,
        module_tree: shipped.modules,
        is_general: true,
        needs: Needs::default(),
        modules,
        held: shipped.entry.into_iter().collect(),
    }
}

fn label(arch: &Arch, what: &str, variants: &[String]) -> String {
    let what = arch.label(&format!("kernel {what}"));
    match variants {
        [] => what,
        _ => format!(
            "{what} ({})",
            variants.iter().map(|variant| title(variant)).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// Configures and builds `source` in `making`'s directory, with everything that external modules need.
fn build(
    making: &Making,
    arch: &Arch,
    source: &Path,
    wanted: &Wanted,
    needs: &Needs,
    step: &Step,
) -> Result<()> {
    let allconfig = making.dir.join("allconfig");
    fs::write(&allconfig, wanted.to_allconfig())
        .with_context(|| format!("cannot write {}", allconfig.display()))?;
    let output = format!("O={}", making.dir.display());
    let fragment = format!("KCONFIG_ALLCONFIG={}", allconfig.display());
    make(making, arch, source, &[&output, &fragment, "allnoconfig"], "configure.log", step)?;
    let config = fs::read_to_string(making.dir.join(".config"))?;
    wanted.check(&config, source)?;
    step.count(OBJECTS);
    let (target, image) = arch.image;
    let mut args = vec![output.as_str(), target, "modules"];
    args.extend(needs.make.iter().map(String::as_str));
    make(making, arch, source, &args, "build.log", step)?;
    making.seal(image)
}
