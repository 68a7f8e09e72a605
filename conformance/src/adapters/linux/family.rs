//! Conversion of the port's families to the probe's: commands, groups and policies.

use super::abi;
use super::encode::{Arena, bits, name};
use crate::port::provider::{Call, Check, Family, Op, Policy, PolicyEntry, Unable};

/// The argument that registers this family. It points into the arena.
pub fn family(arena: &mut Arena, family: &Family, how: &Call) -> Result<abi::Family, Unable> {
    let call = super::encode::call(how)?;
    let groups = family.groups.iter().map(|group| {
        let flags = bits([
            (group.net_admin, abi::NLPROBE_GROUP_NET_ADMIN),
            (group.sys_admin, abi::NLPROBE_GROUP_SYS_ADMIN),
        ]);
        Ok(abi::Group { name: name(&group.name)?, flags })
    });
    let groups = groups.collect::<Result<Vec<_>, Unable>>()?;
    let policies = family.policies.iter().zip(0..).map(|(policy, index)| abi::Policy {
        entries: arena.map(&policy.entries, entry),
        maxattr: reach(family, policy, index),
        strict_start_type: policy.strict_start_type.into(),
    });
    let policies = policies.collect();
    Ok(abi::Family {
        registration: abi::Registration { call, ..Default::default() },
        name: name(&family.name)?,
        id: family.id,
        hdrsize: family.hdrsize,
        version: family.version,
        maxattr: family.maxattr,
        policy: index(family.policy),
        flags: bits([
            (family.netnsok, abi::NLPROBE_FAMILY_NETNSOK),
            (family.parallel_ops, abi::NLPROBE_FAMILY_PARALLEL_OPS),
            (family.pre_post, abi::NLPROBE_FAMILY_PRE_POST),
            (family.bind, abi::NLPROBE_FAMILY_BIND),
        ]),
        resv_start_op: family.resv_start_op,
        missing_array: family.missing_array.map_or(abi::NLPROBE_OPS_COUNT, |kind| kind as u32),
        ops: arena.map(&family.ops, |_, entry| op(entry)),
        groups: arena.array(groups),
        policies: arena.array(policies),
        script: arena.script(&family.script),
    })
}

/// The highest attribute type that this policy may be used for: by its own entries, by the family
/// or a command that has it, or by a nest. A command uses the family's where it has none.
fn reach(family: &Family, policy: &Policy, index: u32) -> u32 {
    let own = policy.entries.iter().map(|entry| entry.attr.into());
    let commands = family.ops.iter().filter(|op| op.policy.or(family.policy) == Some(index));
    let commands = commands.map(|op| if op.maxattr == 0 { family.maxattr } else { op.maxattr });
    let nests = family.policies.iter().flat_map(|policy| &policy.entries);
    let nests = nests.filter(|entry| entry.check == Check::Nested(index)).map(|entry| entry.len.into());
    let family_wide = (family.policy == Some(index)).then_some(family.maxattr);
    own.chain(commands).chain(nests).chain(family_wide).max().unwrap_or(0)
}

fn index(policy: Option<u32>) -> i32 {
    // The probe refuses an invalid index.
    policy.map_or(-1, |index| i32::try_from(index).unwrap_or(i32::MAX))
}

fn op(op: &Op) -> abi::Op {
    abi::Op {
        kind: op.kind as u8,
        cmd: op.cmd,
        flags: op.flags,
        validate: op.validate,
        internal_flags: op.internal_flags,
        callbacks: bits([
            (op.doit, abi::NLPROBE_OP_DOIT),
            (op.dumpit, abi::NLPROBE_OP_DUMPIT),
            (op.start, abi::NLPROBE_OP_START),
            (op.done, abi::NLPROBE_OP_DONE),
            (op.pre_post, abi::NLPROBE_OP_PRE_POST),
        ]) as u8,
        reserved: 0,
        maxattr: op.maxattr,
        policy: index(op.policy),
    }
}

fn entry(arena: &mut Arena, entry: &PolicyEntry) -> abi::PolicyEntry {
    let with = |check: u32, a, b| abi::PolicyEntry { check: check as u8, a, b, ..Default::default() };
    // Signed bounds keep their sign in 64 bits.
    let checked = match entry.check {
        Check::None => with(abi::NLPROBE_CHECK_NONE, 0, 0),
        Check::Min(min) => with(abi::NLPROBE_CHECK_MIN, min as u64, 0),
        Check::Max(max) => with(abi::NLPROBE_CHECK_MAX, max as u64, 0),
        Check::Range(min, max) => with(abi::NLPROBE_CHECK_RANGE, min as u64, max as u64),
        Check::WideRange(min, max) => with(abi::NLPROBE_CHECK_WIDE_RANGE, min, max),
        Check::WideRangeSigned(min, max) => {
            with(abi::NLPROBE_CHECK_WIDE_RANGE_SIGNED, min as u64, max as u64)
        }
        Check::Mask(mask) => with(abi::NLPROBE_CHECK_MASK, mask, 0),
        Check::ExactLenWarn => with(abi::NLPROBE_CHECK_EXACT_LEN_WARN, 0, 0),
        Check::Nested(policy) => with(abi::NLPROBE_CHECK_NESTED, policy.into(), 0),
        Check::Message(ref text) => {
            let text = arena.array(text.as_bytes().to_vec());
            abi::PolicyEntry { text, ..with(abi::NLPROBE_CHECK_MESSAGE, 0, 0) }
        }
        Check::Function(errno) => with(abi::NLPROBE_CHECK_FUNCTION, errno as u64, 0),
    };
    abi::PolicyEntry { attr: entry.attr, len: entry.len, kind: entry.kind as u8, ..checked }
}
