//! The provider side of an adapter.

use super::Link;
use super::protocol::Call;
use crate::port::provider::{
    Call as How, Callback, CbId, ConnectorSend, Family, Handle, KernelSend, LogEntry, Protocol, Provider,
    Registration, Returned, Unable,
};

/// What a case registered through an adapter.
#[derive(Debug)]
pub struct AdapterProvider {
    pub(super) link: Link,
}

impl Provider for AdapterProvider {
    fn register_family(&self, family: &Family, how: &How) -> Result<Registration, Unable> {
        self.link.provider_call(&Call::RegisterFamily { family: family.clone(), how: how.clone() })
    }

    fn register_again(&self, handle: Handle, how: &How) -> Result<Registration, Unable> {
        self.link.provider_call(&Call::RegisterAgain { handle, how: how.clone() })
    }

    fn unregister_family(&self, handle: Handle, how: &How) -> Result<Returned, Unable> {
        self.link.provider_call(&Call::UnregisterFamily { handle, how: how.clone() })
    }

    fn create_protocol(&self, protocol: &Protocol, how: &How) -> Result<(Handle, Returned), Unable> {
        self.link.provider_call(&Call::CreateProtocol { protocol: protocol.clone(), how: how.clone() })
    }

    fn release_protocol(&self, handle: Handle) -> Result<(), Unable> {
        self.link.provider_call(&Call::ReleaseProtocol { handle })
    }

    fn send(&self, handle: Handle, send: &KernelSend, how: &How) -> Result<Returned, Unable> {
        self.link.provider_call(&Call::KernelSend { handle, send: send.clone(), how: how.clone() })
    }

    fn add_callback(&self, callback: &Callback, how: &How) -> Result<(Handle, Returned), Unable> {
        self.link.provider_call(&Call::AddCallback { callback: callback.clone(), how: how.clone() })
    }

    fn del_callback(&self, id: CbId) -> Result<(), Unable> {
        self.link.provider_call(&Call::DelCallback { id })
    }

    fn connector_send(&self, send: &ConnectorSend, how: &How) -> Result<Returned, Unable> {
        self.link.provider_call(&Call::ConnectorSend { send: send.clone(), how: how.clone() })
    }

    fn watch_release(&self) -> Result<(), Unable> {
        self.link.provider_call(&Call::WatchRelease)
    }

    fn tap(&self, ifindex: u32, add: bool) -> Result<Returned, Unable> {
        self.link.provider_call(&Call::Tap { ifindex, add })
    }

    fn blocked(&self, wait_ms: u64) -> Result<u32, Unable> {
        self.link.provider_call(&Call::Blocked { wait_ms })
    }

    fn release(&self) -> Result<(), Unable> {
        self.link.provider_call(&Call::Release)
    }

    fn module_references(&self) -> Result<u32, Unable> {
        self.link.provider_call(&Call::ModuleReferences)
    }

    fn allocation_failed(&self) -> Result<bool, Unable> {
        self.link.provider_call(&Call::AllocationFailed)
    }

    fn log(&self, wait_ms: u64) -> Result<Vec<LogEntry>, Unable> {
        self.link.provider_call(&Call::Log { wait_ms })
    }
}

impl Drop for AdapterProvider {
    fn drop(&mut self) {
        self.link.farewell(&Call::EndProvide);
    }
}
