//! The arrays of commands that a registration accepts.

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{Outcome, expect_eq, expect_errno, expect_ok, expect_result};
use crate::port::provider::{Family, On, Op, OpKind};
use crate::scene::bus::Bus;
use crate::wire::attr::Attrs;
use crate::wire::genl::{GENL_ADMIN_PERM, GENL_CMD_CAP_DO, GENL_CMD_CAP_DUMP};
use crate::wire::message::NLM_F_ACK;

cases! {
    command_count_without_array_is_refused(ARRAYS) => "GENL-REG-014";
    command_without_callback_is_refused => "GENL-REG-015";
    duplicate_command_is_refused(PAIRS) => "GENL-REG-016";
    any_number_can_be_a_command => "GENL-REG-017";
    reserved_command_with_validate_flags_is_refused_or_not => "GENL-REG-018";
    command_below_resv_start_op_may_have_validate_flags => "GENL-REG-018";
    split_entry_with_neither_or_both_capabilities_is_refused(CAPABILITIES) => "GENL-REG-019";
    split_entries_out_of_order_are_refused(DISORDER) => "GENL-REG-020";
    split_entries_in_order_are_accepted => "GENL-REG-020";
    split_entries_of_a_command_that_differ_are_refused(DIFFERENCES) => "GENL-REG-021";
    family_may_have_several_arrays_of_commands(ARRAY_SETS) => "GENL-REG-023";
}

const ARRAYS: &[(&str, OpKind)] =
    &[("ops", OpKind::Full), ("small_ops", OpKind::Small), ("split_ops", OpKind::Split)];

/// The kernel warns about this: it is a programming error.
fn command_count_without_array_is_refused(bus: &Bus<'_>, kind: &OpKind) -> Outcome {
    let family = Family::named("nlc_missing").op(of(*kind, 1));
    let family = Family { missing_array: Some(*kind), ..family };
    expect_errno("registration", bus.try_register(family)?.returned, bus.expected("errno")?)
}

fn command_without_callback_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_idle").op(Op { cmd: 1, ..Op::default() });
    expect_errno("registration", bus.try_register(family)?.returned, bus.expected("errno")?)?;
    expect_errno("GETFAMILY by its name", bus.controller()?.by_name("nlc_idle")?, Errno::ENOENT)
}

const PAIRS: &[(&str, (OpKind, OpKind))] = &[
    ("in_ops", (OpKind::Full, OpKind::Full)),
    ("in_small_ops", (OpKind::Small, OpKind::Small)),
    ("in_split_ops", (OpKind::Split, OpKind::Split)),
    ("in_ops_and_small_ops", (OpKind::Full, OpKind::Small)),
    ("in_ops_and_split_ops", (OpKind::Full, OpKind::Split)),
    ("in_small_ops_and_split_ops", (OpKind::Small, OpKind::Split)),
];

fn duplicate_command_is_refused(bus: &Bus<'_>, (first, second): &(OpKind, OpKind)) -> Outcome {
    let family = Family::named("nlc_double").op(of(*first, 1)).op(of(*second, 1));
    expect_errno("registration", bus.try_register(family)?.returned, bus.expected("errno")?)?;
    expect_errno("GETFAMILY by its name", bus.controller()?.by_name("nlc_double")?, Errno::ENOENT)
}

fn any_number_can_be_a_command(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_numbers").op(Op::doing(0)).op(Op::doing(255)))?;
    let socket = bus.generic()?;
    for cmd in [0, 255] {
        let answer = socket.ask(&family.request(cmd, Attrs::new()).with(NLM_F_ACK))?;
        expect_ok(&format!("command {cmd}"), answer)?;
    }
    let called: Vec<u32> = bus.calls(On::Doit)?.iter().map(|call| call.subject).collect();
    expect_eq("commands that were executed", called, [0, 255])
}

/// `GENL_DONT_VALIDATE_STRICT`.
const LIBERAL: u8 = 1;

/// The kernel warns about this one and all that follow: they are programming errors.
fn reserved_command_with_validate_flags_is_refused_or_not(bus: &Bus<'_>) -> Outcome {
    let family = Family { resv_start_op: 2, ..Family::named("nlc_reserved") };
    let registration = bus.try_register(family.op(Op::doing(2).validate(LIBERAL)))?;
    expect_result("registration", registration.returned, bus.expected("reserved")?)
}

fn command_below_resv_start_op_may_have_validate_flags(bus: &Bus<'_>) -> Outcome {
    let family = Family { resv_start_op: 2, ..Family::named("nlc_earlier") };
    let registration = bus.try_register(family.op(Op::doing(1).validate(LIBERAL)))?;
    expect_ok("registration", registration.returned)
}

/// An entry with `doit`, in an array of this kind.
fn of(kind: OpKind, cmd: u8) -> Op {
    let flags = if kind == OpKind::Split { GENL_CMD_CAP_DO } else { 0 };
    Op::doing(cmd).kind(kind).flags(flags)
}

/// An entry of `split_ops` for the do request of a command.
fn split_do(cmd: u8) -> Op {
    of(OpKind::Split, cmd)
}

/// An entry of `split_ops` for the dump of a command.
fn split_dump(cmd: u8) -> Op {
    Op::dumping(cmd).kind(OpKind::Split).flags(GENL_CMD_CAP_DUMP)
}

const BOTH: u8 = GENL_CMD_CAP_DO | GENL_CMD_CAP_DUMP;

/// Flags of each entry.
const CAPABILITIES: &[(&str, &[u8])] = &[
    ("neither", &[0]),
    ("both", &[BOTH]),
    ("both_in_the_second", &[GENL_CMD_CAP_DO, BOTH]),
    ("both_in_the_last", &[GENL_CMD_CAP_DO, GENL_CMD_CAP_DUMP, BOTH]),
];

fn split_entry_with_neither_or_both_capabilities_is_refused(bus: &Bus<'_>, flags: &&[u8]) -> Outcome {
    let entry = |(cmd, flags): (u8, &u8)| match *flags {
        GENL_CMD_CAP_DUMP => split_dump(cmd),
        flags => Op { flags, ..split_do(cmd) },
    };
    let family = (1..).zip(*flags).map(entry).fold(Family::named("nlc_split"), Family::op);
    expect_errno("registration", bus.try_register(family)?.returned, bus.expected("errno")?)
}

type Entries = fn() -> Vec<Op>;

const DISORDER: &[(&str, Entries)] = &[
    ("higher_command_first", || vec![split_do(2), split_do(1)]),
    ("higher_dump_first", || vec![split_dump(2), split_dump(1)]),
    ("higher_command_in_the_middle", || vec![split_do(1), split_do(3), split_do(2), split_do(4)]),
    ("higher_command_before_the_last", || vec![split_do(1), split_dump(1), split_do(3), split_do(2)]),
    ("dump_first", || vec![split_dump(1), split_do(1)]),
    ("do_twice", || vec![split_do(1), split_do(1)]),
    ("dump_twice", || vec![split_dump(1), split_dump(1)]),
    ("dump_twice_after_do", || vec![split_do(1), split_dump(1), split_dump(1)]),
];

fn split_entries_out_of_order_are_refused(bus: &Bus<'_>, entries: &Entries) -> Outcome {
    let family = entries().into_iter().fold(Family::named("nlc_disorder"), Family::op);
    expect_errno("registration", bus.try_register(family)?.returned, bus.expected("errno")?)?;
    expect_errno("GETFAMILY by its name", bus.controller()?.by_name("nlc_disorder")?, Errno::ENOENT)
}

fn split_entries_in_order_are_accepted(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_order").op(split_do(1)).op(split_dump(1)).op(split_dump(2));
    expect_ok("registration", bus.try_register(family)?.returned)
}

const DIFFERENCES: &[(&str, Entries)] = &[
    ("permission", || vec![split_do(1).flags(GENL_ADMIN_PERM), split_dump(1)]),
    ("permission_of_the_dump", || vec![split_do(1), split_dump(1).flags(GENL_ADMIN_PERM)]),
    ("internal_flags", || vec![split_do(1), Op { internal_flags: 1, ..split_dump(1) }]),
    ("internal_flags_of_a_later_command", || {
        vec![split_do(1), split_dump(1), split_do(2), Op { internal_flags: 1, ..split_dump(2) }]
    }),
];

fn split_entries_of_a_command_that_differ_are_refused(bus: &Bus<'_>, entries: &Entries) -> Outcome {
    let family = entries().into_iter().fold(Family::named("nlc_differs"), Family::op);
    expect_errno("registration", bus.try_register(family)?.returned, bus.expected("errno")?)
}

const ARRAY_SETS: &[(&str, &[OpKind])] = &[
    ("ops_and_small_ops", &[OpKind::Full, OpKind::Small]),
    ("all_three", &[OpKind::Full, OpKind::Small, OpKind::Split]),
];

fn family_may_have_several_arrays_of_commands(bus: &Bus<'_>, kinds: &&[OpKind]) -> Outcome {
    let commands = || (1..).zip(kinds.iter());
    let family =
        commands().fold(Family::named("nlc_arrays"), |family, (cmd, kind)| family.op(of(*kind, cmd)));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    for (cmd, kind) in commands() {
        let answer = socket.ask(&family.request(cmd, Attrs::new()).with(NLM_F_ACK))?;
        expect_ok(&format!("command of {kind:?}"), answer)?;
    }
    expect_eq("calls of doit", bus.calls(On::Doit)?.len(), kinds.len())
}
