//! `cargo xtask diff`: what changed between two runs, or differs between two kernels or two architectures of one run.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use nlconform::report::diff::{diff, pairs};
use nlconform::report::{Record, Run};

use super::Ended;
use crate::running::results;

/// Arguments of `cargo xtask diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A results.json or its folder; or a kernel or an architecture of the latest run, such as 6.1 or s390x
    old: String,
    /// The results to compare with, given in the same way
    new: String,
}

/// Prints the changes; fails if one is a regression.
pub fn compare(args: &DiffArgs) -> Result<Ended> {
    let (old, new) = (load(&args.old)?, load(&args.new)?);
    let mut regressions = 0;
    for (old, new) in pairs(&old, &new).map_err(|error| anyhow!(error))? {
        let changes = diff(old, new);
        if old.target != new.target {
            print!("{} -> ", old.target);
        }
        println!("{}: {} of {} cases differ", new.target, changes.len(), new.reports.len());
        changes.iter().for_each(|change| println!("  {change}"));
        regressions += changes.iter().filter(|change| change.regression).count();
    }
    Ok(if regressions > 0 { Ended::Failed } else { Ended::Well })
}

fn load(which: &str) -> Result<Record> {
    let path = Path::new(which);
    if path.exists() {
        return read(path);
    }
    let Some(latest) = results::latest() else {
        bail!("{which} is not a file, and there is no earlier run to look that kernel up in");
    };
    let mut record = read(&latest)?;
    let is_meant = |run: &Run| {
        run.profile == format!("linux-{which}") || run.target == which || run.arch.as_deref() == Some(which)
    };
    record.runs.retain(is_meant);
    if record.runs.is_empty() {
        bail!("{which} is not a file, and the latest run had no such kernel and no such architecture");
    }
    Ok(record)
}

fn read(path: &Path) -> Result<Record> {
    Record::read(path).map_err(|error| anyhow!(error)).context("cannot compare")
}
