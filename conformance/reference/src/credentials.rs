//! Who acts, and what they may do.

use std::cell::Cell;

use nlconform::port::Who;

use super::message::Request;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// `CAP_NET_ADMIN`.
    NetAdmin,
    /// `CAP_NET_BROADCAST`.
    NetBroadcast,
    /// `CAP_SYS_ADMIN`.
    SysAdmin,
}

thread_local! {
    // The bus has no tasks of its own: the credentials are those of the calling thread.
    static ACTING: Cell<Option<Who>> = const { Cell::new(None) };
}

/// On whose behalf this thread acts; nobody in particular is root.
pub fn acting() -> Option<Who> {
    ACTING.get()
}

/// From now on this thread acts on behalf of somebody.
pub fn act_from_now_on(who: Option<Who>) {
    ACTING.set(who);
}

/// Runs `step` on behalf of somebody else.
pub fn act_as<T>(who: Who, step: impl FnOnce() -> T) -> T {
    let before = ACTING.replace(Some(who));
    let result = step();
    ACTING.set(before);
    result
}

/// Whether somebody has a capability.
pub fn capable(who: Option<Who>, capability: Capability) -> bool {
    match who {
        Some(Who::Nobody) => false,
        Some(Who::NetworkAdministrator) => capability == Capability::NetAdmin,
        _ => true,
    }
}

/// Whether a request may do what needs a capability: its sender must have it, and so must who opened
/// the socket, where that counts (`netlink_capable()`).
pub fn allows(request: &Request, capability: Capability) -> bool {
    capable(request.who, capability) && capable(request.opener, capability)
}
