//! The folder that a run leaves: results.json, and the forms made from it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

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

/// The file that makes a folder one of results.
const RECORD: &str = "results.json";

/// Where a run's results will be: a folder that can be written to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whether it is one of those below target/results.
    own: bool,
}

impl Folder {
    /// Makes `folder`, or one of the run's own below target/results, and tries it.
    ///
    /// # Errors
    /// When it cannot be written to: better said before a run than after it.
    pub fn prepare(folder: Option<&Path>, began: SystemTime) -> Result<Folder> {
        let own = folder.is_none();
        let path = match folder {
            Some(folder) => folder.to_owned(),
            // Two runs may begin within one second.
            None => root().join(format!(
                "{}-{}",
                Record::new(began, Vec::new()).started.replace(':', ""),
                std::process::id()
            )),
        };
        let tried = fs::create_dir_all(&path).and_then(|()| {
            let mut file = tempfile::NamedTempFile::new_in(&path)?;
            file.write_all(b"room for the results?\n")
        });
        tried.with_context(|| format!("results cannot be written to {}", path.display()))?;
        Ok(Folder { path, own })
    }

    /// Writes the results. `consoles` are what the guests of each target said on theirs. The record
    /// comes first; a form that cannot be written does not keep the others from being.
    ///
    /// # Errors
    /// When something cannot be written: then with where the record is all the same.
    pub fn write(&self, record: &Record, consoles: &[&[String]]) -> Result<&Path> {
        let file = self.path.join(RECORD);
        let json = serde_json::to_vec(record)?;
        if let Err(error) = write_whole(&file, &json) {
            let refuge = std::env::temp_dir().join(format!("nlconform-results-{}.json", std::process::id()));
            let rescued = match fs::write(&refuge, &json) {
                Ok(()) => format!("the results are in {} instead", refuge.display()),
                Err(error) => format!("nor {}: {error}", refuge.display()),
            };
            return Err(anyhow!("cannot write {}: {error}; {rescued}", file.display()));
        }
        let forms = write_forms(record, consoles, &self.path);
        if self.own {
            // Without effect on this run, should one of them fail.
            let _ = prune(&root(), &self.path);
            self.be_latest();
        }
        forms.with_context(|| format!("{} is written, but not all made from it", file.display()))?;
        Ok(&self.path)
    }

    fn be_latest(&self) {
        let latest = root().join("latest");
        let _ = fs::remove_file(&latest);
        // Another run at the same time may have been quicker; one of the two is as good.
        let _ = self.path.file_name().map(|name| symlink(name, latest));
    }
}

impl Drop for Folder {
    /// A run that came to nothing leaves no empty folder.
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

fn write_forms(record: &Record, consoles: &[&[String]], folder: &Path) -> Result<()> {
    let write = |name: &str, text: Result<String>| -> Result<()> {
        write_whole(&folder.join(name), text?.as_bytes()).with_context(|| format!("cannot write {name}"))
    };
    let junit = junit::junit(record).map_err(|error| anyhow!(error));
    let page = html::html(record, last_before(record).as_ref()).map_err(|error| anyhow!(error));
    let written = [
        write("junit.xml", junit),
        write("results.ktap", Ok(ktap::ktap(record))),
        write("report.html", page),
        write("summary.md", Ok(markdown::markdown(record))),
        write_consoles(record, consoles, folder),
    ];
    written.into_iter().collect()
}

/// Writes a file. On a full disk none is left, rather than half of one.
fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(file, bytes).inspect_err(|_| {
        let _ = fs::remove_file(file);
    })
}

/// What was said on the consoles of an earlier run must not stand beside this one's.
fn write_consoles(record: &Record, consoles: &[&[String]], folder: &Path) -> Result<()> {
    for file in fs::read_dir(folder)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("console-") && name.ends_with(".log") {
            fs::remove_file(file.path())?;
        }
    }
    for (run, consoles) in record.runs.iter().zip(consoles) {
        for (number, text) in consoles.iter().enumerate() {
            let name = format!("console {} {}.log", run.target, number + 1).replace([' ', '/'], "-");
            write_whole(&folder.join(&name), text.as_bytes())
                .with_context(|| format!("cannot write {name}"))?;
        }
    }
    Ok(())
}

/// The run before this one, if it can be read: one of an older schema is no longer compared with.
fn last_before(record: &Record) -> Option<Record> {
    let last = Record::read(&latest()?).ok()?;
    (last.started < record.started).then_some(last)
}

/// Removes the oldest folders of results below a folder, but for `new`; nothing that no run made.
fn prune(below: &Path, new: &Path) -> Result<()> {
    let mut folders: Vec<_> = fs::read_dir(below)?.collect::<Result<_, _>>()?;
    folders.retain(|folder| {
        let name = folder.file_name().to_string_lossy().into_owned();
        folder.file_type().is_ok_and(|kind| kind.is_dir())
            && is_of_a_run(&name)
            && folder.path().join(RECORD).is_file()
            && folder.path() != new
    });
    // Their names begin with the time.
    folders.sort_by_key(|folder| folder.file_name());
    let surplus = (folders.len() + 1).saturating_sub(KEPT);
    folders[..surplus].iter().try_for_each(|folder| fs::remove_dir_all(folder.path()))?;
    Ok(())
}

/// Whether a name is one that [`Folder::prepare`] gives: `2026-11-26T012303Z-2226`.
fn is_of_a_run(name: &str) -> bool {
    let shape = "dddd-dd-ddTddddddZ-";
    let fits = name.chars().zip(shape.chars()).all(|(char, shape)| match shape {
        'd' => char.is_ascii_digit(),
        other => char == other,
    });
    let pid = name.get(shape.len()..).unwrap_or_default();
    fits && !pid.is_empty() && pid.chars().all(|char| char.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruning_takes_the_oldest_of_what_runs_made_and_never_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str, record: bool| {
            fs::create_dir(dir.path().join(name)).unwrap();
            if record {
                fs::write(dir.path().join(name).join(RECORD), "{}").unwrap();
            }
        };
        for n in 0..22 {
            made(&format!("2026-11-26T0123{n:02}Z-7"), true);
        }
        made("0keep", true);
        made("2026-11-26T012300Z-notes", true);
        made("2020-01-01T000000Z-1", false);
        // The clock has jumped back: the newest has the oldest name.
        made("2019-01-01T000000Z-1", true);
        prune(dir.path(), &dir.path().join("2019-01-01T000000Z-1")).unwrap();
        let there = |name: &str| dir.path().join(name).exists();
        for kept in ["0keep", "2026-11-26T012300Z-notes", "2020-01-01T000000Z-1", "2019-01-01T000000Z-1"] {
            assert!(there(kept), "{kept}");
        }
        assert!(!there("2026-11-26T012302Z-7") && there("2026-11-26T012303Z-7"));
    }

    #[test]
    fn half_a_file_does_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("report.html");
        symlink("/dev/full", &file).unwrap();
        write_whole(&file, b"x").unwrap_err();
        assert!(file.symlink_metadata().is_err());
    }

    #[test]
    fn stale_consoles_go_and_the_record_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("console-kernel-1.log"), "old").unwrap();
        fs::write(dir.path().join("notes.log"), "mine").unwrap();
        // A form that cannot be written.
        fs::create_dir(dir.path().join("junit.xml")).unwrap();
        let folder = Folder::prepare(Some(dir.path()), SystemTime::now()).unwrap();
        let record = Record::new(SystemTime::now(), Vec::new());
        let error = format!("{:#}", folder.write(&record, &[]).unwrap_err());
        assert!(error.contains("junit.xml"), "{error}");
        assert!(!dir.path().join("console-kernel-1.log").exists() && dir.path().join("notes.log").exists());
        assert!(Record::read(dir.path()).is_ok() && dir.path().join("summary.md").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_refused_before_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = Folder::prepare(Some(&file.join("results")), SystemTime::now()).unwrap_err();
        assert!(refused.to_string().contains("cannot be written to"), "{refused}");
    }
}
