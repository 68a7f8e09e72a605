//! Without one of its capabilities the reference implementation fails no case for it, and no case is skipped
//! that does not use it.

mod each;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc::{NETLINK_CONNECTOR, NETLINK_GENERIC, NETLINK_ROUTE, NETLINK_USERSOCK};
use nlconform::cases::{self, Case};
use nlconform::event::{Identity, Report, Verdict};
use nlconform::inprocess::run_case;
use nlconform::port::capability::Capability;
use nlconform::port::provider::{Provider, Unable};
use nlconform::port::{Errno, Socket, Target, Who};
use nlconform::spec::Profile;

use each::each;
use nlconform_reference::{Netlink, Setup};

/// Time that no case needs, however slow the machine is.
const DEADLINE: Duration = Duration::from_secs(120);
const REASON: &str = "switched off";

/// A bus that lacks one capability, or one that has it and notes whether it is used.
struct Watched {
    inner: Netlink,
    identity: Identity,
    capability: Capability,
    absent: bool,
    used: Arc<AtomicBool>,
}

impl Watched {
    fn new(capability: Capability, absent: bool, used: Arc<AtomicBool>) -> Watched {
        let unprivileged = absent && capability == Capability::NetAdmin;
        let inner = Netlink::with(Setup { unprivileged, ..Setup::default() });
        let mut identity = inner.identity().clone();
        if absent {
            identity.capabilities.insert(capability.to_string(), Some(REASON.into()));
        }
        Watched { inner, identity, capability, absent, used }
    }

    fn needs_protocol(&self, protocol: i32) -> Result<(), Errno> {
        let of = match protocol {
            NETLINK_ROUTE => Some(Capability::Route),
            NETLINK_USERSOCK => Some(Capability::Usersock),
            NETLINK_GENERIC => Some(Capability::Genetlink),
            NETLINK_CONNECTOR => Some(Capability::Connector),
            _ => None,
        };
        match of.is_some_and(|capability| self.fails(capability)) {
            true => Err(Errno::EPROTONOSUPPORT),
            false => Ok(()),
        }
    }

    /// Whether this use of a capability is to fail.
    fn fails(&self, capability: Capability) -> bool {
        let concerned = capability == self.capability;
        self.used.fetch_or(concerned, Ordering::Relaxed);
        concerned && self.absent
    }
}

impl Target for Watched {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn socket(&self, kind: i32, protocol: i32) -> Result<Box<dyn Socket>, Errno> {
        self.needs_protocol(protocol)?;
        self.inner.socket(kind, protocol)
    }

    fn socket_of(&self, who: Who, kind: i32, protocol: i32) -> Result<Box<dyn Socket>, Unable> {
        self.needs_protocol(protocol).map_err(|_| Unable::Unsupported(REASON.into()))?;
        self.inner.socket_of(who, kind, protocol)
    }

    fn provider(&self) -> Result<Box<dyn Provider>, Unable> {
        match self.fails(Capability::Probe) {
            true => Err(Unable::Unsupported(REASON.into())),
            false => self.inner.provider(),
        }
    }

    fn run_as(&self, who: Who, step: &mut dyn FnMut() -> String) -> Result<String, Unable> {
        self.inner.run_as(who, step)
    }
}

fn report(case: &'static Case, capability: Capability, absent: bool) -> (Report, bool) {
    let used = Arc::new(AtomicBool::new(false));
    let noted = used.clone();
    let make = Arc::new(move || Box::new(Watched::new(capability, absent, noted.clone())) as Box<dyn Target>);
    let report = run_case(case, &make, Profile::newest(), DEADLINE);
    (report, used.load(Ordering::Relaxed))
}

fn what_is_wrong(case: &'static Case, capability: Capability) -> Option<String> {
    let (whole, used) = report(case, capability, false);
    if whole.verdict != Verdict::Pass {
        return None;
    }
    // Whether these are used shows in the calls of the port.
    let seen = [Capability::Route, Capability::Usersock, Capability::Genetlink, Capability::Probe];
    match report(case, capability, true).0.verdict {
        Verdict::Pass => None,
        Verdict::Skip { reason } if !reason.contains(REASON) => Some(format!("skipped: {reason}")),
        Verdict::Skip { .. } if seen.contains(&capability) && !used => {
            Some("skipped, and passes without using it".into())
        }
        Verdict::Skip { .. } => None,
        verdict => Some(format!("{verdict:?}")),
    }
}

#[test]
fn a_case_without_what_it_needs_is_skipped_and_no_other_is() {
    let offered: BTreeSet<_> = Capability::all()
        .filter(|capability| Netlink::new(None).identity().lacks(capability).is_none())
        .collect();
    let pairs: Vec<_> = offered
        .iter()
        .flat_map(|capability| cases::all().iter().map(move |case| (case, *capability)))
        .collect();
    let found = each(&pairs, |(case, capability)| what_is_wrong(case, *capability));
    // Among so many at a time a case that meets another thread may be late: it is asked again by itself.
    let suspects = pairs.iter().zip(found).filter(|(_, wrong)| wrong.is_some());
    let wrong: Vec<_> = suspects
        .filter_map(|((case, capability), _)| {
            let wrong = what_is_wrong(case, *capability)?;
            Some(format!("{} without {capability}: {wrong}", case.name))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), pairs.len());
}
