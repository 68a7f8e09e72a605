//! A kernel: configured from fragments, built outside of its tree, kept by everything that went into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::config::{Wanted, title};
use super::make::make;
use super::{Base, BuildDir, BuildOptions, BuiltKernel, Compiler, KernelSpec, Modules, Needs, release};
use crate::host::cache::{Cache, Entry, Kind, Making};
use crate::host::command::run_logged;
use crate::host::content::Key;
use crate::host::packages::Host;
use crate::host::progress::{Progress, Step};
use crate::making::shipped::Shipped;
use crate::making::source::{Kernels, copy, tree};
use crate::vm::Arch;

/// Files that the build of a kernel makes, about.
const OBJECTS: u32 = 1200;
/// To be raised when the way of building changes, so that no cached kernel is taken for a new one.
const RECIPE: &str = "1";
/// The file in which a build says what it lacks of the user's configuration.
const DROPPED: &str = "dropped";

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
        KernelSpec::Release { name, patches, options } => {
            of_release(arch, name, options, patches, cache, progress)
        }
        KernelSpec::Tree { dir, copy, options } => of_tree(arch, dir, *copy, options, cache, progress),
        KernelSpec::Image { image, build_dir, modules } => {
            of_image(arch, image, build_dir.as_deref(), modules.as_deref())
        }
        KernelSpec::Shipped(origin) => Ok(of_shipped(arch, origin.obtain(arch, cache, progress)?)),
    }
}

fn of_release(
    arch: &'static Arch,
    name: &str,
    options: &BuildOptions,
    patches: &[PathBuf],
    cache: &Cache,
    progress: &Progress,
) -> Result<BuiltKernel> {
    let kernels = Kernels::load()?;
    let kernel = kernels.get(name)?;
    let mut recipe = Recipe::of(arch, options)?;
    for without in &kernel.without {
        if !recipe.wanted.remove(&without.symbol) {
            bail!("kernels.toml drops {} for kernel {name}, but no fragment wants it", without.symbol);
        }
    }
    let source = kernels.source(&kernel, cache, progress)?;
    let mut key = Key::new()
        .part("recipe", RECIPE)
        .part("source", &source.identity)
        .part("path", source.dir.as_os_str().as_encoded_bytes())
        .part("config", recipe.config())
        .part("toolchain", recipe.compiler.identity(arch)?);
    if !recipe.needs.make.is_empty() {
        key = key.part("make", recipe.needs.make.join(" "));
    }
    for patch in patches {
        let text = fs::read(patch).with_context(|| format!("cannot read {}", patch.display()))?;
        key = key.part("patch", text);
    }
    // Its configuration and its compiler are those of an architecture; the name is for people.
    let words: Vec<_> =
        [arch.label(name).replace(' ', "-")].into_iter().chain(recipe.titles.clone()).collect();
    // make splits its words at what the name of a user's file may have.
    let words = words.join("-").replace(|c: char| !c.is_ascii_alphanumeric() && !".+-_".contains(c), "_");
    let key = format!("{words}-{}", key.finish());
    let mut label = label(arch, &source.version, &recipe.titles);
    if !patches.is_empty() {
        label += " (patched)";
    }
    let entry = cache.resumed(Kind::Kernel, &key, &label, progress, |making| {
        let step = progress.step(format!("building {label}"));
        match patches {
            [] => build(making, arch, &source.dir, &recipe, &step)?,
            _ => {
                let patched = patched(making, &source.dir, patches, &step)?;
                build(making, arch, &patched, &recipe, &step)?;
            }
        }
        step.done();
        Ok(())
    })?;
    let mut kernel = built(arch, label, recipe, Modules::Fixed(key), entry, progress)?;
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
    options: &BuildOptions,
    cache: &Cache,
    progress: &Progress,
) -> Result<BuiltKernel> {
    let tree = if copied { tree::find(dir)? } else { tree::check(dir, arch)? };
    let recipe = Recipe::of(arch, options)?;
    let mut key = Key::new()
        .part(if copied { "copy of tree" } else { "tree" }, tree.as_os_str().as_encoded_bytes())
        .part("config", recipe.config());
    // Another compiler builds everything anew: both builds are kept.
    if recipe.compiler == Compiler::Llvm {
        key = key.part("compiler", "LLVM");
    }
    let key = key.finish();
    let shown = |path: &Path| path.display().to_string();
    let label = label(arch, &shown(&tree), &recipe.titles);
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
        build(making, arch, &source, &recipe, &step)
            .map_err(|error| anyhow!(format!("{error:#}").replace(&shown(&source), &shown(&tree))))?;
        step.done();
        Ok(())
    })?;
    built(arch, label, recipe, Modules::Incremental(key), entry, progress)
}

/// The kernel that was built in this entry of the cache.
fn built(
    arch: &'static Arch,
    label: String,
    recipe: Recipe,
    modules: Modules,
    entry: Entry,
    progress: &Progress,
) -> Result<BuiltKernel> {
    if let Ok(dropped) = fs::read_to_string(entry.join(DROPPED)) {
        progress.note(&dropped);
    }
    Ok(BuiltKernel {
        arch,
        release: release::of_build(&entry)?,
        label,
        image: entry.join(arch.image.1),
        build_dir: Some(BuildDir { dir: entry.to_path_buf(), root: None }),
        module_tree: None,
        is_general: recipe.base.is_some(),
        needs: recipe.needs,
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
    let release = release::of_image(arch, &image)?;
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

/// What a kernel is called: with the titles of what makes it differ from the lab's own.
fn label(arch: &Arch, what: &str, titles: &[String]) -> String {
    let what = arch.label(&format!("kernel {what}"));
    match titles {
        [] => what,
        _ => format!("{what} ({})", titles.join(", ")),
    }
}

/// Everything but the source that a kernel is built from.
struct Recipe {
    wanted: Wanted,
    base: Option<Base>,
    compiler: Compiler,
    needs: Needs,
    /// What it is called: the names of its variants, of the user's files and of a compiler that is not gcc.
    titles: Vec<String>,
}

impl Recipe {
    fn of(arch: &Arch, options: &BuildOptions) -> Result<Recipe> {
        let files = options.files.iter().chain(options.base.as_ref().map(|base| &base.path));
        let mut titles = options.variants.clone();
        titles.extend(files.map(|file| title(file)));
        titles.extend((options.compiler == Compiler::Llvm).then(|| "clang".to_owned()));
        Ok(Recipe {
            wanted: Wanted::of(arch, options)?,
            base: options.base.clone(),
            compiler: options.compiler,
            needs: Needs::of_variants(&options.variants)?,
            titles,
        })
    }

    /// The configuration that Kconfig completes.
    fn config(&self) -> String {
        self.base.as_ref().map_or_else(|| self.wanted.to_allconfig(), |base| base.with(&self.wanted))
    }
}

/// Configures and builds `source` in `making`'s directory, with everything that external modules need.
fn build(making: &Making, arch: &Arch, source: &Path, recipe: &Recipe, step: &Step) -> Result<()> {
    let output = format!("O={}", making.dir.display());
    let compiler = recipe.compiler.cached_words(arch, &Host::this());
    let run = |args: &[&str], log: &str| {
        let source = BuildDir { dir: source.to_owned(), root: None };
        let compiler = compiler.iter().map(String::as_str);
        let args: Vec<_> =
            [output.as_str()].into_iter().chain(compiler).chain(args.iter().copied()).collect();
        make(making, arch, &source, &args, log, step)
    };
    configure(making, source, recipe, &run)?;
    step.count(OBJECTS);
    let (target, image) = arch.image;
    // Guests load no module of a whole configuration, and it may have thousands.
    let modules = if recipe.base.is_some() { "modules_prepare" } else { "modules" };
    let make_args = recipe.needs.make.iter().map(String::as_str);
    run(&[target, modules].into_iter().chain(make_args).collect::<Vec<_>>(), "build.log")?;
    if recipe.base.is_some() {
        let symbols = making.dir.join("vmlinux.symvers");
        fs::copy(&symbols, making.dir.join("Module.symvers"))
            .with_context(|| format!("cannot copy {}", symbols.display()))?;
    }
    making.seal(image)
}

/// Writes `.config`, and what it lacks of the user's base.
fn configure(
    making: &Making,
    source: &Path,
    recipe: &Recipe,
    make: &impl Fn(&[&str], &str) -> Result<()>,
) -> Result<()> {
    let write = |name: &str, text: &str| {
        let file = making.dir.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok::<_, anyhow::Error>(file)
    };
    let log = "configure.log";
    if recipe.base.is_some() {
        write(".config", &recipe.config())?;
        make(&["olddefconfig"], log)?;
    } else {
        let allconfig = write("allconfig", &recipe.config())?;
        make(&[&format!("KCONFIG_ALLCONFIG={}", allconfig.display()), "allnoconfig"], log)?;
    }
    let config = fs::read_to_string(making.dir.join(".config"))?;
    recipe.wanted.check(&config, source)?;
    if let Some(base) = &recipe.base
        && let Some(dropped) = base.dropped(&recipe.wanted, &config, source)?
    {
        write(DROPPED, &dropped)?;
    }
    Ok(())
}
