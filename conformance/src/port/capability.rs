//! What a target may have beside AF_NETLINK itself, by the names of spec/capabilities.toml.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// Something that a case may need. Identities name it in kebab-case; [`Capability::meaning`] says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "their meanings are data")]
pub enum Capability {
    Route,
    Usersock,
    SockDiag,
    NetlinkDiag,
    Connector,
    Genetlink,
    Netdev,
    NetAdmin,
    NetNamespaces,
    UserNamespaces,
    PidNamespaces,
    Processes,
    ParallelCalls,
    ProcNetlink,
    ProcConnector,
    ProcEvents,
    ConnectorSample,
    Tracing,
    SocketFilters,
    ModuleRequests,
    Probe,
    SplitOps,
    ResvStartOp,
    FamilyBind,
    FilteredMulticast,
    ConnectorFilter,
    Uint,
    ErrMsgFmt,
    MissAttr,
    NlattrHelpers,
    FailNth,
}

static MEANINGS: LazyLock<BTreeMap<Capability, String>> =
    LazyLock::new(|| match toml::from_str(include_str!("../../spec/capabilities.toml")) {
        Ok(meanings) => meanings,
        Err(error) => panic!("spec/capabilities.toml: {error}"), // built in; a unit test reads it
    });

impl Capability {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Capability> {
        MEANINGS.keys().copied()
    }

    /// The capability of this name.
    pub fn named(name: &str) -> Option<Capability> {
        Capability::all().find(|capability| capability.to_string() == name)
    }

    /// What a target has that has it.
    pub fn meaning(self) -> &'static str {
        MEANINGS.get(&self).map_or("", String::as_str)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f) // a unit variant is its name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_capability_has_a_meaning_and_the_file_names_no_others() {
        let last = Capability::FailNth as usize;
        assert_eq!(
            Capability::all().map(|capability| capability as usize).collect::<Vec<_>>(),
            (0..=last).collect::<Vec<_>>()
        );
        assert!(Capability::all().all(|capability| !capability.meaning().is_empty()));
    }

    #[test]
    fn a_name_is_that_of_the_file() {
        assert_eq!(Capability::NetAdmin.to_string(), "net-admin");
        assert_eq!(Capability::named("err-msg-fmt"), Some(Capability::ErrMsgFmt));
        assert_eq!(Capability::named("genetlnk"), None);
    }
}
