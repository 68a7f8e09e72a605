//! Attributes and the policies that they must follow (`__nla_validate_parse()`).

use nix::errno::Errno;
use nlconform::port::provider::{AttrKind, Check, Policy, PolicyEntry};
use nlconform::wire::attr::{NLA_F_NESTED, NLA_F_NET_BYTEORDER, NLA_HDRLEN, NLA_TYPE_MASK};
use nlconform::wire::{align, u16_at, u32_at};

use super::attribute::{Attributes, Slot, refuse};
use super::bounds;
use super::defect::Defect;
use super::message::ExtAck;
use super::setup::Setup;

/// The depth of nests that are validated (`MAX_POLICY_RECURSION_DEPTH`).
const DEEPEST: u32 = 10;
const FAILED: &str = "Attribute failed policy validation";
const LENGTH: &str = "invalid attribute length";

/// What to validate, and how.
pub struct Validator<'a> {
    /// The request from its nlmsghdr on.
    pub request: &'a [u8],
    /// The policies that refer to each other.
    pub policies: &'a [Policy],
    /// Strictly, rather than liberally as before Linux 5.2.
    pub strict: bool,
    /// How the bus is to be.
    pub setup: Setup,
}

type Refusal = Result<(), Errno>;

impl Validator<'_> {
    fn has(&self, defect: Defect) -> bool {
        self.setup.defect == Some(defect)
    }

    /// Validates and parses what starts at `from`. Without a policy no type is known.
    pub fn parse(
        &self,
        from: usize,
        policy: Option<usize>,
        maxattr: u16,
        extack: &mut ExtAck,
    ) -> Result<Attributes, Errno> {
        let mut found = Attributes(vec![None; maxattr as usize + 1]);
        self.walk(from, self.request.len(), policy, maxattr, 0, extack, &mut |kind, slot| {
            let first_counts = self.has(Defect::FirstInstanceCounts);
            let place = &mut found.0[kind as usize];
            if place.is_none() || !first_counts {
                *place = Some(slot);
            }
        })?;
        Ok(found)
    }

    #[expect(clippy::too_many_arguments, reason = "the kernel's own function has as many arguments")]
    fn walk(
        &self,
        mut at: usize,
        end: usize,
        policy: Option<usize>,
        maxattr: u16,
        depth: u32,
        extack: &mut ExtAck,
        found: &mut dyn FnMut(u16, Slot),
    ) -> Refusal {
        if depth >= DEEPEST && !self.has(Defect::AnyDepth) {
            extack.text = Some("allowed policy recursion depth exceeded".into());
            return Err(Errno::EINVAL);
        }
        while let Some(slot) = self.slot(at, end) {
            let kind = slot.raw & NLA_TYPE_MASK;
            if kind == 0 || kind > maxattr {
                if self.strict && !self.has(Defect::UnknownAttributesAccepted) {
                    return refuse(extack, slot, None, "Unknown attribute type", Errno::EINVAL);
                }
            } else {
                if let Some(policy) = policy.and_then(|policy| self.policies.get(policy)) {
                    let strict_from = policy.strict_start_type;
                    let strict = self.strict || (strict_from > 0 && kind >= strict_from);
                    self.validate(slot, policy, kind, strict, depth, extack)?;
                }
                found(kind, slot);
            }
            at = (at + align(slot.len)).min(end);
            if self.has(Defect::FirstAttributeOnly) {
                at = end;
            }
        }
        if at < end {
            extack.text = Some("bytes leftover after parsing attributes".into());
            if self.strict && !self.has(Defect::LeftoverAccepted) {
                return Err(Errno::EINVAL);
            }
        }
        Ok(())
    }

    fn slot(&self, at: usize, end: usize) -> Option<Slot> {
        let bytes = self.request.get(at..end)?;
        let (len, raw) = (u16_at(bytes, 0)? as usize, u16_at(bytes, 2)?);
        (NLA_HDRLEN..=bytes.len()).contains(&len).then_some(Slot { at, len, raw })
    }

    fn validate(
        &self,
        slot: Slot,
        policy: &Policy,
        kind: u16,
        strict: bool,
        depth: u32,
        extack: &mut ExtAck,
    ) -> Refusal {
        let unspecified = PolicyEntry::default();
        let entry = policy.entries.iter().find(|entry| entry.attr == kind).unwrap_or(&unspecified);
        let no = |extack: &mut ExtAck, text: &str, errno| refuse(extack, slot, Some(entry), text, errno);
        let data = slot.data(self.request);
        let exact = width(entry.kind);
        if strict && exact.is_some_and(|len| len != data.len()) && !self.has(Defect::LengthsUnchecked) {
            return no(extack, LENGTH, Errno::EINVAL);
        }
        let nest = [AttrKind::Nested, AttrKind::NestedArray].contains(&entry.kind);
        let flagged = slot.raw & NLA_F_NESTED != 0;
        if strict && !self.has(Defect::NestedFlagUnchecked) {
            if nest && !flagged {
                return no(extack, "NLA_F_NESTED is missing", Errno::EINVAL);
            }
            if !nest && flagged && entry.kind != AttrKind::Unspec {
                return no(extack, "NLA_F_NESTED not expected", Errno::EINVAL);
            }
        }
        let limit = entry.len as usize;
        match entry.kind {
            AttrKind::Reject => {
                let text = match &entry.check {
                    Check::Message(text) => text,
                    _ => FAILED,
                };
                return refuse(extack, slot, None, text, Errno::EINVAL);
            }
            AttrKind::Flag if !data.is_empty() => return no(extack, FAILED, Errno::ERANGE),
            AttrKind::Uint | AttrKind::Sint if ![4, 8].contains(&data.len()) => {
                return no(extack, LENGTH, Errno::EINVAL);
            }
            AttrKind::Bitfield32 => {
                if let Err(errno) = bitfield(data, &entry.check) {
                    return no(extack, FAILED, errno);
                }
            }
            AttrKind::String | AttrKind::NulString => {
                let looked_at = &data[..if limit > 0 { data.len().min(limit + 1) } else { data.len() }];
                if entry.kind == AttrKind::NulString && !looked_at.contains(&0) {
                    return no(extack, FAILED, Errno::EINVAL);
                }
                let len = data.len() - usize::from(data.last() == Some(&0));
                if data.is_empty() || (limit > 0 && len > limit) {
                    return no(extack, FAILED, Errno::ERANGE);
                }
            }
            AttrKind::Binary => {
                if limit > 0 && data.len() > limit && entry.check != Check::ExactLenWarn {
                    return no(extack, FAILED, Errno::ERANGE);
                }
            }
            AttrKind::Nested | AttrKind::NestedArray if data.is_empty() => return Ok(()),
            AttrKind::Nested | AttrKind::NestedArray if data.len() < NLA_HDRLEN => {
                return no(extack, FAILED, Errno::ERANGE);
            }
            AttrKind::Nested => self.nest(slot, entry, strict, depth, extack)?,
            AttrKind::NestedArray if matches!(entry.check, Check::Nested(_)) => {
                self.array(slot, entry, strict, depth, extack)?;
            }
            // Without a policy for its entries nobody looks at them (validate_nla()).
            AttrKind::NestedArray => {}
            AttrKind::Unspec if strict && !self.has(Defect::UnspecifiedAccepted) => {
                return refuse(extack, slot, None, "Unsupported attribute", Errno::EINVAL);
            }
            AttrKind::Unspec if data.len() < limit => return no(extack, FAILED, Errno::ERANGE),
            _ => {
                let least = if limit > 0 { Some(limit) } else { exact.or(minimum(entry.kind)) };
                if least.is_some_and(|least| data.len() < least) {
                    return no(extack, FAILED, Errno::ERANGE);
                }
            }
        }
        if self.has(Defect::BoundsUnchecked) {
            return Ok(());
        }
        if self.swaps(entry.kind, slot) {
            let swapped: Vec<u8> = data.iter().rev().copied().collect();
            return bounds::check(slot, &swapped, entry, strict, extack);
        }
        bounds::check(slot, data, entry, strict, extack)
    }

    /// Whether an integer is read in the other byte order than its own, because of a defect.
    fn swaps(&self, kind: AttrKind, slot: Slot) -> bool {
        match kind {
            AttrKind::Be16 | AttrKind::Be32 => self.has(Defect::BigEndianIgnored),
            AttrKind::Binary => false,
            _ => slot.raw & NLA_F_NET_BYTEORDER != 0 && self.has(Defect::FlagSwaps),
        }
    }

    fn inner(&self, strict: bool) -> Validator<'_> {
        Validator { request: self.request, policies: self.policies, strict, setup: self.setup }
    }

    fn nest(
        &self,
        slot: Slot,
        entry: &PolicyEntry,
        strict: bool,
        depth: u32,
        extack: &mut ExtAck,
    ) -> Refusal {
        let Check::Nested(policy) = entry.check else { return Ok(()) };
        if self.has(Defect::NestsUnchecked) {
            return Ok(());
        }
        let (from, end) = (slot.at + NLA_HDRLEN, slot.at + slot.len);
        let policy = Some(policy as usize);
        self.inner(strict).walk(from, end, policy, entry.len, depth + 1, extack, &mut |_, _| {})
    }

    /// An array's entries are nests of any type.
    fn array(
        &self,
        slot: Slot,
        entry: &PolicyEntry,
        strict: bool,
        depth: u32,
        extack: &mut ExtAck,
    ) -> Refusal {
        let (mut at, end) = (slot.at + NLA_HDRLEN, slot.at + slot.len);
        while let Some(element) = self.slot(at, end) {
            if element.len > NLA_HDRLEN && element.len < 2 * NLA_HDRLEN {
                return refuse(extack, element, None, "Array element too short", Errno::ERANGE);
            }
            if element.len > NLA_HDRLEN {
                self.nest(element, entry, strict, depth, extack)?;
            }
            at += align(element.len);
        }
        Ok(())
    }
}

/// The exact size of integers.
fn width(kind: AttrKind) -> Option<usize> {
    match kind {
        AttrKind::U8 | AttrKind::S8 => Some(1),
        AttrKind::U16 | AttrKind::S16 | AttrKind::Be16 => Some(2),
        AttrKind::U32 | AttrKind::S32 | AttrKind::Be32 => Some(4),
        AttrKind::U64 | AttrKind::S64 => Some(8),
        _ => None,
    }
}

fn minimum(kind: AttrKind) -> Option<usize> {
    (kind == AttrKind::Msecs).then_some(8)
}

fn bitfield(data: &[u8], check: &Check) -> Result<(), Errno> {
    let valid = match check {
        Check::Mask(mask) => *mask as u32,
        _ => 0,
    };
    let (Some(value), Some(selector), 8) = (u32_at(data, 0), u32_at(data, 4), data.len()) else {
        return Err(Errno::ERANGE);
    };
    let bad = valid == 0 || value & !valid != 0 || selector & !valid != 0 || value & !selector != 0;
    if bad { Err(Errno::EINVAL) } else { Ok(()) }
}
