//! What messages look like, and the numbers in them.

use std::collections::BTreeSet;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno, expect_ok};
use crate::port::provider::{Action, AttrKind, Family, KernelSend, On, Op, Policy, PolicyEntry, Verb};
use crate::scene::bus::{Bus, Registered};
use crate::wire::attr::{self, Attrs};
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP, NLMSG_ERROR, batch};
use crate::wire::u32_at;

cases! {
    reply_is_laid_out => "GENL-FMT-001";
    own_header_is_padded => "GENL-FMT-001";
    padding_of_the_own_header_is_zero => "GENL-FMT-010";
    longest_name_has_genl_namsiz_bytes => "GENL-FMT-002";
    family_has_its_fixed_id(FIXED_IDS) [initial_net] => "GENL-FMT-007";
    other_families_have_ids_in_range => "GENL-FMT-007";
    command_has_its_flags(SHOWN) => "GENL-FMT-008";
    controllers_replies_have_their_commands => "GENL-FMT-003";
    announcements_have_their_commands => "GENL-FMT-003";
    attribute_has_its_type(ATTRIBUTES) => "GENL-FMT-009";
    policy_dump_has_its_attributes => "GENL-FMT-009";
    replies_have_the_familys_id => "GENL-FMT-004";
    dumps_have_the_familys_id => "GENL-FMT-004";
    notifications_have_the_familys_id => "GENL-FMT-004";
    sends_have_the_familys_id(SENDS) => "GENL-FMT-004";
    replies_of_the_controller_have_its_id => "GENL-FMT-004";
    announcements_have_the_controllers_id => "GENL-FMT-004";
    socket_talks_to_several_families(SOCKETS) => "GENL-FMT-005";
    messages_of_a_batch_reach_their_families => "GENL-FMT-006";
}

fn about_itself() -> Message {
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs)
}

fn reply_is_laid_out(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    // By hand, without the builder: the layout is what is tested.
    let mut request = Vec::new();
    request.extend(28u32.to_ne_bytes()); // nlmsg_len
    request.extend(genl::GENL_ID_CTRL.to_ne_bytes());
    request.extend(1u16.to_ne_bytes()); // NLM_F_REQUEST
    request.extend([7, 0, 0, 0, 0, 0, 0, 0]); // nlmsg_seq, nlmsg_pid
    request.extend([3, 1, 0, 0]); // CTRL_CMD_GETFAMILY, version, reserved
    request.extend([6u16, 1, genl::GENL_ID_CTRL, 0].map(u16::to_ne_bytes).concat()); // an attribute, padded
    socket.send_bytes(&request)?;
    let reply = socket.receive()?.incoming.bytes;
    let header = bus.expected::<usize>("nlmsghdr")?;
    expect_eq("nlmsg_len", u32_at(&reply, 0), Some(reply.len() as u32))?;
    let payload = reply.get(header..).unwrap_or_default();
    let name = [11u16, 2].map(u16::to_ne_bytes).concat();
    let expected = [&[1, 2, 0, 0][..], &name, b"nlctrl\0"].concat();
    expect(
        "what follows the nlmsghdr",
        payload.starts_with(&expected),
        &format!("command 1, version 2, reserved 0, CTRL_ATTR_FAMILY_NAME: {expected:x?} ..."),
        payload,
    )
}

fn own_header_is_padded(bus: &Bus<'_>) -> Outcome {
    let family = Family { hdrsize: 5, ..Family::named("nlc_padded") }.op(Op::dumping(1));
    let family = bus.register(family.on(On::Dumpit, Action::records(1, 8)))?;
    let request = family.request(1, Attrs::new()).bytes(&[0; 8]).with(NLM_F_DUMP);
    let answer = bus.generic()?.ask(&request)?;
    let own = 5usize.next_multiple_of(bus.expected("alignment")?);
    let payload = &answer.reply()?.payload;
    let attrs = attr::parse(payload.get(genl::GENL_HDRLEN + own..).unwrap_or_default());
    expect_eq(
        "types of the attributes after it",
        attrs.iter().map(|attr| attr.kind()).collect::<Vec<_>>(),
        [1, 2],
    )
}

/// The buffer of the dump is where a message without a zero was before.
fn padding_of_the_own_header_is_zero(bus: &Bus<'_>) -> Outcome {
    let family = Family { hdrsize: 5, ..Family::named("nlc_padded") }.op(Op::dumping(1));
    let family = bus.register(family.on(On::Dumpit, Action::records(20, 8)))?;
    let (socket, other) = (bus.generic()?, bus.generic()?);
    other.send_to(socket.name()?, &vec![0xff; bus.sizes().goodsize])?;
    socket.receive()?;
    let answer = socket.ask(&family.request(1, Attrs::new()).bytes(&[0; 8]).with(NLM_F_DUMP))?;
    let padding: Vec<_> = answer.replies.iter().map(|reply| reply.payload.get(9..12)).collect();
    expect_eq("bytes after the family's own header", padding, vec![Some(&[0; 3][..]); 20])
}

fn longest_name_has_genl_namsiz_bytes(bus: &Bus<'_>) -> Outcome {
    let controller = bus.controller()?;
    let size = bus.expected::<usize>("namsiz")?;
    expect_errno("GETFAMILY by a name that fits", controller.by_name(&"n".repeat(size - 1))?, Errno::ENOENT)?;
    expect_errno("GETFAMILY by a longer name", controller.by_name(&"n".repeat(size))?, Errno::EINVAL)
}

/// Name, and the name of the value that is its ID.
const FIXED_IDS: &[(&str, (&str, &str))] = &[
    ("ctrl", ("nlctrl", "ctrl")),
    ("vfs_dquot", ("VFS_DQUOT", "vfs_dquot")),
    ("pmcraid", ("pmcraid", "pmcraid")),
];

fn family_has_its_fixed_id(bus: &Bus<'_>, (name, value): &(&str, &str)) -> Outcome {
    let controller = bus.controller()?;
    let found = match controller.by_name(name)? {
        Ok(info) => info.id,
        Err(_) => bus.register(Family::named(name))?.id,
    };
    expect_eq("ID", found, bus.expected::<u16>(value)?)
}

fn other_families_have_ids_in_range(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_id"))?;
    let range = bus.expected::<u16>("first")?..=bus.expected("last")?;
    expect("ID", range.contains(&family.id), &format!("within {range:?}"), family.id)
}

/// The value, and two commands, of which only the first has that flag.
type Shown = (&'static str, fn() -> [Op; 2]);

const SHOWN: &[(&str, Shown)] = &[
    ("admin_perm", ("admin_perm", || [Op::doing(1).flags(genl::GENL_ADMIN_PERM), Op::doing(2)])),
    ("uns_admin_perm", ("uns_admin_perm", || [Op::doing(1).flags(genl::GENL_UNS_ADMIN_PERM), Op::doing(2)])),
    ("cap_do", ("cap_do", || [Op { doit: true, ..Op::dumping(1) }, Op::dumping(2)])),
    ("cap_dump", ("cap_dump", || [Op { doit: true, ..Op::dumping(1) }, Op::doing(2)])),
    ("cap_haspol", ("cap_haspol", || [Op { policy: Some(0), maxattr: 1, ..Op::doing(1) }, Op::doing(2)])),
];

fn command_has_its_flags(bus: &Bus<'_>, (value, ops): &Shown) -> Outcome {
    let [with, without] = ops();
    // A command from resv_start_op on always has a policy.
    let mut family = Family { resv_start_op: 3, ..Family::named("nlc_shown") }.op(with).op(without);
    family.policies.push(Policy::of([PolicyEntry { attr: 1, kind: AttrKind::U8, ..PolicyEntry::default() }]));
    bus.register(family)?;
    let shown = bus.controller()?.by_name("nlc_shown")??.ops;
    expect_eq("commands shown", shown.iter().map(|op| op.0).collect::<Vec<_>>(), [1, 2])?;
    expect_eq("flags that only the first has", shown[0].1 & !shown[1].1, bus.expected::<u32>(value)?)
}

fn command(bus: &Bus<'_>, value: &str) -> Result<Option<u8>, Failure> {
    bus.expected(value).map(Some)
}

fn controllers_replies_have_their_commands(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let attrs = || Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    let request = genl::request(genl::GENL_ID_CTRL, bus.expected("getfamily")?, attrs());
    let answer = socket.ask(&request)?;
    expect_eq("answer to GETFAMILY", genl::cmd(answer.reply()?), command(bus, "newfamily")?)?;
    let request = genl::request(genl::GENL_ID_CTRL, bus.expected("getpolicy")?, attrs());
    let answer = socket.ask(&request.with(NLM_F_DUMP))?;
    expect_ok("GETPOLICY", answer.ack()?)?;
    expect_eq("answer to GETPOLICY", answer.replies.first().and_then(genl::cmd), command(bus, "getpolicy")?)
}

fn announcements_have_their_commands(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.join(genl::CTRL_NOTIFY)?;
    bus.register(Family::named("nlc_announced").group("events"))?.unregister()?;
    for value in ["newfamily", "newmcast_grp", "delmcast_grp", "delfamily"] {
        expect_eq(value, genl::cmd(&socket.receive_one()?), command(bus, value)?)?;
    }
    Ok(())
}

type Attribute = (&'static str, fn(&Registered<'_>) -> Vec<u8>);

fn u32_bytes(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// The only element of a list, numbered from 1. The controller sets no `NLA_F_NESTED`.
fn in_a_list(element: Attrs) -> Vec<u8> {
    Attrs::new().put(1, element.as_bytes()).as_bytes().to_vec()
}

/// The value that is the attribute's type, and its contents when the controller describes the family of
/// [`attribute_has_its_type`].
const ATTRIBUTES: &[(&str, Attribute)] = &[
    ("family_id", ("family_id", |family| family.id.to_ne_bytes().to_vec())),
    ("family_name", ("family_name", |_| b"nlc_described\0".to_vec())),
    ("version", ("version", |_| u32_bytes(0x33))),
    ("hdrsize", ("hdrsize", |_| u32_bytes(0x44))),
    ("maxattr", ("maxattr", |_| u32_bytes(0x55))),
    ("ops", ("ops", |_| in_a_list(Attrs::new().u32(1, 9).u32(2, genl::GENL_CMD_CAP_DO.into())))),
    (
        "mcast_groups",
        ("mcast_groups", |family| in_a_list(Attrs::new().u32(2, family.groups[0]).string(1, "events"))),
    ),
];

/// Finds the attribute by its contents, and then checks its type.
fn attribute_has_its_type(bus: &Bus<'_>, (value, content): &Attribute) -> Outcome {
    let family = Family { hdrsize: 0x44, maxattr: 0x55, ..Family::named("nlc_described").version(0x33) };
    let family = Family { resv_start_op: 10, ..family }.op(Op::doing(9)).group("events");
    let family = bus.register(family)?;
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, family.id);
    let answer = bus.generic()?.ask(&genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs))?;
    let attrs = genl::attrs(answer.reply()?);
    let found = attrs.iter().find(|attr| attr.data == content(&family)).map(|attr| attr.kind());
    expect_eq("type of the attribute", found, Some(bus.expected(value)?))
}

fn policy_dump_has_its_attributes(bus: &Bus<'_>) -> Outcome {
    let attrs = Attrs::new().u16(bus.expected("family_id")?, genl::GENL_ID_CTRL);
    let attrs = attrs.u32(bus.expected("op")?, genl::CTRL_CMD_GETFAMILY.into());
    let answer = bus
        .generic()?
        .ask(&genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs).with(NLM_F_DUMP))?;
    expect_ok("GETPOLICY", answer.ack()?)?;
    let messages: Vec<_> = answer.replies.iter().map(genl::attrs).collect();
    let with = |kind| messages.iter().filter_map(move |attrs| attr::find(attrs, kind));
    let commands: Vec<u16> =
        with(bus.expected("op_policy")?).flat_map(|attr| attr.nested()).map(|nest| nest.kind()).collect();
    expect_eq("commands in OP_POLICY", commands, [u16::from(genl::CTRL_CMD_GETFAMILY)])?;
    let policies = with(bus.expected("policy")?).count();
    expect("messages with POLICY", policies > 0, "some", policies)
}

/// A family that sends in every way that a family can.
fn talkative<'b>(bus: &'b Bus<'_>) -> Result<Registered<'b>, Failure> {
    let family = Family::named("nlc_talks").group("events").op(Op { doit: true, ..Op::dumping(1) });
    let family = family.on(On::Doit, Action::Reply(2, 0, vec![])).on(On::Doit, Action::Notify(0, 3, vec![]));
    bus.register(family.on(On::Dumpit, Action::records(3, 8)))
}

fn replies_have_the_familys_id(bus: &Bus<'_>) -> Outcome {
    let family = talkative(bus)?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_ACK))?;
    expect_eq("type of the reply", answer.reply()?.kind, family.id)
}

fn dumps_have_the_familys_id(bus: &Bus<'_>) -> Outcome {
    let family = talkative(bus)?;
    let answer = bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    let types: Vec<u16> = answer.replies.iter().map(|record| record.kind).collect();
    expect_eq("types of the records", types, [family.id; 3])
}

fn notifications_have_the_familys_id(bus: &Bus<'_>) -> Outcome {
    let family = talkative(bus)?;
    let member = bus.generic()?;
    member.join(family.groups[0])?;
    bus.generic()?.ask(&family.request(1, Attrs::new()).with(NLM_F_ACK))?;
    expect_eq("type of the notification", member.receive_one()?.kind, family.id)
}

const SENDS: &[(&str, Verb)] = &[("multicast", Verb::Multicast), ("unicast", Verb::Unicast)];

fn sends_have_the_familys_id(bus: &Bus<'_>, verb: &Verb) -> Outcome {
    let family = talkative(bus)?;
    let (member, other) = (bus.generic()?, bus.generic()?);
    member.join(family.groups[0])?;
    // A multicast excludes this port.
    let (receiver, portid) = match verb {
        Verb::Unicast => (&member, member.portid()?),
        _ => (&member, other.portid()?),
    };
    family.send(KernelSend { portid, ..KernelSend::new(*verb) })?;
    expect_eq("type of the message", receiver.receive_one()?.kind, family.id)
}

fn replies_of_the_controller_have_its_id(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let ctrl = bus.expected::<u16>("ctrl")?;
    expect_eq("type of the answer", socket.ask(&about_itself())?.reply()?.kind, ctrl)?;
    let dump = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, Attrs::new()).with(NLM_F_DUMP);
    let types = socket.ask(&dump)?.replies.iter().map(|reply| reply.kind).collect::<BTreeSet<_>>();
    expect_eq("types in a dump", types, BTreeSet::from([ctrl]))
}

fn announcements_have_the_controllers_id(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    socket.join(genl::CTRL_NOTIFY)?;
    bus.register(Family::named("nlc_announced"))?;
    expect_eq("type of the announcement", socket.receive_one()?.kind, bus.expected::<u16>("ctrl")?)
}

const SOCKETS: &[(&str, i32)] = &[("raw", libc::SOCK_RAW), ("dgram", libc::SOCK_DGRAM)];

fn socket_talks_to_several_families(bus: &Bus<'_>, kind: &i32) -> Outcome {
    let reply =
        |name: &str, cmd| Family::named(name).op(Op::doing(1)).on(On::Doit, Action::Reply(cmd, 0, vec![]));
    let (one, two) = (bus.register(reply("nlc_one", 11))?, bus.register(reply("nlc_two", 22))?);
    let socket = bus.open_as(*kind, libc::NETLINK_GENERIC)?;
    let answered = |request: Message| -> Result<(u16, Option<u8>), Failure> {
        let answer = socket.ask(&request)?;
        let reply = answer.reply()?;
        Ok((reply.kind, genl::cmd(reply)))
    };
    for _ in 0..2 {
        expect_eq("answer of the first", answered(one.request(1, Attrs::new()))?, (one.id, Some(11)))?;
        expect_eq("answer of the controller", answered(about_itself())?, (genl::GENL_ID_CTRL, Some(1)))?;
        expect_eq("answer of the second", answered(two.request(1, Attrs::new()))?, (two.id, Some(22)))?;
    }
    Ok(())
}

fn messages_of_a_batch_reach_their_families(bus: &Bus<'_>) -> Outcome {
    let reply = Family::named("nlc_batch").op(Op::doing(1)).on(On::Doit, Action::Reply(2, 0, vec![]));
    let family = bus.register(reply)?;
    let socket = bus.generic()?;
    socket.send_bytes(&batch(&[
        genl::request(genl::GENL_MAX_ID, 1, Attrs::new()).seq(1),
        about_itself().seq(2),
        family.request(9, Attrs::new()).seq(3),
        family.request(1, Attrs::new()).seq(4),
    ]))?;
    let unknown = socket.receive_one()?;
    expect_eq("answer to the first", (unknown.seq, unknown.kind), (1, NLMSG_ERROR))?;
    expect_errno("unknown family", i64::from(unknown.status().unwrap_or(0)), Errno::ENOENT)?;
    let controller = socket.receive_one()?;
    expect_eq("answer to the second", (controller.seq, controller.kind), (2, genl::GENL_ID_CTRL))?;
    let refused = socket.receive_one()?;
    expect_eq("answer to the third", (refused.seq, refused.kind), (3, NLMSG_ERROR))?;
    expect_errno("unknown command", i64::from(refused.status().unwrap_or(0)), Errno::EOPNOTSUPP)?;
    let reply = socket.receive_one()?;
    expect_eq("answer to the fourth", (reply.seq, reply.kind), (4, family.id))
}
