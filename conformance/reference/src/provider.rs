//! The provider side: what kernel code may call.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nlconform::port::provider::{
    self, Call, Callback, CbId, ConnectorSend, Handle, KernelSend, LogEntry, Provider, Registration,
    Returned, Unable, Verb,
};
use nlconform::wire::message::Message;
use nlconform::wire::{align, message};

use super::connector;
use super::defect::Defect;
use super::dispatch;
use super::families::Family;
use super::kernel::{Audience, Kernel, Protocol};
use super::message::{Input, padded, refused, returned};
use super::session::{Object, Session};

/// Kernel code that registers families and protocols.
pub struct KernelCode {
    kernel: Arc<Kernel>,
    session: Arc<Session>,
    made: Mutex<BTreeMap<Handle, Made>>,
}

#[derive(Clone)]
enum Made {
    Family(Box<MadeFamily>),
    /// Its number, and whether it was accepted and still exists.
    Protocol(i32, bool),
    /// A connector callback, which goes by its ID.
    Callback,
}

#[derive(Clone)]
struct MadeFamily {
    spec: provider::Family,
    object: Arc<Object>,
    registered: Option<Arc<Family>>,
}

/// The minimum number of groups of a protocol, and the maximum number of protocols.
const LEAST_GROUPS: u32 = 32;
const PROTOCOLS: i32 = 32;

impl KernelCode {
    /// A provider that has registered nothing yet.
    pub fn new(kernel: &Arc<Kernel>) -> KernelCode {
        let session = Arc::new(Session::new());
        kernel.state().watchers.push(session.clone());
        KernelCode { kernel: kernel.clone(), session, made: Mutex::default() }
    }

    fn made(&self) -> MutexGuard<'_, BTreeMap<Handle, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_handle(&self) -> Handle {
        self.made().last_key_value().map_or(1, |(last, _)| last + 1)
    }

    fn family(&self, handle: Handle) -> Result<MadeFamily, Unable> {
        match self.made().get(&handle) {
            Some(Made::Family(family)) => Ok(*family.clone()),
            _ => Err(Unable::Failed(format!("handle {handle} names no family"))),
        }
    }

    fn keep(&self, handle: Handle, family: MadeFamily) {
        self.made().insert(handle, Made::Family(Box::new(family)));
    }

    fn register(&self, handle: Handle, family: MadeFamily) -> Registration {
        let result = dispatch::register(&self.kernel, family.spec.clone(), Some(family.object.clone()));
        let registered = result.as_ref().ok().or(family.registered.as_ref()).cloned();
        let groups = |family: &Arc<Family>| {
            (0..family.spec.groups.len() as u32).filter_map(|index| family.group(index)).collect()
        };
        let registration = Registration {
            handle,
            returned: returned(result.as_ref().map(|_| ()).map_err(|errno| self.spoilt(*errno))),
            id: registered.as_ref().map_or(0, |family| family.id),
            groups: registered.as_ref().map(groups).unwrap_or_default(),
        };
        self.keep(handle, MadeFamily { registered, ..family });
        registration
    }

    fn spoilt(&self, errno: Errno) -> Errno {
        if self.kernel.has(Defect::ProviderErrno) { Errno::EPROTO } else { errno }
    }

    fn send_of_family(&self, family: &Family, object: &Object, send: &KernelSend) -> Returned {
        let kernel = &self.kernel;
        let mut message = family
            .message(send.cmd as u8, send.flags)
            .seq(if kernel.has(Defect::NotificationsUnnumbered) { 0 } else { send.seq })
            .bytes(&send.payload);
        if kernel.has(Defect::SentAsController) {
            message.kind = nlconform::wire::genl::GENL_ID_CTRL;
        }
        match send.verb {
            Verb::Unicast => {
                return kernel.unicast(libc::NETLINK_GENERIC, send.portid, datagram(send, &message));
            }
            Verb::PutInto(room) => {
                let own = match kernel.has(Defect::OwnHeaderUnaligned) {
                    true => family.hdrsize(),
                    false => align(family.hdrsize()),
                };
                let more = usize::from(kernel.has(Defect::HeadersTooLarge));
                let fits = room as usize >= message::NLMSG_HDRLEN + 4 + own + more;
                return i64::from(fits || kernel.has(Defect::RoomUnchecked));
            }
            _ => {}
        }
        let group = match family.group(send.group) {
            Some(group) => group,
            None if kernel.has(Defect::AnyGroup) => family.first_group,
            None => {
                if !matches!(send.verb, Verb::SetErr(_) | Verb::HasListeners) {
                    object.leave(kernel.setup, send.group);
                }
                return refused(Errno::EINVAL);
            }
        };
        self.send_to_group(libc::NETLINK_GENERIC, group, send, &message)
    }

    fn send_of_protocol(&self, protocol: i32, send: &KernelSend) -> Returned {
        let message = Message::new(send.cmd).with(send.flags).seq(send.seq).bytes(&send.payload);
        match send.verb {
            Verb::Unicast => self.kernel.unicast(protocol, send.portid, datagram(send, &message)),
            Verb::Notify(report) => {
                self.kernel.notify(protocol, send.group, send.portid, report, datagram(send, &message))
            }
            _ => self.send_to_group(protocol, send.group, send, &message),
        }
    }

    fn send_to_group(&self, protocol: i32, group: u32, send: &KernelSend, message: &Message) -> Returned {
        let filter = match send.verb {
            Verb::MulticastFiltered(port) if !self.kernel.has(Defect::FilterIgnored) => Some(port),
            _ => None,
        };
        let audience = Audience { protocol, group, except: send.portid, sender: None, filter, held: false };
        match send.verb {
            Verb::SetErr(errno) => self.kernel.set_error(&audience, errno),
            Verb::HasListeners => self.kernel.has_listeners(protocol, group),
            _ => self.kernel.multicast(&audience, datagram(send, message)),
        }
    }
}

/// The bytes of a send, with the headers of this message unless it has its own.
fn datagram(send: &KernelSend, message: &Message) -> Vec<u8> {
    if send.raw { send.payload.clone() } else { padded(message) }
}

fn no(what: &str) -> Unable {
    Unable::Unsupported(format!("the bus has no {what}"))
}

impl Provider for KernelCode {
    fn register_family(&self, family: &provider::Family, _how: &Call) -> Result<Registration, Unable> {
        let handle = self.next_handle();
        let object = Arc::new(Object::new(handle, &self.session, family.script.clone()));
        let made = MadeFamily { spec: family.clone(), object, registered: None };
        self.keep(handle, made.clone());
        Ok(self.register(handle, made))
    }

    fn register_again(&self, handle: Handle, _how: &Call) -> Result<Registration, Unable> {
        Ok(self.register(handle, self.family(handle)?))
    }

    fn unregister_family(&self, handle: Handle, _how: &Call) -> Result<Returned, Unable> {
        let family = self.family(handle)?;
        let Some(registered) = &family.registered else {
            return Ok(refused(self.spoilt(Errno::ENOENT)));
        };
        let known = self.kernel.state().families.by_id(registered.id).cloned();
        let same = known.is_some_and(|known| Arc::ptr_eq(&known, registered));
        let result = match same {
            true => dispatch::unregister(&self.kernel, registered),
            false => Err(Errno::ENOENT),
        };
        self.keep(handle, MadeFamily { registered: None, ..family });
        Ok(returned(result.map_err(|errno| self.spoilt(errno))))
    }

    fn create_protocol(
        &self,
        protocol: &provider::Protocol,
        _how: &Call,
    ) -> Result<(Handle, Returned), Unable> {
        self.kernel.wait_for_undoing();
        let handle = self.next_handle();
        let number = protocol.protocol;
        let object = Arc::new(Object::new(handle, &self.session, protocol.script.clone()));
        let mut state = self.kernel.state();
        let there = (0..PROTOCOLS).contains(&number) && !state.protocols.contains_key(&number);
        let accepted = there || self.kernel.has(Defect::ProtocolsUnchecked);
        if accepted {
            let least = if self.kernel.has(Defect::FewGroups) { 1 } else { LEAST_GROUPS };
            let known = Protocol {
                groups: protocol.groups.max(least),
                nonroot_recv: protocol.nonroot_recv,
                nonroot_send: protocol.nonroot_send,
                input: if protocol.input { Input::Scripted(object.clone()) } else { Input::Nobody },
                listener: protocol.bind.then_some(object),
                session: Some(self.session.clone()),
            };
            state.protocols.insert(number, known);
        }
        drop(state);
        self.made().insert(handle, Made::Protocol(number, accepted));
        Ok((handle, if accepted { 0 } else { refused(self.spoilt(Errno::ENOMEM)) }))
    }

    fn release_protocol(&self, handle: Handle) -> Result<(), Unable> {
        let mut made = self.made();
        let Some(Made::Protocol(number, there)) = made.get_mut(&handle) else {
            return Err(Unable::Failed(format!("handle {handle} names no protocol")));
        };
        if std::mem::take(there) && !self.kernel.has(Defect::ProtocolsStay) {
            self.kernel.state().protocols.remove(number);
        }
        Ok(())
    }

    fn send(&self, handle: Handle, send: &KernelSend, _how: &Call) -> Result<Returned, Unable> {
        let made = self.made().get(&handle).cloned();
        let sent = match made {
            Some(Made::Protocol(number, true)) => self.send_of_protocol(number, send),
            Some(Made::Family(family)) => match &family.registered {
                Some(registered) => self.send_of_family(registered, &family.object, send),
                None => return Err(Unable::Failed("the family is not registered".into())),
            },
            _ => return Err(Unable::Failed(format!("handle {handle} names nothing that can send"))),
        };
        let spoilt = sent < 0 && self.kernel.has(Defect::ProviderErrno);
        Ok(if spoilt { refused(Errno::EPROTO) } else { sent })
    }

    fn add_callback(&self, callback: &Callback, _how: &Call) -> Result<(Handle, Returned), Unable> {
        let handle = self.next_handle();
        let object = Arc::new(Object::new(handle, &self.session, callback.script.clone()));
        self.made().insert(handle, Made::Callback);
        let added = connector::add(&self.kernel, callback.id, object);
        Ok((handle, returned(added.map_err(|errno| self.spoilt(errno)))))
    }

    fn del_callback(&self, id: CbId) -> Result<(), Unable> {
        connector::delete(&self.kernel, id);
        Ok(())
    }

    fn connector_send(&self, send: &ConnectorSend, how: &Call) -> Result<Returned, Unable> {
        let sent = connector::send(&self.kernel, send, how.context);
        let spoilt = sent < 0 && self.kernel.has(Defect::ProviderErrno);
        Ok(if spoilt { refused(Errno::EPROTO) } else { sent })
    }

    fn watch_release(&self) -> Result<(), Unable> {
        self.session.watching.store(!self.kernel.has(Defect::ReleaseNotNotified), Ordering::SeqCst);
        Ok(())
    }

    fn tap(&self, _ifindex: u32, _add: bool) -> Result<Returned, Unable> {
        Err(no("taps"))
    }

    fn blocked(&self, wait_ms: u64) -> Result<u32, Unable> {
        Ok(self.session.blocked(Duration::from_millis(wait_ms)))
    }

    fn release(&self) -> Result<(), Unable> {
        self.session.release();
        Ok(())
    }

    fn module_references(&self) -> Result<u32, Unable> {
        let registered = |made: &&Made| matches!(made, Made::Family(family) if family.registered.is_some());
        Ok(match self.kernel.setup.defect {
            Some(Defect::ModuleNotHeld) => 0,
            Some(Defect::ModuleHeldForEver) => self.session.references_ever(),
            Some(Defect::FamilyHoldsModule) => self.made().values().filter(registered).count() as u32,
            _ => self.session.references(),
        })
    }

    fn allocation_failed(&self) -> Result<bool, Unable> {
        Err(no("allocations that fail"))
    }

    fn log(&self, wait_ms: u64) -> Result<Vec<LogEntry>, Unable> {
        Ok(self.session.take_log(Duration::from_millis(wait_ms)))
    }
}

impl Drop for KernelCode {
    fn drop(&mut self) {
        self.session.release();
        let made = std::mem::take(&mut *self.made());
        for (_, made) in made {
            match made {
                Made::Family(family) => {
                    if let Some(registered) = &family.registered {
                        // It may be gone already; its ID may then be another's.
                        let known = self.kernel.state().families.by_id(registered.id).cloned();
                        if known.is_some_and(|known| Arc::ptr_eq(&known, registered)) {
                            let _ = dispatch::unregister(&self.kernel, registered);
                        }
                    }
                }
                Made::Protocol(number, true) => drop(self.kernel.state().protocols.remove(&number)),
                Made::Protocol(_, false) | Made::Callback => {}
            }
        }
        let session = &self.session;
        self.kernel.state().callbacks.delete_all(session);
        self.kernel.state().watchers.retain(|watcher| !Arc::ptr_eq(watcher, session));
    }
}
