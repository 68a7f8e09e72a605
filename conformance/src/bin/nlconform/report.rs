//! `nlconform report`.

use std::path::PathBuf;

use clap::Args;
use nlconform::report::{Record, Run};

use crate::output::{self, Format};

/// Arguments of `nlconform report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Files that `run --format results` wrote: parts of one run are joined, runs of several targets stand
    /// side by side
    #[arg(value_name = "RESULTS", required = true)]
    results: Vec<PathBuf>,
    /// Format of the report
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,
    /// Write the report to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the report; whether nobody has to look at it.
pub fn report(args: &ReportArgs) -> Result<bool, String> {
    let records = args.results.iter().map(|path| Record::read(path)).collect::<Result<Vec<_>, _>>()?;
    let record = Record::merge(records);
    output::write(args.format, args.output.as_deref(), &record)?;
    Ok(record.runs.iter().all(Run::is_well))
}
