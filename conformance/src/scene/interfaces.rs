//! Network interfaces, which some cases need to make the kernel send what they look at.

use nix::errno::Errno;
use nix::libc;

use super::bus::Bus;
use crate::outcome::{Failure, Outcome, broken};
use crate::port::capability::Capability;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_CREATE};
use crate::wire::route::{self, Link};

/// Creates or changes an interface of the case's own network namespace, as a preparation.
///
/// # Errors
/// `Skip` where the target has no such interfaces or cannot change them.
pub fn change(bus: &Bus<'_>, request: Message) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    bus.need(Capability::NetNamespaces)?;
    let (socket, request) = (bus.bound(libc::NETLINK_ROUTE)?, request.with(NLM_F_ACK).seq(1));
    let changed = match socket.send(&request) {
        Ok(_) => socket.answer_to(&request)?.result(),
        Err(errno) => Err(errno),
    };
    match changed {
        Ok(()) => Ok(()),
        Err(Errno::EOPNOTSUPP) => {
            Err(Failure::Skip("the target has no such network interface, or cannot change it".into()))
        }
        Err(errno) => broken(format!("preparing a network interface: {errno:?}")),
    }
}

/// Creates a tap in the case's own network namespace, with this name and interface index; 0 leaves the choice to the
/// target.
///
/// # Errors
/// See [`change`].
pub fn create_tap(bus: &Bus<'_>, name: &str, index: i32) -> Outcome {
    let up = libc::IFF_UP as u32;
    let request = route::link(route::RTM_NEWLINK, Link { index, flags: up, change: up });
    change(bus, request.attrs(route::new_link(name, "nlmon")).with(NLM_F_CREATE))
}
