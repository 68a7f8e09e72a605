//! Bisections of small repositories, whose commits say themselves what they are.

use std::fs;

use super::*;

/// A repository with a tree in a folder; its commits, the oldest first, have these contents.
struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    fn new(commits: &[&str]) -> Repository {
        let repository = Repository { dir: tempfile::tempdir().unwrap() };
        repository.git(&["init", "--quiet"]);
        fs::create_dir(repository.tree()).unwrap();
        for (number, text) in commits.iter().enumerate() {
            fs::write(repository.tree().join("file"), format!("{text} {number}")).unwrap();
            repository.git(&["add", "--all"]);
            repository.git(&["commit", "--quiet", "--message", &format!("{text} {number}")]);
        }
        repository
    }

    fn git(&self, args: &[&str]) -> String {
        let identity = ["-c", "user.name=n", "-c", "user.email=e"];
        git(self.dir.path(), &[&identity[..], args].concat()).unwrap()
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("linux")
    }

    fn start(&self, good: &str, bad: &str) -> Result<Bisection> {
        Bisection::start(&self.tree(), good, bad, &self.dir.path().join("worktree"))
    }

    /// What is found, and the subjects of what was tried.
    fn search(&self, good: &str, bad: &str) -> Result<(Found, Vec<String>)> {
        let bisection = self.start(good, bad)?;
        let mut tried = Vec::new();
        let found = bisection.search(|commit| {
            tried.push(commit.subject.clone());
            let text = fs::read_to_string(bisection.tree.join("file"))?;
            assert_eq!(text, commit.subject, "the commit is checked out");
            Ok(match text.split(' ').next() {
                Some("good") => Judged::Good,
                Some("bad") => Judged::Bad,
                _ => Judged::Skip,
            })
        })?;
        Ok((found, tried))
    }
}

#[test]
fn the_first_bad_commit_is_found_and_the_checkout_stays_as_it_is() {
    let repository = Repository::new(&["good", "good", "good", "broken", "bad", "bad", "bad", "bad"]);
    fs::write(repository.tree().join("file"), "not committed").unwrap();
    let state =
        || repository.git(&["status", "--porcelain=v2", "--branch"]) + &repository.git(&["worktree", "list"]);
    let before = state();
    let (found, tried) = repository.search("HEAD~7", "HEAD").unwrap();
    // Whether the one that could not be judged is bad cannot be known.
    let Found::OneOf(possible) = found else { panic!("{found:?}") };
    let subjects: Vec<_> = possible.iter().map(|commit| commit.subject.as_str()).collect();
    assert!(subjects.contains(&"bad 4") && subjects.contains(&"broken 3"), "{subjects:?}");
    assert!(tried.contains(&"broken 3".to_owned()), "{tried:?}");
    let (found, tried) = repository.search("HEAD~7", "HEAD~1").unwrap();
    assert!(matches!(found, Found::OneOf(_)) && tried.len() < 6, "{tried:?}");
    assert_eq!(state(), before);
    assert_eq!(fs::read_to_string(repository.tree().join("file")).unwrap(), "not committed");
    assert!(!repository.dir.path().join("worktree").exists());
}

#[test]
fn a_bisection_ends_with_one_commit() {
    let repository = Repository::new(&["good", "good", "broken", "good", "good", "bad", "bad", "bad"]);
    let (found, tried) = repository.search("HEAD~7", "HEAD").unwrap();
    let Found::First(first) = found else { panic!("{found:?}") };
    assert_eq!((first.subject.as_str(), first.id.len()), ("bad 5", 40));
    assert!((1..=4).contains(&tried.len()), "{tried:?}");
    // With no commit between them, there is nothing to try.
    let (found, tried) = repository.search("HEAD~3", "HEAD~2").unwrap();
    assert_eq!(found, Found::First(first));
    assert!(tried.is_empty());
}

#[test]
fn what_an_interrupted_bisection_left_is_no_obstacle() {
    let repository = Repository::new(&["good", "good", "bad"]);
    std::mem::forget(repository.start("HEAD~2", "HEAD").unwrap());
    assert!(repository.dir.path().join("worktree").exists());
    assert!(matches!(repository.search("HEAD~2", "HEAD").unwrap().0, Found::First(_)));
}

#[test]
fn what_cannot_be_bisected_is_said() {
    let repository = Repository::new(&["good", "bad"]);
    let refused = |good: &str, bad: &str| format!("{:#}", repository.start(good, bad).unwrap_err());
    let unknown = refused("v9.9", "HEAD");
    assert!(
        unknown.starts_with("GOOD of --bisect is not a commit of ") && unknown.contains("v9.9"),
        "{unknown}"
    );
    let unknown = refused("HEAD~1", "nonsense");
    assert!(unknown.starts_with("BAD of --bisect"), "{unknown}");
    let swapped = refused("HEAD", "HEAD~1");
    assert!(swapped.contains("mistook good and bad"), "{swapped}");
    let none = Bisection::start(Path::new("/proc/self"), "a", "b", Path::new("/nonexistent")).unwrap_err();
    assert!(none.to_string().contains("needs a git repository in /proc/self"), "{none:#}");
}
