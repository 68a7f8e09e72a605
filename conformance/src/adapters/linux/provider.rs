//! The provider side through the module nlprobe.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::abi::{self, Array};
use super::device::Device;
use super::encode::{Arena, bits, call};
use super::family;
use super::log;
use crate::port::provider::{
    Call, Callback, CbId, ConnectorSend, Family, Handle, KernelSend, LogEntry, Protocol, Provider,
    Registration, Returned, Unable, Verb,
};

/// One open file of the probe, and what was registered through it.
pub struct Probe {
    device: Device,
    /// How many groups each family has.
    groups: Mutex<HashMap<Handle, u32>>,
    /// See [`Provider::allocation_failed`].
    allocation_failed: AtomicBool,
}

impl Probe {
    /// Opens the probe, with nothing registered yet.
    pub fn open() -> Result<Probe, Unable> {
        let (device, _) = Device::open()?;
        Ok(Probe { device, groups: Mutex::default(), allocation_failed: AtomicBool::new(false) })
    }

    fn registration(&self, made: &abi::Registration) -> Registration {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let count = groups.get(&made.handle).copied().unwrap_or(0);
        Registration {
            handle: made.handle,
            returned: made.result,
            id: made.id as u16, // GENL_MAX_ID is 1023
            groups: (0..count).map(|index| made.first_group.wrapping_add(index)).collect(),
        }
    }

    /// Remembers whether the allocation that the call had to fail was reached.
    fn made(&self, call: &abi::Call) {
        if call.fail_nth > 0 {
            self.allocation_failed.store(call.failed > 0, Ordering::Relaxed);
        }
    }

    fn state(&self, wait_ms: u64) -> Result<abi::State, Unable> {
        let mut state = abi::State { wait_ms: wait(wait_ms), ..Default::default() };
        self.device.call(&abi::NLPROBE_STATE, &mut state)?;
        Ok(state)
    }
}

/// The probe refuses to wait longer than it can.
fn wait(wait_ms: u64) -> u32 {
    wait_ms.min(abi::NLPROBE_MAX_WAIT.into()) as u32
}

fn cb_id(id: CbId) -> abi::CbId {
    abi::CbId { idx: id.idx, val: id.val }
}

impl Provider for Probe {
    fn register_family(&self, family: &Family, how: &Call) -> Result<Registration, Unable> {
        let mut arena = Arena::default();
        let mut argument = family::family(&mut arena, family, how)?;
        self.device.call(&abi::NLPROBE_FAMILY, &mut argument)?;
        self.made(&argument.registration.call);
        let made = argument.registration;
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.insert(made.handle, argument.groups.count);
        drop(groups);
        Ok(self.registration(&made))
    }

    fn register_again(&self, handle: Handle, how: &Call) -> Result<Registration, Unable> {
        let mut argument = abi::Registration { call: call(how)?, handle, ..Default::default() };
        self.device.call(&abi::NLPROBE_REGISTER, &mut argument)?;
        self.made(&argument.call);
        Ok(self.registration(&argument))
    }

    fn unregister_family(&self, handle: Handle, how: &Call) -> Result<Returned, Unable> {
        let mut argument = abi::Registration { call: call(how)?, handle, ..Default::default() };
        self.device.call(&abi::NLPROBE_UNREGISTER, &mut argument)?;
        self.made(&argument.call);
        Ok(argument.result)
    }

    fn create_protocol(&self, protocol: &Protocol, how: &Call) -> Result<(Handle, Returned), Unable> {
        let mut arena = Arena::default();
        let mut argument = abi::Protocol {
            call: call(how)?,
            protocol: protocol.protocol,
            groups: protocol.groups,
            flags: bits([
                (protocol.nonroot_recv, abi::NLPROBE_PROTOCOL_NONROOT_RECV),
                (protocol.nonroot_send, abi::NLPROBE_PROTOCOL_NONROOT_SEND),
                (protocol.input, abi::NLPROBE_PROTOCOL_INPUT),
                (protocol.bind, abi::NLPROBE_PROTOCOL_BIND),
                (protocol.no_cfg, abi::NLPROBE_PROTOCOL_NO_CFG),
            ]),
            script: arena.script(&protocol.script),
            ..Default::default()
        };
        self.device.call(&abi::NLPROBE_PROTOCOL, &mut argument)?;
        self.made(&argument.call);
        Ok((argument.handle, argument.result))
    }

    fn release_protocol(&self, mut handle: Handle) -> Result<(), Unable> {
        self.device.call(&abi::NLPROBE_PROTOCOL_END, &mut handle)
    }

    fn send(&self, handle: Handle, send: &KernelSend, how: &Call) -> Result<Returned, Unable> {
        let (verb, arg) = match send.verb {
            Verb::Multicast => (abi::NLPROBE_MULTICAST, 0),
            Verb::MulticastInitial => (abi::NLPROBE_MULTICAST_INITIAL, 0),
            Verb::MulticastAll => (abi::NLPROBE_MULTICAST_ALL, 0),
            Verb::MulticastFiltered(skip) => (abi::NLPROBE_MULTICAST_FILTERED, skip),
            Verb::Unicast => (abi::NLPROBE_UNICAST, 0),
            Verb::SetErr(errno) => (abi::NLPROBE_SET_ERR, errno as u32),
            Verb::HasListeners => (abi::NLPROBE_HAS_LISTENERS, 0),
            Verb::PutInto(room) => (abi::NLPROBE_PUT_INTO, room),
            Verb::Notify(report) => (abi::NLPROBE_NLMSG_NOTIFY, report.into()),
        };
        let mut arena = Arena::default();
        let mut argument = abi::Send {
            call: call(how)?,
            handle,
            verb,
            arg,
            group: send.group,
            portid: send.portid,
            seq: send.seq,
            r#type: send.cmd,
            flags: send.flags,
            raw: send.raw.into(),
            payload: arena.array(send.payload.clone()),
            ..Default::default()
        };
        self.device.call(&abi::NLPROBE_SEND, &mut argument)?;
        self.made(&argument.call);
        Ok(argument.result)
    }

    fn add_callback(&self, callback: &Callback, how: &Call) -> Result<(Handle, Returned), Unable> {
        let mut arena = Arena::default();
        let mut argument = abi::Callback {
            call: call(how)?,
            id: cb_id(callback.id),
            name: arena.array(callback.name.clone().into_bytes()),
            script: arena.script(&callback.script),
            ..Default::default()
        };
        self.device.call(&abi::NLPROBE_CALLBACK, &mut argument)?;
        self.made(&argument.call);
        Ok((argument.handle, argument.result))
    }

    fn del_callback(&self, id: CbId) -> Result<(), Unable> {
        self.device.call(&abi::NLPROBE_CALLBACK_END, &mut cb_id(id))
    }

    fn connector_send(&self, send: &ConnectorSend, how: &Call) -> Result<Returned, Unable> {
        let whole = || u16::try_from(send.payload.len()).ok();
        let len = send.len.or_else(whole).ok_or_else(|| {
            Unable::Failed(format!("{} bytes do not fit a cn_msg's len", send.payload.len()))
        })?;
        let mut arena = Arena::default();
        let mut argument = abi::ConnectorSend {
            call: call(how)?,
            id: cb_id(send.id),
            seq: send.seq,
            ack: send.ack,
            len,
            flags: send.flags,
            portid: send.portid,
            group: send.group,
            filter: send.skip.is_some().into(),
            skip: send.skip.unwrap_or(0),
            payload: arena.array(send.payload.clone()),
            ..Default::default()
        };
        self.device.call(&abi::NLPROBE_CONNECTOR_SEND, &mut argument)?;
        self.made(&argument.call);
        Ok(argument.result)
    }

    fn watch_release(&self) -> Result<(), Unable> {
        self.device.call(&abi::NLPROBE_WATCH_RELEASE, &mut ())
    }

    fn tap(&self, ifindex: u32, add: bool) -> Result<Returned, Unable> {
        let mut argument = abi::Tap { ifindex, add: add.into(), result: 0 };
        self.device.call(&abi::NLPROBE_TAP, &mut argument)?;
        Ok(argument.result)
    }

    fn blocked(&self, wait_ms: u64) -> Result<u32, Unable> {
        Ok(self.state(wait_ms)?.blocked)
    }

    fn release(&self) -> Result<(), Unable> {
        self.device.call(&abi::NLPROBE_RELEASE, &mut ())
    }

    fn module_references(&self) -> Result<u32, Unable> {
        Ok(self.state(0)?.references)
    }

    fn allocation_failed(&self) -> Result<bool, Unable> {
        Ok(self.allocation_failed.load(Ordering::Relaxed))
    }

    fn log(&self, wait_ms: u64) -> Result<Vec<LogEntry>, Unable> {
        let mut entries = Vec::new();
        let mut wait_ms = wait(wait_ms);
        // Not zeroed: it is much larger than what is usually read.
        let mut room = Vec::<u8>::with_capacity(4 * log::LARGEST);
        loop {
            let buffer = Array { ptr: room.as_mut_ptr() as u64, count: room.capacity() as u32, reserved: 0 };
            let mut argument = abi::Log { buffer, wait_ms, ..Default::default() };
            self.device.call(&abi::NLPROBE_LOG, &mut argument)?;
            if argument.lost > 0 {
                let reason = format!("the probe had no room for {} log entries", argument.lost);
                return Err(Unable::Failed(reason));
            }
            let used = (argument.used as usize).min(room.capacity());
            // SAFETY: the probe has written this many bytes.
            unsafe { room.set_len(used) };
            entries.extend(log::decode(&room)?);
            // If another entry would have fitted, there was none.
            if used + log::LARGEST <= room.capacity() {
                return Ok(entries);
            }
            wait_ms = 0;
        }
    }
}
