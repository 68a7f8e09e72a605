//! The controller: descriptions at the end of a buffer, where they fit or do not.

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_ok};
use crate::port::provider::{AttrKind, Check, Family, Op, Policy, PolicyEntry};
use crate::scene::bus::{Bus, Registered};
use crate::wire::attr::Attrs;
use crate::wire::genl::{self, FamilyInfo};
use crate::wire::message::{Message, NLM_F_DUMP};
use crate::wire::policy::PolicyDump;

cases! {
    policies_are_reported_whole_wherever_a_datagram_ends(CONTENTS) => "GENL-CTRL-042";
    any_number_of_policies_is_reported(TABLES) => "GENL-CTRL-043";
    any_number_of_nested_policies_is_reported(TABLES) => "GENL-CTRL-043";
    description_is_whole_or_refused(LAST_PARTS) => "GENL-CTRL-044";
    families_are_listed_whole_wherever_a_datagram_ends => "GENL-CTRL-045";
}

/// The replies to a dump of policies. Its first datagram has room for NLMSG_GOODSIZE bytes.
fn policies(bus: &Bus<'_>, family: &Registered<'_>) -> Result<Vec<Message>, Failure> {
    let id = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, family.id);
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, id);
    let answer = bus.generic()?.ask(&request.with(NLM_F_DUMP))?;
    expect_ok("end of the dump", &answer)?;
    Ok(answer.replies)
}

type Content = fn(u8) -> Family;

/// Families that differ in what precedes the place where the datagram is full: each step shifts it.
const CONTENTS: &[(&str, Content)] = &[
    ("commands", |shift| {
        let both = |cmd| Op { doit: true, ..Op::dumping(cmd) };
        let family = (1..=shift).fold(with(numbers(1, AttrKind::U8)), |family, cmd| family.op(both(cmd)));
        (shift + 1..=120).fold(family, |family, cmd| family.op(Op::doing(cmd)))
    }),
    ("unsigned_integers", |shift| described(shift, AttrKind::U64, Check::None)),
    ("signed_integers", |shift| described(shift, AttrKind::S64, Check::None)),
    ("masks", |shift| described(shift, AttrKind::U64, Check::Mask(0xff))),
    ("bits", |shift| described(shift, AttrKind::Bitfield32, Check::Mask(1))),
    ("lengths", |shift| described(shift, AttrKind::Binary, Check::Range(1, 9))),
    ("nests", |shift| described(shift, AttrKind::Nested, Check::Nested(1))),
    ("flags", |shift| described(shift, AttrKind::Flag, Check::None)),
];

fn numbers(count: u16, kind: AttrKind) -> Policy {
    Policy::of((1..=count).map(|attr| PolicyEntry::new(attr, kind)).collect::<Vec<_>>())
}

fn with(policy: Policy) -> Family {
    Family { resv_start_op: 255, ..Family::named("nlc_room") }.policy(policy)
}

/// A family with this many commands, and more attributes of a kind than a datagram has room for.
fn described(shift: u8, kind: AttrKind, check: Check) -> Family {
    let entry = |attr| PolicyEntry::new(attr, kind).len(1).check(check.clone());
    let mut family = with(Policy::of((1..=90).map(entry).collect::<Vec<_>>()));
    family.policies.push(numbers(1, AttrKind::U8));
    (1..=shift).fold(family, |family, cmd| family.op(Op::doing(cmd)))
}

/// A command takes 44 bytes, an attribute up to 72: so many commands have shifted it to each multiple of 4.
const SHIFTS: u8 = 18;

fn policies_are_reported_whole_wherever_a_datagram_ends(bus: &Bus<'_>, content: &Content) -> Outcome {
    let mut expected: Option<PolicyDump> = None;
    for shift in 1..=SHIFTS {
        let family = bus.register(content(shift))?;
        let replies = policies(bus, &family)?;
        let reported = PolicyDump::read(&replies);
        let commands: Vec<u16> = reported.commands.iter().map(|command| command.cmd).collect();
        let last = commands.len() as u16;
        expect_eq("commands", commands, (1..=last).collect::<Vec<_>>())?;
        let whole = replies.iter().filter(|reply| genl::attrs(reply).len() == 2).count();
        let parts = reported.commands.len() + reported.attributes.len();
        expect_eq("messages that describe a command or an attribute", whole, parts)?;
        if let Some(first) = &expected {
            expect_eq("attributes", &reported.attributes, &first.attributes)?;
        }
        expected.get_or_insert(reported);
        family.unregister()?;
    }
    Ok(())
}

/// Around the sizes by which the kernel's table grows.
const TABLES: &[(&str, u8)] = &[("9", 9), ("10", 10), ("11", 11), ("20", 20), ("21", 21), ("40", 40)];

fn any_number_of_policies_is_reported(bus: &Bus<'_>, count: &u8) -> Outcome {
    let mut family = Family { resv_start_op: 255, ..Family::named("nlc_table") };
    for number in 1..=*count {
        let attr = u16::from(number);
        family.policies.push(Policy::of([PolicyEntry::new(attr, AttrKind::Flag)]));
        let policy = Some(u32::from(number) - 1);
        family = family.op(Op { policy, maxattr: attr.into(), ..Op::doing(number) });
    }
    let reported = PolicyDump::read(&policies(bus, &bus.register(family)?)?);
    let indices: Vec<_> = reported.commands.iter().map(|command| (command.cmd, command.doit)).collect();
    let count = u16::from(*count);
    let expected: Vec<_> = (1..=count).map(|cmd| (cmd, Some(u32::from(cmd) - 1))).collect();
    expect_eq("policy of each command", indices, expected)?;
    let attributes: Vec<_> = reported.attributes.iter().map(|(policy, attr, _)| (*policy, *attr)).collect();
    expect_eq(
        "policies and their attributes",
        attributes,
        (1..=count).map(|n| (n - 1, n)).collect::<Vec<_>>(),
    )
}

/// Each policy nests the next one.
fn any_number_of_nested_policies_is_reported(bus: &Bus<'_>, count: &u8) -> Outcome {
    let last = u32::from(*count) - 1;
    let nest = |next| PolicyEntry::new(1, AttrKind::Nested).len(1).check(Check::Nested(next));
    let mut family = with(Policy::of([nest(1)])).op(Op::doing(1));
    family.policies.extend((2..=last).map(|next| Policy::of([nest(next)])));
    family.policies.push(numbers(1, AttrKind::Flag));
    let reported = PolicyDump::read(&policies(bus, &bus.register(family)?)?);
    let nested: Vec<_> =
        reported.attributes.iter().map(|(policy, _, what)| (*policy, what.policy_idx)).collect();
    let expected = (0..=last).map(|n| (n as u16, Some(n + 1).filter(|next| *next <= last)));
    expect_eq("policies, and the one that each nests", nested, expected.collect::<Vec<_>>())
}

/// Names that take 4, 8, 12 and 16 bytes.
const NAMES: [&str; 4] = ["nlc", "nlc_fit", "nlc_fitting", "nlc_fitting_in_"];

/// What comes last in a description.
const LAST_PARTS: &[(&str, &[&str])] =
    &[("command", &[]), ("group", &["one"]), ("long_group", &["a_long_name"])];

/// A family with these groups whose description takes this many bytes, or somewhat less: a command takes 20.
fn sized(name: &str, groups: &[&str], bytes: usize) -> Family {
    let padded = |text: &str| (text.len() + 1).next_multiple_of(4);
    let of_groups: usize = groups.iter().map(|group| 4 + 8 + 4 + padded(group)).sum();
    let frame = 20 + 4 + padded(name) + 8 + 3 * 8 + 4;
    let rest = bytes.saturating_sub(frame + of_groups + if groups.is_empty() { 0 } else { 4 });
    let family = groups.iter().fold(Family::named(name), |family, group| family.group(group));
    (1..=(rest / 20) as u8).fold(family, |family, cmd| family.op(Op::doing(cmd)))
}

fn description_is_whole_or_refused(bus: &Bus<'_>, groups: &&[&str]) -> Outcome {
    let room = bus.sizes().goodsize;
    let controller = bus.controller()?;
    let mut fates = [0, 0];
    for name in NAMES {
        for bytes in [room, room + 20] {
            let family = sized(name, groups, bytes);
            let (ops, groups) = (family.ops.len(), family.groups.len());
            let family = bus.register(family)?;
            let answer = controller.by_id(family.id)?;
            fates[usize::from(answer.is_err())] += 1;
            match answer {
                Ok(info) => expect_whole(&info, ops, groups)?,
                Err(errno) => expect_eq("refusal", errno, bus.expected::<Errno>("errno")?)?,
            }
            family.unregister()?;
        }
    }
    expect("descriptions that were whole, and that were refused", fates == [4, 4], "4 of each", fates)
}

/// All commands with their flags, and all groups with their names.
fn expect_whole(info: &FamilyInfo, ops: usize, groups: usize) -> Outcome {
    let described =
        info.ops.iter().filter(|(_, flags)| flags & u32::from(genl::GENL_CMD_CAP_DO) != 0).count();
    let named = info.groups.iter().filter(|(_, name)| !name.is_empty()).count();
    expect_eq("commands with their flags, groups with their names", (described, named), (ops, groups))
}

fn families_are_listed_whole_wherever_a_datagram_ends(bus: &Bus<'_>) -> Outcome {
    let room = bus.sizes().goodsize;
    let before = bus.generic()?.ask(&families())?;
    let taken: usize = before.replies.iter().map(|reply| reply.encode().len()).sum();
    for name in NAMES {
        for left in (0..LAST).step_by(20) {
            let filler = bus.register(sized(name, &[], room.saturating_sub(taken + left)))?;
            let last =
                bus.register(Family::named("nlc_last").op(Op::doing(1)).op(Op::doing(2)).group("one"))?;
            let listed = bus.controller()?.all()?;
            let info = listed.iter().find(|info| info.id == last.id);
            expect_whole(info.unwrap_or(&FamilyInfo::default()), 2, 1)?;
            filler.unregister()?;
            last.unregister()?;
        }
    }
    Ok(())
}

/// More than the description of the last family takes.
const LAST: usize = 140;

fn families() -> Message {
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, Attrs::new()).with(NLM_F_DUMP)
}
