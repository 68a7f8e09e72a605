//! Credentials and capabilities.

use std::cell::Cell;

use nlconform::port::Who;

/// The capabilities that are checked.
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

/// The user on whose behalf this thread acts; root by default.
pub fn acting() -> Option<Who> {
    ACTING.get()
}

/// From now on this thread acts on behalf of somebody.
pub fn act_from_now_on(who: Option<Who>) {
    ACTING.set(who);
}

/// Runs `step` on behalf of another user.
pub fn act_as<T>(who: Who, step: impl FnOnce() -> T) -> T {
    let before = ACTING.replace(Some(who));
    let result = step();
    ACTING.set(before);
    result
}

/// Whether a user has a capability.
pub fn capable(who: Option<Who>, capability: Capability) -> bool {
    match who {
        Some(Who::Nobody) => false,
        Some(Who::NetworkAdministrator) => capability == Capability::NetAdmin,
        _ => true,
    }
}
