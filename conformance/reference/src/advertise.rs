//! Descriptions of policies, in extended acknowledgements and in dumps of `CTRL_CMD_GETPOLICY`.

use nlconform::port::provider::{AttrKind, Check, Policy, PolicyEntry};
use nlconform::spec::Version;
use nlconform::wire::attr::Attrs;
use nlconform::wire::policy;

use super::bounds::{self, Bounds};
use super::defect::Defect;
use super::setup::Setup;

/// `NL_POLICY_TYPE_ATTR_*`.
mod policy_attr {
    pub const TYPE: u16 = 1;
    pub const MIN_VALUE_S: u16 = 2;
    pub const MAX_VALUE_S: u16 = 3;
    pub const MIN_VALUE_U: u16 = 4;
    pub const MAX_VALUE_U: u16 = 5;
    pub const MIN_LENGTH: u16 = 6;
    pub const MAX_LENGTH: u16 = 7;
    pub const POLICY_IDX: u16 = 8;
    pub const POLICY_MAXTYPE: u16 = 9;
    pub const BITFIELD32_MASK: u16 = 10;
    pub const MASK: u16 = 12;
}

/// `NL_ATTR_TYPE_*`; `None` for types that are not reported.
fn kind(kind: AttrKind) -> Option<u32> {
    Some(match kind {
        AttrKind::Flag => policy::NL_ATTR_TYPE_FLAG,
        AttrKind::U8 => policy::NL_ATTR_TYPE_U8,
        AttrKind::U16 => policy::NL_ATTR_TYPE_U16,
        AttrKind::U32 => policy::NL_ATTR_TYPE_U32,
        AttrKind::U64 => policy::NL_ATTR_TYPE_U64,
        AttrKind::S8 => policy::NL_ATTR_TYPE_S8,
        AttrKind::S16 => policy::NL_ATTR_TYPE_S16,
        AttrKind::S32 => policy::NL_ATTR_TYPE_S32,
        AttrKind::S64 => policy::NL_ATTR_TYPE_S64,
        AttrKind::Binary => policy::NL_ATTR_TYPE_BINARY,
        AttrKind::String => policy::NL_ATTR_TYPE_STRING,
        AttrKind::NulString => policy::NL_ATTR_TYPE_NUL_STRING,
        AttrKind::Nested => policy::NL_ATTR_TYPE_NESTED,
        AttrKind::NestedArray => policy::NL_ATTR_TYPE_NESTED_ARRAY,
        AttrKind::Bitfield32 => policy::NL_ATTR_TYPE_BITFIELD32,
        AttrKind::Sint => policy::NL_ATTR_TYPE_SINT,
        AttrKind::Uint => policy::NL_ATTR_TYPE_UINT,
        AttrKind::Msecs | AttrKind::Unspec | AttrKind::Be16 | AttrKind::Be32 | AttrKind::Reject => {
            return None;
        }
    })
}

/// The most bytes that a description takes, as the kernel reckons (`netlink_policy_dump_attr_size_estimate()`): the
/// nest, the type, and what there is of this one.
pub fn most_described(kind: AttrKind) -> usize {
    match kind {
        AttrKind::Unspec | AttrKind::Reject | AttrKind::Be16 | AttrKind::Be32 => 0,
        AttrKind::Flag => 16,
        AttrKind::Bitfield32 => 24,
        AttrKind::Nested | AttrKind::NestedArray => 32,
        AttrKind::String | AttrKind::NulString | AttrKind::Binary => 32,
        // Two words of 64 bits, each after padding.
        _ => 48,
    }
}

/// Describes one attribute. `reached` returns the index of a nest's policy, where that is reported.
pub fn describe(entry: &PolicyEntry, reached: Option<&Reached<'_>>, setup: Setup) -> Option<Attrs> {
    let number = match entry.kind {
        AttrKind::Msecs => setup.value("GENL-CTRL-028", "kind"),
        other => kind(other)?,
    };
    let mut attrs = Attrs::new();
    if setup.defect == Some(Defect::PadsEverywhere) {
        attrs = attrs.put(policy::NL_POLICY_TYPE_ATTR_PAD, &[]);
    }
    match (entry.kind, &entry.check) {
        (AttrKind::Nested | AttrKind::NestedArray, Check::Nested(inner)) => {
            let index = reached.and_then(|reached| reached.index(*inner as usize, entry.len));
            let index = index.filter(|_| entry.len > 0);
            if let Some(index) = index {
                attrs = attrs
                    .u32(policy_attr::POLICY_IDX, index)
                    .u32(policy_attr::POLICY_MAXTYPE, entry.len.into());
            }
        }
        (AttrKind::Bitfield32, Check::Mask(mask)) => {
            attrs = attrs.u32(policy_attr::BITFIELD32_MASK, *mask as u32);
        }
        (AttrKind::String | AttrKind::NulString | AttrKind::Binary, _) => attrs = lengths(entry, attrs),
        (_, Check::Mask(mask)) => attrs = attrs.u64(policy_attr::MASK, *mask),
        (_, Check::Function(_)) if !setup.value::<bool>("GENL-CTRL-029", "bounds") => {}
        _ => match bounds::of(entry) {
            Some(Bounds::Unsigned(low, high)) => {
                attrs = attrs.u64(policy_attr::MIN_VALUE_U, low).u64(policy_attr::MAX_VALUE_U, high);
            }
            Some(Bounds::Signed(low, high)) => {
                attrs = attrs
                    .u64(policy_attr::MIN_VALUE_S, low as u64)
                    .u64(policy_attr::MAX_VALUE_S, high as u64);
            }
            None => {}
        },
    }
    Some(attrs.u32(policy_attr::TYPE, number))
}

fn lengths(entry: &PolicyEntry, mut attrs: Attrs) -> Attrs {
    let (low, high) = match (bounds::of(entry), &entry.check) {
        (Some(Bounds::Unsigned(low, high)), check) if !matches!(check, Check::None | Check::Function(_)) => {
            (low, high)
        }
        _ if entry.len > 0 => (0, entry.len.into()),
        _ => (0, u16::MAX.into()),
    };
    if low > 0 {
        attrs = attrs.u32(policy_attr::MIN_LENGTH, low as u32);
    }
    if high < u16::MAX.into() {
        attrs = attrs.u32(policy_attr::MAX_LENGTH, high as u32);
    }
    attrs
}

/// The policies that can be reached from some commands, in the order of their indices.
pub struct Reached<'f> {
    policies: &'f [Policy],
    found: Vec<(Option<usize>, u16)>,
    setup: Setup,
}

impl<'f> Reached<'f> {
    /// None yet.
    pub fn new(policies: &'f [Policy], setup: Setup) -> Reached<'f> {
        Reached { policies, found: Vec::new(), setup }
    }

    /// Adds a policy and those of its nests, unless it is there already. `None` rejects everything.
    pub fn add(&mut self, policy: Option<usize>, maxattr: u16) {
        if self.found.contains(&(policy, maxattr)) {
            return;
        }
        // `netlink_policy_dump_add_policy()`.
        let lists_empty = self.setup.since(Version(7, 2));
        let mut unvisited = self.found.len();
        self.found.push((policy, maxattr));
        while let Some((policy, maxattr)) = self.found.get(unvisited).copied() {
            for kind in 1..=maxattr {
                let Some(entry) = self.entry(policy, kind) else { continue };
                let nested = match entry.check {
                    Check::Nested(inner) if entry.len > 0 || lists_empty => (Some(inner as usize), entry.len),
                    _ => continue,
                };
                let nest = [AttrKind::Nested, AttrKind::NestedArray].contains(&entry.kind);
                if nest && !self.found.contains(&nested) {
                    self.found.push(nested);
                }
            }
            unvisited += 1;
        }
    }

    fn entry(&self, policy: Option<usize>, kind: u16) -> Option<&'f PolicyEntry> {
        self.policies.get(policy?)?.entries.iter().find(|entry| entry.attr == kind)
    }

    /// The index of a policy.
    pub fn index(&self, policy: usize, maxattr: u16) -> Option<u32> {
        self.position(Some(policy), maxattr)
    }

    /// The same, where `None` rejects everything.
    pub fn position(&self, policy: Option<usize>, maxattr: u16) -> Option<u32> {
        self.found.iter().position(|found| *found == (policy, maxattr)).map(|index| index as u32)
    }

    /// No policy was added.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Each attribute that is reported: index of the policy, type and description.
    pub fn attributes(&self) -> Vec<(u16, u16, Attrs)> {
        let mut attributes = Vec::new();
        for (index, (policy, maxattr)) in (0..).zip(&self.found) {
            for kind in 1..=*maxattr {
                let described =
                    self.entry(*policy, kind).and_then(|entry| describe(entry, Some(self), self.setup));
                attributes.extend(described.map(|described| (index, kind, described)));
            }
        }
        attributes
    }
}
