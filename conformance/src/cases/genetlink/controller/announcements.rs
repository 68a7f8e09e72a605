//! The controller: announcements of families that come and go.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_errno};
use crate::port::provider::{Family, Op};
use crate::scene::bus::{Bus, Socket};
use crate::wire::address::Address;
use crate::wire::genl::{self, FamilyInfo};
use crate::wire::message::Message;

cases! {
    registration_is_announced => "GENL-CTRL-017";
    unregistration_is_announced => "GENL-CTRL-018";
    added_group_has_its_attributes => "GENL-CTRL-019";
    removed_group_has_the_same_attributes => "GENL-CTRL-019";
    family_without_netnsok_is_not_announced_elsewhere => "GENL-CTRL-020";
    family_without_netnsok_is_announced_in_the_initial_namespace [initial_net] => "GENL-CTRL-020";
    announcement_reaches_a_listener_with_port_1 => "GENL-CTRL-017";
    announcement_of_the_initial_namespace_reaches_a_listener_with_port_1 [initial_net] => "GENL-CTRL-020";
}

fn announced() -> Family {
    Family::named("nlc_announced").version(3).op(Op::doing(1)).group("one").group("two")
}

fn listener(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let socket = bus.generic()?;
    socket.join(genl::CTRL_NOTIFY)?;
    Ok(socket)
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
    let socket = listener(bus)?;
    let family = bus.register(announced())?;
    let events = announcements(&socket, 3)?;
    let commands: Vec<u8> = events.iter().map(|event| event.0).collect();
    expect_eq(
        "commands",
        commands,
        [genl::CTRL_CMD_NEWFAMILY, genl::CTRL_CMD_NEWMCAST_GRP, genl::CTRL_CMD_NEWMCAST_GRP],
    )?;
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
    let socket = listener(bus)?;
    family.unregister()?;
    let events = announcements(&socket, 3)?;
    let commands: Vec<u8> = events.iter().map(|event| event.0).collect();
    expect_eq(
        "commands",
        commands,
        [genl::CTRL_CMD_DELMCAST_GRP, genl::CTRL_CMD_DELMCAST_GRP, genl::CTRL_CMD_DELFAMILY],
    )?;
    let groups: Vec<_> = events[..2].iter().flat_map(|event| event.1.groups.clone()).collect();
    expect_eq("groups", &groups, &description.groups)?;
    expect_eq("description in the last", &events[2].1, &description)?;
    socket.expect_nothing("fourth announcement")?;
    expect_errno("GETFAMILY for it", bus.controller()?.by_id(family.id)?, Errno::ENOENT)
}

fn family_with_a_group() -> Family {
    Family::named("nlc_grouped").group("only")
}

/// Name and ID of the family; then, without NLA_F_NESTED, one group in a list: its ID and
/// its name.
fn expect_group(message: &Message, id: u16, group: u32) -> Outcome {
    let attrs = genl::attrs(message);
    let kinds: Vec<u16> = attrs.iter().map(|attr| attr.raw_kind).collect();
    expect_eq("types of the attributes", kinds, [2, 1, 7])?;
    expect_eq(
        "name and ID of the family",
        (attrs[0].data, attrs[1].u16()),
        (&b"nlc_grouped\0"[..], Some(id)),
    )?;
    let list = attrs[2].nested();
    expect_eq("types in the list", list.iter().map(|nest| nest.raw_kind).collect::<Vec<_>>(), [1])?;
    let described: Vec<_> = list[0].nested().iter().map(|attr| (attr.raw_kind, attr.data.to_vec())).collect();
    expect_eq("group", described, [(2, group.to_ne_bytes().to_vec()), (1, b"only\0".to_vec())])
}

fn added_group_has_its_attributes(bus: &Bus<'_>) -> Outcome {
    let socket = listener(bus)?;
    let family = bus.register(family_with_a_group())?;
    announcements(&socket, 1)?;
    expect_group(&socket.receive_one()?, family.id, family.groups[0])
}

fn removed_group_has_the_same_attributes(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(family_with_a_group())?;
    let socket = listener(bus)?;
    family.unregister()?;
    expect_group(&socket.receive_one()?, family.id, family.groups[0])
}

fn initial() -> Family {
    Family { netnsok: false, ..Family::named("nlc_initial") }
}

fn family_without_netnsok_is_not_announced_elsewhere(bus: &Bus<'_>) -> Outcome {
    let socket = listener(bus)?;
    bus.register(initial())?.unregister()?;
    let other = bus.register(Family::named("nlc_everywhere"))?;
    let events = announcements(&socket, 1)?;
    expect_eq("command and family", (events[0].0, events[0].1.id), (genl::CTRL_CMD_NEWFAMILY, other.id))
}

fn family_without_netnsok_is_announced_in_the_initial_namespace(bus: &Bus<'_>) -> Outcome {
    let socket = listener(bus)?;
    let family = bus.register(initial())?;
    family.unregister()?;
    // Families of others may come and go at the same time.
    let mut ours = Vec::new();
    while ours.len() < 2 {
        let events = announcements(&socket, 1)?;
        ours.extend(events.into_iter().filter(|event| event.1.name == "nlc_initial").map(|event| event.0));
    }
    expect_eq("commands", ours, [genl::CTRL_CMD_NEWFAMILY, genl::CTRL_CMD_DELFAMILY])
}

/// A listener with a port ID that an announcement might leave out by mistake.
fn listener_with_port_1(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let socket = bus.open(libc::NETLINK_GENERIC)?;
    match socket.bind(Address::port(1)) {
        Err(Errno::EADDRINUSE) => return Err(Failure::Skip("another socket has port ID 1".into())),
        bound => bound?,
    }
    socket.join(genl::CTRL_NOTIFY)?;
    Ok(socket)
}

fn announcement_reaches_a_listener_with_port_1(bus: &Bus<'_>) -> Outcome {
    let socket = listener_with_port_1(bus)?;
    let family = bus.register(announced())?;
    expect_eq("family of each announcement", of_whom(&socket, 3)?, [family.id; 3])
}

fn announcement_of_the_initial_namespace_reaches_a_listener_with_port_1(bus: &Bus<'_>) -> Outcome {
    let socket = listener_with_port_1(bus)?;
    let family = bus.register(initial())?;
    // Families of others may come and go at the same time.
    while of_whom(&socket, 1)? != [family.id] {}
    Ok(())
}

/// The families of the next `n` announcements.
fn of_whom(socket: &Socket, n: usize) -> Result<Vec<u16>, Failure> {
    Ok(announcements(socket, n)?.into_iter().map(|(_, info)| info.id).collect())
}
