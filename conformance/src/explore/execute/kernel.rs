//! The calls on the kernel's side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::CATCH_UP;
use crate::explore::call::{Call, Name, Object, Port};
use crate::explore::names::Names;
use crate::explore::seen::Seen;
use crate::port::provider::{
    self, ConnectorSend, Context, Handle, KernelSend, Provider, Registration, Unable, Verb,
};

/// What a sequence has registered.
pub struct Kernel {
    provider: Box<dyn Provider>,
    families: BTreeMap<Name, Family>,
    protocols: BTreeMap<Name, Handle>,
    callbacks: BTreeSet<Name>,
    /// The netlink protocol of each handle.
    speaks: BTreeMap<Handle, i32>,
}

struct Family {
    handle: Handle,
    /// Its ID and groups while it is registered.
    registered: Option<(u16, Vec<u32>)>,
    /// It was registered at some time.
    ever: bool,
}

impl Kernel {
    /// Nothing yet.
    pub fn new(provider: Box<dyn Provider>) -> Kernel {
        Kernel {
            provider,
            families: BTreeMap::new(),
            protocols: BTreeMap::new(),
            callbacks: BTreeSet::new(),
            speaks: BTreeMap::new(),
        }
    }

    /// The ID of a registered family.
    pub fn family_id(&self, family: Name) -> Option<u16> {
        Some(self.families.get(&family)?.registered.as_ref()?.0)
    }

    /// The global ID of a group of a registered family.
    pub fn group(&self, family: Name, index: u32) -> Option<u32> {
        self.families.get(&family)?.registered.as_ref()?.1.get(index as usize).copied()
    }

    /// The number of a protocol.
    pub fn protocol(&self, protocol: Name) -> Option<i32> {
        self.speaks.get(self.protocols.get(&protocol)?).copied()
    }

    /// Makes a call.
    pub fn make(
        &mut self,
        call: &Call,
        names: &mut Names,
        port_of: &dyn Fn(Port) -> Option<u32>,
        hint: Option<&Seen>,
    ) -> Result<Seen, Unable> {
        let how = provider::Call::default();
        match call {
            Call::Register { family, .. } if self.families.contains_key(family) => Ok(Seen::NotMade),
            Call::Register { family, spec } => {
                let made = self.provider.register_family(spec, &how)?;
                self.speaks.insert(made.handle, nix::libc::NETLINK_GENERIC);
                names.handle(made.handle, (*family).into());
                names.script(made.handle, &spec.script);
                Ok(self.registered(*family, made, names))
            }
            Call::RegisterAgain { family } => match self.families.get(family).map(|known| known.handle) {
                Some(handle) => {
                    let made = self.provider.register_again(handle, &how)?;
                    Ok(self.registered(*family, made, names))
                }
                None => Ok(Seen::NotMade),
            },
            Call::Unregister { family } => match self.families.get_mut(family).filter(|known| known.ever) {
                Some(known) => {
                    let returned = self.provider.unregister_family(known.handle, &how)?;
                    if let Some((_, groups)) = known.registered.take() {
                        names.no_family(&groups);
                    }
                    Ok(Seen::Returned(returned))
                }
                None => Ok(Seen::NotMade),
            },
            Call::Create { protocol, .. } if self.protocols.contains_key(protocol) => Ok(Seen::NotMade),
            Call::Create { protocol, spec } => {
                let (handle, returned) = self.provider.create_protocol(spec, &how)?;
                if returned == 0 {
                    self.protocols.insert(*protocol, handle);
                }
                self.speaks.insert(handle, spec.protocol);
                names.handle(handle, 0x100 + u32::from(*protocol));
                Ok(Seen::Returned(returned))
            }
            Call::Release { protocol } => match self.protocols.remove(protocol) {
                Some(handle) => self.provider.release_protocol(handle).map(|()| Seen::Ok),
                None => Ok(Seen::NotMade),
            },
            Call::FromKernel { from, port, send } => {
                let handle = match from {
                    Object::Family(family) => self
                        .families
                        .get(family)
                        .filter(|known| known.registered.is_some())
                        .map(|known| known.handle),
                    Object::Protocol(protocol) => self.protocols.get(protocol).copied(),
                };
                let (Some(handle), Some(portid)) = (handle, port_of(*port)) else { return Ok(Seen::NotMade) };
                let send = match send.verb {
                    Verb::MulticastFiltered(_) => {
                        KernelSend { portid: 0, verb: Verb::MulticastFiltered(portid), ..send.clone() }
                    }
                    _ => KernelSend { portid, ..send.clone() },
                };
                self.provider.send(handle, &send, &how).map(Seen::Returned)
            }
            Call::AddCallback { callback, .. } if self.callbacks.contains(callback) => Ok(Seen::NotMade),
            Call::AddCallback { callback, spec } => {
                let (handle, returned) = self.provider.add_callback(spec, &how)?;
                self.callbacks.insert(*callback);
                self.speaks.insert(handle, nix::libc::NETLINK_CONNECTOR);
                names.handle(handle, 0x200 + u32::from(*callback));
                Ok(Seen::Returned(returned))
            }
            Call::DelCallback { id } => self.provider.del_callback(*id).map(|()| Seen::Ok),
            Call::FromConnector { port, send } => {
                let Some(portid) = port_of(*port) else { return Ok(Seen::NotMade) };
                let how = provider::Call { context: Context::Softirq, ..how };
                let send = ConnectorSend { portid, ..send.clone() };
                self.provider.connector_send(&send, &how).map(Seen::Returned)
            }
            Call::WatchRelease => self.provider.watch_release().map(|()| Seen::Ok),
            Call::References => self.references(hint),
            Call::Log => Ok(self.log(names)),
            _ => Ok(Seen::NotMade),
        }
    }

    fn registered(&mut self, family: Name, made: Registration, names: &mut Names) -> Seen {
        let before = self.families.remove(&family);
        let ever = made.returned == 0 || before.as_ref().is_some_and(|known| known.ever);
        let registered = match made.returned {
            0 => {
                names.family(family, made.id, &made.groups);
                Some((made.id, made.groups))
            }
            _ => before.and_then(|known| known.registered),
        };
        self.families.insert(family, Family { handle: made.handle, registered, ever });
        Seen::Returned(made.returned)
    }

    /// The references, once they are as many as expected, or after a moment: a closed socket gives up its own
    /// a little later.
    fn references(&self, hint: Option<&Seen>) -> Result<Seen, Unable> {
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let seen = Seen::Returned(self.provider.module_references()?.into());
            if hint.is_none_or(|hint| *hint == seen) || Instant::now() > deadline {
                return Ok(seen);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn log(&self, names: &Names) -> Seen {
        let protocol = |handle| self.speaks.get(&handle).copied().unwrap_or(0);
        match self.provider.log(0) {
            Ok(entries) => {
                let related =
                    entries.into_iter().map(|entry| names.relate_log(protocol(entry.handle), entry));
                Seen::Log(related.collect())
            }
            Err(Unable::Unsupported(fact) | Unable::Failed(fact)) => Seen::Inexpressible(fact),
        }
    }

    /// What is left of the log once it has as many entries as expected, or after a moment.
    pub fn last_log(&mut self, names: &Names, expected: usize) -> Seen {
        let deadline = Instant::now() + CATCH_UP;
        let mut all = Vec::new();
        loop {
            match self.log(names) {
                Seen::Log(entries) => all.extend(entries),
                other => return other,
            }
            if all.len() >= expected || Instant::now() > deadline {
                return Seen::Log(all);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
