//! `cargo xtask check`: what to run before a change is sent: format, lints, documentation, the suite and the project's
//! own tests. CONTRIBUTING.md has what CI runs besides.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Ended;
use crate::host::packages::Purpose;
use crate::making::lab::Lab;
use crate::making::program::emulated;
use crate::making::source::Kernels;
use crate::vm::Arch;

/// The steps, each a cargo command line.
const STEPS: [&str; 9] = [
    "fmt --all --check",
    "clippy --workspace --all-targets --quiet -- --deny warnings",
    "doc --workspace --no-deps --quiet",
    "xtask abi --check",
    "xtask book --check",
    // Of kernel-configs/kernels.toml.
    "xtask test --quiet --kernel OLDEST,DEFAULT,NEWEST",
    // The scenarios are fair. That they can fail takes minutes: CI runs xtask/tests/fair.rs.
    "xtask client --quiet --client raw",
    // With the source of the default kernel, which is now in the cache.
    "xtask checkpatch",
    "test --workspace",
];

/// A step that needs the tools of another architecture.
struct Foreign {
    arch: &'static str,
    purpose: Purpose,
    step: &'static str,
}

const FOREIGN: [Foreign; 3] = [
    // Where most is different: in the other byte order.
    Foreign { arch: "s390x", purpose: Purpose::Kernel, step: "xtask test --quiet --arch s390x" },
    // What must compile where C's numbers are narrower.
    Foreign {
        arch: "i386",
        purpose: Purpose::Kernel,
        step: "check --quiet --package guest --target i686-unknown-linux-gnu",
    },
    // The lab's own host may be another. Tests that boot something are left to such a host, and so are those of
    // nlconform::lend: QEMU's user mode copies the memory that a child is to share. One at a time: where other threads
    // run, its fork hangs now and then.
    Foreign {
        arch: "aarch64",
        purpose: Purpose::QemuUser,
        step: "test --quiet --workspace --lib --bins --target aarch64-unknown-linux-gnu -- --skip lend::tests --test-threads 1",
    },
];

/// Runs the steps up to the first that fails. Those of another architecture are left out where the host cannot have its
/// compiler, its QEMU or its Rust library.
pub fn check() -> Result<Ended> {
    let kernels = Kernels::load()?;
    STEPS.into_iter().try_for_each(|step| run(&with_kernels(step, &kernels), []))?;
    for Foreign { arch, purpose, step } in FOREIGN {
        let arch = Arch::named(arch)?;
        let emulated = (purpose == Purpose::QemuUser).then(|| emulated(arch));
        match Lab::open(&[purpose], &[arch], true) {
            Ok(_) => run(step, emulated.into_iter().flatten())?,
            Err(error) => eprintln!("== left out: cargo {step}\n{error:#}"),
        }
    }
    Ok(Ended::Well)
}

/// A step with the names of kernels, which the file has from the oldest to the newest.
fn with_kernels(step: &str, kernels: &Kernels) -> String {
    let name = |name: Option<&str>| name.unwrap_or(&kernels.default).to_owned();
    step.replace("OLDEST", &name(kernels.names().next()))
        .replace("DEFAULT", &kernels.default)
        .replace("NEWEST", &name(kernels.names().last()))
}

fn run(step: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    eprintln!("== cargo {step}");
    let mut command = Command::new(&cargo);
    command.args(step.split(' ')).envs(variables).current_dir(crate::project_root());
    command.env("RUSTDOCFLAGS", "--deny warnings");
    match command.status().context("cannot run cargo")? {
        status if status.success() => Ok(()),
        status => bail!("cargo {step} failed ({status})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_runs_on_kernels_of_the_file() {
        let kernels = Kernels::load().unwrap();
        let steps = STEPS.map(|step| with_kernels(step, &kernels));
        let named = steps.iter().find_map(|step| step.split_once("--kernel ")).unwrap().1;
        let named: Vec<_> = named.split(',').collect();
        assert!(named.len() == 3 && named.contains(&kernels.default.as_str()), "{named:?}");
        assert!(named.iter().all(|name| kernels.get(name).is_ok()), "{named:?}");
    }
}
