//! The controller: dumps of families, also while families come and go.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_ok, expect_result};
use crate::port::provider::{AttrKind, Family, Op, Policy, PolicyEntry};
use crate::scene::bus::{Bus, Socket};
use crate::scene::threads::joined;
use crate::wire::ack::Ack;
use crate::wire::attr::Attrs;
use crate::wire::genl::{self, FamilyInfo};
use crate::wire::message::{Message, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTI, NLMSG_DONE};

cases! {
    dump_lists_each_family_once => "GENL-CTRL-013";
    messages_are_multi_and_done_is_last => "GENL-CTRL-035";
    dump_continues_while_families_come_and_go => "GENL-CTRL-036";
    dump_ends_when_the_families_left_are_gone => "GENL-CTRL-048";
    family_too_large_for_the_buffer_ends_the_dump => "GENL-CTRL-014";
    large_family_fits_a_larger_buffer => "GENL-CTRL-014";
    replies_are_whole_while_families_come_and_go => "GENL-CTRL-034";
}

fn dump_request() -> Message {
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, Attrs::new()).with(NLM_F_DUMP).seq(7)
}

/// Registers this many families, whose descriptions need more than one datagram.
fn register_many(bus: &Bus<'_>, count: usize) -> Outcome {
    for n in 0..count {
        let family = Family::named(&format!("nlc_{n}")).group("one").group("two");
        bus.register(family.op(Op::doing(1)).op(Op::doing(2)).op(Op::doing(3)))?;
    }
    Ok(())
}

fn dump_lists_each_family_once(bus: &Bus<'_>) -> Outcome {
    register_many(bus, 40)?;
    let controller = bus.controller()?;
    let listed = controller.all()?;
    let ids: Vec<u16> = listed.iter().map(|info| info.id).collect();
    expect("IDs", ids.is_sorted_by(|a, b| a < b), "ascending", &ids)?;
    let ours = listed.iter().filter(|info| info.name.starts_with("nlc_")).count();
    expect_eq("families that were registered", ours, 40)?;
    for info in listed {
        expect_eq("description", controller.by_id(info.id)??, info)?;
    }
    Ok(())
}

/// The next datagram of a dump: the families in it, and what ended the dump, if it did.
fn part(socket: &Socket, room: usize) -> Result<(Vec<FamilyInfo>, Option<Ack>), Failure> {
    let mut families = Vec::new();
    for message in socket.receive_into(room)?.messages {
        expect_eq("flags", message.flags & (NLM_F_MULTI | NLM_F_DUMP_INTR), NLM_F_MULTI)?;
        if message.kind == NLMSG_DONE {
            return Ok((families, Ack::read(&message)));
        }
        expect_eq("command", genl::cmd(&message), Some(genl::CTRL_CMD_NEWFAMILY))?;
        families.push(FamilyInfo::read(&message));
    }
    Ok((families, None))
}

/// The rest of a dump.
fn rest(socket: &Socket, room: usize) -> Result<(Vec<FamilyInfo>, Ack), Failure> {
    let mut families = Vec::new();
    loop {
        let (some, end) = part(socket, room)?;
        families.extend(some);
        if let Some(ack) = end {
            return Ok((families, ack));
        }
    }
}

/// A buffer of one page, which is what the kernel uses by default.
const PAGE: usize = 4096;
/// A buffer as large as the largest that a dump uses.
const GREAT: usize = 32 * 1024;

fn messages_are_multi_and_done_is_last(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.send(&dump_request())?;
    let (families, end) = rest(&socket, GREAT)?;
    expect_eq("first family", families.first().map(|info| info.id), Some(genl::GENL_ID_CTRL))?;
    expect_ok("end", end)
}

fn dump_continues_while_families_come_and_go(bus: &Bus<'_>) -> Outcome {
    register_many(bus, 60)?;
    let socket = bus.generic()?;
    let passing = bus.register(Family::named("nlc_passing"))?;
    socket.send(&dump_request())?;
    let (mut families, end) = part(&socket, PAGE)?;
    expect_eq("end in the first of several datagrams", end, None)?;
    passing.unregister()?;
    bus.register(Family::named("nlc_late"))?;
    let (others, end) = rest(&socket, PAGE)?;
    expect_ok("end", end)?;
    families.extend(others);
    let there_all_the_time = |info: &&FamilyInfo| !["nlc_passing", "nlc_late"].contains(&info.name.as_str());
    let ours = families.iter().filter(|info| info.name.starts_with("nlc_")).filter(there_all_the_time);
    // The kernel keeps its place as a count: a family that comes or goes before it shifts it by one.
    let count = ours.count();
    expect("families that were there all the time", (59..=61).contains(&count), "60, more or less one", count)
}

/// Two datagrams are filled when the first one has been received.
fn dump_ends_when_the_families_left_are_gone(bus: &Bus<'_>) -> Outcome {
    let large =
        |n| (1..=100).fold(Family::named(&format!("nlc_{n}")), |family, cmd| family.op(Op::doing(cmd)));
    let families = (0..8).map(|n| bus.register(large(n))).collect::<Result<Vec<_>, _>>()?;
    let socket = bus.generic()?;
    socket.send(&dump_request())?;
    let (first, end) = part(&socket, PAGE)?;
    expect_eq("end in the first of several datagrams", end, None)?;
    for family in families {
        family.unregister()?;
    }
    let (others, end) = rest(&socket, PAGE)?;
    expect_ok("end", end)?;
    let listed = [first, others].concat().iter().filter(|info| info.name.starts_with("nlc_")).count();
    expect("families that were listed", listed < 8, "fewer than there were", listed)
}

/// Its description needs more than one page.
fn big() -> Family {
    (1..=250).fold(Family::named("nlc_big"), |family, cmd| family.op(Op::doing(cmd)))
}

fn family_too_large_for_the_buffer_ends_the_dump(bus: &Bus<'_>) -> Outcome {
    bus.register(big())?;
    let socket = bus.generic()?;
    socket.send(&dump_request())?;
    let (families, end) = rest(&socket, PAGE)?;
    let listed = families.iter().any(|info| info.name == "nlc_big");
    expect_eq("whether the family is listed", listed, false)?;
    expect_result("end", end, bus.expected("result")?)
}

/// The buffers of a dump grow with the buffers that receives have offered on the socket.
fn large_family_fits_a_larger_buffer(bus: &Bus<'_>) -> Outcome {
    bus.register(big())?;
    let socket = bus.generic()?;
    socket.expect_nothing("message before the request")?;
    socket.send(&dump_request())?;
    let (families, end) = rest(&socket, GREAT)?;
    expect_ok("end", end)?;
    let commands = families.iter().find(|info| info.name == "nlc_big").map(|info| info.ops.len());
    expect_eq("commands of the family", commands, Some(250))
}

/// A family with commands, groups and policies.
fn whole() -> Family {
    Family::named("nlc_whole")
        .version(7)
        .policy(Policy::of([PolicyEntry::new(1, AttrKind::U8)]))
        .op(Op::doing(1))
        .op(Op::doing(2))
        .group("one")
        .group("two")
}

/// Sends requests until `stop` is set.
fn ask_until(bus: &Bus<'_>, done: &AtomicBool) -> Outcome {
    let controller = bus.controller()?;
    while !done.load(Ordering::Relaxed) {
        match controller.by_name("nlc_whole")? {
            Ok(info) => {
                expect_eq("version and highest type", (info.version, info.maxattr), (7, 1))?;
                expect_eq("commands and groups", (info.ops.len(), info.groups.len()), (2, 2))?;
            }
            Err(errno) => expect_eq("refusal", errno, bus.expected::<Errno>("gone")?)?,
        }
        let name = Attrs::new().string(genl::CTRL_ATTR_FAMILY_NAME, "nlc_whole");
        match controller.policies(name)? {
            Ok(dump) => {
                expect_eq("commands and attributes", (dump.commands.len(), dump.attributes.len()), (2, 1))?
            }
            Err(errno) => expect_eq("refusal", errno, bus.expected::<Errno>("gone")?)?,
        }
    }
    Ok(())
}

fn replies_are_whole_while_families_come_and_go(bus: &Bus<'_>) -> Outcome {
    let done = AtomicBool::new(false);
    let churn = || -> Outcome {
        for _ in 0..30 {
            let family = bus.register(whole())?;
            bus.controller()?.by_id(family.id)??;
            family.unregister()?;
        }
        bus.register(whole())?;
        Ok(())
    };
    std::thread::scope(|scope| {
        let askers = [(); 2].map(|()| scope.spawn(|| ask_until(bus, &done)));
        let churned = churn();
        done.store(true, Ordering::Relaxed);
        for asker in askers {
            joined(asker)?;
        }
        churned
    })
}
