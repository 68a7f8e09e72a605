//! What is known of mutants: their fates, kept as they are found, and the arguments why no case can see some of them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use nlconform::cases;
use serde::{Deserialize, Serialize};

use super::find::Mutant;

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// This case saw it.
    Killed(String),
    /// All cases pass that run its place.
    Survived,
    /// No case runs its place.
    Unreached,
}

impl Fate {
    /// Whether what saw the mutant is still there: a case that was renamed or removed has to show it anew. The start of
    /// a guest is no case.
    fn holds(&self) -> bool {
        match self {
            Fate::Killed(by) => !by.contains("::") || cases::find(by).is_some(),
            Fate::Survived | Fate::Unreached => true,
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Killed(case) => write!(f, "killed by {case}"),
            Fate::Survived => write!(f, "SURVIVED"),
            Fate::Unreached => write!(f, "SURVIVED, for no case runs it"),
        }
    }
}

/// A line of the record.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    number: usize,
    file: String,
    function: String,
    fate: Fate,
}

/// The fates that are known.
#[derive(Debug, Default)]
pub struct Record {
    entries: HashMap<usize, Entry>,
    file: Option<File>,
}

impl Record {
    /// Opens the record of the mutants of this kernel, or begins one: numbers mean something else in another.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(path: &Path, kernel: &str) -> Result<Record> {
        let old = fs::read_to_string(path).unwrap_or_default();
        let mut lines = old.lines();
        let is_same = lines.next() == Some(kernel);
        let mut entries = HashMap::new();
        if is_same {
            // The last line may have been cut short.
            let known = lines.filter_map(|line| serde_json::from_str::<Entry>(line).ok());
            entries.extend(known.filter(|entry| entry.fate.holds()).map(|entry| (entry.number, entry)));
        }
        let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(file, "{kernel}")?;
        for entry in entries.values() {
            writeln!(file, "{}", serde_json::to_string(entry)?)?;
        }
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Record { entries, file: Some(file) })
    }

    /// A record that is not kept.
    #[cfg(test)]
    pub fn in_memory() -> Record {
        Record::default()
    }

    /// Forgets those that survived: there may be new cases.
    pub fn forget_survivors(&mut self) {
        self.entries.retain(|_, entry| matches!(entry.fate, Fate::Killed(_)));
    }

    /// Keeps what became of a mutant.
    pub fn keep(&mut self, mutant: &Mutant, fate: Fate) -> Result<()> {
        let Mutant { number, file, function, .. } = mutant;
        let entry = Entry { number: *number, file: file.clone(), function: function.clone(), fate };
        if let Some(file) = &mut self.file {
            writeln!(file, "{}", serde_json::to_string(&entry)?).context("cannot write the record")?;
        }
        self.entries.insert(*number, entry);
        Ok(())
    }

    /// What became of a mutant, if it was tried.
    pub fn fate(&self, mutant: &Mutant) -> Option<&Fate> {
        self.entries.get(&mutant.number).map(|entry| &entry.fate)
    }

    /// Places of those that were killed, and by which case.
    pub fn kills(&self) -> impl Iterator<Item = (Place<'_>, &str)> {
        self.entries.values().filter_map(|entry| match &entry.fate {
            Fate::Killed(case) => {
                Some((Place { file: &entry.file, function: &entry.function }, case.as_str()))
            }
            Fate::Survived | Fate::Unreached => None,
        })
    }
}

/// Where a mutant is.
pub struct Place<'r> {
    /// The file.
    pub file: &'r str,
    /// The function.
    pub function: &'r str,
}

/// conformance/mutants.toml: mutants that no case can see, with the argument why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arguments {
    equivalent: Vec<Argument>,
    #[serde(default)]
    elsewhere: Vec<Argument>,
}

/// Why only another kernel shows a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere<'a> {
    /// The variant that does, such as one that checks itself; none if it is a kernel that the lab does not build.
    pub variant: Option<&'a str>,
    /// The argument.
    pub reason: &'a str,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    file: String,
    function: String,
    /// Changes, as `was -> becomes`.
    changes: Vec<String>,
    /// The lines of the file that are meant, where the function has the same change on others, too.
    #[serde(default)]
    lines: Vec<usize>,
    /// The variant of the kernel (kernel-configs/) on which a case sees it.
    variant: Option<String>,
    reason: String,
}

impl Argument {
    fn is_about(&self, mutant: &Mutant) -> bool {
        let here = self.lines.is_empty() || self.lines.contains(&mutant.line);
        let begin = format!("{}: {}: ", self.file, self.function);
        here && mutant
            .name()
            .strip_prefix(&begin)
            .is_some_and(|change| self.changes.iter().any(|known| known == change))
    }
}

impl Arguments {
    /// Reads the file.
    pub fn read() -> Result<Arguments> {
        let path = crate::project_root().join("conformance/mutants.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is wrong", path.display()))
    }

    /// Whether nobody can tell this mutant from the original.
    pub fn is_equivalent(&self, mutant: &Mutant) -> bool {
        self.equivalent.iter().any(|argument| argument.is_about(mutant))
    }

    /// Where this mutant shows, if it does not on the plain kernel.
    pub fn elsewhere(&self, mutant: &Mutant) -> Option<Elsewhere<'_>> {
        let argument = self.elsewhere.iter().find(|argument| argument.is_about(mutant))?;
        Some(Elsewhere { variant: argument.variant.as_deref(), reason: &argument.reason })
    }

    /// The variant that shows this mutant, if it takes one.
    pub fn variant(&self, mutant: &Mutant) -> Option<&str> {
        self.elsewhere(mutant)?.variant
    }

    /// The variants that show what the plain kernel does not.
    pub fn variants(&self) -> BTreeSet<&str> {
        self.elsewhere.iter().filter_map(|argument| argument.variant.as_deref()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(number: usize) -> Mutant {
        let text = |text: &str| text.to_owned();
        Mutant {
            number,
            file: text("a.c"),
            line: 3,
            last: 3,
            function: text("f"),
            around: (1, 9),
            was: text("x < y"),
            becomes: text("x <= y"),
        }
    }

    #[test]
    fn a_record_goes_on_where_it_was_interrupted_for_the_same_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut record = Record::open(&path, "one").unwrap();
        let case = cases::all()[0].name.clone();
        record.keep(&mutant(1), Fate::Killed(case.clone())).unwrap();
        record.keep(&mutant(2), Fate::Survived).unwrap();
        record.keep(&mutant(4), Fate::Killed("removed::since".into())).unwrap();
        drop(record);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{{\"number\":3,\"fi")).unwrap();
        let mut record = Record::open(&path, "one").unwrap();
        assert_eq!(record.fate(&mutant(1)), Some(&Fate::Killed(case)));
        assert_eq!(record.fate(&mutant(4)), None);
        assert_eq!(record.fate(&mutant(3)), None);
        record.forget_survivors();
        assert_eq!(record.fate(&mutant(2)), None);
        drop(record);
        assert_eq!(Record::open(&path, "another").unwrap().fate(&mutant(1)), None);
    }

    #[test]
    fn an_argument_is_about_what_changes_and_where() {
        let text = "[[equivalent]]\nfile = \"a.c\"\nfunction = \"f\"\nchanges = [\"x < y -> x <= y\"]\nreason = \"r\"\n";
        let anywhere: Arguments = toml::from_str(text).unwrap();
        assert!(anywhere.is_equivalent(&mutant(5)));
        assert_eq!(anywhere.elsewhere(&mutant(5)), None);
        assert!(!anywhere.is_equivalent(&Mutant { becomes: "x".into(), ..mutant(5) }));
        let other = text.replace("equivalent", "elsewhere") + "lines = [3]\n";
        let here: Arguments = toml::from_str(&format!("equivalent = []\n{other}")).unwrap();
        assert_eq!(here.elsewhere(&mutant(5)), Some(Elsewhere { variant: None, reason: "r" }));
        assert!(!here.is_equivalent(&mutant(5)));
        assert_eq!(here.elsewhere(&Mutant { line: 4, ..mutant(5) }), None);
        let there: Arguments =
            toml::from_str(&format!("equivalent = []\n{other}variant = \"debug\"\n")).unwrap();
        assert_eq!(there.variant(&mutant(5)), Some("debug"));
        Arguments::read().unwrap();
    }
}
