//! Which variants of a kernel exploration tells from the model: old bugs and mutants. It sees some that no case
//! sees.

use std::sync::Mutex;

use anyhow::{Result, bail};

use super::explorer::Explorer;
use crate::commands::args::MachineArgs;
use crate::host::progress::say;
use crate::making::lab::{Bootable, Lab};
use crate::making::program::{self, Program};
use crate::running::workers::{for_each, locked};
use crate::vm::Arch;

/// The seed of all of them.
const SEED: u64 = 1;

/// A variant of a kernel.
pub struct Variant {
    /// Its name.
    pub name: String,
    /// The word of the kernel's command line that brings it to life.
    pub switch: String,
}

/// Makes so many sequences on each variant, several of them at a time, and says which differ from the model;
/// returns the names of those that do.
///
/// # Errors
/// The kernel differs although no variant of it is alive, or the lab cannot do its work.
pub fn explore_each(
    lab: &Lab,
    built: &Bootable,
    machine: &MachineArgs,
    sequences: u64,
    variants: &[Variant],
) -> Result<Vec<String>> {
    let explorer = program::build(Program::Explorer, Arch::of_host(), &lab.cache, &lab.progress)?;
    let first_difference = |switch: &str| {
        let mut settings = machine.settings();
        settings.append = format!("{} {switch}", settings.append).trim().to_owned();
        Explorer::new(settings, lab, built, &explorer).first_difference(SEED, sequences)
    };
    if let Some((number, what)) = first_difference("") {
        bail!("sequence {number} differs although nothing was changed in the kernel: {what}");
    }
    let found = Mutex::new(Vec::new());
    for_each(machine.jobs(), variants.iter(), |variant| {
        match first_difference(&variant.switch) {
            Some((number, what)) => {
                say(format_args!("{}: seen by sequence {number}: {what}", variant.name));
                locked(&found).push(variant.name.clone());
            }
            None => say(format_args!("{}: not seen", variant.name)),
        }
        Ok(())
    })?;
    let found = std::mem::take(&mut *locked(&found));
    println!("exploration sees {} of {} within {sequences} sequences each", found.len(), variants.len());
    Ok(found)
}
