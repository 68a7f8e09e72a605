//! The provider side of the port: what kernel code may call, as plain data.
//!
//! A case describes a family, a protocol or a connector callback with these types; an
//! adapter turns them into calls. For `linux` that is the probe module's ioctl ABI, for an adapter
//! in another language the same types as JSON.
//!
//! Callbacks are scripts: a list of [`Step`]s, run in order each time the callback is called. A
//! script that runs off its end returns the callback's usual value: 0, or, for `dumpit`, the
//! number of bytes put into the buffer.

use serde::{Deserialize, Serialize};

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

/// A generic netlink family as given to `genl_register_family()`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Family {
    /// The requested ID (the core ignores it).
    pub id: u32,
    /// Up to `GENL_NAMSIZ` - 1 bytes.
    pub name: String,
    /// Bytes of the family's own header.
    pub hdrsize: u32,
    /// The family's version.
    pub version: u32,
    /// Highest attribute type that the family-wide policy covers.
    pub maxattr: u32,
    /// Index of the family-wide policy in `policies`.
    pub policy: Option<u32>,
    /// Visible outside the initial network namespace.
    pub netnsok: bool,
    /// Requests may run concurrently.
    pub parallel_ops: bool,
    /// First command with strict checks of headers (kernels that have it).
    pub resv_start_op: u32,
    /// Fill in `pre_doit` and `post_doit` of the family.
    pub pre_post: bool,
    /// Fill in `bind` and `unbind` of the family (kernels that have them).
    pub bind: bool,
    /// The commands, each in the array of its kind, in this order.
    pub ops: Vec<Op>,
    /// Set the count of this kind, but no array.
    pub missing_array: Option<OpKind>,
    /// Multicast groups.
    pub groups: Vec<Group>,
    /// Attribute policies, referred to by index.
    pub policies: Vec<Policy>,
    /// What the callbacks do.
    pub script: Vec<Step>,
}

/// The kinds of command arrays that a family has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[repr(u8)] // in the order of nlprobe.h
pub enum OpKind {
    /// `struct genl_ops`.
    #[default]
    Full,
    /// `struct genl_small_ops`: no start, no done, no policy.
    Small,
    /// `struct genl_split_ops`: a do or a dump (kernels that have them).
    Split,
}

/// `GENL_DONT_VALIDATE_STRICT`: requests of the do kind are validated liberally.
pub const DONT_VALIDATE_STRICT: u8 = 1;
/// `GENL_DONT_VALIDATE_DUMP`: requests of the dump kind are not validated.
pub const DONT_VALIDATE_DUMP: u8 = 2;
/// `GENL_DONT_VALIDATE_DUMP_STRICT`: requests of the dump kind are validated liberally.
pub const DONT_VALIDATE_DUMP_STRICT: u8 = 4;

/// One entry of a command array.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Op {
    /// The array that it is in.
    pub kind: OpKind,
    /// Command number.
    pub cmd: u8,
    /// `GENL_ADMIN_PERM` and the like; for a split op also `GENL_CMD_CAP_DO` or `_DUMP`.
    pub flags: u8,
    /// [`DONT_VALIDATE_STRICT`] and the like.
    pub validate: u8,
    /// The family's own bits.
    pub internal_flags: u8,
    /// Has `doit`.
    pub doit: bool,
    /// Has `dumpit`.
    pub dumpit: bool,
    /// Has `start` (full and split ops).
    pub start: bool,
    /// Has `done` (full and split ops).
    pub done: bool,
    /// Has `pre_doit` and `post_doit` (split ops).
    pub pre_post: bool,
    /// Highest attribute type that its own policy covers.
    pub maxattr: u32,
    /// Index of its own policy in the family's `policies`.
    pub policy: Option<u32>,
}

/// One multicast group of a family.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Group {
    /// Bytes of the name; if all 16 of `GENL_NAMSIZ` are used, it is not terminated.
    pub name: String,
    /// Joining needs `CAP_NET_ADMIN`.
    pub net_admin: bool,
    /// Joining needs `CAP_SYS_ADMIN`.
    pub sys_admin: bool,
}

/// An attribute policy: entries by attribute type; a type without an entry is `NLA_UNSPEC`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Policy {
    /// The entries.
    pub entries: Vec<PolicyEntry>,
    /// `strict_start_type` of entry 0.
    pub strict_start_type: u16,
}

/// `struct nla_policy` for one attribute type.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyEntry {
    /// Attribute type that it describes.
    pub attr: u16,
    /// Type of the payload.
    pub kind: AttrKind,
    /// `len`: the maximum length of a string or binary, the highest attribute type of a nest.
    pub len: u16,
    /// The check beyond the type.
    pub check: Check,
}

/// `NLA_*` payload types of the kernel's policies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the kernel's own names
#[repr(u8)] // in the order of nlprobe.h
pub enum AttrKind {
    #[default]
    Unspec,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    Be16,
    Be32,
    Uint,
    Sint,
    Msecs,
    String,
    NulString,
    Flag,
    Binary,
    Nested,
    NestedArray,
    Bitfield32,
    Reject,
}

/// What a policy entry checks beyond the type.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Nothing.
    #[default]
    None,
    /// `NLA_VALIDATE_MIN`.
    Min(i16),
    /// `NLA_VALIDATE_MAX`.
    Max(i16),
    /// `NLA_VALIDATE_RANGE`.
    Range(i16, i16),
    /// `NLA_VALIDATE_RANGE_PTR` with unsigned bounds.
    WideRange(u64, u64),
    /// `NLA_VALIDATE_RANGE_PTR` with signed bounds.
    WideRangeSigned(i64, i64),
    /// `NLA_VALIDATE_MASK`, of 32 bits at most; the valid bits of a `Bitfield32`.
    Mask(u64),
    /// `NLA_VALIDATE_RANGE_WARN_TOO_LONG`: exactly `len` bytes.
    ExactLenWarn,
    /// The policy with this index, for a nest or an array of nests; `len` is its highest type.
    Nested(u32),
    /// Message of an `NLA_REJECT`.
    Message(String),
    /// `NLA_VALIDATE_FUNCTION`: a function that returns this errno, with the message
    /// [`Check::FUNCTION_MESSAGE`] and the attribute's offset.
    Function(i32),
}

impl Check {
    /// The message that the function of a [`Check::Function`] sets in the extended acknowledgement.
    pub const FUNCTION_MESSAGE: &str = "refused by a function";
}

/// One step of a callback's script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Step {
    /// The callback that runs it.
    pub on: On,
    /// Run it only for this command of a family; `None` for each.
    pub cmd: Option<u8>,
    /// Run it only in the n-th call of `dumpit` within one dump, or the n-th call of another
    /// callback since it was set up, counting from 1; `None` in each.
    pub call: Option<u32>,
    /// What it does.
    pub action: Action,
}

/// The callbacks that can be scripted. Each call of one is also logged, scripted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[repr(u8)] // in the order of nlprobe.h
pub enum On {
    /// A family's `doit`.
    Doit,
    /// `dumpit` of a family, or of a dump that a protocol's input started.
    Dumpit,
    /// `start` of a dump.
    Start,
    /// `done` of a dump.
    Done,
    /// `pre_doit`.
    PreDoit,
    /// `post_doit`.
    PostDoit,
    /// `bind` of a family or a protocol.
    Bind,
    /// `unbind` of a family or a protocol.
    Unbind,
    /// One message that arrived at a protocol of the case (through `netlink_rcv_skb()`).
    Input,
    /// A connector callback.
    Connector,
    /// Log entries for `NETLINK_URELEASE`; never scripted.
    Release,
}

impl On {
    /// All of them, in their order.
    pub const ALL: [On; 11] = [
        On::Doit,
        On::Dumpit,
        On::Start,
        On::Done,
        On::PreDoit,
        On::PostDoit,
        On::Bind,
        On::Unbind,
        On::Input,
        On::Connector,
        On::Release,
    ];
}

/// What a step does. Unless stated otherwise, a step is allowed in every callback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Ends the call with this return value.
    Return(i64),
    /// `NL_SET_ERR_MSG()`.
    ErrMsg(String),
    /// `NL_SET_ERR_MSG_FMT()` with this as the formatted text (kernels that have it).
    ErrMsgFmt(String),
    /// `NL_SET_BAD_ATTR()` with the parsed attribute of this type.
    BadAttr(u16),
    /// `nl_set_extack_cookie_u64()`.
    Cookie(u64),
    /// `NL_SET_ERR_ATTR_MISS()` of this type, within the parsed attribute of that type (kernels
    /// that have it).
    MissAttr(u16, Option<u16>),
    /// `doit`, `pre_doit`, `post_doit`, `Input`: sends the requester one message with this command (or, from a protocol,
    /// this type), these flags and this payload after the family header.
    Reply(u16, u16, Vec<u8>),
    /// `doit`, `pre_doit`, `post_doit`: `genl_notify()` to the group with this index.
    Notify(u32, u8, Vec<u8>),
    /// `dumpit`: puts one message into the buffer, like `Reply`. Ends the call when it does not fit.
    Put(u16, u16, Vec<u8>),
    /// `dumpit`: puts records until this dump has this many. Each is a message with
    /// `NLM_F_MULTI`, checked by `nl_dump_check_consistent()`, that holds attribute 1 (u32: number
    /// of the record, from 0) and attribute 2 (this many bytes of filler). When one does not
    /// fit, the call ends: with the length of the buffer or, if the flag is set, with -EMSGSIZE.
    Records {
        /// Records in this dump when the step is done.
        until: u32,
        /// Filler in each record, in bytes.
        size: u32,
        /// How the call ends when the buffer is full.
        emsgsize: bool,
    },
    /// `start`, `dumpit`: `cb->seq`.
    DumpSeq(u32),
    /// `dumpit`: `cb->answer_flags`.
    AnswerFlags(u16),
    /// `start`: `cb->min_dump_alloc`.
    MinDumpAlloc(u32),
    /// `Input`: `netlink_dump_start()`; ends the call with what it returns.
    StartDump,
    /// Adds an argument of the callback, as bytes, to the log entry of this call.
    Capture(Capture),
    /// Waits until [`Provider::release`], 10 seconds at most. Not in atomic contexts.
    Block,
    /// Sleeps for this many milliseconds, 2000 at most.
    Sleep(u32),
    /// `doit`, `pre_doit`, `post_doit`, `start`, `Input`: sends the requester one datagram of exactly these bytes. `dumpit`: puts
    /// them into the buffer, padded to 4 bytes; ends the call when they do not fit.
    Datagram(RawDatagram),
    /// `doit`: calls a function of lib/nlattr.c with the parsed attribute, and adds to the log entry of this
    /// call what it returned (i64; -EINVAL without that attribute) and the bytes that it wrote (targets that have them).
    Helper(HelperCall),
}

/// A call of a function of lib/nlattr.c that no callback makes by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HelperCall {
    /// The function.
    pub helper: Helper,
    /// Type of the parsed attribute.
    pub attr: u16,
    /// The function's own argument, 256 at most; see [`Helper`].
    pub argument: u32,
    /// What the attribute is compared with.
    pub bytes: Vec<u8>,
}

/// The functions of [`HelperCall`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[repr(u8)] // in the order of nlprobe.h
pub enum Helper {
    /// `nla_strscpy()`; the argument is the size of the buffer. It wrote that, and one byte more shows
    /// whether it kept to it: 0xa5 is what was there before.
    #[default]
    Strscpy,
    /// `nla_strdup()`.
    Strdup,
    /// `nla_memcpy()`; argument and bytes as for `Strscpy`.
    Memcpy,
    /// `nla_memcmp()`.
    Memcmp,
    /// `nla_strcmp()`.
    Strcmp,
    /// `nla_find()` of the type that is the argument: returns its offset, or -ENOENT.
    Find,
    /// `nla_append()` into a buffer that has room for as many bytes as the argument says.
    Append,
    /// `nla_put_nohdr()` into such a buffer.
    PutNohdr,
    /// `nla_reserve_nohdr()` in such a buffer.
    ReserveNohdr,
    /// `nla_policy_len()` of as many entries of the family's policy.
    PolicyLen,
    /// `__nla_validate()` by the family's policy; the argument has the bits of `enum netlink_validation`.
    Validate,
    /// `nla_put()` of an attribute like the given one into such a buffer as `Append` gets.
    Put,
    /// `nla_put_64bit()` of it, into such a buffer; attribute 1 aligns it where the kernel wants that.
    #[serde(rename = "put-64bit")]
    Put64bit,
    /// `nla_reserve()` in such a buffer.
    Reserve,
    /// `nla_reserve_64bit()` in such a buffer.
    #[serde(rename = "reserve-64bit")]
    Reserve64bit,
    /// `nlmsg_parse()` of the message that the attribute holds, by the family's policy; the argument is the size of
    /// the header after its nlmsghdr.
    ParseMessage,
    /// `nlmsg_parse_deprecated()` of such a message.
    ParseMessageDeprecated,
    /// `nla_parse_nested()` of the nest that the attribute holds, by the family's policy.
    ParseNested,
}

/// One datagram that kernel code builds itself: messages whose headers are the script's own choice, where
/// [`Action::Reply`] and [`Action::Put`] write the usual ones.
///
/// With it a script can send anything that a kernel may legally send: an NLMSG_NOOP before the reply,
/// several messages in one datagram, an NLMSG_DONE without payload, NLM_F_DUMP_INTR where nothing changed.
/// Values that are known only from the request are filled in for the messages that ask for it:
///
/// ```
/// # use nlconform::port::provider::{Action, Family, On, Op, RawDatagram};
/// # use nlconform::wire::message::{NLMSG_DONE, NLM_F_MULTI, Message, NLMSG_NOOP};
/// let datagram = RawDatagram::default()
///     .reply(&Message::new(NLMSG_NOOP))
///     .family_reply(&Message::new(0).with(NLM_F_MULTI).bytes(&[1, 1, 0, 0])) // its genlmsghdr
///     .reply(&Message::new(NLMSG_DONE).with(NLM_F_MULTI));
/// let family = Family::named("example").op(Op::doing(1)).on(On::Doit, Action::Datagram(datagram));
/// ```
///
/// The core adds nothing to it but the acknowledgement of the request, and not even that when the callback
/// returns -EINTR: a `start` that sends datagrams and returns -EINTR has answered a dump request by
/// itself. For a multicast see [`KernelSend::raw`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RawDatagram {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The messages, bit 0 for the first one, that get the request's `nlmsg_type`: the ID of a family is
    /// not known when its script is written.
    pub type_of_request: u64,
    /// The messages that get the request's `nlmsg_seq`.
    pub seq_of_request: u64,
    /// The messages that get the requester's port ID as `nlmsg_pid`.
    pub portid_of_request: u64,
}

/// What [`Action::Capture`] can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Capture {
    /// The request from its nlmsghdr on (a connector callback: the cn_msg and its data).
    Message,
    /// Payload of the parsed attribute of this type; empty if absent.
    Attr(u16),
    /// u8 for each type from 0 to maxattr: 1 if that attribute is present; nothing if `attrs`
    /// is NULL.
    AttrsPresent,
    /// u32: offset of the user header from the genlmsghdr; then its `hdrsize` bytes.
    UserHeader,
    /// The bytes of the two `user_ptr`; nothing where there are none, as in dumps of some versions.
    UserPointers,
    /// u8: the command's `internal_flags`, in `pre_doit`, `post_doit` and the callbacks of a dump.
    InternalFlags,
    /// The `genl_info` (a dump's where it has one): u32 `snd_seq`, u32 `snd_portid`, then five u32 that are 1 if
    /// `nlhdr`, `genlhdr`, `family`, the network namespace and `extack` are those of the request, else 0.
    Info,
    /// u32 `strict_check`, then the 48 bytes of `cb->ctx` at the start of the call.
    DumpState,
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
#[allow(missing_docs)] // the kernel's own names
pub struct CbId {
    pub idx: u32,
    pub val: u32,
}

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
    /// reported to it. Protocols only, whose families have [`Action::Notify`].
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
    /// Command, group of a bind, protocol of a release; else 0.
    pub subject: u32,
    /// Port ID of the requester (for a release, of the closed socket).
    pub portid: u32,
    /// Sequence number of the request.
    pub seq: u32,
    /// Which call of this callback this was: see [`Step::call`].
    pub call: u32,
    /// The callback's return value.
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
