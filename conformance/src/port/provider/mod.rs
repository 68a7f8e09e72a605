//! The provider side of the port: what kernel code may call, as plain data.
//!
//! A case describes a family, a protocol or a connector callback with these types; an
//! adapter turns them into calls. For `linux` that is the probe module's ioctl ABI, for an adapter
//! in another language the same types as JSON.
//!
//! Callbacks are scripts: a list of [`Step`]s, run in order each time the callback is called. A
//! script that runs off its end returns the callback's usual value: 0, or, for `dumpit`, the
//! number of bytes put into the buffer.

mod family;
mod script;
mod send;

use serde::{Deserialize, Serialize};

pub use family::*;
pub use script::*;
pub use send::*;

/// Identifies an object that a provider registered. Private to one [`Provider`].
pub type Handle = u32;

/// The callee's return value: by the kernel's convention a negative errno on error.
pub type Returned = i64;

/// The provider side of a target.
///
/// Two kinds of failure are kept apart. An [`Unable`] says that the call was never made (the
/// target lacks it, or the adapter failed); a [`Returned`] is what the callee returned.
/// Dropping the provider undoes everything that it registered.
pub trait Provider: Send + Sync {
    /// `genl_register_family()`. The handle exists, and can be registered again, even if the
    /// registration failed.
    fn register_family(&self, family: &Family, how: &Call) -> Result<Registration, Unable>;
    /// `genl_register_family()` once more with the structure that `handle` names.
    fn register_again(&self, handle: Handle, how: &Call) -> Result<Registration, Unable>;
    /// `genl_unregister_family()`.
    fn unregister_family(&self, handle: Handle, how: &Call) -> Result<Returned, Unable>;
    /// `netlink_kernel_create()`. -ENOMEM stands for a return value of NULL.
    fn create_protocol(&self, protocol: &Protocol, how: &Call) -> Result<(Handle, Returned), Unable>;
    /// `netlink_kernel_release()`.
    fn release_protocol(&self, handle: Handle) -> Result<(), Unable>;
    /// One of the ways in which a family or a protocol can send; see [`KernelSend`].
    fn send(&self, handle: Handle, send: &KernelSend, how: &Call) -> Result<Returned, Unable>;
    /// `cn_add_callback()`.
    fn add_callback(&self, callback: &Callback, how: &Call) -> Result<(Handle, Returned), Unable>;
    /// `cn_del_callback()`.
    fn del_callback(&self, id: CbId) -> Result<(), Unable>;
    /// `cn_netlink_send_mult()`.
    fn connector_send(&self, send: &ConnectorSend, how: &Call) -> Result<Returned, Unable>;
    /// Watches for `NETLINK_URELEASE` (`netlink_register_notifier()`); each becomes a [`LogEntry`].
    fn watch_release(&self) -> Result<(), Unable>;
    /// `netlink_add_tap()` (or `netlink_remove_tap()`) on the interface with this index.
    fn tap(&self, ifindex: u32, add: bool) -> Result<Returned, Unable>;
    /// How many callbacks wait in [`Action::Block`]. Waits up to `wait_ms` for a first one.
    fn blocked(&self, wait_ms: u64) -> Result<u32, Unable>;
    /// Lets the callbacks that wait in [`Action::Block`] continue.
    fn release(&self) -> Result<(), Unable>;
    /// References to the module that owns what this provider registered, less the provider's own.
    fn module_references(&self) -> Result<u32, Unable>;
    /// Whether the allocation that the latest call with [`Call::fail_nth`] asked for was reached, and so
    /// failed. It is not reached if the callee makes fewer allocations.
    fn allocation_failed(&self) -> Result<bool, Unable>;
    /// Takes the entries of the log, oldest first. Waits up to `wait_ms` for a first entry.
    fn log(&self, wait_ms: u64) -> Result<Vec<LogEntry>, Unable>;
}

/// Why a provider call was not made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Unable {
    /// The target does not have this; worded as a fact about it.
    Unsupported(String),
    /// The adapter could not do its work.
    Failed(String),
}

/// Where and how a provider call is made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Call {
    /// Fails the n-th memory allocation made by the callee, counting from 1; 0 fails none.
    pub fail_nth: u32,
    /// Network namespace.
    pub net: Net,
    /// Execution context.
    pub context: Context,
}

/// A network namespace, as seen from the case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Net {
    /// The caller's own.
    #[default]
    Own,
    /// The initial one.
    Initial,
    /// The one of an open file descriptor of the caller.
    Fd(i32),
}

/// The context in which kernel code runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[repr(u8)] // in the order of nlprobe.h
pub enum Context {
    /// In the caller's process; it may sleep, allocations are `GFP_KERNEL`.
    #[default]
    Process,
    /// In a softirq, or on kernels before 6.9 in a process with softirqs off: nothing may sleep,
    /// allocations are `GFP_ATOMIC`.
    Softirq,
    /// In the caller's process, with interrupts off and a lock held that an interrupt takes, too: nothing may
    /// sleep, allocations are `GFP_ATOMIC`.
    InterruptsOff,
}

/// A netlink protocol, as given to `netlink_kernel_create()`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Protocol {
    /// Protocol number.
    pub protocol: i32,
    /// The requested number of groups.
    pub groups: u32,
    /// `NL_CFG_F_NONROOT_RECV`.
    pub nonroot_recv: bool,
    /// `NL_CFG_F_NONROOT_SEND`.
    pub nonroot_send: bool,
    /// Has `input`.
    pub input: bool,
    /// Has `bind` and `unbind`.
    pub bind: bool,
    /// Has no configuration at all, but NULL: `groups` is then 0 and all else false.
    #[serde(default)]
    pub no_cfg: bool,
    /// What the callbacks do.
    pub script: Vec<Step>,
}

/// A connector callback, as given to `cn_add_callback()`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Callback {
    /// Its id.
    pub id: CbId,
    /// Its name.
    pub name: String,
    /// What it does.
    pub script: Vec<Step>,
}

/// `struct cb_id`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the kernel's own names")]
pub struct CbId {
    pub idx: u32,
    pub val: u32,
}

/// The result of a registration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Registration {
    /// The handle of the family from now on.
    pub handle: Handle,
    /// What `genl_register_family()` returned.
    pub returned: Returned,
    /// The family's ID.
    pub id: u16,
    /// Global IDs of its groups, in order.
    pub groups: Vec<u32>,
}

/// One call of a callback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogEntry {
    /// The callback.
    pub on: On,
    /// Object that it belongs to; 0 for [`On::Release`].
    pub handle: Handle,
    /// Command, group of a bind, protocol of a release, index of the group of a message that was left; else 0.
    pub subject: u32,
    /// Port ID of the requester (for a release, of the closed socket).
    pub portid: u32,
    /// Sequence number of the request.
    pub seq: u32,
    /// Which call of this callback this was: see [`Step::call`].
    pub call: u32,
    /// The callback's return value. For [`On::Release`]: 1 if the socket was of the network namespace in which
    /// [`Provider::watch_release`] was called, else 2 if of the initial one, else 3.
    pub returned: i64,
    /// Thread group of the task that it ran in, in the initial PID namespace.
    pub tgid: u32,
    /// Effective user of the requester, in the initial user namespace.
    pub uid: u32,
    /// Nanoseconds of the monotonic clock when it was entered and when it returned.
    pub entered_ns: u64,
    /// See `entered_ns`.
    pub left_ns: u64,
    /// What [`Action::Capture`] took, concatenated.
    pub bytes: Vec<u8>,
}
