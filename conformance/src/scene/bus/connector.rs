//! Connector callbacks and sends of the provider.

use super::Bus;
use crate::outcome::Failure;
use crate::port::Sample;
use crate::port::capability::Capability;
use crate::port::provider::{Call, Callback, CbId, ConnectorSend, Handle, Provider, Returned};
use crate::wire::explain;

impl Bus<'_> {
    /// The provider of a target that has the connector.
    fn connector_side(&self) -> Result<&dyn Provider, Failure> {
        self.need(Capability::Connector)?;
        self.provider()
    }

    /// `cn_add_callback()`: a handle for the callback, and what the call returned.
    pub fn add_callback(&self, callback: &Callback, how: &Call) -> Result<(Handle, Returned), Failure> {
        self.need_call(how)?;
        let (handle, returned) = self.connector_side()?.add_callback(callback, how)?;
        let Callback { id, name, .. } = callback;
        let action = format!("probe: add callback {name:?} for {:#x}.{:#x}", id.idx, id.val);
        self.journal.note(action, explain::errno(returned), None);
        Ok((handle, returned))
    }

    /// `cn_del_callback()`.
    pub fn del_callback(&self, id: CbId) -> Result<(), Failure> {
        self.connector_side()?.del_callback(id)?;
        self.journal.note(format!("probe: delete callback for {:#x}.{:#x}", id.idx, id.val), "done", None);
        Ok(())
    }

    /// Loads the target's connector sample module, until the returned guard is dropped.
    pub fn connector_sample(&self) -> Result<Box<dyn Sample>, Failure> {
        self.need(Capability::ConnectorSample)?;
        let loaded = self.target.connector_sample();
        self.journal.note("load the example", if loaded.is_ok() { "loaded" } else { "not loaded" }, None);
        Ok(loaded?)
    }

    /// `cn_netlink_send_mult()`.
    pub fn connector_send(&self, send: &ConnectorSend, how: &Call) -> Result<Returned, Failure> {
        self.need_call(how)?;
        self.need_connector_send(send)?;
        let returned = self.connector_side()?.connector_send(send, how)?;
        let ConnectorSend { id, portid, group, payload, .. } = send;
        let action = format!(
            "probe: cn_netlink_send_mult() of {:#x}.{:#x} with {} bytes, portid {portid}, group {group}",
            id.idx,
            id.val,
            payload.len()
        );
        self.journal.note(action, explain::errno(returned), None);
        Ok(returned)
    }
}
