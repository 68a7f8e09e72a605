//! The requirements, as data: conformance/spec/*.toml.
//!
//! A requirement's statement is a template: `{errno}` stands for the value of that name. The same
//! value is what a case compares with ([`Requirement::value`]), so that text and check cannot
//! drift apart. A value that is true or false is a choice of words: `{carried?carries|does not carry}`.
//! If versions differ, a value is a table, keyed by the first version of each:
//!
//! ```toml
//! [[requirement]]
//! id = "GENL-DSP-009"
//! level = "observed"
//! statement = "An unprivileged dump of a do-only admin command fails with {errno}."
//! sources = ["genl_family_rcv_msg() net/netlink/genetlink.c"]
//! values = { errno = { "5.10" = "EPERM", "6.12" = "EOPNOTSUPP" } }
//! ```

mod load;
pub mod reports;
mod template;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use nix::errno::Errno;
use serde::Deserialize;

use crate::event::Role;
pub use load::{Topic, all, check, find, topics};

/// One testable statement.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Its ID, such as `GENL-REG-004`.
    pub id: String,
    /// How binding it is.
    pub level: Level,
    /// What must hold, with `{name}` for values, and `{name?yes|no}` for those that are true or false.
    statement: String,
    /// Documents with section, or functions with file.
    pub sources: Vec<String>,
    /// Capabilities that a client library must have for it to be checked (docs/client-adapter.md). What a
    /// case needs of a target is known from what it uses.
    #[serde(default)]
    pub needs: Vec<String>,
    /// First version that it holds for.
    #[serde(default)]
    pub since: Option<Version>,
    /// First version for which it no longer holds.
    #[serde(default)]
    pub until: Option<Version>,
    /// The source files of the kernel's warnings (WARN_ON() and the like) that checking it provokes.
    #[serde(default)]
    pub warns: Vec<String>,
    /// The values that the statement names.
    #[serde(default)]
    values: BTreeMap<String, Value>,
    /// Why this behaviour looks unintended, if it does.
    #[serde(default)]
    pub unintended: Option<String>,
    /// Releases of Linux that are known to break it.
    #[serde(default)]
    pub bugs: Vec<Bug>,
    /// Why no program can check it, if none can.
    #[serde(default)]
    pub unchecked: Option<String>,
}

/// A bug of some releases of Linux, whose contract is another.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// The releases that were seen to have it, such as `6.18.44`.
    pub releases: Vec<String>,
    /// The first version without it.
    pub fixed: String,
    /// What they do instead, and why.
    pub text: String,
}

/// How binding a requirement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(feature = "runner", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Documented, or relied on by every user space.
    Must,
    /// Stable in every version tested.
    Should,
    /// True of the named versions only, or by accident.
    Observed,
}

impl Level {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Level::Must => "must",
            Level::Should => "should",
            Level::Observed => "observed",
        }
    }
}

/// A value: the same for all versions, or by the first version of each.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "a value is true or false, a number, a text, or a table of these by version")]
enum Value {
    Same(Scalar),
    From(BTreeMap<Version, Scalar>),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Flag(bool),
    Number(i64),
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Flag(flag) => flag.fmt(f),
            Scalar::Number(number) => number.fmt(f),
            Scalar::Text(text) => text.fmt(f),
        }
    }
}

impl Requirement {
    /// What is to be said where a Linux of this release does not keep to it, when that is a known bug.
    pub fn bug_of(&self, release: &str) -> Option<String> {
        let is_of = |known: &String| {
            release.strip_prefix(known).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let bug = self.bugs.iter().find(|bug| bug.releases.iter().any(is_of))?;
        Some(format!("bug of {release}, fixed in {}: {}", bug.fixed, bug.text))
    }

    /// The side of the bus that it is about: the IDs of those on client libraries begin with `CL-`.
    pub fn role(&self) -> Role {
        if self.id.starts_with("CL-") { Role::Client } else { Role::Target }
    }

    /// Whether it holds for this version.
    pub fn holds_for(&self, version: Version) -> bool {
        self.since.is_none_or(|since| version >= since) && self.until.is_none_or(|until| version < until)
    }

    /// The value of this name for this version, as text; `None` if there is none.
    fn text(&self, name: &str, version: Version) -> Option<String> {
        match self.values.get(name)? {
            Value::Same(scalar) => Some(scalar.to_string()),
            Value::From(by_version) => Some(by_version.range(..=version).next_back()?.1.to_string()),
        }
    }

    /// The value of this name for this version.
    ///
    /// # Errors
    /// A sentence, if the requirement has no such value or it is not a `T`.
    pub fn value<T: FromValue>(&self, name: &str, version: Version) -> Result<T, String> {
        let text = self
            .text(name, version)
            .ok_or_else(|| format!("{} has no value `{name}` for {version}", self.id))?;
        T::from_value(&text).ok_or_else(|| format!("{}: `{name}` = {text} has the wrong type", self.id))
    }

    /// Each value's name and, in words, the value for each range of versions.
    pub fn value_texts(&self) -> impl Iterator<Item = (&str, String)> {
        let blanks = template::blanks(&self.statement);
        self.values.iter().map(move |(name, value)| {
            let blank = blanks.iter().find(|blank| blank.name == name);
            let word =
                |scalar: &Scalar| blank.map_or(scalar.to_string(), |blank| blank.word(scalar.to_string()));
            let text = match value {
                Value::Same(scalar) => word(scalar),
                Value::From(by_version) => {
                    let words = by_version
                        .iter()
                        .map(|(version, scalar)| format!("{} from {version} on", word(scalar)));
                    words.collect::<Vec<_>>().join(", ")
                }
            };
            (name.as_str(), text)
        })
    }

    /// The statement with the values of this version put in.
    pub fn statement(&self, version: Version) -> String {
        template::filled(&self.statement, |blank| {
            blank.word(self.text(blank.name, version).unwrap_or_else(|| "(no value)".into()))
        })
    }

    /// The statement with the names of its values, as `{name}`.
    pub fn named_statement(&self) -> String {
        template::filled(&self.statement, |blank| format!("{{{}}}", blank.name))
    }
}

/// A kind of value that a requirement can have.
pub trait FromValue: Sized {
    /// Parses it. `None` if the text is not valid.
    fn from_value(text: &str) -> Option<Self>;
}

impl FromValue for Errno {
    fn from_value(text: &str) -> Option<Self> {
        // nix has the names only by number.
        static BY_NAME: LazyLock<HashMap<String, Errno>> = LazyLock::new(|| {
            (1..=133).map(Errno::from_raw).map(|errno| (format!("{errno:?}"), errno)).collect()
        });
        BY_NAME.get(text).copied()
    }
}

/// The result of a call: an errno, or `ok`.
impl FromValue for Result<(), Errno> {
    fn from_value(text: &str) -> Option<Self> {
        if text == "ok" { Some(Ok(())) } else { Errno::from_value(text).map(Err) }
    }
}

macro_rules! parsed {
    ($($kind:ty),*) => { $(impl FromValue for $kind {
        fn from_value(text: &str) -> Option<Self> {
            text.parse().ok()
        }
    })* };
}
parsed!(bool, u8, u16, u32, u64, i32, i64, usize, String);

/// A version of a target: major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Version(pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Version {
    type Err = String;

    /// Reads the first two numbers: `6.12`, `6.12.117`, `6.12-rc1` are all 6.12.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Version(major, minor)),
            _ => Err(format!("invalid version {text:?}; expected one such as 6.12")),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The set of expectations chosen for a target, such as `linux-6.12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// The Linux version whose behaviour is expected.
    pub version: Version,
}

impl Profile {
    /// That of the newest Linux that the specification was checked against.
    pub fn newest() -> Profile {
        Profile { version: Version(7, 3) }
    }

    /// Of the oldest one.
    pub fn oldest() -> Profile {
        Profile { version: Version(5, 10) }
    }

    /// By which a Linux of this version is judged: its own, or the nearest that the specification was checked
    /// against.
    pub fn nearest(version: Version) -> Profile {
        Profile { version: version.clamp(Profile::oldest().version, Profile::newest().version) }
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let version = text
            .strip_prefix("linux-")
            .ok_or_else(|| format!("unknown profile {text:?}; expected one such as linux-6.12"))?;
        let profile = Profile { version: version.parse()? };
        match profile == Profile::nearest(profile.version) {
            true => Ok(profile),
            false => Err(format!(
                "unknown profile {text}: there are {} to {}",
                Profile::oldest(),
                Profile::newest()
            )),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux-{}", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_that_of_its_releases() {
        let requirement = find("GENL-CTRL-024").unwrap();
        assert!(
            requirement.bug_of("6.18.44-fc-v657").unwrap().starts_with("bug of 6.18.44-fc-v657, fixed in")
        );
        assert_eq!((requirement.bug_of("6.18.4"), requirement.bug_of("6.18.440")), (None, None));
    }

    #[test]
    fn a_value_that_is_true_or_false_is_a_choice_of_words() {
        let requirement: Requirement = toml::from_str(
            r#"
            id = "X-1"
            level = "must"
            statement = "The error {carried?carries|does not carry} a message."
            sources = ["here"]
            values = { carried = { "5.10" = false, "6.12" = true } }
            "#,
        )
        .unwrap();
        assert_eq!(requirement.statement(Version(6, 1)), "The error does not carry a message.");
        assert_eq!(requirement.statement(Version(6, 12)), "The error carries a message.");
        assert_eq!(requirement.named_statement(), "The error {carried} a message.");
        let (name, words) = requirement.value_texts().next().unwrap();
        assert_eq!((name, &*words), ("carried", "does not carry from 5.10 on, carries from 6.12 on"));
        assert_eq!(requirement.value("carried", Version(5, 10)), Ok(false));
    }

    #[test]
    fn a_value_holds_from_its_version_on() {
        let requirement: Requirement = toml::from_str(
            r#"
            id = "X-1"
            level = "must"
            statement = "It fails with {errno}."
            sources = ["here"]
            since = "5.10"
            values = { errno = { "5.10" = "EPERM", "6.12" = "EOPNOTSUPP" } }
            "#,
        )
        .unwrap();
        assert_eq!(requirement.value("errno", Version(6, 1)), Ok(Errno::EPERM));
        assert_eq!(requirement.value("errno", Version(6, 12)), Ok(Errno::EOPNOTSUPP));
        assert_eq!(requirement.statement(Version(7, 2)), "It fails with EOPNOTSUPP.");
        assert_eq!(requirement.named_statement(), "It fails with {errno}.");
        assert!(requirement.value::<Errno>("errno", Version(5, 4)).is_err());
        assert!(!requirement.holds_for(Version(5, 4)));
    }
}
