//! The project's own programs that run elsewhere, each linked statically and built only if what goes
//! into it changed: the guest's init, the stand-alone runner and the explorer.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::cache::{Cache, Entry, Kind};
use crate::host::command::run_logged;
use crate::host::content::Key;
use crate::host::progress::Progress;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

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
pub fn build(program: Program, cache: &Cache, progress: &Progress) -> Result<Built> {
    let root = crate::project_root();
    let (package, name) = program.package();
    let label = format!("program {name}");
    let entry = cache.entry(Kind::Program, &key(root, program)?, &label, progress, |making| {
        let step = progress.step(format!("building {name}, linked statically"));
        // A separate target directory, which shares neither the flags nor the lock of the lab's own build.
        let target = root.join("target/guest");
        let mut command = Command::new(cargo());
        command
            .args(["build", "--quiet", "--profile", "guest", "--package", package, "--bin", name])
            .args(["--target", TRIPLE, "--target-dir"])
            .arg(&target)
            // At a fixed address: without relocation a guest is up a tenth of a second sooner.
            .env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .current_dir(root)
            .stdin(making.stdin()?);
        run_logged(&mut command, &making.dir.join("build.log"), &step)?;
        let built = target.join(TRIPLE).join("guest").join(name);
        fs::copy(&built, making.dir.join(name))
            .with_context(|| format!("cannot copy {} into the cache", built.display()))?;
        making.seal(name)?;
        step.done();
        Ok(())
    })?;
    Ok(Built { path: entry.join(name), entry })
}

fn key(root: &Path, program: Program) -> Result<String> {
    let mut key = Key::new().part("compiler", compiler()?).part("package", program.package().0);
    let more: &[&str] = if program == Program::Explorer { &MODEL } else { &[] };
    for input in INPUTS.iter().chain(more) {
        key = key.files(root, input)?;
    }
    Ok(key.finish())
}

/// The cargo that runs the lab; for a lab that was started without one, the cargo that built it, so
/// that the same compiler is found. Else the one in PATH.
fn cargo() -> OsString {
    let builder = option_env!("CARGO").filter(|cargo| Path::new(cargo).exists()).map(OsString::from);
    std::env::var_os("CARGO").or(builder).unwrap_or_else(|| "cargo".into())
}

/// The identity of the Rust compiler, without the time that it takes to start one: the file
/// next to cargo, or the one in PATH.
fn compiler() -> Result<String> {
    let rustc = PathBuf::from(cargo()).with_file_name("rustc");
    let rustc = match rustc.is_absolute() {
        true => rustc,
        false => {
            crate::host::packages::Host::this().find(crate::host::packages::Probe::Command("rustc")).context(
                "there is no rustc in PATH: install Rust 1.89 or later by rustup (https://rustup.rs); a \
                 distribution's own may be older, such as Debian 12's",
            )?
        }
    };
    let meta = fs::metadata(&rustc).with_context(|| format!("cannot read {}", rustc.display()))?;
    Ok(format!("{} {} {}", rustc.display(), meta.len(), meta.mtime()))
}
