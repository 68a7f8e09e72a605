//! genl_register_family() and genl_unregister_family().

mod commands;

use std::thread;

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{Outcome, Under, expect, expect_eq, expect_errno, expect_ok};
use crate::port::provider::{Action, Family, On, Op};
use crate::scene::bus::{Bus, WAIT};
use crate::scene::threads::ended_by;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::NLM_F_ACK;

cases! {
    family_is_found_by_its_id => "GENL-REG-001";
    requested_id_is_ignored(IDS) => "GENL-REG-002";
    ids_are_unique_and_in_range => "GENL-REG-003";
    ids_are_allocated_cyclically => "GENL-REG-004";
    registration_without_a_free_id_is_refused [invasive] => "GENL-REG-005", "GENL-REG-003";
    name_has_its_reserved_id(RESERVED) [initial_net] => "GENL-REG-006";
    reserved_name_restarts_the_allocation_of_ids => "GENL-REG-029";
    duplicate_name_is_refused => "GENL-REG-007";
    same_structure_is_refused => "GENL-REG-007";
    name_of_the_controller_is_refused => "GENL-REG-007";
    names_are_case_sensitive => "GENL-REG-007";
    longest_name_is_found => "GENL-REG-008";
    empty_name_is_accepted_once => "GENL-REG-008";
    header_size_is_not_checked(HEADER_SIZES) => "GENL-REG-009";
    version_is_not_interpreted => "GENL-REG-010";
    highest_attribute_type_allocates_nothing => "GENL-REG-011";
    module_is_not_held => "GENL-REG-012";
    family_without_commands_refuses_all_requests => "GENL-REG-013";
    second_unregistration_is_refused => "GENL-REG-024";
    unregistration_of_an_unknown_family_is_refused => "GENL-REG-024";
    unregistered_family_is_unknown => "GENL-REG-025";
    name_of_an_unregistered_family_is_free_at_once => "GENL-REG-025";
    largest_description_is_returned => "GENL-REG-026";
    larger_description_is_neither_returned_nor_announced => "GENL-REG-026";
    registration_waits_for_requests [parallel] => "GENL-REG-027";
    refused_family_can_be_registered_later => "GENL-REG-028";
    + commands;
}

fn family_is_found_by_its_id(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_found"))?;
    let info = bus.controller()?.by_name("nlc_found")??;
    expect_eq("ID that the controller reports", info.id, family.id)
}

const IDS: &[(&str, u32)] = &[("1", 1), ("controllers", 0x10), ("free", 0x123), ("beyond_u16", 70_000)];

fn requested_id_is_ignored(bus: &Bus<'_>, id: &u32) -> Outcome {
    let registration = bus.try_register(Family { id: *id, ..Family::named("nlc_static") })?;
    expect_ok("registration", registration.returned)?;
    expect("ID given", u32::from(registration.id) != *id, "another than was asked for", registration.id)
}

fn ids_are_unique_and_in_range(bus: &Bus<'_>) -> Outcome {
    let range = bus.expected("first")?..=bus.expected("last")?;
    let mut ids = std::collections::BTreeSet::new();
    for n in 0..20 {
        let id = bus.register(Family::named(&format!("nlc_{n}")))?.id;
        expect("ID", range.contains(&id), &format!("within {range:?}"), id)?;
        expect("ID", ids.insert(id), "one that no other family has", id)?;
    }
    Ok(())
}

/// Families of others may come and go at the same time; ours wrap around once in 1005 registrations.
fn ids_are_allocated_cyclically(bus: &Bus<'_>) -> Outcome {
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

fn registration_without_a_free_id_is_refused(bus: &Bus<'_>) -> Outcome {
    let mut registered = Vec::new();
    let refused = loop {
        let registration = bus.try_register(Family::named(&format!("nlc_{}", registered.len())))?;
        if registration.returned != 0 || registered.len() > 2000 {
            break registration.returned;
        }
        registered.push(registration);
    };
    expect_errno("registration when all IDs are taken", refused, bus.expected("errno")?)?;
    let highest = registered.iter().map(|registration| registration.id).max().unwrap_or(0);
    expect_eq("highest ID", highest, bus.expected::<u16>("last")?).under("GENL-REG-003")?;
    let gone = &registered[registered.len() / 2];
    bus.unregister(gone.handle)?;
    let next = bus.try_register(Family::named("nlc_next"))?;
    expect_ok("registration when one ID has become free", next.returned)?;
    expect_eq("its ID", next.id, gone.id)
}

const RESERVED: &[(&str, (&str, &str))] =
    &[("vfs_dquot", ("VFS_DQUOT", "quota")), ("pmcraid", ("pmcraid", "pmcraid"))];

/// If the kernel itself has this family, ours is refused, and the kernel's has the ID.
fn name_has_its_reserved_id(bus: &Bus<'_>, (name, id): &(&str, &str)) -> Outcome {
    bus.try_register(Family::named(name))?;
    expect_eq(
        "ID that the controller reports",
        bus.controller()?.by_name(name)??.id,
        bus.expected::<u16>(id)?,
    )
}

/// Without that, the next family would get a higher ID.
fn reserved_name_restarts_the_allocation_of_ids(bus: &Bus<'_>) -> Outcome {
    let gone = bus.register(Family::named("nlc_gone"))?;
    gone.unregister()?;
    bus.register(Family::named("pmcraid"))?;
    let next = bus.register(Family::named("nlc_next"))?;
    expect(
        "id of the next family",
        next.id <= gone.id,
        &format!("at most {}, which is free", gone.id),
        next.id,
    )
}

fn duplicate_name_is_refused(bus: &Bus<'_>) -> Outcome {
    let first = bus.register(Family::named("nlc_twin").version(1))?;
    let second = bus.try_register(Family::named("nlc_twin").version(2))?;
    expect_errno("second registration", second.returned, bus.expected("errno")?)?;
    let info = bus.controller()?.by_name("nlc_twin")??;
    expect_eq("version and ID of the first", (info.version, info.id), (1, first.id))
}

fn same_structure_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_same"))?;
    let again = bus.register_again(family.handle)?;
    expect_errno("second registration", again.returned, bus.expected("errno")?)?;
    expect_eq("ID", bus.controller()?.by_name("nlc_same")??.id, family.id)
}

fn name_of_the_controller_is_refused(bus: &Bus<'_>) -> Outcome {
    let registration = bus.try_register(Family::named("nlctrl"))?;
    expect_errno("registration of nlctrl", registration.returned, bus.expected("errno")?)
}

fn names_are_case_sensitive(bus: &Bus<'_>) -> Outcome {
    expect_ok("registration of NLCTRL", bus.try_register(Family::named("NLCTRL"))?.returned)
}

fn longest_name_is_found(bus: &Bus<'_>) -> Outcome {
    let name = "nlc_45678901234";
    let family = bus.register(Family::named(name))?;
    let info = bus.controller()?.by_name(name)??;
    expect_eq("name and ID", (info.name.as_str(), info.id), (name, family.id))
}

fn empty_name_is_accepted_once(bus: &Bus<'_>) -> Outcome {
    let first = bus.try_register(Family::named(""))?;
    expect_ok("first registration", first.returned)?;
    expect_errno("second registration", bus.try_register(Family::named(""))?.returned, Errno::EEXIST)?;
    expect_eq("ID that the controller reports", bus.controller()?.by_name("")??.id, first.id)
}

const HEADER_SIZES: &[(&str, u32)] = &[("1", 1), ("3", 3), ("5", 5), ("1000", 1000)];

fn header_size_is_not_checked(bus: &Bus<'_>, size: &u32) -> Outcome {
    let registration = bus.try_register(Family { hdrsize: *size, ..Family::named("nlc_header") })?;
    expect_ok("registration", registration.returned)?;
    expect_eq(
        "header size that the controller reports",
        bus.controller()?.by_name("nlc_header")??.hdrsize,
        *size,
    )
}

fn version_is_not_interpreted(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_version").version(0x1ff).op(Op::doing(1));
    let family = bus.register(family.on(On::Doit, Action::Reply(2, 0, vec![])))?;
    expect_eq("version that the controller reports", bus.controller()?.by_id(family.id)??.version, 0x1ff)?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()))?;
    expect_eq("command and version of a message", &answer.reply()?.payload[..2], &[2, 0xff][..])
}

fn highest_attribute_type_allocates_nothing(bus: &Bus<'_>) -> Outcome {
    // The command is below resv_start_op: newer kernels take its policy to be of that length.
    let family = Family { maxattr: 0xffff, resv_start_op: 2, ..Family::named("nlc_wide").op(Op::doing(1)) };
    let family = bus.register(family)?;
    expect_eq(
        "highest type that the controller gives",
        bus.controller()?.by_id(family.id)??.maxattr,
        0xffff,
    )?;
    expect_ok("request", bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_ACK))?)
}

fn module_is_not_held(bus: &Bus<'_>) -> Outcome {
    let before = bus.provider()?.module_references()?;
    bus.register(Family::named("nlc_module").op(Op::doing(1)).group("events"))?;
    expect_eq("references to the family's module", bus.provider()?.module_references()?, before)
}

fn family_without_commands_refuses_all_requests(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_empty"))?;
    let socket = bus.generic()?;
    for cmd in [0, 1, 255] {
        let answer = socket.ask(&family.request(cmd, Attrs::new()).with(NLM_F_ACK))?;
        expect_errno(&format!("command {cmd}"), answer, bus.expected("errno")?)?;
    }
    Ok(())
}

fn second_unregistration_is_refused(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_twice"))?;
    expect_ok("first unregistration", family.unregister()?)?;
    expect_errno("second unregistration", family.unregister()?, bus.expected("errno")?)
}

/// The ID in the structure, 0, is the one that it still has.
fn unregistration_of_an_unknown_family_is_refused(bus: &Bus<'_>) -> Outcome {
    let refused = bus.try_register(Family::named("nlctrl"))?;
    expect_errno("unregistration", bus.unregister(refused.handle)?, bus.expected("errno")?)
}

fn unregistered_family_is_unknown(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_gone").op(Op::doing(1)).on(On::Doit, Action::Return(0));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    let request = family.request(1, Attrs::new()).with(NLM_F_ACK);
    expect_ok("request before", socket.ask(&request)?)?;
    family.unregister()?;
    expect_errno("request to its ID", socket.ask(&request)?, bus.expected("errno")?)?;
    let controller = bus.controller()?;
    expect_errno("GETFAMILY by its name", controller.by_name("nlc_gone")?, bus.expected("errno")?)?;
    expect_errno("GETFAMILY by its ID", controller.by_id(family.id)?, bus.expected("errno")?)
}

fn name_of_an_unregistered_family_is_free_at_once(bus: &Bus<'_>) -> Outcome {
    bus.register(Family::named("nlc_again"))?.unregister()?;
    expect_ok("second registration", bus.try_register(Family::named("nlc_again"))?.returned)
}

/// A family with the longest name and this many commands.
fn large(commands: u8) -> Family {
    (0..commands).fold(Family::named("nlc_45678901234"), |family, cmd| family.op(Op::doing(cmd)))
}

/// The most commands that a description in one buffer has room for: before them come the headers, the name, five
/// numbers and the header of the nest, and each takes 20 bytes.
fn most_commands(bus: &Bus<'_>) -> u8 {
    const BEFORE: usize = 76;
    ((bus.sizes().goodsize - BEFORE) / 20) as u8
}

fn largest_description_is_returned(bus: &Bus<'_>) -> Outcome {
    let commands = most_commands(bus);
    let socket = bus.generic()?;
    socket.join(genl::CTRL_NOTIFY)?;
    let family = bus.register(large(commands))?;
    let event = socket.receive_one()?;
    expect_eq("announcement", genl::cmd(&event), Some(genl::CTRL_CMD_NEWFAMILY))?;
    let info = bus.controller()?.by_id(family.id)??;
    expect_eq("commands that the controller reports", info.ops.len(), usize::from(commands))
}

fn larger_description_is_neither_returned_nor_announced(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.join(genl::CTRL_NOTIFY)?;
    let family = bus.register(large(most_commands(bus) + 1))?;
    socket.expect_nothing("announcement of the family")?;
    expect_errno("GETFAMILY for it", bus.controller()?.by_id(family.id)?, bus.expected("errno")?)?;
    family.unregister()?;
    socket.expect_nothing("announcement of its end")
}

/// It is not a failure if the registration comes too late to be seen waiting.
fn registration_waits_for_requests(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_busy").op(Op::doing(1)).on(On::Doit, Action::Block);
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    let provider = bus.provider()?;
    let registration = thread::scope(|scope| {
        scope.spawn(|| socket.send(&family.request(1, Attrs::new())));
        provider.blocked(WAIT.as_millis() as u64)?;
        ended_by(|| bus.try_register(Family::named("nlc_waits")), || Ok(provider.release()?))
    })?;
    expect_ok("registration", registration?.returned)
}

fn refused_family_can_be_registered_later(bus: &Bus<'_>) -> Outcome {
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
    expect("ID", info.id >= genl::GENL_START_ALLOC, "a dynamic one", info.id)
}
