//! What kernel code sends, for families, protocols and the connector.

use serde::{Deserialize, Serialize};

use super::CbId;

/// Sends from the kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KernelSend {
    /// Which call.
    pub verb: Verb,
    /// Index in the family's groups; for a protocol the group itself.
    pub group: u32,
    /// Destination of a unicast; the port ID excluded from a multicast.
    pub portid: u32,
    /// Command of the message; for a protocol its nlmsg_type.
    pub cmd: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub seq: u32,
    /// What follows the headers.
    pub payload: Vec<u8>,
    /// The payload is the whole datagram, headers included: `cmd`, `flags` and `seq` are not used.
    #[serde(default)]
    pub raw: bool,
}

/// The ways in which a provider can send, or query the receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// `genlmsg_multicast_netns()`, `nlmsg_multicast()`.
    Multicast,
    /// `genlmsg_multicast()`: always in the initial network namespace. Families only.
    MulticastInitial,
    /// `genlmsg_multicast_allns()`. Families only.
    MulticastAll,
    /// `genlmsg_multicast_netns_filtered()` with a filter that skips the socket with this port ID
    /// (0: skips all). Families only (kernels that have it).
    MulticastFiltered(u32),
    /// `genlmsg_unicast()`, `nlmsg_unicast()`.
    Unicast,
    /// `genl_set_err()`, `netlink_set_err()` with this positive errno.
    SetErr(i32),
    /// `genl_has_listeners()`, `netlink_has_listeners()`: 1 or 0.
    HasListeners,
    /// `genlmsg_put()` into a buffer of this many bytes: 1 if it fits, 0 if it returns NULL.
    PutInto(u32),
    /// `nlmsg_notify()`: a multicast, unless the group is 0, of which the port gets one copy of its own if it is
    /// reported to it. Protocols only, whose families have `Action::Notify`.
    Notify(bool),
}

/// A send through the connector.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConnectorSend {
    /// Id in the message.
    pub id: CbId,
    /// `seq` in the message.
    pub seq: u32,
    /// `ack` in the message.
    pub ack: u32,
    /// `flags` in the message.
    pub flags: u16,
    /// `len` in the message; the whole payload if not given.
    pub len: Option<u16>,
    /// What follows the cn_msg (`len` of `cn_netlink_send_mult()` is its size).
    pub payload: Vec<u8>,
    /// Port ID given.
    pub portid: u32,
    /// Group given.
    pub group: u32,
    /// Filter that skips the socket with this port ID (0: skips all; kernels that have it).
    pub skip: Option<u32>,
}
