//! genl_register_family() and genl_unregister_family().

use nix::errno::Errno;

use crate::bus::Bus;
use crate::cases::cases;
use crate::outcome::{Outcome, Under, expect, expect_eq, expect_errno, expect_ok};
use crate::target::provider::{Action, Family, On, Op, OpKind};
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::ACK;

cases! {
    family_is_found_by_its_id => "GENL-REG-001";
    id_asked_for_is_ignored(IDS) => "GENL-REG-002";
    ids_are_unique_and_in_range => "GENL-REG-003";
    ids_are_handed_out_in_turn => "GENL-REG-004";
    no_id_left_is_refused [invasive] => "GENL-REG-005", "GENL-REG-003";
    duplicate_name_is_refused => "GENL-REG-007";
    same_structure_is_refused => "GENL-REG-007";
    name_of_the_controller_is_refused => "GENL-REG-007";
    other_case_is_another_name => "GENL-REG-007";
    longest_name_is_found => "GENL-REG-008";
    empty_name_is_accepted_once => "GENL-REG-008";
    header_size_is_not_checked(HEADER_SIZES) => "GENL-REG-009";
    family_without_commands_refuses_each => "GENL-REG-013";
    count_without_array_is_refused(ARRAYS) => "GENL-REG-014";
    command_without_callback_is_refused => "GENL-REG-015";
    duplicate_command_is_refused(PAIRS) => "GENL-REG-016";
    second_unregistration_is_refused => "GENL-REG-024";
    family_that_is_gone_is_unknown => "GENL-REG-025";
    name_is_free_at_once => "GENL-REG-025";
    refused_structure_can_be_registered_later => "GENL-REG-028";
}

fn family_is_found_by_its_id(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_found"))?;
    let info = bus.controller()?.by_name("nlc_found")??;
    expect_eq("id that the controller gives", info.id, family.id)
}

const IDS: &[(&str, u32)] = &[("1", 1), ("controllers", 0x10), ("free", 0x123), ("beyond_u16", 70_000)];

fn id_asked_for_is_ignored(bus: &Bus<'_>, id: &u32) -> Outcome {
    let registration = bus.try_register(Family { id: *id, ..Family::named("nlc_static") })?;
    expect_ok("registration", registration.returned)?;
    expect("id given", u32::from(registration.id) != *id, "another than was asked for", registration.id)
}

fn ids_are_unique_and_in_range(bus: &Bus<'_>) -> Outcome {
    let range = bus.expected("first")?..=bus.expected("last")?;
    let mut ids = std::collections::BTreeSet::new();
    for n in 0..20 {
        let id = bus.register(Family::named(&format!("nlc_{n}")))?.id;
        expect("id", range.contains(&id), &format!("within {range:?}"), id)?;
        expect("id", ids.insert(id), "one that no other family has", id)?;
    }
    Ok(())
}

/// Other families may come and go beside us; ours wrap around once in 1005 registrations.
fn ids_are_handed_out_in_turn(bus: &Bus<'_>) -> Outcome {
    let mut ids = Vec::new();
    for _ in 0..3 {
        let family = bus.register(Family::named("nlc_turn"))?;
        ids.push(family.id);
        family.unregister()?;
    }
    let rises = ids.windows(2).filter(|pair| pair[0] < pair[1]).count();
    let distinct = ids[0] != ids[1] && ids[1] != ids[2];
    expect("ids, one after the other gone", distinct && rises >= 1, "rising, or wrapping around once", &ids)
}

fn no_id_left_is_refused(bus: &Bus<'_>) -> Outcome {
    let mut registered = Vec::new();
    let refused = loop {
        let registration = bus.try_register(Family::named(&format!("nlc_{}", registered.len())))?;
        if registration.returned != 0 || registered.len() > 2000 {
            break registration.returned;
        }
        registered.push(registration);
    };
    expect_errno("registration when all ids are taken", refused, bus.expected("errno")?)?;
    let highest = registered.iter().map(|registration| registration.id).max().unwrap_or(0);
    expect_eq("highest id", highest, bus.expected::<u16>("last")?).under("GENL-REG-003")?;
    let gone = &registered[registered.len() / 2];
    bus.unregister(gone.handle)?;
    let next = bus.try_register(Family::named("nlc_next"))?;
    expect_ok("registration when one id has become free", next.returned)?;
    expect_eq("its id", next.id, gone.id)
}

fn duplicate_name_is_refused(bus: &Bus<'_>) -> Outcome {
    let first = bus.register(Family::named("nlc_twin").version(1))?;
    let second = bus.try_register(Family::named("nlc_twin").version(2))?;
    expect_errno("second registration", second.returned, bus.expected("errno")?)?;
    let info = bus.controller()?.by_name("nlc_twin")??;
    expect_eq("version and id of the first", (info.version, info.id), (1, first.id))
}

fn same_structure_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_same"))?;
    let again = bus.register_again(family.handle)?;
    expect_errno("second registration", again.returned, bus.expected("errno")?)?;
    expect_eq("id", bus.controller()?.by_name("nlc_same")??.id, family.id)
}

fn name_of_the_controller_is_refused(bus: &Bus<'_>) -> Outcome {
    let registration = bus.try_register(Family::named("nlctrl"))?;
    expect_errno("registration of nlctrl", registration.returned, bus.expected("errno")?)
}

fn other_case_is_another_name(bus: &Bus<'_>) -> Outcome {
    expect_ok("registration of NLCTRL", bus.try_register(Family::named("NLCTRL"))?.returned)
}

fn longest_name_is_found(bus: &Bus<'_>) -> Outcome {
    let name = "nlc_45678901234";
    let family = bus.register(Family::named(name))?;
    let info = bus.controller()?.by_name(name)??;
    expect_eq("name and id", (info.name.as_str(), info.id), (name, family.id))
}

fn empty_name_is_accepted_once(bus: &Bus<'_>) -> Outcome {
    let first = bus.try_register(Family::named(""))?;
    expect_ok("first registration", first.returned)?;
    expect_errno("second registration", bus.try_register(Family::named(""))?.returned, Errno::EEXIST)?;
    expect_eq("id that the controller gives", bus.controller()?.by_name("")??.id, first.id)
}

const HEADER_SIZES: &[(&str, u32)] = &[("1", 1), ("3", 3), ("5", 5), ("1000", 1000)];

fn header_size_is_not_checked(bus: &Bus<'_>, size: &u32) -> Outcome {
    let registration = bus.try_register(Family { hdrsize: *size, ..Family::named("nlc_header") })?;
    expect_ok("registration", registration.returned)?;
    expect_eq("size that the controller gives", bus.controller()?.by_name("nlc_header")??.hdrsize, *size)
}

fn family_without_commands_refuses_each(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_empty"))?;
    let socket = bus.generic()?;
    for cmd in [0, 1, 255] {
        let answer = socket.ask(&family.request(cmd, Attrs::new()).with(ACK))?;
        expect_errno(&format!("command {cmd}"), answer, bus.expected("errno")?)?;
    }
    Ok(())
}

const ARRAYS: &[(&str, OpKind)] = &[("ops", OpKind::Full), ("small_ops", OpKind::Small)];

/// The kernel warns about this one; it is a mistake of the programmer.
fn count_without_array_is_refused(bus: &Bus<'_>, kind: &OpKind) -> Outcome {
    let family = Family::named("nlc_missing").op(Op { kind: *kind, cmd: 1, doit: true, ..Op::default() });
    let family = Family { missing_array: Some(*kind), ..family };
    expect_errno("registration", bus.try_register(family)?.returned, bus.expected("errno")?)
}

fn command_without_callback_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_idle").op(Op { cmd: 1, ..Op::default() });
    expect_errno("registration", bus.try_register(family)?.returned, bus.expected("errno")?)?;
    expect_errno("question for its name", bus.controller()?.by_name("nlc_idle")?, Errno::ENOENT)
}

const PAIRS: &[(&str, (OpKind, OpKind))] = &[
    ("in_ops", (OpKind::Full, OpKind::Full)),
    ("in_small_ops", (OpKind::Small, OpKind::Small)),
    ("in_ops_and_small_ops", (OpKind::Full, OpKind::Small)),
];

fn duplicate_command_is_refused(bus: &Bus<'_>, (first, second): &(OpKind, OpKind)) -> Outcome {
    let family = Family::named("nlc_double").op(Op::doing(1).kind(*first)).op(Op::doing(1).kind(*second));
    expect_errno("registration", bus.try_register(family)?.returned, bus.expected("errno")?)?;
    expect_errno("question for its name", bus.controller()?.by_name("nlc_double")?, Errno::ENOENT)
}

fn second_unregistration_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_twice"))?;
    expect_ok("first unregistration", family.unregister()?)?;
    expect_errno("second unregistration", family.unregister()?, bus.expected("errno")?)
}

fn family_that_is_gone_is_unknown(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_gone").op(Op::doing(1)).on(On::Doit, Action::Return(0));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    let request = family.request(1, Attrs::new()).with(ACK);
    expect_ok("request before", socket.ask(&request)?)?;
    family.unregister()?;
    expect_errno("request to its id", socket.ask(&request)?, bus.expected("errno")?)?;
    let controller = bus.controller()?;
    expect_errno("question for its name", controller.by_name("nlc_gone")?, bus.expected("errno")?)?;
    expect_errno("question for its id", controller.by_id(family.id)?, bus.expected("errno")?)
}

fn name_is_free_at_once(bus: &Bus<'_>) -> Outcome {
    bus.register(Family::named("nlc_again"))?.unregister()?;
    expect_ok("second registration", bus.try_register(Family::named("nlc_again"))?.returned)
}

fn refused_structure_can_be_registered_later(bus: &Bus<'_>) -> Outcome {
    let obstacle = bus.register(Family::named("nlc_later"))?;
    let refused = bus.try_register(Family::named("nlc_later").version(2).group("events"))?;
    expect_errno("registration of a name that is taken", refused.returned, Errno::EEXIST)?;
    obstacle.unregister()?;
    let again = bus.register_again(refused.handle)?;
    expect_ok("registration of the same structure", again.returned)?;
    let info = bus.controller()?.by_name("nlc_later")??;
    expect_eq(
        "version and group",
        (info.version, &info.groups[..]),
        (2, &[(again.groups[0], "events".into())][..]),
    )?;
    expect("id", info.id >= genl::START_ALLOC, "a dynamic one", info.id)
}
