//! The folder that a run leaves: results.json, and the forms made from it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nlconform::report::{Record, html, junit, ktap, markdown};

/// The folder below which each run has one of its own.
pub fn root() -> PathBuf {
    crate::project_root().join("target/results")
}

/// The folder of the latest run, if there was one.
pub fn latest() -> Option<PathBuf> {
    Some(root().join("latest")).filter(|folder| folder.exists())
}

/// Folders of former runs that are kept below target/results.
const KEPT: usize = 20;

/// Writes a run's folder: `folder`, or one of its own below target/results, which `latest` then
/// names. `consoles` are what the guests of each target said on theirs.
pub fn write(record: &Record, consoles: &[&[String]], folder: Option<&Path>) -> Result<PathBuf> {
    let below = root();
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        // Two runs may begin within one second.
        None => below.join(format!("{}-{}", record.started.replace(':', ""), std::process::id())),
    };
    write_all(record, consoles, &folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    if folder.starts_with(&below) {
        prune(&below)?;
        let latest = below.join("latest");
        let _ = fs::remove_file(&latest);
        // Another run at the same time may have been quicker; one of the two is as good.
        let _ = symlink(folder.file_name().context("a folder has a name")?, latest);
    }
    Ok(folder)
}

fn write_all(record: &Record, consoles: &[&[String]], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("results.json"), serde_json::to_vec(record)?)?;
    fs::write(folder.join("junit.xml"), junit::junit(record).map_err(|error| anyhow!(error))?)?;
    fs::write(folder.join("results.ktap"), ktap::ktap(record))?;
    let page = html::html(record, last_before(record).as_ref()).map_err(|error| anyhow!(error))?;
    fs::write(folder.join("report.html"), page)?;
    fs::write(folder.join("summary.md"), markdown::markdown(record))?;
    for (run, consoles) in record.runs.iter().zip(consoles) {
        for (number, text) in consoles.iter().enumerate() {
            let name = format!("console {} {}.log", run.target, number + 1).replace([' ', '/'], "-");
            fs::write(folder.join(name), text)?;
        }
    }
    Ok(())
}

/// The run before this one, if it can be read: one of an older schema is no longer compared with.
fn last_before(record: &Record) -> Option<Record> {
    let last = Record::read(&latest()?).ok()?;
    (last.started < record.started).then_some(last)
}

fn prune(below: &Path) -> Result<()> {
    let mut folders: Vec<_> = fs::read_dir(below)?.collect::<Result<_, _>>()?;
    folders.retain(|folder| folder.file_type().is_ok_and(|kind| kind.is_dir()));
    // Their names begin with the time.
    folders.sort_by_key(|folder| folder.file_name());
    let surplus = folders.len().saturating_sub(KEPT);
    folders[..surplus].iter().try_for_each(|folder| fs::remove_dir_all(folder.path()))?;
    Ok(())
}
