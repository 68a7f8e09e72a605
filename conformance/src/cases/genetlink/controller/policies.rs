//! The controller: policies of families (CTRL_CMD_GETPOLICY).

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, Under, expect, expect_eq, expect_errno, expect_ok, expect_result};
use crate::port::provider::{AttrKind, Check, Family, Op, OpKind, Policy, PolicyEntry};
use crate::scene::bus::{Bus, Registered, WAIT};
use crate::wire::attr::{Attr, Attrs, NLA_F_NESTED};
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_DUMP, NLM_F_MULTI};
use crate::wire::policy::{self, Advertised, Command, PolicyDump};

cases! {
    getpolicy_finds_a_family_of_the_initial_namespace_elsewhere => "GENL-CTRL-012";
    getpolicy_is_refused(REFUSED) => "GENL-CTRL-022";
    family_without_policy_is_refused => "GENL-CTRL-022";
    refusal_holds_no_module => "GENL-CTRL-031";
    command_without_policy_is_refused => "GENL-CTRL-022";
    messages_have_the_documented_layout => "GENL-CTRL-023", "GENL-CTRL-037";
    commands_come_before_attributes => "GENL-CTRL-037";
    controller_reports_its_own_policies => "GENL-CTRL-024", "GENL-CTRL-038";
    only_the_given_command_is_reported(OWN) => "GENL-CTRL-025";
    only_a_split_command_is_reported(HALVES) => "GENL-CTRL-025";
    only_the_policies_of_the_given_command_are_reported => "GENL-CTRL-025";
    equal_policies_have_one_index => "GENL-CTRL-026";
    policy_with_another_highest_type_has_its_own_index => "GENL-CTRL-026";
    nested_policy_has_its_own_index(NESTS) => "GENL-CTRL-039";
    recursive_policy_is_reported_once => "GENL-CTRL-026";
    nest_without_policy_has_no_index => "GENL-CTRL-039";
    nest_without_policy_or_highest_type_has_no_index => "GENL-CTRL-039", "GENL-CTRL-047";
    reserved_command_without_policy_has_an_index_or_not(KINDS) => "GENL-CTRL-030";
    policy_dump_holds_the_module => "GENL-CTRL-031";
    policy_dump_survives_unregistration => "GENL-CTRL-032";
}

fn of_id(id: u16) -> Attrs {
    Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, id)
}

fn getpolicy(attrs: Attrs) -> Message {
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs).with(NLM_F_DUMP)
}

/// A family with these policies, the first of which is the whole family's.
fn with_policies(policies: impl IntoIterator<Item = Policy>) -> Family {
    let mut policies = policies.into_iter();
    let mut family = Family { resv_start_op: 255, ..Family::named("nlc_policies") };
    if let Some(first) = policies.next() {
        family = family.policy(first);
    }
    family.policies.extend(policies);
    family
}

fn numbers() -> Policy {
    Policy::of([PolicyEntry::new(1, AttrKind::U8).check(Check::Max(9))])
}

/// The dump of a family's policies.
fn policies_of(bus: &Bus<'_>, family: &Registered<'_>) -> Result<PolicyDump, Failure> {
    Ok(bus.controller()?.policies(of_id(family.id))??)
}

fn getpolicy_finds_a_family_of_the_initial_namespace_elsewhere(bus: &Bus<'_>) -> Outcome {
    let family = Family { netnsok: false, ..with_policies([numbers()]) };
    let family = bus.register(family.op(Op::doing(1)))?;
    let answer = bus.controller()?.policies(of_id(family.id))?;
    expect_result("GETPOLICY", &answer, bus.expected("result")?)?;
    let reported = answer.map(|dump| dump.policy(0)).unwrap_or_default();
    expect_eq("policy", reported, [(1, Advertised::unsigned(policy::NL_ATTR_TYPE_U8, 0, 9))])
}

type MakeAttrs = fn() -> Attrs;

/// With the name of the errno.
const REFUSED: &[(&str, (MakeAttrs, &str))] = &[
    ("nothing", (Attrs::new, "nothing")),
    ("command_only", (|| Attrs::new().u32(genl::CTRL_ATTR_OP, 3), "nothing")),
    ("unknown_id", (|| of_id(genl::GENL_MAX_ID), "unknown")),
    ("unknown_name", (|| Attrs::new().string(genl::CTRL_ATTR_FAMILY_NAME, "nlc_unknown"), "unknown")),
    ("unknown_command", (|| of_id(genl::GENL_ID_CTRL).u32(genl::CTRL_ATTR_OP, 77), "unknown")),
    ("unknown_high_command", (|| of_id(genl::GENL_ID_CTRL).u32(genl::CTRL_ATTR_OP, 0x103), "unknown")),
];

/// All as an NLMSG_ERROR: a dump that started would send more after it.
fn getpolicy_is_refused(bus: &Bus<'_>, (attrs, errno): &(MakeAttrs, &str)) -> Outcome {
    let socket = bus.generic()?;
    let answer = socket.ask(&getpolicy(attrs()))?;
    expect_errno("request", answer, bus.expected(errno)?)?;
    socket.expect_nothing("message after the refusal")
}

fn family_without_policy_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(with_policies([]))?;
    let answer = bus.controller()?.policies(of_id(family.id))?;
    expect_errno("GETPOLICY for a family without commands", answer, bus.expected("none")?)?;
    family.unregister()?;
    let family = bus.register(with_policies([]).op(Op::doing(1)))?;
    let answer = bus.controller()?.policies(of_id(family.id))?;
    expect_errno("GETPOLICY for a family without policy", answer, bus.expected("none")?)
}

/// For each reason that is found after the family.
fn refusal_holds_no_module(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(with_policies([]).op(Op::doing(1)))?;
    let before = bus.provider()?.module_references()?;
    let controller = bus.controller()?;
    for op in [None, Some(1), Some(77)] {
        let attrs = op.map_or(of_id(family.id), |op| of_id(family.id).u32(genl::CTRL_ATTR_OP, op));
        let answer = controller.policies(attrs)?;
        expect_errno("GETPOLICY", answer, if op == Some(77) { Errno::ENOENT } else { Errno::ENODATA })?;
    }
    expect_eq("references to its module", bus.provider()?.module_references()?, before)
}

fn command_without_policy_is_refused(bus: &Bus<'_>) -> Outcome {
    let mut family = with_policies([]).op(Op::doing(1));
    family.policies.push(numbers());
    let family = bus.register(family.op(Op { policy: Some(0), maxattr: 1, ..Op::doing(2) }))?;
    let controller = bus.controller()?;
    let reported = controller.policies(of_id(family.id))??;
    let with_policy = Command { cmd: 2, doit: Some(0), dumpit: None };
    expect_eq("commands in the family's dump", &reported.commands[..], [with_policy])?;
    let answer = controller.policies(of_id(family.id).u32(genl::CTRL_ATTR_OP, 1))?;
    expect_errno("GETPOLICY for the command", answer, bus.expected("none")?)
}

/// Type and flags of an attribute, of the first one inside it, and so on.
fn path(attr: &Attr<'_>, depth: usize) -> Vec<u16> {
    let inner = (depth > 1).then(|| attr.nested().first().map(|first| path(first, depth - 1)));
    [vec![attr.raw_kind], inner.flatten().unwrap_or_default()].concat()
}

fn messages_have_the_documented_layout(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let request = getpolicy(of_id(genl::GENL_ID_CTRL)).seq(0x1234_5678);
    let answer = socket.ask(&request)?;
    for message in &answer.replies {
        let command = (genl::cmd(message), message.flags);
        expect_eq("command and flags", command, (Some(genl::CTRL_CMD_GETPOLICY), NLM_F_MULTI))?;
        let from = (message.kind, message.seq, message.portid);
        expect_eq(
            "type, sequence number, port ID",
            from,
            (genl::GENL_ID_CTRL, request.seq, socket.portid()?),
        )?;
        let attrs = genl::attrs(message);
        expect_eq("attributes", attrs.len(), 2)?;
        expect_eq(
            "family",
            (attrs[0].raw_kind, attrs[0].u16()),
            (genl::CTRL_ATTR_FAMILY_ID, Some(genl::GENL_ID_CTRL)),
        )?;
    }
    let second = |message: &Message| genl::attrs(message)[1].raw_kind & !NLA_F_NESTED;
    let form = |kind| answer.replies.iter().find(|message| second(message) == kind).map(genl::attrs);
    let command = form(genl::CTRL_ATTR_OP_POLICY).map(|attrs| path(&attrs[1], 3));
    expect_eq(
        "types of a command, from the outside in",
        command,
        Some(vec![
            genl::CTRL_ATTR_OP_POLICY | NLA_F_NESTED,
            u16::from(genl::CTRL_CMD_GETFAMILY) | NLA_F_NESTED,
            policy::CTRL_ATTR_POLICY_DO,
        ]),
    )
    .under("GENL-CTRL-037")?;
    let attribute = form(genl::CTRL_ATTR_POLICY).map(|attrs| path(&attrs[1], 3));
    expect_eq(
        "types of an attribute, from the outside in",
        attribute,
        Some(vec![
            genl::CTRL_ATTR_POLICY | NLA_F_NESTED,
            NLA_F_NESTED,
            genl::CTRL_ATTR_FAMILY_ID | NLA_F_NESTED,
        ]),
    )
    .under("GENL-CTRL-037")
}

fn commands_come_before_attributes(bus: &Bus<'_>) -> Outcome {
    let answer = bus.generic()?.ask(&getpolicy(of_id(genl::GENL_ID_CTRL)))?;
    let kinds = answer.replies.iter().filter_map(|message| genl::attrs(message).get(1).map(Attr::kind));
    let kinds: Vec<u16> = kinds.collect();
    // CTRL_ATTR_OP_POLICY is 9, CTRL_ATTR_POLICY 8.
    expect("types of the second attributes", kinds.is_sorted_by(|a, b| a >= b), "9, then 8", &kinds)?;
    expect_eq(
        "types in the first and in the last message",
        (kinds.first(), kinds.last()),
        (Some(&genl::CTRL_ATTR_OP_POLICY), Some(&genl::CTRL_ATTR_POLICY)),
    )
}

fn controller_reports_its_own_policies(bus: &Bus<'_>) -> Outcome {
    let reported = bus.controller()?.policies(of_id(genl::GENL_ID_CTRL))??;
    let dumping = bus.expected::<bool>("dumping")?.then_some(0);
    let dumpit = reported.commands.first().and_then(|command| command.dumpit);
    expect_eq("policy of the dump of CTRL_CMD_GETFAMILY", dumpit, dumping).under("GENL-CTRL-038")?;
    let commands = [
        Command { cmd: genl::CTRL_CMD_GETFAMILY.into(), doit: Some(0), dumpit: dumping },
        Command { cmd: genl::CTRL_CMD_GETPOLICY.into(), doit: None, dumpit: Some(1) },
    ];
    expect_eq("commands", &reported.commands[..], commands)?;
    let id = (genl::CTRL_ATTR_FAMILY_ID, Advertised::unsigned(policy::NL_ATTR_TYPE_U16, 0, u16::MAX.into()));
    let name = (
        genl::CTRL_ATTR_FAMILY_NAME,
        Advertised { max_length: Some(15), ..Advertised::plain(policy::NL_ATTR_TYPE_NUL_STRING) },
    );
    let op = (genl::CTRL_ATTR_OP, Advertised::unsigned(policy::NL_ATTR_TYPE_U32, 0, u32::MAX.into()));
    expect_eq("policy of CTRL_CMD_GETFAMILY", reported.policy(0), [id, name])?;
    expect_eq("policy of CTRL_CMD_GETPOLICY", reported.policy(1), [id, name, op])
}

/// Commands of the controller, and their attributes.
const OWN: &[(&str, (u8, &[u16]))] = &[
    ("do_and_dump", (genl::CTRL_CMD_GETFAMILY, &[genl::CTRL_ATTR_FAMILY_ID, genl::CTRL_ATTR_FAMILY_NAME])),
    (
        "dump",
        (
            genl::CTRL_CMD_GETPOLICY,
            &[genl::CTRL_ATTR_FAMILY_ID, genl::CTRL_ATTR_FAMILY_NAME, genl::CTRL_ATTR_OP],
        ),
    ),
];

fn only_the_given_command_is_reported(bus: &Bus<'_>, (cmd, attributes): &(u8, &[u16])) -> Outcome {
    let attrs = of_id(genl::GENL_ID_CTRL).u32(genl::CTRL_ATTR_OP, (*cmd).into());
    let reported = bus.controller()?.policies(attrs)??;
    let commands: Vec<u16> = reported.commands.iter().map(|command| command.cmd).collect();
    expect_eq("commands", commands, [u16::from(*cmd)])?;
    let types: Vec<u16> = reported.attributes.iter().map(|attr| attr.1).collect();
    expect_eq("attributes", types, *attributes)
}

/// Whether the command is a do; else it is a dump.
const HALVES: &[(&str, bool)] = &[("do", true), ("dump", false)];

/// Another command, with other policies for both, is asked for first.
fn only_a_split_command_is_reported(bus: &Bus<'_>, is_do: &bool) -> Outcome {
    let of = |op: Op, flags, policy| Op {
        policy: Some(policy),
        maxattr: 1,
        ..op.kind(OpKind::Split).flags(flags)
    };
    let doing = |cmd, policy| of(Op::doing(cmd), genl::GENL_CMD_CAP_DO, policy);
    let dumping = |cmd, policy| of(Op::dumping(cmd), genl::GENL_CMD_CAP_DUMP, policy);
    let mut family = Family::named("nlc_halves").op(doing(1, 0)).op(dumping(1, 1));
    family.policies = vec![numbers(), numbers(), numbers()];
    let family = bus.register(family.op(if *is_do { doing(2, 2) } else { dumping(2, 2) }))?;
    let controller = bus.controller()?;
    let reported = |op| controller.policies(of_id(family.id).u32(genl::CTRL_ATTR_OP, op));
    let whole = Command { cmd: 1, doit: Some(0), dumpit: Some(1) };
    expect_eq("commands", &reported(1)??.commands[..], [whole])?;
    let index = |is_this| if is_this { Some(0) } else { None };
    let half = Command { cmd: 2, doit: index(*is_do), dumpit: index(!is_do) };
    let reported = reported(2)??;
    expect_eq("commands", &reported.commands[..], [half])?;
    expect_eq("attributes", reported.attributes.len(), 1)
}

/// The second policy refers to the third; the first is another command's.
fn only_the_policies_of_the_given_command_are_reported(bus: &Bus<'_>) -> Outcome {
    let nest = PolicyEntry::new(5, AttrKind::Nested).len(1).check(Check::Nested(2));
    let inner = Policy::of([PolicyEntry::new(1, AttrKind::U32)]);
    let family = with_policies([numbers(), Policy::of([nest]), inner]).op(Op::doing(1)).op(Op {
        policy: Some(1),
        maxattr: 5,
        ..Op::doing(2)
    });
    let family = bus.register(family)?;
    let reported = bus.controller()?.policies(of_id(family.id).u32(genl::CTRL_ATTR_OP, 2))??;
    expect_eq("commands", &reported.commands[..], [Command { cmd: 2, doit: Some(0), dumpit: None }])?;
    let attributes: Vec<(u16, u16)> =
        reported.attributes.iter().map(|(policy, attr, _)| (*policy, *attr)).collect();
    expect_eq("policies and their attributes", attributes, [(0, 5), (1, 1)])
}

fn equal_policies_have_one_index(bus: &Bus<'_>) -> Outcome {
    let family = with_policies([numbers()]).op(Op { doit: true, ..Op::dumping(1) }).op(Op::doing(2));
    let reported = policies_of(bus, &bus.register(family)?)?;
    let commands =
        [Command { cmd: 1, doit: Some(0), dumpit: Some(0) }, Command { cmd: 2, doit: Some(0), dumpit: None }];
    expect_eq("commands", &reported.commands[..], commands)?;
    expect_eq("attributes", reported.attributes.len(), 1)
}

fn policy_with_another_highest_type_has_its_own_index(bus: &Bus<'_>) -> Outcome {
    let policy = Policy::of([1, 2].map(|attr| PolicyEntry::new(attr, AttrKind::Flag)));
    let family = with_policies([policy]).op(Op::doing(1)).op(Op { maxattr: 1, ..Op::doing(2) });
    let reported = policies_of(bus, &bus.register(family)?)?;
    expect_eq(
        "indices",
        reported.commands.iter().map(|command| command.doit).collect::<Vec<_>>(),
        [Some(0), Some(1)],
    )?;
    expect_eq("attributes of each", [reported.policy(0).len(), reported.policy(1).len()], [2, 1])
}

const NESTS: &[(&str, (AttrKind, u32))] = &[
    ("nest", (AttrKind::Nested, policy::NL_ATTR_TYPE_NESTED)),
    ("array", (AttrKind::NestedArray, policy::NL_ATTR_TYPE_NESTED_ARRAY)),
];

fn nested_policy_has_its_own_index(bus: &Bus<'_>, (kind, advertised): &(AttrKind, u32)) -> Outcome {
    let nest = PolicyEntry::new(1, *kind).len(1).check(Check::Nested(1));
    let family = with_policies([Policy::of([nest]), numbers()]).op(Op::doing(1));
    let reported = policies_of(bus, &bus.register(family)?)?;
    let nest = Advertised { policy_idx: Some(1), policy_maxtype: Some(1), ..Advertised::plain(*advertised) };
    expect_eq("outer policy", reported.policy(0), [(1, nest)])?;
    expect_eq("inner policy", reported.policy(1), [(1, Advertised::unsigned(policy::NL_ATTR_TYPE_U8, 0, 9))])
}

fn recursive_policy_is_reported_once(bus: &Bus<'_>) -> Outcome {
    let nest = PolicyEntry::new(1, AttrKind::Nested).len(1).check(Check::Nested(0));
    let reported = policies_of(bus, &bus.register(with_policies([Policy::of([nest])]).op(Op::doing(1)))?)?;
    let nest = Advertised {
        policy_idx: Some(0),
        policy_maxtype: Some(1),
        ..Advertised::plain(policy::NL_ATTR_TYPE_NESTED)
    };
    expect_eq("attributes", reported.attributes, [(0, 1, nest)])
}

fn nest_without_policy_has_no_index(bus: &Bus<'_>) -> Outcome {
    let policy = Policy::of([PolicyEntry::new(1, AttrKind::Nested)]);
    let reported = policies_of(bus, &bus.register(with_policies([policy]).op(Op::doing(1)))?)?;
    expect_eq("attributes", reported.attributes, [(0, 1, Advertised::plain(policy::NL_ATTR_TYPE_NESTED))])
}

fn nest_without_policy_or_highest_type_has_no_index(bus: &Bus<'_>) -> Outcome {
    let nest = |attr| PolicyEntry::new(attr, AttrKind::Nested);
    let outer =
        Policy::of([nest(1).check(Check::Nested(1)), nest(2).len(1), nest(3).len(1).check(Check::Nested(1))]);
    let family = with_policies([outer, numbers()]).op(Op::doing(1));
    let reported = policies_of(bus, &bus.register(family)?)?;
    let plain = Advertised::plain(policy::NL_ATTR_TYPE_NESTED);
    let inner = reported.attributes.iter().map(|(index, ..)| u32::from(*index)).max();
    expect_eq("index of the third nest's policy", inner, Some(bus.expected::<u32>("next")?))
        .under("GENL-CTRL-047")?;
    let whole = Advertised { policy_idx: inner, policy_maxtype: Some(1), ..plain };
    expect_eq("outer policy", reported.policy(0), [(1, plain), (2, plain), (3, whole)])?;
    expect_eq("attributes", reported.attributes.len(), 4)
}

/// A command, and whether it is a do; else it is a dump.
type Kind = (fn() -> Op, bool);

const KINDS: &[(&str, Kind)] = &[
    ("full", (|| Op::doing(1), true)),
    ("small", (|| Op::doing(1).kind(OpKind::Small), true)),
    ("split", (|| Op::doing(1).kind(OpKind::Split).flags(genl::GENL_CMD_CAP_DO), true)),
    ("full_dump", (|| Op::dumping(1), false)),
    ("small_dump", (|| Op::dumping(1).kind(OpKind::Small), false)),
    ("split_dump", (|| Op::dumping(1).kind(OpKind::Split).flags(genl::GENL_CMD_CAP_DUMP), false)),
];

fn reserved_command_without_policy_has_an_index_or_not(bus: &Bus<'_>, (command, is_do): &Kind) -> Outcome {
    let family = bus.register(Family::named("nlc_reserved").op(command()))?;
    let answer = bus.controller()?.policies(of_id(family.id))?;
    expect_result("request", &answer, bus.expected("result")?)?;
    let Ok(reported) = answer else { return Ok(()) };
    let index = |is_this| if is_this { Some(0) } else { None };
    let command = Command { cmd: 1, doit: index(*is_do), dumpit: index(!is_do) };
    expect_eq("commands", &reported.commands[..], [command])?;
    expect_eq("attributes", reported.attributes, [])
}

/// A family whose policy dump needs many datagrams.
fn talkative() -> Family {
    let entries = (1..=400).map(|attr| PolicyEntry::new(attr, AttrKind::U64));
    with_policies([Policy::of(entries.collect::<Vec<_>>())]).op(Op::doing(1))
}

fn policy_dump_holds_the_module(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(talkative())?;
    let socket = bus.generic()?;
    let request = getpolicy(of_id(family.id)).seq(7);
    let before = bus.provider()?.module_references()?;
    socket.send(&request)?;
    socket.wait(WAIT)?;
    let during = bus.provider()?.module_references()?;
    expect_eq("more references during the dump", during - before, bus.expected::<u32>("references")?)?;
    let answer = socket.answer_to(&request)?;
    expect_ok("end of the dump", &answer)?;
    expect_eq("references after it", bus.provider()?.module_references()?, before)
}

fn policy_dump_survives_unregistration(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(talkative())?;
    let socket = bus.generic()?;
    let request = getpolicy(of_id(family.id)).seq(7);
    socket.send(&request)?;
    socket.wait(WAIT)?;
    family.unregister()?;
    let answer = socket.answer_to(&request)?;
    expect_ok("end of the dump", &answer)?;
    expect("datagrams", answer.datagrams.len() > 2, "several", &answer.datagrams)?;
    expect_eq("attributes reported", PolicyDump::read(&answer.replies).attributes.len(), 400)
}
