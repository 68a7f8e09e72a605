//! `git bisect` in a worktree of its own: the user's checkout, its index and a bisection of its own stay as they are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::host::command::in_english;

/// What a hook or an alias of git has set, and what would lead git to another repository.
const FOREIGN: [&str; 4] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"];

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its hash.
    pub id: String,
    /// The first line of its message.
    pub subject: String,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (\"{}\")", &self.id[..self.id.len().min(12)], self.subject)
    }
}

/// What was found of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// It is as GOOD.
    Good,
    /// It is as BAD.
    Bad,
    /// It cannot be judged, such as one that does not build.
    Skip,
}

/// How a bisection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The first bad commit.
    First(Commit),
    /// It is one of these: those between could not be judged.
    OneOf(Vec<Commit>),
}

/// A bisection; its worktree goes with it.
#[derive(Debug)]
pub struct Bisection {
    repository: PathBuf,
    worktree: PathBuf,
    /// Where the tree is in the worktree.
    pub tree: PathBuf,
    /// The commit that is said to be good.
    pub good: Commit,
    /// The commit that is said to be bad.
    pub bad: Commit,
}

impl Bisection {
    /// Starts one of the repository that `tree` is in. What an earlier one left at `worktree` is removed.
    ///
    /// # Errors
    /// There is no repository or no such commit, or there is no way from `good` to `bad`.
    pub fn start(tree: &Path, good: &str, bad: &str, worktree: &Path) -> Result<Bisection> {
        let prefix = git(tree, &["rev-parse", "--show-prefix"])
            .with_context(|| format!("--bisect needs a git repository in {}", tree.display()))?;
        let commit = |name: &str, which: &str| {
            let format = "--format=%H %s";
            let found = git(tree, &["log", "-1", format, &format!("{name}^{{commit}}"), "--"]).with_context(
                || format!("{which} of --bisect is not a commit of {}: {name}", tree.display()),
            )?;
            let (id, subject) = found.split_once(' ').unwrap_or((&found, ""));
            Ok::<_, anyhow::Error>(Commit { id: id.to_owned(), subject: subject.to_owned() })
        };
        let bisection = Bisection {
            good: commit(good, "GOOD")?,
            bad: commit(bad, "BAD")?,
            tree: worktree.join(prefix),
            worktree: worktree.to_owned(),
            repository: tree.to_owned(),
        };
        bisection.remove();
        let place = worktree.to_str().context("the path of the cache is not UTF-8")?;
        git(tree, &["worktree", "add", "--quiet", "--force", "--detach", place, &bisection.bad.id])?;
        bisection.mark(&["start", "--no-checkout", &bisection.bad.id, &bisection.good.id])?;
        Ok(bisection)
    }

    /// Puts the files of a commit into the worktree; those that are the same keep their times.
    ///
    /// # Errors
    /// In git's words.
    pub fn check_out(&self, commit: &Commit) -> Result<()> {
        git(&self.worktree, &["checkout", "--quiet", "--force", "--detach", &commit.id]).map(drop)
    }

    /// Checks out commits until the first bad one is known; each is judged by `judge`.
    ///
    /// # Errors
    /// Those of `judge`, and what git says of good commits and bad ones that contradict each other.
    pub fn search(&self, mut judge: impl FnMut(&Commit) -> Result<Judged>) -> Result<Found> {
        loop {
            if let Some(found) = found(&git(&self.worktree, &["bisect", "log"])?) {
                return Ok(found);
            }
            let next = git(&self.worktree, &["log", "-1", "--format=%H %s", "BISECT_HEAD"])?;
            let (id, subject) = next.split_once(' ').unwrap_or((&next, ""));
            let commit = Commit { id: id.to_owned(), subject: subject.to_owned() };
            self.check_out(&commit)?;
            self.mark(&[match judge(&commit)? {
                Judged::Good => "good",
                Judged::Bad => "bad",
                Judged::Skip => "skip",
            }])?;
        }
    }

    /// What `git show` says of a commit: its message, and which files it changes.
    ///
    /// # Errors
    /// In git's words.
    pub fn show(&self, commit: &Commit) -> Result<String> {
        git(&self.worktree, &["show", "--no-color", "--stat", &commit.id])
    }

    /// Runs `git bisect`, whose status is not 0 either where it ends for want of commits that can be judged.
    fn mark(&self, args: &[&str]) -> Result<()> {
        let output = run(&self.worktree, &[&["bisect"], args].concat())?;
        let is_over = || git(&self.worktree, &["bisect", "log"]).is_ok_and(|log| found(&log).is_some());
        match output.status.success() || is_over() {
            true => Ok(()),
            false => bail!("git bisect: {}", said(&output)),
        }
    }

    fn remove(&self) {
        // Most often there is none.
        let _ = run(&self.repository, &["worktree", "remove", "--force", &self.worktree.to_string_lossy()]);
        let _ = std::fs::remove_dir_all(&self.worktree);
        let _ = run(&self.repository, &["worktree", "prune"]);
    }
}

impl Drop for Bisection {
    fn drop(&mut self) {
        self.remove();
    }
}

/// How it ended, if it has, by what `git bisect log` says.
fn found(log: &str) -> Option<Found> {
    let commit = |line: &str| {
        let (id, subject) = line.strip_prefix('[')?.split_once("] ")?;
        Some(Commit { id: id.to_owned(), subject: subject.to_owned() })
    };
    if let Some(first) = log.lines().find_map(|line| commit(line.strip_prefix("# first bad commit: ")?)) {
        return Some(Found::First(first));
    }
    let possible = log.lines().filter_map(|line| commit(line.strip_prefix("# possible first bad commit: ")?));
    let possible: Vec<_> = possible.collect();
    (!possible.is_empty()).then_some(Found::OneOf(possible))
}

fn run(dir: &Path, args: &[&str]) -> Result<Output> {
    let mut git = Command::new("git");
    for name in FOREIGN {
        git.env_remove(name);
    }
    git.arg("-C").arg(dir).args(args).stdin(Stdio::null());
    in_english(&mut git).output().context("cannot run git")
}

/// What git writes to its standard output, without the last end of line.
fn git(dir: &Path, args: &[&str]) -> Result<String> {
    let output = run(dir, args)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()),
        false => bail!("git {}: {}", args[0], said(&output)),
    }
}

fn said(output: &Output) -> String {
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    String::from_utf8_lossy(said).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "bisection_tests.rs"]
mod tests;
