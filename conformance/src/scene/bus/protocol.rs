//! Protocols that a case registers, and what kernel code sends.

use super::Bus;
use super::family::failing;
use crate::outcome::{Failure, expect_ok};
use crate::port::provider::{Call, Handle, KernelSend, Protocol, Returned};
use crate::wire::explain;

impl Bus<'_> {
    /// `netlink_kernel_create()`, which must succeed.
    ///
    /// # Errors
    /// A mismatch if it does not.
    pub fn create_protocol(&self, protocol: &Protocol) -> Result<Handle, Failure> {
        let (handle, returned) = self.provider()?.create_protocol(protocol, &Call::default())?;
        let action = format!("probe: create protocol {} of {} groups", protocol.protocol, protocol.groups);
        self.journal.note(action, explain::errno(returned), None);
        expect_ok("netlink_kernel_create()", returned)?;
        Ok(handle)
    }

    /// Sends in any way that the family or protocol with this handle can, with this kind of call.
    pub fn send_from(&self, from: Handle, send: &KernelSend, how: &Call) -> Result<Returned, Failure> {
        self.need_send(send)?;
        self.need_call(how)?;
        let returned = self.provider()?.send(from, send, how)?;
        let action =
            format!("probe: {:?} group {} portid {}{}", send.verb, send.group, send.portid, failing(how));
        self.journal.note(action, explain::errno(returned), None);
        Ok(returned)
    }
}
