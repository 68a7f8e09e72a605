//! Other implementations that the lab knows by name: they run the stand-alone runner as a program.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::lab::Lab;
use super::program::{self, Built, Program};
use crate::host::cache::{Entry, Kind as CacheKind};
use crate::host::command::run_logged;
use crate::host::content::Key;
use crate::host::packages::{self, Purpose};
use crate::host::program::locate;
use crate::vm::output_within;
use crate::vm::{Arch, Sandbox};

/// Time that a program may take to say its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

/// An implementation.
#[derive(Debug)]
pub struct Kind {
    /// Its name in arguments.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    purpose: Purpose,
    /// A Python package that it is, for a virtual environment: `$VENV`.
    pip: Option<&'static str>,
    /// The command line before the program; `{arch}` stands for the runner's architecture.
    command: &'static [&'static str],
    /// The command line that says its version, or, if it cannot run here, why not.
    version: &'static [&'static str],
    /// Whether it runs programs of the host's architecture only.
    is_native: bool,
}

/// Runs a program in sandlock, which is a library.
const SANDLOCK: &str = include_str!("sandlock.py");

const KINDS: [Kind; 3] = [
    Kind {
        name: "gvisor",
        title: "gVisor",
        purpose: Purpose::Gvisor,
        pip: None,
        command: &["runsc", "--network=none", "--ignore-cgroups", "do", "--"],
        version: &["runsc", "--version"],
        is_native: true,
    },
    Kind {
        name: "qemu-user",
        title: "QEMU user mode",
        purpose: Purpose::QemuUser,
        pip: None,
        command: &["qemu-{arch}-static"],
        version: &["qemu-{arch}-static", "--version"],
        is_native: false,
    },
    Kind {
        name: "sandlock",
        title: "sandlock",
        purpose: Purpose::Sandlock,
        pip: Some("sandlock==0.9.0"),
        command: &["$VENV/bin/python", "-c", SANDLOCK],
        version: &["$VENV/bin/python", "-c", SANDLOCK, "--version"],
        is_native: true,
    },
];

/// What is held of the cache while a target is tested.
#[derive(Debug)]
pub struct Held {
    _runner: Built,
    _venv: Option<Entry>,
}

/// Any other implementation: a command line that takes a static program as its last word. Its name and version
/// are those of its program, unless they are given.
///
/// # Errors
/// There is no such program, or the runner cannot be built.
pub fn custom(
    command: &str,
    name: Option<&str>,
    version: Option<&str>,
    arch: &Arch,
    lab: &Lab,
) -> Result<(Sandbox, Held)> {
    let words: Vec<OsString> = command.split_whitespace().map(Into::into).collect();
    let program = words.first().context("--target-command: a program and its arguments")?;
    locate(program).context("--target-command")?;
    let of_program = || Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
    let says = || output_within(Command::new(program).arg("--version"), VERSION_TIMEOUT).unwrap_or_default();
    let version = match (version, name) {
        (Some(version), _) => version.to_owned(),
        (None, None) => version_in(&says()),
        // It is not the program that is tested.
        (None, Some(_)) => String::new(),
    };
    let runner = program::build(Program::Runner, arch, &lab.cache, &lab.progress)?;
    let path = runner.path.clone().into();
    let name = name.map_or_else(of_program, str::to_owned);
    Ok((Sandbox { command: words, runner: path, name, version }, Held { _runner: runner, _venv: None }))
}

/// The first word with a dot and a digit in what a program says of itself.
fn version_in(said: &str) -> String {
    let is_version = |word: &&str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
    said.split_whitespace().find(is_version).unwrap_or_default().to_owned()
}

/// The names of the implementations, as arguments have them.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// The implementation of this name.
///
/// # Errors
/// There is none.
pub fn find(name: &str) -> Result<&'static Kind> {
    let kind = KINDS.iter().find(|kind| kind.name == name);
    kind.with_context(|| format!("unknown target {name}"))
}

impl Kind {
    /// Obtains the implementation and builds the runner; both stay as long as the result is held.
    ///
    /// # Errors
    /// When it cannot be had, or cannot run on this host, or no programs of this architecture.
    pub fn obtain(&self, arch: &Arch, lab: &Lab, allow_install: bool) -> Result<(Sandbox, Held)> {
        if self.is_native && !arch.is_host() {
            bail!("{} runs programs of this host's architecture only, not of {}", self.title, arch.name);
        }
        packages::ensure(&packages::needs_of(&[self.purpose]), allow_install, &lab.progress)?;
        let venv = self.pip.map(|package| venv(package, lab)).transpose()?;
        let folder = venv.as_deref().unwrap_or(Path::new(""));
        let word = |word: &&str| -> OsString {
            word.replace("$VENV", &folder.to_string_lossy()).replace("{arch}", arch.name).into()
        };
        let words = |words: &[&str]| -> Vec<OsString> { words.iter().map(word).collect() };
        let (name, version) = (self.title.to_owned(), version(&words(self.version))?);
        let built = program::build(Program::Runner, arch, &lab.cache, &lab.progress)?;
        let sandbox =
            Sandbox { command: words(self.command), runner: built.path.clone().into(), name, version };
        Ok((sandbox, Held { _runner: built, _venv: venv }))
    }
}

/// The version that this command line says.
fn version(words: &[OsString]) -> Result<String> {
    let said = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    let said = said.with_context(|| format!("cannot ask {} for its version", words[0].display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match said.status.success() {
        true => Ok(version_in(&text(&said.stdout))),
        false => Err(anyhow!(text(&said.stderr).trim().to_owned())),
    }
}

/// A virtual environment with this package.
fn venv(package: &str, lab: &Lab) -> Result<Entry> {
    let key = format!("venv-{package}-{}", Key::new().part("package", package).finish());
    lab.cache.entry(CacheKind::Program, &key, package, &lab.progress, |making| {
        let step = lab.progress.step(format!("installing {package}"));
        let mut shell = Command::new("sh");
        shell.args(["-ec", r#"python3 -m venv "$OUT" && "$OUT/bin/pip" install -q "$PACKAGE""#]);
        shell.env("OUT", &making.dir).env("PACKAGE", package).stdin(making.stdin()?);
        run_logged(&mut shell, &making.dir.join("pip.log"), &step)?;
        step.done();
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_a_program_says() {
        assert_eq!(version_in("qemu-x86_64 version 11.1.3 (Debian 1:11.1.3+ds-1)\n"), "11.1.3");
        assert_eq!(version_in("runsc version 0.0~20240729.0\nspec: 1.2.1\n"), "0.0~20240729.0");
        assert_eq!(version_in("usage"), "");
    }

    /// With a sandlock that finds this version of Landlock.
    fn sandlock(abi: i32) -> Result<String> {
        let dir = tempfile::tempdir()?;
        let module = format!("landlock_abi_version = lambda: {abi}\nmin_landlock_abi = lambda: 6\n");
        std::fs::write(dir.path().join("sandlock.py"), module)?;
        std::fs::create_dir(dir.path().join("sandlock-0.9.0.dist-info"))?;
        let metadata = "Metadata-Version: 2.1\nName: sandlock\nVersion: 0.9.0\n";
        std::fs::write(dir.path().join("sandlock-0.9.0.dist-info/METADATA"), metadata)?;
        let path = format!("PYTHONPATH={}", dir.path().display());
        version(&["env", &path, "python3", "-c", SANDLOCK, "--version"].map(Into::into))
    }

    #[test]
    fn a_kernel_without_landlock_is_one_clear_line() {
        assert_eq!(sandlock(7).unwrap(), "0.9.0");
        let error = sandlock(-1).unwrap_err().to_string();
        assert!(
            error.starts_with("sandlock needs Landlock") && error.ends_with("this kernel has none"),
            "{error}"
        );
        assert!(sandlock(5).unwrap_err().to_string().ends_with("this kernel has ABI 5"));
    }
}
