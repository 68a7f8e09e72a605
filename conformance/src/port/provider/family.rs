//! Families as kernel code registers them: operations, groups and policies.

use serde::{Deserialize, Serialize};

use super::Step;

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
#[expect(missing_docs, reason = "the kernel's own names")]
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
