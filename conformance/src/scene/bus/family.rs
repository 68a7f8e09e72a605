//! Families that a case registers.

use super::Bus;
use crate::outcome::{Failure, broken};
use crate::port::provider::{Call, Family, Handle, KernelSend, LogEntry, On, Registration, Returned, Verb};
use crate::wire::attr::Attrs;
use crate::wire::explain;
use crate::wire::genl;
use crate::wire::message::Message;

impl Bus<'_> {
    /// Registers a family that must be accepted.
    ///
    /// # Errors
    /// `Broken` if it is refused: the case needs it as preparation.
    pub fn register(&self, family: Family) -> Result<Registered<'_>, Failure> {
        let name = family.name.clone();
        let Registration { handle, returned, id, groups } = self.try_register(family)?;
        if returned != 0 {
            return broken(format!("registering {name}: {}", explain::errno(returned)));
        }
        Ok(Registered { bus: self, handle, id, groups })
    }

    /// Registers a family that may be refused.
    pub fn try_register(&self, family: Family) -> Result<Registration, Failure> {
        self.try_register_with(family, &Call::default())
    }

    /// Registers a family in this way; it may be refused.
    pub fn try_register_with(&self, family: Family, how: &Call) -> Result<Registration, Failure> {
        self.need_family(&family)?;
        self.need_call(how)?;
        let registration = self.provider()?.register_family(&family, how)?;
        let outcome = match registration.returned {
            0 => format!("id {} groups {:?}", registration.id, registration.groups),
            refused => explain::errno(refused),
        };
        self.journal.note(format!("probe: register family {:?}{}", family.name, failing(how)), outcome, None);
        Ok(registration)
    }

    /// Registers the same structure again that was registered, or refused, before.
    pub fn register_again(&self, handle: Handle) -> Result<Registration, Failure> {
        let registration = self.provider()?.register_again(handle, &Call::default())?;
        self.journal.note("probe: register the same family", explain::errno(registration.returned), None);
        Ok(registration)
    }

    /// `genl_unregister_family()`.
    pub fn unregister(&self, handle: Handle) -> Result<Returned, Failure> {
        self.unregister_with(handle, &Call::default())
    }

    /// `genl_unregister_family()` in this way.
    pub fn unregister_with(&self, handle: Handle, how: &Call) -> Result<Returned, Failure> {
        self.need_call(how)?;
        let returned = self.provider()?.unregister_family(handle, how)?;
        self.journal.note(
            format!("probe: unregister family{}", failing(how)),
            explain::errno(returned),
            None,
        );
        Ok(returned)
    }

    /// The calls of one callback that the provider logged and that were not taken yet; those of
    /// others are discarded. Waits for a first entry as long as for a reply.
    pub fn calls(&self, on: On) -> Result<Vec<LogEntry>, Failure> {
        Ok(self.log()?.into_iter().filter(|entry| entry.on == on).collect())
    }

    /// The calls of all callbacks, in order, that the provider logged and that were not taken
    /// yet. Waits for a first entry as long as for a reply.
    pub fn log(&self) -> Result<Vec<LogEntry>, Failure> {
        self.logged(super::WAIT.as_millis() as u64)
    }

    /// The same, without waiting for any.
    pub fn calls_so_far(&self) -> Result<Vec<LogEntry>, Failure> {
        self.logged(0)
    }

    fn logged(&self, wait_ms: u64) -> Result<Vec<LogEntry>, Failure> {
        let entries = self.provider()?.log(wait_ms)?;
        for entry in &entries {
            let outcome = explain::errno(entry.returned);
            self.journal.note(
                format!("probe: {:?} was called, subject {}", entry.on, entry.subject),
                outcome,
                None,
            );
        }
        Ok(entries)
    }
}

/// The journal's note for a call in which an allocation is to fail.
pub(super) fn failing(how: &Call) -> String {
    match how.fail_nth {
        0 => String::new(),
        nth => format!(", allocation {nth} failing"),
    }
}

/// A family that is registered.
pub struct Registered<'b> {
    bus: &'b Bus<'b>,
    /// Its handle at the provider.
    pub handle: Handle,
    /// Its id.
    pub id: u16,
    /// Global ids of its groups, in order.
    pub groups: Vec<u32>,
}

impl Registered<'_> {
    /// A request for one of its commands.
    pub fn request(&self, cmd: u8, attrs: Attrs) -> Message {
        genl::request(self.id, cmd, attrs)
    }

    /// `genl_unregister_family()`.
    pub fn unregister(&self) -> Result<Returned, Failure> {
        self.bus.unregister(self.handle)
    }

    /// Sends command 1 with this payload to its group with this index, in the case's network
    /// namespace, excluding no port.
    pub fn multicast(&self, group: u32, payload: &[u8]) -> Result<Returned, Failure> {
        self.send(KernelSend { group, payload: payload.to_vec(), ..KernelSend::new(Verb::Multicast) })
    }

    /// Sends in any way that a family can.
    pub fn send(&self, send: KernelSend) -> Result<Returned, Failure> {
        self.send_with(send, &Call::default())
    }

    /// Sends in any way that a family can, with this kind of call.
    pub fn send_with(&self, send: KernelSend, how: &Call) -> Result<Returned, Failure> {
        self.bus.send_from(self.handle, &send, how)
    }
}
