//! The project's own programs that run elsewhere, each linked statically and built only if what goes
//! into it changed: the guest's init, the stand-alone runner and the explorer.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::host::cache::{Cache, Entry, Kind};
use crate::host::command::run_logged;
use crate::host::content::Key;
use crate::host::packages::{Host, Probe};
use crate::host::program::locate;
use crate::host::progress::Progress;
use crate::vm::Arch;

/// Everything of the project that goes into all of them.
const INPUTS: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "conformance/Cargo.toml",
    "conformance/spec",
    "conformance/src",
    "guest/Cargo.toml",
    "guest/src",
    ".cargo/config.toml",
];

/// What else goes into the explorer.
const MODEL: [&str; 2] = ["conformance/reference/Cargo.toml", "conformance/reference/src"];

/// Flags of a compiler whose programs need no shared library.
const STATIC: &str = "-C target-feature=+crt-static";

/// A program of the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The init of the virtual machine.
    Init,
    /// The runner `nlconform`.
    Runner,
    /// Exploration, with the reference implementation as its model.
    Explorer,
}

impl Program {
    /// Its package, and its name.
    fn package(self) -> (&'static str, &'static str) {
        match self {
            Program::Init => ("guest", "guest"),
            Program::Runner => ("nlconform", "nlconform"),
            Program::Explorer => ("nlconform-reference", "explore"),
        }
    }
}

/// A program in the cache.
#[derive(Debug)]
pub struct Built {
    /// The file.
    pub path: PathBuf,
    /// Keeps it in the cache.
    pub entry: Entry,
}

/// Builds a program, or finds it in the cache.
///
/// # Errors
/// It does not compile: with the compiler's messages.
pub fn build(program: Program, arch: &Arch, cache: &Cache, progress: &Progress) -> Result<Built> {
    let root = crate::project_root();
    let (package, name) = program.package();
    let label = arch.label(&format!("program {name}"));
    let entry = cache.entry(Kind::Program, &key(root, program, arch)?, &label, progress, |making| {
        let step = progress.step(arch.label(&format!("building {name}, linked statically")));
        // A separate target directory, which shares neither the flags nor the lock of the lab's own build.
        let target = root.join("target/guest");
        let mut command = Command::new(cargo()?);
        command
            .args(["build", "--quiet", "--profile", "guest", "--package", package, "--bin", name])
            .args(["--target", arch.triple, "--target-dir"])
            .arg(&target)
            // At a fixed address: without relocation a guest is up a tenth of a second sooner.
            .env("RUSTFLAGS", format!("{STATIC} -C relocation-model=static"))
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env(cargo_variable(arch, "LINKER"), arch.tool("gcc"))
            .current_dir(root)
            .stdin(making.stdin()?);
        run_logged(&mut command, &making.dir.join("build.log"), &step)?;
        let built = target.join(arch.triple).join("guest").join(name);
        fs::copy(&built, making.dir.join(name))
            .with_context(|| format!("cannot copy {} into the cache", built.display()))?;
        making.seal(name)?;
        step.done();
        Ok(())
    })?;
    Ok(Built { path: entry.join(name), entry })
}

/// What makes cargo build for an architecture, linked statically, and run by QEMU's user mode what it builds.
pub fn emulated(arch: &Arch) -> [(String, String); 3] {
    [
        ("RUSTFLAGS".to_owned(), STATIC.to_owned()),
        (cargo_variable(arch, "LINKER"), arch.tool("gcc")),
        (cargo_variable(arch, "RUNNER"), format!("qemu-{}-static", arch.name)),
    ]
}

/// A variable in which cargo looks up the `LINKER` or the `RUNNER` of an architecture.
fn cargo_variable(arch: &Arch, what: &str) -> String {
    format!("CARGO_TARGET_{}_{what}", arch.triple.replace('-', "_").to_uppercase())
}

/// Ensures that the Rust compiler has the standard library for an architecture.
///
/// # Errors
/// It does not, and rustup cannot or may not install it.
pub fn ensure_std(arch: &Arch, allow_install: bool, progress: &Progress) -> Result<()> {
    let has_it = || -> Result<bool> {
        let sysroot = rustc()?.ancestors().nth(2).map(Path::to_owned).unwrap_or_default();
        Ok(sysroot.join("lib/rustlib").join(arch.triple).join("lib").is_dir())
    };
    if has_it()? {
        return Ok(());
    }
    let by_hand = format!("rustup target add {}", arch.triple);
    let without = format!("Rust's standard library for {} is missing", arch.name);
    if !allow_install {
        bail!("{without}, and --no-install forbids installing it. Run: {by_hand}");
    }
    let Some(rustup) = Host::this().find(Probe::Command("rustup")) else {
        bail!(
            "{without}, and there is no rustup that would install it. Install Rust by rustup \
             (https://rustup.rs) and run {by_hand}, or the package that brings it for your distribution's \
             rustc (Debian: libstd-rust-dev of that architecture)"
        );
    };
    let step = progress.step(format!("installing Rust's standard library for {}", arch.name));
    let log = tempfile::Builder::new().prefix("nlconform-rustup-").tempfile()?.into_temp_path();
    let mut command = Command::new(rustup);
    command.args(["target", "add", arch.triple]).current_dir(crate::project_root()).stdin(Stdio::null());
    run_logged(&mut command, &log, &step).with_context(|| format!("{without}. Run: {by_hand}"))?;
    step.done();
    match has_it()? {
        true => Ok(()),
        false => bail!("{without} although `{by_hand}` succeeded: does another rustc come first in PATH?"),
    }
}

fn key(root: &Path, program: Program, arch: &Arch) -> Result<String> {
    let package = program.package().0;
    let mut key =
        Key::new().part("compiler", compiler()?).part("package", package).part("triple", arch.triple);
    let more: &[&str] = if program == Program::Explorer { &MODEL } else { &[] };
    for input in INPUTS.iter().chain(more) {
        key = key.files(root, input)?;
    }
    Ok(key.finish())
}

/// The cargo that runs the lab; for a lab that was started without one, the cargo that built it, so
/// that the same compiler is found. Else the one in PATH.
///
/// # Errors
/// The variable CARGO names no program.
fn cargo() -> Result<OsString> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        locate(&cargo).context("CARGO")?;
        return Ok(cargo);
    }
    let builder = option_env!("CARGO").filter(|cargo| Path::new(cargo).exists()).map(OsString::from);
    Ok(builder.unwrap_or_else(|| "cargo".into()))
}

/// The identity of the Rust compiler, without the time that it takes to start one.
fn compiler() -> Result<String> {
    let rustc = rustc()?;
    let meta = fs::metadata(&rustc).with_context(|| format!("cannot read {}", rustc.display()))?;
    Ok(format!("{} {} {}", rustc.display(), meta.len(), meta.mtime()))
}

/// The Rust compiler: the file next to cargo, or the one in PATH.
fn rustc() -> Result<PathBuf> {
    let rustc = PathBuf::from(cargo()?).with_file_name("rustc");
    match rustc.is_absolute() {
        true => Ok(rustc),
        false => Host::this().find(Probe::Command("rustc")).context(
            "there is no rustc in PATH: install Rust 1.89 or later by rustup (https://rustup.rs); a \
             distribution's own may be older, such as Debian 12's",
        ),
    }
}
