//! Descriptions of attribute policies, in policy dumps and in extended acknowledgements
//! (include/uapi/linux/netlink.h: `enum netlink_attribute_type`, `enum netlink_policy_type_attr`).

use super::attr::{self, Attr};
use super::genl;
use super::message::Message;

/// `NL_ATTR_TYPE_FLAG`.
pub const NL_ATTR_TYPE_FLAG: u32 = 1;
/// `NL_ATTR_TYPE_U8`.
pub const NL_ATTR_TYPE_U8: u32 = 2;
/// `NL_ATTR_TYPE_U16`.
pub const NL_ATTR_TYPE_U16: u32 = 3;
/// `NL_ATTR_TYPE_U32`.
pub const NL_ATTR_TYPE_U32: u32 = 4;
/// `NL_ATTR_TYPE_U64`.
pub const NL_ATTR_TYPE_U64: u32 = 5;
/// `NL_ATTR_TYPE_S8`.
pub const NL_ATTR_TYPE_S8: u32 = 6;
/// `NL_ATTR_TYPE_S16`.
pub const NL_ATTR_TYPE_S16: u32 = 7;
/// `NL_ATTR_TYPE_S32`.
pub const NL_ATTR_TYPE_S32: u32 = 8;
/// `NL_ATTR_TYPE_S64`.
pub const NL_ATTR_TYPE_S64: u32 = 9;
/// `NL_ATTR_TYPE_BINARY`.
pub const NL_ATTR_TYPE_BINARY: u32 = 10;
/// `NL_ATTR_TYPE_STRING`.
pub const NL_ATTR_TYPE_STRING: u32 = 11;
/// `NL_ATTR_TYPE_NUL_STRING`.
pub const NL_ATTR_TYPE_NUL_STRING: u32 = 12;
/// `NL_ATTR_TYPE_NESTED`.
pub const NL_ATTR_TYPE_NESTED: u32 = 13;
/// `NL_ATTR_TYPE_NESTED_ARRAY`.
pub const NL_ATTR_TYPE_NESTED_ARRAY: u32 = 14;
/// `NL_ATTR_TYPE_BITFIELD32`.
pub const NL_ATTR_TYPE_BITFIELD32: u32 = 15;
/// `NL_ATTR_TYPE_SINT`.
pub const NL_ATTR_TYPE_SINT: u32 = 16;
/// `NL_ATTR_TYPE_UINT`.
pub const NL_ATTR_TYPE_UINT: u32 = 17;

/// `CTRL_ATTR_POLICY_DO`, u32.
pub const CTRL_ATTR_POLICY_DO: u16 = 1;
/// `CTRL_ATTR_POLICY_DUMP`, u32.
pub const CTRL_ATTR_POLICY_DUMP: u16 = 2;

/// `NL_POLICY_TYPE_ATTR_PAD`: aligns the attribute after it.
pub const NL_POLICY_TYPE_ATTR_PAD: u16 = 11;

/// The description of one attribute: `NL_POLICY_TYPE_ATTR_*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub struct Advertised {
    pub kind: Option<u32>,
    pub min_value_s: Option<i64>,
    pub max_value_s: Option<i64>,
    pub min_value_u: Option<u64>,
    pub max_value_u: Option<u64>,
    pub min_length: Option<u32>,
    pub max_length: Option<u32>,
    pub policy_idx: Option<u32>,
    pub policy_maxtype: Option<u32>,
    pub bitfield32_mask: Option<u32>,
    pub mask: Option<u64>,
}

impl Advertised {
    /// An attribute of this kind, without further description.
    pub const fn plain(kind: u32) -> Self {
        Advertised {
            kind: Some(kind),
            min_value_s: None,
            max_value_s: None,
            min_value_u: None,
            max_value_u: None,
            min_length: None,
            max_length: None,
            policy_idx: None,
            policy_maxtype: None,
            bitfield32_mask: None,
            mask: None,
        }
    }

    /// An unsigned integer within these bounds.
    pub const fn unsigned(kind: u32, min: u64, max: u64) -> Self {
        Advertised { min_value_u: Some(min), max_value_u: Some(max), ..Advertised::plain(kind) }
    }

    /// A signed integer within these bounds.
    pub const fn signed(kind: u32, min: i64, max: i64) -> Self {
        Advertised { min_value_s: Some(min), max_value_s: Some(max), ..Advertised::plain(kind) }
    }

    /// Parses the attributes that describe one attribute.
    pub fn read(attrs: &[Attr<'_>]) -> Self {
        let number = |kind| attr::find(attrs, kind).and_then(|attr| attr.u32());
        let wide = |kind| attr::find(attrs, kind).and_then(|attr| attr.u64());
        Advertised {
            kind: number(1),
            min_value_s: wide(2).map(|value| value as i64),
            max_value_s: wide(3).map(|value| value as i64),
            min_value_u: wide(4),
            max_value_u: wide(5),
            min_length: number(6),
            max_length: number(7),
            policy_idx: number(8),
            policy_maxtype: number(9),
            bitfield32_mask: number(10),
            mask: wide(12),
        }
    }
}

/// The indices of a command's policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// Its number.
    pub cmd: u16,
    /// `CTRL_ATTR_POLICY_DO`.
    pub doit: Option<u32>,
    /// `CTRL_ATTR_POLICY_DUMP`.
    pub dumpit: Option<u32>,
}

/// The contents of a dump of `CTRL_CMD_GETPOLICY`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyDump {
    /// The commands, in order.
    pub commands: Vec<Command>,
    /// Index of the policy, attribute type and description, in order.
    pub attributes: Vec<(u16, u16, Advertised)>,
}

impl PolicyDump {
    /// Parses the messages of a dump.
    pub fn read(messages: &[Message]) -> Self {
        let mut dump = PolicyDump::default();
        for attrs in messages.iter().map(genl::attrs) {
            let nests = |kind| attr::find(&attrs, kind).map(|attr| attr.nested()).unwrap_or_default();
            for command in nests(genl::CTRL_ATTR_OP_POLICY) {
                let index = |kind| attr::find(&command.nested(), kind).and_then(|attr| attr.u32());
                dump.commands.push(Command {
                    cmd: command.kind(),
                    doit: index(CTRL_ATTR_POLICY_DO),
                    dumpit: index(CTRL_ATTR_POLICY_DUMP),
                });
            }
            for policy in nests(genl::CTRL_ATTR_POLICY) {
                let described =
                    |attr: Attr<'_>| (policy.kind(), attr.kind(), Advertised::read(&attr.nested()));
                dump.attributes.extend(policy.nested().into_iter().map(described));
            }
        }
        dump
    }

    /// The policy with this index: attribute types and their descriptions.
    pub fn policy(&self, index: u32) -> Vec<(u16, Advertised)> {
        let of_it = self.attributes.iter().filter(|(policy, ..)| u32::from(*policy) == index);
        of_it.map(|(_, attr, advertised)| (*attr, *advertised)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::attr::Attrs;
    use super::*;

    #[test]
    fn a_policy_dump_is_read() {
        let message =
            |attrs: Attrs| Message::new(genl::GENL_ID_CTRL).bytes(&genl::header(10, 2)).attrs(attrs);
        let command = Attrs::new().nest(3, Attrs::new().u32(1, 0).u32(2, 4));
        let described = Attrs::new().u64(4, 1).u64(5, 9).u32(1, NL_ATTR_TYPE_U8);
        let policy = Attrs::new().nest(4, Attrs::new().nest(7, described));
        let dump = PolicyDump::read(&[
            message(Attrs::new().nest(genl::CTRL_ATTR_OP_POLICY, command)),
            message(Attrs::new().nest(genl::CTRL_ATTR_POLICY, policy)),
            message(Attrs::new()),
        ]);
        assert_eq!(dump.commands, [Command { cmd: 3, doit: Some(0), dumpit: Some(4) }]);
        assert_eq!(dump.policy(4), [(7, Advertised::unsigned(NL_ATTR_TYPE_U8, 1, 9))]);
        assert_eq!(dump.policy(0), []);
    }
}
