//! Network namespaces beside the case's own.

use nix::libc;

use super::bus::Socket;
use crate::outcome::{Failure, Outcome, expect_ok};
use crate::wire::address::Address;
use crate::wire::message::NLM_F_ACK;
use crate::wire::route;

/// The ID that the other namespace gets, if any.
pub const NSID: i32 = 5;

/// Gives the network namespace of a process, by its ID, the ID [`NSID`] in that of the socket.
///
/// # Errors
/// A mismatch if that is refused.
pub fn name_namespace(asking: &Socket, process: u32) -> Outcome {
    let request = route::new_nsid(process, NSID).with(NLM_F_ACK);
    expect_ok("RTM_NEWNSID", asking.ask(&request)?.ack()?)
}

/// Makes a socket a member of group 1 that listens to all namespaces.
///
/// # Errors
/// Those of the calls.
pub fn listen_to_all(socket: Socket) -> Result<Socket, Failure> {
    socket.bind(Address::groups(1))?;
    socket.set(libc::NETLINK_LISTEN_ALL_NSID, 1)?;
    Ok(socket)
}
