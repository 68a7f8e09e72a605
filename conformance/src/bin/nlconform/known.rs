//! `nlconform known`.

use std::path::PathBuf;

use clap::Args;
use nlconform::report::known::{self, Known};
use nlconform::report::{Record, Run};

use crate::output::show;

/// Arguments of `nlconform known`.
#[derive(Debug, Args)]
pub struct KnownArgs {
    /// The list: brought up to date with the results, notes and links kept; made if it is not there
    #[arg(long, value_name = "FILE")]
    write: PathBuf,
    /// What `run --format results` wrote, of one target; several where verdicts vary
    #[arg(value_name = "RESULTS", required = true)]
    results: Vec<PathBuf>,
}

/// Writes a list of known differences.
pub fn known(args: &KnownArgs) -> Result<bool, String> {
    let records: Vec<Record> =
        args.results.iter().map(|path| Record::read(path)).collect::<Result<_, _>>()?;
    let runs: Vec<Run> = records.into_iter().flat_map(|record| record.runs).collect();
    known::write(&args.write, &runs)?;
    show(&format!("{}: {} entries\n", args.write.display(), Known::read(&args.write)?.differences.len()))
}
