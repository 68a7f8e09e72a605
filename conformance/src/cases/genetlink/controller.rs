//! The controller: questions, dumps, announcements.

use nix::errno::Errno;

use crate::bus::{Bus, Socket};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno};
use crate::target::provider::{Family, Op};
use crate::wire::attr::Attrs;
use crate::wire::genl::{self, FamilyInfo};
use crate::wire::message::{ACK, Message};

cases! {
    controller_describes_itself => "GENL-CTRL-001";
    name_and_id_give_the_same => "GENL-CTRL-002";
    question_for_nothing_is_refused => "GENL-CTRL-009";
    question_for_the_unknown_is_refused(UNKNOWN) => "GENL-CTRL-009";
    dump_lists_each_family_once => "GENL-CTRL-013";
    registration_is_announced => "GENL-CTRL-017";
    unregistration_is_announced => "GENL-CTRL-018";
}

fn controller_describes_itself(bus: &Bus<'_>) -> Outcome {
    let info = bus.controller()?.by_name("nlctrl")??;
    expect_eq("id, version, header size", (info.id, info.version, info.hdrsize), (genl::ID_CTRL, 2, 0))?;
    expect_eq("commands", info.ops.iter().map(|op| op.0).collect::<Vec<_>>(), [3, 10])?;
    expect_eq("groups", info.groups, [(genl::CTRL_NOTIFY, "notify".to_owned())])
}

fn name_and_id_give_the_same(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let ask = |attrs: Attrs| -> Result<Message, Failure> {
        let answer = socket.ask(&genl::request(genl::ID_CTRL, genl::CMD_GETFAMILY, attrs))?;
        answer.reply().cloned()
    };
    let by_name = ask(Attrs::new().string(genl::ATTR_FAMILY_NAME, "nlctrl"))?;
    let by_id = ask(Attrs::new().u16(genl::ATTR_FAMILY_ID, genl::ID_CTRL))?;
    expect_eq("command", genl::cmd(&by_name), Some(genl::CMD_NEWFAMILY))?;
    expect_eq("flags", by_name.flags, 0)?;
    expect_eq("answer to the id", by_id, by_name)
}

fn question_for_nothing_is_refused(bus: &Bus<'_>) -> Outcome {
    let request = genl::request(genl::ID_CTRL, genl::CMD_GETFAMILY, Attrs::new()).with(ACK);
    expect_errno("request", bus.generic()?.ask(&request)?, bus.expected("nothing")?)
}

type Question = fn() -> Attrs;

const UNKNOWN: &[(&str, Question)] = &[
    ("id", || Attrs::new().u16(genl::ATTR_FAMILY_ID, genl::MAX_ID)),
    ("name", || Attrs::new().string(genl::ATTR_FAMILY_NAME, "nlc_unknown")),
];

fn question_for_the_unknown_is_refused(bus: &Bus<'_>, attrs: &Question) -> Outcome {
    let request = genl::request(genl::ID_CTRL, genl::CMD_GETFAMILY, attrs()).with(ACK);
    expect_errno("request", bus.generic()?.ask(&request)?, bus.expected("unknown")?)
}

/// Enough families with long enough descriptions that the list takes several datagrams.
fn dump_lists_each_family_once(bus: &Bus<'_>) -> Outcome {
    for n in 0..40 {
        let family = Family::named(&format!("nlc_{n}")).group("one").group("two");
        bus.register(family.op(Op::doing(1)).op(Op::doing(2)).op(Op::doing(3)))?;
    }
    let controller = bus.controller()?;
    let listed = controller.all()?;
    let ids: Vec<u16> = listed.iter().map(|info| info.id).collect();
    expect("ids", ids.is_sorted_by(|a, b| a < b), "ascending", &ids)?;
    let ours = listed.iter().filter(|info| info.name.starts_with("nlc_")).count();
    expect_eq("families that were registered", ours, 40)?;
    for info in listed {
        expect_eq("description", controller.by_id(info.id)??, info)?;
    }
    Ok(())
}

fn announced() -> Family {
    Family::named("nlc_announced").version(3).op(Op::doing(1)).group("one").group("two")
}

/// The next `n` announcements, each with sequence number, port ID and flags 0.
fn announcements(socket: &Socket, n: usize) -> Result<Vec<(u8, FamilyInfo)>, Failure> {
    let mut all = Vec::new();
    while all.len() < n {
        let message = socket.receive_one()?;
        expect_eq(
            "sequence number, port ID and flags",
            (message.seq, message.portid, message.flags),
            (0, 0, 0),
        )?;
        all.push((genl::cmd(&message).unwrap_or(0), FamilyInfo::read(&message)));
    }
    Ok(all)
}

fn registration_is_announced(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.join(genl::CTRL_NOTIFY)?;
    let family = bus.register(announced())?;
    let events = announcements(&socket, 3)?;
    let commands: Vec<u8> = events.iter().map(|event| event.0).collect();
    expect_eq("commands", commands, [genl::CMD_NEWFAMILY, genl::CMD_NEWMCAST_GRP, genl::CMD_NEWMCAST_GRP])?;
    expect_eq("description", &events[0].1, &bus.controller()?.by_id(family.id)??)?;
    for (n, name) in ["one", "two"].into_iter().enumerate() {
        let (_, info) = &events[n + 1];
        expect_eq("family of the group", (info.name.as_str(), info.id), ("nlc_announced", family.id))?;
        expect_eq("group", &info.groups[..], [(family.groups[n], name.to_owned())])?;
    }
    socket.expect_nothing("fourth announcement")
}

fn unregistration_is_announced(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(announced())?;
    let description = bus.controller()?.by_id(family.id)??;
    let socket = bus.generic()?;
    socket.join(genl::CTRL_NOTIFY)?;
    family.unregister()?;
    let events = announcements(&socket, 3)?;
    let commands: Vec<u8> = events.iter().map(|event| event.0).collect();
    expect_eq("commands", commands, [genl::CMD_DELMCAST_GRP, genl::CMD_DELMCAST_GRP, genl::CMD_DELFAMILY])?;
    expect_eq(
        "name and id in the last",
        (&events[2].1.name, events[2].1.id),
        (&description.name, family.id),
    )?;
    expect_errno("question for it", bus.controller()?.by_id(family.id)?, Errno::ENOENT)
}
