//! `cargo xtask book`: the requirement book.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use nlconform::report::Record;

use super::{Ended, book_pages};
use crate::running::results;

/// Arguments of `cargo xtask book`.
#[derive(Debug, Args)]
pub struct BookArgs {
    /// Take the verdicts from this results.json, or its folder [default: the latest run, if there is one]
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// The folder for the pages
    #[arg(long, value_name = "DIR", default_value = "docs/requirements")]
    folder: PathBuf,
}

/// Writes the book.
pub fn book(args: &BookArgs) -> Result<Ended> {
    let results = args.results.clone().or_else(results::latest);
    let record = results.map(|file| Record::read(&file)).transpose().map_err(|error| anyhow!(error))?;
    let runs = record.map(|record| record.runs).unwrap_or_default();
    let folder = crate::project_root().join(&args.folder);
    book_pages::write(&book_pages::pages(&runs)?, &folder)?;
    println!("{}", folder.join("README.md").display());
    Ok(Ended::Well)
}
