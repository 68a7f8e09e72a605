//! What callbacks do: scripts of steps.

use serde::{Deserialize, Serialize};

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
    /// Log entries for messages that a send to a group of a family has left to its caller, who gave them away and so
    /// loses them; never scripted.
    Left,
}

impl On {
    /// All of them, in their order.
    pub const ALL: [On; 12] = [
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
        On::Left,
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
    /// Waits until `Provider::release`, 10 seconds at most. Not in atomic contexts.
    Block,
    /// Sleeps for this many milliseconds, 2000 at most.
    Sleep(u32),
    /// `doit`, `pre_doit`, `post_doit`, `start`, `Input`: sends the requester one datagram of exactly these bytes. `dumpit`: puts
    /// them into the buffer, padded to 4 bytes; ends the call when they do not fit.
    Datagram(RawDatagram),
    /// `doit`: calls a function of lib/nlattr.c with the parsed attribute, and adds to the log entry of this
    /// call what it returned (i64; -EINVAL without that attribute) and the bytes that it wrote (targets that have them).
    Helper(HelperCall),
    /// `Input`: `netlink_ack()` of the request with this positive errno (0: success) and without an extended
    /// acknowledgement (NULL); ends the call with -EINTR, so that the core adds no acknowledgement.
    Ack(u16),
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
    /// `nla_put_uint()` of the value that the attribute holds (a u64 in host byte order), in an attribute of the same
    /// type, into such a buffer as `Append` gets (kernels that have it).
    PutUint,
    /// The same with `nla_put_sint()` (kernels that have it).
    PutSint,
    /// The same with `nla_put_msecs()`; the value is in milliseconds.
    PutMsecs,
    /// The same with `nla_put_bitfield32()`; the attribute holds u32 value and u32 selector.
    PutBitfield32,
    /// The same with `nla_put_net16()` of the value's lower bits.
    PutNet16,
    /// The same with `nla_put_net32()`.
    PutNet32,
    /// The same with `nla_put_net64()`.
    PutNet64,
    /// `nla_get_uint()`: returns the attribute's value, as do the others of this kind (kernels that have it).
    GetUint,
    /// `nla_get_sint()` (kernels that have it).
    GetSint,
    /// `nla_get_s8()`.
    GetS8,
    /// `nla_get_s16()`.
    GetS16,
    /// `nla_get_s32()`.
    GetS32,
    /// `nla_get_s64()`.
    GetS64,
    /// `nla_get_u64()`.
    GetU64,
    /// `nla_get_be64()`, in host byte order.
    GetBe64,
    /// `nla_get_msecs()`, in milliseconds.
    GetMsecs,
    /// `nla_get_bitfield32()`: the value in the lower half, the selector in the upper.
    GetBitfield32,
    /// Into such a buffer as `Append` gets: `nla_put_flag()` of type 1; `nla_nest_start()` of the attribute's type;
    /// `nla_put()` of its payload, of type 1; then `nla_nest_end()`, or `nla_nest_cancel()` where that did not fit.
    Nest,
    /// The same with `nla_nest_start_noflag()`.
    NestNoflag,
    /// `nlmsg_put()` of two messages with the attribute's payload into such a buffer, and `nlmsg_cancel()` of the second.
    Cancel,
    /// `nlmsg_put()` of one; `nlmsg_cancel()`, `genlmsg_cancel()` and `nla_nest_cancel()` of NULL.
    CancelNull,
    /// `genlmsg_parse()` of the message that the attribute holds, by the family's policy.
    ParseFamily,
    /// `genlmsg_parse_deprecated()` of such a message.
    ParseFamilyDeprecated,
}

impl Helper {
    /// Whether it is one of those for integers of variable size.
    pub fn is_of_variable_size(self) -> bool {
        matches!(self, Helper::PutUint | Helper::PutSint | Helper::GetUint | Helper::GetSint)
    }
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
/// itself. For a multicast see `KernelSend::raw`.
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
    /// The bytes of the two `user_ptr`, and of the rest of `ctx` where there is one; nothing where there are none, as
    /// in dumps of some versions.
    UserPointers,
    /// u8: the command's `internal_flags`, in `pre_doit`, `post_doit` and the callbacks of a dump.
    InternalFlags,
    /// The `genl_info` (a dump's where it has one): u32 `snd_seq`, u32 `snd_portid`, then five u32 that are 1 if
    /// `nlhdr`, `genlhdr`, `family`, the network namespace and `extack` are those of the request, else 0.
    Info,
    /// u32 `strict_check`, then the 48 bytes of `cb->ctx` at the start of the call.
    DumpState,
}
