//! `cargo xtask book`: the requirement book.

mod pages;

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use nlconform::report::Record;

use super::Ended;

/// Arguments of `cargo xtask book`.
#[derive(Debug, Args)]
pub struct BookArgs {
    /// Add the verdicts of this results.json, given by itself or its folder
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    results: Option<PathBuf>,
    /// The folder for the pages
    #[arg(long, value_name = "DIR", default_value = "docs/requirements")]
    folder: PathBuf,
    /// Write nothing; fail if the pages there are not current
    #[arg(long)]
    check: bool,
}

/// Writes the book, or checks that it is current.
pub fn book(args: &BookArgs) -> Result<Ended> {
    let record = args.results.as_deref().map(Record::read).transpose().map_err(|error| anyhow!(error))?;
    let all = pages::pages(&record.map(|record| record.runs).unwrap_or_default());
    let folder = crate::project_root().join(&args.folder);
    if args.check {
        let stale = pages::differences(&all, &folder);
        if !stale.is_empty() {
            bail!("{} not current: {}; run `cargo xtask book`", args.folder.display(), stale.join(", "));
        }
        return Ok(Ended::Well);
    }
    pages::write(&all, &folder)?;
    println!("{}", folder.join("README.md").display());
    Ok(Ended::Well)
}
