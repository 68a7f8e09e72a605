//! `cargo xtask report`: several results.json as one, in every format.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Result, anyhow};
use clap::Args;
use nlconform::report::annotations::annotations;
use nlconform::report::{Record, Run};

use super::Ended;
use crate::host::progress::say;
use crate::running::results::Folder;

/// Arguments of `cargo xtask report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Files written by runs on several targets
    #[arg(required = true, value_name = "RESULTS.JSON")]
    files: Vec<PathBuf>,
    /// Write the reports to this folder
    #[arg(long, value_name = "DIR", default_value = "report")]
    folder: PathBuf,
    /// Print failures as annotations of a GitHub workflow
    #[arg(long)]
    annotate: bool,
}

/// Writes the report; fails if a case failed somewhere.
pub fn report(args: &ReportArgs) -> Result<Ended> {
    let records = args.files.iter().map(|file| Record::read(file)).collect::<Result<Vec<_>, _>>();
    let record = Record::merge(records.map_err(|error| anyhow!(error))?);
    let folder = Folder::prepare(Some(&args.folder), SystemTime::now())?;
    let page = folder.write(&record, &[])?.join("report.html");
    if args.annotate {
        print!("{}", annotations(&record));
    }
    say(page.display());
    Ok(if record.runs.iter().all(Run::is_well) { Ended::Well } else { Ended::Failed })
}
