//! How long a network namespace lasts.

use nix::libc;

use crate::cases::cases;
use crate::outcome::Outcome;
use crate::port::Who;
use crate::scene::bus::{Bus, WAIT};
use crate::wire::route::{RTM_DELNSID, RTNLGRP_NSID};

use crate::scene::namespaces::name_namespace;

cases! {
    namespace_ends_with_its_last_process => "NL-NS-007";
}

/// What is left of a namespace is cleared up by a thread of the kernel's, one namespace after the other.
fn namespace_ends_with_its_last_process(bus: &Bus<'_>) -> Outcome {
    let (asking, member) = (bus.bound(libc::NETLINK_ROUTE)?, bus.bound(libc::NETLINK_ROUTE)?);
    member.join(RTNLGRP_NSID)?;
    bus.run_as(Who::OtherNet, || name_namespace(&asking, std::process::id()))?;
    loop {
        member.wait(3 * WAIT)?;
        if member.receive_one()?.kind == RTM_DELNSID {
            return Ok(());
        }
    }
}
