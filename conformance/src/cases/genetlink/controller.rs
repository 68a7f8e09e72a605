//! The controller: how it describes a family.

mod advertised;
mod announcements;
mod autoload;
mod families;
mod policies;
mod room;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_errno, expect_ok};
use crate::port::Who;
use crate::port::provider::{AttrKind, DONT_VALIDATE_DUMP, Family, Op, OpKind, Policy, PolicyEntry};
use crate::scene::bus::{Bus, Socket};
use crate::wire::attr::{self, Attr, Attrs};
use crate::wire::genl::{self, FamilyInfo};
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP};

cases! {
    controller_describes_itself => "GENL-CTRL-001";
    name_and_id_give_the_same_description => "GENL-CTRL-002";
    reply_is_addressed_to_the_requester => "GENL-CTRL-002";
    attributes_have_the_documented_order_and_size => "GENL-CTRL-003";
    absent_parts_of_a_family_are_omitted => "GENL-CTRL-003";
    commands_are_numbered_in_order => "GENL-CTRL-004";
    split_commands_come_last_and_once => "GENL-CTRL-004";
    op_flags_describe_the_command(COMMANDS) => "GENL-CTRL-005";
    op_flags_describe_the_split_command => "GENL-CTRL-005";
    op_flags_describe_each_command_of_a_family(FAMILIES) => "GENL-CTRL-005";
    reserved_command_without_policy_has_haspol_or_not => "GENL-CTRL-006";
    unvalidated_dump_has_haspol_or_not(DUMPS) => "GENL-CTRL-041";
    highest_attribute_type_is_the_familys_own => "GENL-CTRL-007";
    groups_are_numbered_in_order => "GENL-CTRL-008";
    getfamily_without_name_and_id_is_refused => "GENL-CTRL-009";
    getfamily_for_an_unknown_family_is_refused(UNKNOWN) => "GENL-CTRL-009";
    getfamily_uses_the_name(QUESTIONS) => "GENL-CTRL-010";
    getpolicy_uses_the_id(POLICY_QUESTIONS) => "GENL-CTRL-010";
    family_without_netnsok_is_not_found_elsewhere => "GENL-CTRL-011";
    family_without_netnsok_is_found_in_the_initial_namespace [initial_net] => "GENL-CTRL-011";
    reserved_numbers_are_not_commands(RESERVED) => "GENL-CTRL-021";
    requests_need_no_privilege => "GENL-CTRL-033";
    + advertised;
    + announcements;
    + autoload;
    + families;
    + policies;
    + room;
}

fn getfamily(attrs: Attrs) -> Message {
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs)
}

fn controller_describes_itself(bus: &Bus<'_>) -> Outcome {
    let info = bus.controller()?.by_name("nlctrl")??;
    expect_eq("ID, version, header size", (info.id, info.version, info.hdrsize), (genl::GENL_ID_CTRL, 2, 0))?;
    expect_eq("highest attribute type", info.maxattr, 0)?;
    let of_family = genl::GENL_CMD_CAP_DO | genl::GENL_CMD_CAP_DUMP | genl::GENL_CMD_CAP_HASPOL;
    let of_policy = genl::GENL_CMD_CAP_DUMP | genl::GENL_CMD_CAP_HASPOL;
    let commands = [
        (genl::CTRL_CMD_GETFAMILY.into(), of_family.into()),
        (genl::CTRL_CMD_GETPOLICY.into(), of_policy.into()),
    ];
    expect_eq("commands and their flags", info.ops, commands)?;
    expect_eq("groups", info.groups, [(genl::CTRL_NOTIFY, "notify".to_owned())])
}

fn ask(socket: &Socket, attrs: Attrs) -> Result<Message, Failure> {
    socket.ask(&getfamily(attrs))?.reply().cloned()
}

fn name_and_id_give_the_same_description(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let by_name = ask(&socket, Attrs::new().string(genl::CTRL_ATTR_FAMILY_NAME, "nlctrl"))?;
    let by_id = ask(&socket, Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL))?;
    expect_eq("command", genl::cmd(&by_name), Some(genl::CTRL_CMD_NEWFAMILY))?;
    expect_eq("answer by ID", by_id, by_name)
}

fn reply_is_addressed_to_the_requester(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let request = getfamily(Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL)).seq(0x1234_5678);
    let answer = socket.ask(&request)?;
    let reply = answer.reply()?;
    expect_eq("type and flags", (reply.kind, reply.flags), (genl::GENL_ID_CTRL, 0))?;
    expect_eq("sequence number and port ID", (reply.seq, reply.portid), (request.seq, socket.portid()?))?;
    expect_eq("version of the controller", reply.payload.get(1), Some(&2))
}

/// Types, flags included, and lengths.
fn shape(attrs: &[Attr<'_>]) -> Vec<(u16, usize)> {
    attrs.iter().map(|attr| (attr.raw_kind, attr.data.len())).collect()
}

fn attributes_have_the_documented_order_and_size(bus: &Bus<'_>) -> Outcome {
    let reply = ask(&bus.generic()?, Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL))?;
    let attrs = genl::attrs(&reply);
    let ops = 2 * (4 + 8 + 8);
    let groups = 4 + 8 + 4 + 8;
    let expected = [
        (genl::CTRL_ATTR_FAMILY_NAME, 7),
        (genl::CTRL_ATTR_FAMILY_ID, 2),
        (genl::CTRL_ATTR_VERSION, 4),
        (genl::CTRL_ATTR_HDRSIZE, 4),
        (genl::CTRL_ATTR_MAXATTR, 4),
        (genl::CTRL_ATTR_OPS, ops),
        (genl::CTRL_ATTR_MCAST_GROUPS, groups),
    ];
    expect_eq("types and lengths", shape(&attrs), expected)?;
    expect_eq("commands: types and lengths", shape(&attrs[5].nested()), [(1, 16), (2, 16)])?;
    expect_eq("groups: types and lengths", shape(&attrs[6].nested()), [(1, 20)])
}

fn absent_parts_of_a_family_are_omitted(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_bare"))?;
    let reply = ask(&bus.generic()?, Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, family.id))?;
    let expected = [
        (genl::CTRL_ATTR_FAMILY_NAME, 9),
        (genl::CTRL_ATTR_FAMILY_ID, 2),
        (genl::CTRL_ATTR_VERSION, 4),
        (genl::CTRL_ATTR_HDRSIZE, 4),
        (genl::CTRL_ATTR_MAXATTR, 4),
    ];
    expect_eq("types and lengths", shape(&genl::attrs(&reply)), expected)
}

/// A nest in a list: its type, and types and bytes of what it holds.
type Listed = (u16, Vec<(u16, Vec<u8>)>);

/// The nests in this attribute of the family's description.
fn listed(bus: &Bus<'_>, family: u16, list: u16) -> Result<Vec<Listed>, Failure> {
    let reply = ask(&bus.generic()?, Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, family))?;
    let nests = attr::find(&genl::attrs(&reply), list).map(|list| list.nested()).unwrap_or_default();
    let inner = |nest: &Attr<'_>| nest.nested().iter().map(|one| (one.raw_kind, one.data.to_vec())).collect();
    Ok(nests.iter().map(|nest| (nest.raw_kind, inner(nest))).collect())
}

/// The entry for this command in the list of commands.
fn command(place: u16, cmd: u32, flags: u8) -> Listed {
    (place, vec![(1, cmd.to_ne_bytes().to_vec()), (2, u32::from(flags).to_ne_bytes().to_vec())])
}

fn commands_are_numbered_in_order(bus: &Bus<'_>) -> Outcome {
    let family = Family { resv_start_op: 255, ..Family::named("nlc_commands") }
        .op(Op::doing(9).kind(OpKind::Small))
        .op(Op::doing(5))
        .op(Op::doing(1).kind(OpKind::Small))
        .op(Op::dumping(3));
    let family = bus.register(family)?;
    let expected = [
        command(1, 5, genl::GENL_CMD_CAP_DO),
        command(2, 3, genl::GENL_CMD_CAP_DUMP),
        command(3, 9, genl::GENL_CMD_CAP_DO),
        command(4, 1, genl::GENL_CMD_CAP_DO),
    ];
    expect_eq("commands", listed(bus, family.id, genl::CTRL_ATTR_OPS)?, expected)
}

fn split_do(cmd: u8) -> Op {
    Op::doing(cmd).kind(OpKind::Split).flags(genl::GENL_CMD_CAP_DO)
}

fn split_dump(cmd: u8) -> Op {
    Op::dumping(cmd).kind(OpKind::Split).flags(genl::GENL_CMD_CAP_DUMP)
}

fn split_commands_come_last_and_once(bus: &Bus<'_>) -> Outcome {
    let family = Family { resv_start_op: 255, ..Family::named("nlc_split") }
        .op(split_do(1))
        .op(split_dump(2))
        .op(split_do(4))
        .op(split_dump(4))
        .op(Op::doing(7));
    let family = bus.register(family)?;
    let info = bus.controller()?.by_id(family.id)??;
    let commands: Vec<u32> = info.ops.iter().map(|op| op.0).collect();
    expect_eq("commands", commands, [7, 1, 2, 4])
}

type Command = fn() -> Op;

/// The command, whether the family has a policy, and the flags that the controller shows.
const COMMANDS: &[(&str, (Command, bool, u8))] = &[
    ("do", (|| Op::doing(1), false, genl::GENL_CMD_CAP_DO)),
    ("dump", (|| Op::dumping(1), false, genl::GENL_CMD_CAP_DUMP)),
    (
        "do_and_dump",
        (|| Op { doit: true, ..Op::dumping(1) }, false, genl::GENL_CMD_CAP_DO | genl::GENL_CMD_CAP_DUMP),
    ),
    ("policy", (|| Op::doing(1), true, genl::GENL_CMD_CAP_DO | genl::GENL_CMD_CAP_HASPOL)),
    (
        "small_ops",
        (|| Op::doing(1).kind(OpKind::Small), true, genl::GENL_CMD_CAP_DO | genl::GENL_CMD_CAP_HASPOL),
    ),
    (
        "admin",
        (|| Op::doing(1).flags(genl::GENL_ADMIN_PERM), false, genl::GENL_CMD_CAP_DO | genl::GENL_ADMIN_PERM),
    ),
    (
        "small_admin",
        (
            || Op::doing(1).kind(OpKind::Small).flags(genl::GENL_ADMIN_PERM),
            false,
            genl::GENL_CMD_CAP_DO | genl::GENL_ADMIN_PERM,
        ),
    ),
    (
        "small_namespace_admin",
        (
            || Op::dumping(1).kind(OpKind::Small).flags(genl::GENL_UNS_ADMIN_PERM),
            false,
            genl::GENL_CMD_CAP_DUMP | genl::GENL_UNS_ADMIN_PERM,
        ),
    ),
    (
        "namespace_admin",
        (
            || Op::dumping(1).flags(genl::GENL_UNS_ADMIN_PERM),
            false,
            genl::GENL_CMD_CAP_DUMP | genl::GENL_UNS_ADMIN_PERM,
        ),
    ),
];

fn numbers() -> Policy {
    Policy::of([PolicyEntry::new(1, AttrKind::U32)])
}

/// The flags of the only command of this family.
fn flags(bus: &Bus<'_>, family: Family) -> Result<u32, Failure> {
    let family = bus.register(family)?;
    let info = bus.controller()?.by_id(family.id)??;
    Ok(info.ops.first().map_or(0, |op| op.1))
}

fn op_flags_describe_the_command(
    bus: &Bus<'_>,
    (op, with_policy, expected): &(Command, bool, u8),
) -> Outcome {
    let family = Family { resv_start_op: 255, ..Family::named("nlc_flags") }.op(op());
    let family = if *with_policy { family.policy(numbers()) } else { family };
    expect_eq("flags", flags(bus, family)?, u32::from(*expected))
}

/// Only the do has its own policy, but one is enough.
fn op_flags_describe_the_split_command(bus: &Bus<'_>) -> Outcome {
    let mut family = Family::named("nlc_split");
    family.policies.push(numbers());
    let with_policy = Op { policy: Some(0), maxattr: 1, ..split_do(1) };
    let family = family.op(with_policy).op(split_dump(1));
    let expected = genl::GENL_CMD_CAP_DO | genl::GENL_CMD_CAP_DUMP | genl::GENL_CMD_CAP_HASPOL;
    expect_eq("flags", flags(bus, family)?, u32::from(expected))
}

const DO: u8 = genl::GENL_CMD_CAP_DO;
const DUMP: u8 = genl::GENL_CMD_CAP_DUMP;
const ADMIN: u8 = genl::GENL_ADMIN_PERM;

/// Entries, and the commands with their flags.
type Described = (fn() -> Vec<Op>, &'static [(u32, u8)]);

const FAMILIES: &[(&str, Described)] = &[
    ("do_after_both", (|| vec![split_do(1), split_dump(1), split_do(2)], &[(1, DO | DUMP), (2, DO)])),
    ("dump_after_both", (|| vec![split_do(1), split_dump(1), split_dump(2)], &[(1, DO | DUMP), (2, DUMP)])),
    ("both_after_dump", (|| vec![split_dump(1), split_do(2), split_dump(2)], &[(1, DUMP), (2, DO | DUMP)])),
    ("dump_after_do", (|| vec![split_do(1), split_dump(2), split_do(3)], &[(1, DO), (2, DUMP), (3, DO)])),
    ("dumps", (|| vec![split_dump(1), split_dump(2), split_dump(3)], &[(1, DUMP), (2, DUMP), (3, DUMP)])),
    (
        "permission_of_the_first",
        (
            || vec![split_do(1).flags(DO | ADMIN), split_dump(1).flags(DUMP | ADMIN), split_do(2)],
            &[(1, DO | DUMP | ADMIN), (2, DO)],
        ),
    ),
    (
        "permission_of_the_last",
        (|| vec![split_dump(1), split_do(2).flags(DO | ADMIN)], &[(1, DUMP), (2, DO | ADMIN)]),
    ),
    ("as_many_split_as_other_entries", (|| vec![Op::doing(9), split_do(1)], &[(9, DO), (1, DO)])),
    ("do_of_the_highest_command_last", (|| vec![split_do(1), split_do(255)], &[(1, DO), (255, DO)])),
    (
        "all_arrays",
        (
            || {
                let small = Op::doing(7).kind(OpKind::Small);
                vec![Op::dumping(9), small.flags(ADMIN), split_do(1), split_dump(1), split_dump(3)]
            },
            &[(9, DUMP), (7, DO | ADMIN), (1, DO | DUMP), (3, DUMP)],
        ),
    ),
];

/// CAP_HASPOL aside, which reserved commands have or not (GENL-CTRL-006).
fn op_flags_describe_each_command_of_a_family(bus: &Bus<'_>, (ops, expected): &Described) -> Outcome {
    let family = Family { resv_start_op: 255, ..Family::named("nlc_described") };
    let family = bus.register(ops().into_iter().fold(family, Family::op))?;
    let info = bus.controller()?.by_id(family.id)??;
    let aside = u32::from(genl::GENL_CMD_CAP_HASPOL);
    let got: Vec<(u32, u32)> = info.ops.iter().map(|(cmd, flags)| (*cmd, flags & !aside)).collect();
    let expected: Vec<(u32, u32)> = expected.iter().map(|(cmd, flags)| (*cmd, (*flags).into())).collect();
    expect_eq("commands and their flags", got, expected)
}

/// Whether these flags have `CAP_HASPOL`.
fn has_policy(bus: &Bus<'_>, family: Family) -> Result<bool, Failure> {
    Ok(flags(bus, family)? & u32::from(genl::GENL_CMD_CAP_HASPOL) != 0)
}

fn reserved_command_without_policy_has_haspol_or_not(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_reserved").op(Op::doing(1));
    expect_eq("policy", has_policy(bus, family)?, bus.expected::<bool>("reserved")?)
}

/// The array, and whether the command comes after another one, which has the policy.
const DUMPS: &[(&str, (OpKind, bool))] = &[
    ("ops", (OpKind::Full, false)),
    ("small_ops", (OpKind::Small, false)),
    ("later_in_ops", (OpKind::Full, true)),
    ("later_in_small_ops", (OpKind::Small, true)),
];

fn unvalidated_dump_has_haspol_or_not(bus: &Bus<'_>, (kind, later): &(OpKind, bool)) -> Outcome {
    let op = |cmd| Op::dumping(cmd).kind(*kind);
    let family = Family { resv_start_op: 255, ..Family::named("nlc_dump") }.policy(numbers());
    let family = if *later { family.op(op(2)) } else { family };
    let family = bus.register(family.op(op(1).validate(DONT_VALIDATE_DUMP)))?;
    let flags = bus.controller()?.by_id(family.id)??.ops.last().map_or(0, |op| op.1);
    let has_policy = flags & u32::from(genl::GENL_CMD_CAP_HASPOL) != 0;
    expect_eq("policy", has_policy, bus.expected::<bool>("unvalidated")?)
}

fn highest_attribute_type_is_the_familys_own(bus: &Bus<'_>) -> Outcome {
    let mut family = Family { hdrsize: 8, ..Family::named("nlc_highest") };
    family.policies.push(Policy::of([PolicyEntry::new(7, AttrKind::U32)]));
    let family = bus.register(family.op(Op { policy: Some(0), maxattr: 7, ..Op::doing(1) }))?;
    let info = bus.controller()?.by_id(family.id)??;
    expect_eq("highest attribute type and header size", (info.maxattr, info.hdrsize), (0, 8))?;
    let family = bus.register(Family::named("nlc_own").policy(numbers()))?;
    expect_eq("highest attribute type", bus.controller()?.by_id(family.id)??.maxattr, 1)
}

fn groups_are_numbered_in_order(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_groups").group("b").group("a"))?;
    let expected = [(1, "b\0"), (2, "a\0")].map(|(place, name)| {
        let id = family.groups[usize::from(place) - 1];
        (place, vec![(2, id.to_ne_bytes().to_vec()), (1, name.as_bytes().to_vec())])
    });
    expect_eq("groups", listed(bus, family.id, genl::CTRL_ATTR_MCAST_GROUPS)?, expected)
}

fn getfamily_without_name_and_id_is_refused(bus: &Bus<'_>) -> Outcome {
    let request = getfamily(Attrs::new()).with(NLM_F_ACK);
    expect_errno("request", bus.generic()?.ask(&request)?, bus.expected("nothing")?)
}

type MakeAttrs = fn() -> Attrs;

const UNKNOWN: &[(&str, MakeAttrs)] = &[
    ("id", || Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_MAX_ID)),
    ("id_0", || Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, 0)),
    ("highest_id", || Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, u16::MAX)),
    ("name", || Attrs::new().string(genl::CTRL_ATTR_FAMILY_NAME, "nlc_unknown")),
    ("name_in_other_case", || Attrs::new().string(genl::CTRL_ATTR_FAMILY_NAME, "NLCTRL")),
];

fn getfamily_for_an_unknown_family_is_refused(bus: &Bus<'_>, attrs: &MakeAttrs) -> Outcome {
    expect_errno(
        "request",
        bus.generic()?.ask(&getfamily(attrs()).with(NLM_F_ACK))?,
        bus.expected("unknown")?,
    )
}

fn both(id: u16, name: &str) -> Attrs {
    Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, id).string(genl::CTRL_ATTR_FAMILY_NAME, name)
}

const QUESTIONS: &[(&str, (u16, &str, bool))] = &[
    ("known_name", (genl::GENL_MAX_ID, "nlctrl", true)),
    ("unknown_name", (genl::GENL_ID_CTRL, "nlc_unknown", false)),
];

fn getfamily_uses_the_name(bus: &Bus<'_>, (id, name, found): &(u16, &str, bool)) -> Outcome {
    let answer = bus.generic()?.ask(&getfamily(both(*id, name)))?;
    if !found {
        return expect_errno("request", answer, bus.expected("unknown")?);
    }
    expect_eq("family found", FamilyInfo::read(answer.reply()?).id, genl::GENL_ID_CTRL)
}

const POLICY_QUESTIONS: &[(&str, (u16, &str, bool))] = &[
    ("known_id", (genl::GENL_ID_CTRL, "nlc_unknown", true)),
    ("unknown_id", (genl::GENL_MAX_ID, "nlctrl", false)),
];

fn getpolicy_uses_the_id(bus: &Bus<'_>, (id, name, found): &(u16, &str, bool)) -> Outcome {
    let request =
        genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, both(*id, name)).with(NLM_F_DUMP);
    let answer = bus.generic()?.ask(&request)?;
    if *found {
        expect_ok("request", answer)
    } else {
        expect_errno("request", answer, bus.expected("unknown")?)
    }
}

/// A family that exists in the initial network namespace only.
fn initial(name: &str) -> Family {
    Family { netnsok: false, ..Family::named(name) }
}

fn family_without_netnsok_is_not_found_elsewhere(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(initial("nlc_initial"))?;
    let other = bus.register(Family::named("nlc_everywhere"))?;
    let controller = bus.controller()?;
    expect_errno("GETFAMILY by its name", controller.by_name("nlc_initial")?, bus.expected("errno")?)?;
    expect_errno("GETFAMILY by its ID", controller.by_id(family.id)?, bus.expected("errno")?)?;
    let ours = [family.id, other.id];
    let listed = controller.all()?.into_iter().map(|info| info.id).filter(|id| ours.contains(id));
    expect_eq("which of the two a dump lists", listed.collect::<Vec<_>>(), [other.id])
}

fn family_without_netnsok_is_found_in_the_initial_namespace(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(initial("nlc_initial"))?;
    let controller = bus.controller()?;
    expect_eq("ID for its name", controller.by_name("nlc_initial")??.id, family.id)?;
    let listed = controller.all()?.into_iter().filter(|info| info.id == family.id).count();
    expect_eq("times that a dump lists it", listed, 1)
}

const RESERVED: &[(&str, (u8, u16))] = &[
    ("newops", (4, NLM_F_ACK)),
    ("delops", (5, NLM_F_ACK)),
    ("getops", (6, NLM_F_ACK)),
    ("dump_of_getops", (6, NLM_F_DUMP)),
    ("getmcast_grp", (9, NLM_F_ACK)),
    ("dump_of_getmcast_grp", (9, NLM_F_DUMP)),
];

fn reserved_numbers_are_not_commands(bus: &Bus<'_>, (cmd, flags): &(u8, u16)) -> Outcome {
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    let request = genl::request(genl::GENL_ID_CTRL, *cmd, attrs).with(*flags);
    expect_errno("request", bus.generic()?.ask(&request)?, bus.expected("errno")?)
}

fn requests_need_no_privilege(bus: &Bus<'_>) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let controller = bus.controller()?;
        expect_eq("ID of nlctrl", controller.by_name("nlctrl")??.id, genl::GENL_ID_CTRL)?;
        let families = controller.all()?;
        expect_eq("first family of a dump", families.first().map(|info| info.id), Some(genl::GENL_ID_CTRL))?;
        let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
        expect_ok("GETPOLICY", controller.policies(attrs)?)
    })
}
