//! `cargo xtask doctor`: what this host has and what it lacks.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use clap::Args;
use humansize::{BINARY, format_size};

use super::Ended;
use crate::host::cache::Cache;
use crate::host::disk;
use crate::host::packages::{Host, NEEDS, Need, Probe, Purpose};
use crate::vm::{Arch, Facts, Kvm, arch, facts};

/// The space that the five kernels with their sources take, with some reserve.
const ROOM: u64 = 12 << 30;

/// Arguments of `cargo xtask doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// First forget what was found out about KVM and QEMU, otherwise remembered until the host reboots
    #[arg(long)]
    forget: bool,
}

/// The state of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Fine,
    /// The lab works without it, but less well.
    Lesser,
    /// The lab cannot do its work.
    Missing,
}

/// One line of the table.
#[derive(Debug)]
pub struct Check {
    /// The item.
    pub what: String,
    /// Its state.
    pub state: State,
    /// Where it is, or what to do.
    pub detail: String,
}

/// Prints the table of what the host has.
///
/// # Errors
/// Something is missing that the lab needs.
pub fn report(args: &DoctorArgs) -> Result<Ended> {
    if args.forget {
        let forgotten = facts::forget(&Cache::open()?)?;
        println!("forgot {forgotten} host facts");
    }
    let host = Host::this();
    let own: Vec<_> = NEEDS.iter().copied().chain(Arch::of_host().needs()).collect();
    let mut seen = BTreeSet::new();
    let each = own.iter().filter(|need| seen.insert(need.probe));
    let mut checks: Vec<_> = each.map(|need| check(&host, need)).collect();
    checks.extend(arch::ALL.iter().filter(|arch| !arch.is_host()).map(|arch| of_arch(&host, arch)));
    checks.push(cache());
    checks.push(accel());
    for check in &checks {
        let state = match check.state {
            State::Fine => "ok",
            State::Lesser => "note",
            State::Missing => "MISSING",
        };
        println!("{state:<8} {:<36} {}", check.what, check.detail);
    }
    let missing = host.missing_packages(&own);
    if !missing.is_empty() {
        println!("all of them: sudo apt-get install {}", missing.join(" "));
    }
    match checks.iter().any(|check| check.state == State::Missing) {
        true => bail!("something is missing; `cargo xtask test` installs packages if it may"),
        false => Ok(Ended::Well),
    }
}

fn accel() -> Check {
    let (state, detail) = match Cache::open().and_then(|cache| Facts::of(Arch::of_host(), &cache)) {
        Ok(facts) => match facts.kvm() {
            Kvm::Works => (State::Fine, "a guest has come up under it".to_owned()),
            Kvm::Untried => (State::Fine, "not tried yet: the first guest shows whether it works".to_owned()),
            Kvm::Fails(reason) => (
                State::Lesser,
                format!(
                    "guests run under TCG, which is slower: {reason} (`cargo xtask doctor --forget` has it \
                     tried anew)"
                ),
            ),
        },
        Err(error) => (State::Lesser, format!("cannot tell: {error:#}")),
    };
    Check { what: "KVM".to_owned(), state, detail }
}

fn check(host: &Host, need: &Need) -> Check {
    let what = match need.probe {
        Probe::Command(name) => name.to_owned(),
        Probe::File(path) => format!("/{path}"),
    };
    let (state, detail) = match (host.find(need.probe), need.purpose) {
        (Some(path), _) => (State::Fine, path.display().to_string()),
        // Other sources and the other commands do not need it.
        (
            None,
            Purpose::DebianSource
            | Purpose::Release
            | Purpose::Llvm
            | Purpose::WholeConfig
            | Purpose::Shipped
            | Purpose::Deb
            | Purpose::Rpm
            | Purpose::Shell
            | Purpose::Gvisor
            | Purpose::QemuUser
            | Purpose::Sandlock
            | Purpose::Coverage,
        ) => (State::Lesser, format!("package {}", need.package)),
        (None, Purpose::Kernel | Purpose::Program | Purpose::Qemu) => {
            (State::Missing, format!("package {}", need.package))
        }
    };
    Check { what, state, detail }
}

/// Guests of another architecture, which only `--arch` asks for.
fn of_arch(host: &Host, arch: &Arch) -> Check {
    let missing = host.missing_packages(&arch.needs());
    let (state, detail) = match missing.as_slice() {
        [] => (State::Fine, "the host has its compiler and its QEMU".to_owned()),
        missing => (State::Lesser, format!("packages {}", missing.join(" "))),
    };
    Check { what: format!("--arch {}", arch.name), state, detail }
}

fn cache() -> Check {
    let looked_at = || -> Result<(State, String)> {
        let cache = Cache::open()?;
        tempfile::tempfile_in(cache.root())?;
        let free = disk::free(cache.root())?;
        let detail = format!("{}, {} free", cache.root().display(), format_size(free, BINARY));
        Ok(match free < ROOM {
            true => (State::Lesser, format!("{detail}: all kernels take {}", format_size(ROOM, BINARY))),
            false => (State::Fine, detail),
        })
    };
    let (state, detail) = looked_at().unwrap_or_else(|error| (State::Missing, format!("{error:#}")));
    Check { what: "cache".to_owned(), state, detail }
}
