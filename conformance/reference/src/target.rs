//! The bus as a target of nlconform: what it offers, and what it does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use nix::errno::Errno;
use nlconform::event::{Identity, Role};
use nlconform::port::provider::{Provider, Unable};
use nlconform::port::{Socket, Target, Who};

use super::calls::Descriptor;
use super::controller;
use super::credentials::act_as;
use super::defect::Defect;
use super::dispatch;
use super::kernel::Kernel;
use super::provider::KernelCode;
use super::setup::Setup;

/// The capabilities that it has.
const OFFERED: &[&str] = &[
    "connector",
    "genetlink",
    "net-admin",
    "parallel-calls",
    "probe",
    "route",
    "socket-filters",
    "usersock",
];

/// Those that Linux has not always had, with a requirement that holds since then.
const SINCE: &[(&str, &str)] = &[
    ("connector-filter", "CN-SND-012"),
    ("err-msg-fmt", "NL-ACK-013"),
    ("family-bind", "GENL-MC-019"),
    ("filtered-multicast", "GENL-MC-022"),
    ("miss-attr", "NL-ACK-009"),
    ("resv-start-op", "GENL-ATT-025"),
    ("split-ops", "GENL-REG-019"),
    ("uint", "GENL-ATT-020"),
];

/// The capabilities that it lacks, and why.
const ABSENT: &[(&str, &str)] = &[
    ("proc-connector", "the bus has no files"),
    ("proc-events", "the bus has no processes"),
    ("fail-nth", "the allocations of the bus do not fail"),
    ("module-requests", "the bus loads no modules"),
    ("net-namespaces", "all sockets of the bus live in one namespace"),
    ("pid-namespaces", "the bus has no processes"),
    ("processes", "the bus has no processes"),
    ("user-namespaces", "the bus knows root and nobody, and no user namespaces"),
    ("netdev", "the bus has no network devices"),
    ("netlink-diag", "the bus has no sock_diag"),
    ("sock-diag", "the bus has no sock_diag"),
    ("proc-netlink", "the bus has no files"),
    ("tracing", "the bus has no trace events"),
    ("connector-sample", "the bus loads no modules"),
];

/// A new bus.
pub struct Netlink {
    identity: Identity,
    kernel: Arc<Kernel>,
}

impl Netlink {
    /// A new bus with only the controller, and with this defect.
    pub fn new(defect: Option<Defect>) -> Netlink {
        Netlink::with(Setup { defect, ..Setup::default() })
    }

    /// A new bus that is like this.
    pub fn with(setup: Setup) -> Netlink {
        let kernel = Arc::new(Kernel::new(setup));
        // Nothing was registered before it, so the name is free.
        let _ = dispatch::register(&kernel, controller::family(setup), None);
        let offered = OFFERED.iter().map(|name| (name.to_string(), None));
        let since = SINCE.iter().map(|(name, id)| {
            let missing = (!setup.holds(id)).then(|| format!("{} does not have it", setup.profile));
            (name.to_string(), missing)
        });
        let absent = ABSENT.iter().map(|(name, fact)| (name.to_string(), Some(fact.to_string())));
        let mut identity = Identity {
            role: Role::Target,
            name: "example bus".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            capabilities: BTreeMap::from_iter(offered.chain(since).chain(absent)),
        };
        if setup.unprivileged {
            identity
                .capabilities
                .insert("net-admin".into(), Some("the bus takes the suite for nobody".into()));
        }
        Netlink { identity, kernel }
    }
}

impl Target for Netlink {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn socket(&self, kind: i32, protocol: i32) -> Result<Box<dyn Socket>, Errno> {
        let opened = self.kernel.open(kind, protocol, self.kernel.acting());
        let spoilt = self.kernel.has(Defect::CallErrno);
        let id = opened.map_err(|errno| if spoilt { Errno::EPROTO } else { errno })?;
        Ok(Box::new(Descriptor::new(&self.kernel, id)))
    }

    fn socket_of(&self, who: Who, kind: i32, protocol: i32) -> Result<Box<dyn Socket>, Unable> {
        act_as(who, || self.socket(kind, protocol))
            .map_err(|errno| Unable::Failed(format!("socket(): {errno}")))
    }

    fn provider(&self) -> Result<Box<dyn Provider>, Unable> {
        Ok(Box::new(KernelCode::new(&self.kernel)))
    }

    fn run_as(&self, who: Who, step: &mut dyn FnMut() -> String) -> Result<String, Unable> {
        match who {
            Who::Nobody | Who::NetworkAdministrator => Ok(act_as(who, step)),
            other => Err(Unable::Unsupported(format!("the bus does not know {other:?}"))),
        }
    }
}
