//! What checkers of the kernel report of bugs that Linux is known to have: conformance/spec/reports.toml.

use std::sync::LazyLock;

use serde::Deserialize;

use super::{Profile, Version};

/// A report that is known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// What the line has with which it begins.
    begins: String,
    /// What is somewhere in it.
    #[serde(default)]
    has: String,
    /// First version that it is known of.
    since: Option<Version>,
    /// First version without it.
    until: Option<Version>,
    /// The heading in docs/findings.md.
    pub finding: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    report: Vec<Known>,
}

static KNOWN: LazyLock<Vec<Known>> =
    LazyLock::new(|| match toml::from_str::<File>(include_str!("../../spec/reports.toml")) {
        Ok(file) => file.report,
        Err(error) => panic!("spec/reports.toml: {error}"), // built in; a unit test reads it
    });

/// All that are known.
pub fn all() -> &'static [Known] {
    &KNOWN
}

impl Known {
    /// Whether this is it. The report begins with its sign.
    pub fn is(&self, report: &str) -> bool {
        report.lines().next().is_some_and(|line| line.contains(&self.begins)) && report.contains(&self.has)
    }

    /// Whether a Linux of this version is known to make it.
    pub fn holds_for(&self, version: Version) -> bool {
        let is_before_its_end = match self.until {
            Some(until) => version < until,
            None => version <= Profile::newest().version,
        };
        self.since.is_none_or(|since| version >= since) && is_before_its_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_a_finding() {
        let page = include_str!("../../../docs/findings.md");
        for known in all() {
            assert!(page.lines().any(|line| line == format!("## {}", known.finding)), "{}", known.finding);
        }
    }

    #[test]
    fn one_that_is_not_fixed_is_known_up_to_the_newest_version() {
        let loss =
            all().iter().find(|known| known.is("unreferenced object\n cn_proc_mcast_ctl+0x1")).unwrap();
        let Version(major, minor) = Profile::newest().version;
        assert!(!loss.holds_for(Version(6, 1)) && loss.holds_for(Version(6, 12)));
        assert!(loss.holds_for(Profile::newest().version) && !loss.holds_for(Version(major, minor + 1)));
    }
}
