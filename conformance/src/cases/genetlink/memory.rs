//! What fails when there is no memory, and that nothing else does: each allocation of a call is
//! made to fail, one after the other.

use nix::errno::Errno;
use nix::libc;

use super::groups::{grouped, limit};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::port::Outgoing;
use crate::port::capability::Capability;
use crate::port::provider::{
    Action, AttrKind, Call, Check, Family, KernelSend, On, Op, Policy, PolicyEntry, Verb,
};
use crate::scene::bus::{Bus, Datagram, Registered, Socket};
use crate::wire::ack::Ack;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR};

cases! {
    registration_leaves_nothing_behind => "GENL-MEM-001";
    registration_that_makes_room_for_groups_leaves_nothing_behind [invasive] => "GENL-MEM-001";
    failed_registration_of_the_drop_monitor_keeps_its_group [invasive] => "GENL-MEM-001";
    unregistration_succeeds => "GENL-MEM-002";
    multicast_is_delivered_or_reported(MULTICASTS) => "GENL-MEM-003";
    member_that_asks_has_its_loss_reported_to_the_sender(MULTICASTS) => "GENL-MEM-008";
    request_is_answered_or_its_loss_reported(REQUESTS) => "GENL-MEM-004";
    failed_start_of_a_dump_holds_nothing(DUMPS) => "GENL-MEM-005";
    failed_rest_of_a_dump_holds_nothing(DUMPS) => "GENL-MEM-005";
}

/// The group of the family NET_DM (genl_validate_assign_mc_groups()).
const NET_DM_GROUP: u32 = 1;
/// The size of the receive buffer: a dump fills no larger datagrams.
const ROOM: usize = 8192;
/// Records of a dump of command 2: several datagrams.
const RECORDS: u32 = 400;

/// A family with commands, policies and groups. Command 1 replies, command 2 dumps.
fn furnished() -> Family {
    let number = |attr| PolicyEntry { attr, kind: AttrKind::U32, ..PolicyEntry::default() };
    let nest = PolicyEntry { attr: 1, kind: AttrKind::Nested, len: 2, check: Check::Nested(1) };
    let family = Family::named("nlc_memory").group("one").group("two");
    let mut family = family.policy(Policy::of([nest, number(2)]));
    family.policies.push(Policy::of([number(1), number(2)]));
    family
        .op(Op::doing(1))
        .op(Op::dumping(2))
        .on(On::Doit, Action::Reply(1, 0, vec![]))
        .on(On::Dumpit, Action::records(RECORDS, 100))
}

fn registration_leaves_nothing_behind(bus: &Bus<'_>) -> Outcome {
    let expected: Errno = bus.expected("errno")?;
    let references = bus.provider()?.module_references()?;
    let controller = bus.controller()?;
    let first = bus.register(furnished())?;
    first.unregister()?;
    bus.fail_each_of_call(|how| {
        let made = bus.try_register_with(furnished(), how)?;
        if made.returned != 0 {
            expect_errno("registration", made.returned, expected)?;
            expect_errno("GETFAMILY by its name", controller.by_name("nlc_memory")?, Errno::ENOENT)?;
            expect_ok("registration of the same structure", bus.register_again(made.handle)?.returned)?;
        }
        let info = controller.by_name("nlc_memory")??;
        let groups: Vec<u32> = info.groups.iter().map(|group| group.0).collect();
        expect_eq("IDs of its groups", &groups, &first.groups)?;
        expect_ok("unregistration", bus.unregister(made.handle)?)?;
        expect_eq("references to its module", bus.provider()?.module_references()?, references)
    })
}

/// Which allocation of each growth fails: where the list of all groups fits into the memory that it has, the first is
/// that of the list of listeners, else the second.
const GROWTHS: [u32; 8] = [1, 1, 1, 1, 2, 2, 2, 2];

/// Each attempt needs more room than there is: what it made room for, the next family takes, and each family's
/// groups follow those of the one before.
fn registration_that_makes_room_for_groups_leaves_nothing_behind(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::FailNth)?;
    let (mut number, mut last) = (0, None);
    let mut register = |fail_nth| {
        number += 1;
        let how = Call { fail_nth, ..Call::default() };
        let mut made = bus.try_register_with(grouped(&format!("nlc_{number}"), 64), &how)?;
        if made.returned != 0 {
            expect_errno("registration", made.returned, bus.expected("errno")?)?;
            made = bus.register_again(made.handle)?;
            expect_ok("registration of the same structure", made.returned)?;
        }
        if let Some(last) = last {
            expect_eq("its first group", made.groups.first(), Some(&(last + 1)))?;
        }
        last = made.groups.last().copied();
        Ok::<_, Failure>(())
    };
    let before = limit(bus)?;
    // In a guest that has had no more groups than fit into a word, this is the first growth of all.
    register(1)?;
    while limit(bus)? == before {
        register(0)?;
    }
    GROWTHS.into_iter().try_for_each(register)
}

/// The drop monitor's group has its ID without being given one, so that a registration that fails must not take it back.
fn failed_registration_of_the_drop_monitor_keeps_its_group(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::FailNth)?;
    if bus.controller()?.by_name("NET_DM")?.is_ok() {
        return Err(Failure::Skip("the target has NET_DM itself".into()));
    }
    let (before, mut filling) = (limit(bus)?, 0);
    while limit(bus)? == before {
        bus.register(grouped(&format!("nlc_filling_{filling}"), 64))?;
        filling += 1;
    }
    let failing = |fail_nth| Call { fail_nth, ..Call::default() };
    let mut refused = 0;
    for (number, nth) in GROWTHS.into_iter().enumerate() {
        let large = bus.try_register_with(grouped(&format!("nlc_{number}"), 64), &failing(nth))?;
        let monitor = bus.try_register_with(grouped("NET_DM", 1), &failing(1))?;
        match monitor.returned {
            0 => bus.unregister(monitor.handle).map(drop)?,
            returned => {
                expect_errno("registration of NET_DM", returned, bus.expected("errno")?)?;
                refused += 1;
            }
        }
        let next = bus.register(grouped("nlc_next", 1))?;
        let group = next.groups[0];
        expect("group of the next family", group != NET_DM_GROUP, "another than NET_DM's", group)?;
        next.unregister()?;
        if large.returned != 0 {
            expect_ok("registration of the large family", bus.register_again(large.handle)?.returned)?;
        }
    }
    expect("registrations of NET_DM that failed", refused > 0, "some", refused)
}

fn unregistration_succeeds(bus: &Bus<'_>) -> Outcome {
    let member = bus.generic()?;
    bus.fail_each_of_call(|how| {
        let family = bus.register(furnished())?;
        member.join(family.groups[0])?;
        expect_ok("unregistration", bus.unregister_with(family.handle, how)?)?;
        expect_errno("GETFAMILY for it", bus.controller()?.by_id(family.id)?, Errno::ENOENT)?;
        expect_empty("memberships", member.memberships()?)
    })
}

const MULTICASTS: &[(&str, Verb)] =
    &[("genlmsg_multicast_netns", Verb::Multicast), ("genlmsg_multicast_allns", Verb::MulticastAll)];

fn multicast_is_delivered_or_reported(bus: &Bus<'_>, verb: &Verb) -> Outcome {
    let family = bus.register(furnished())?;
    let members = [bus.generic()?, bus.generic()?, bus.generic()?];
    for member in &members {
        member.join(family.groups[0])?;
    }
    bus.fail_each_of_call(|how| {
        let returned = family.send_with(KernelSend::new(*verb), how)?;
        if returned != 0 {
            expect_errno("multicast", returned, bus.expected("errno")?)?;
        }
        for member in &members {
            let received = drain(member);
            let reported = received.len() == 1 && lost_only(bus, &received)?;
            expect("at a member", reported || returned != 0, "the message, or that it is lost", &received)?;
        }
        expect_ok("next multicast", family.send(KernelSend::new(*verb))?)?;
        members.iter().try_for_each(|member| expect_eq("type", member.receive_one()?.kind, family.id))
    })
}

fn member_that_asks_has_its_loss_reported_to_the_sender(bus: &Bus<'_>, verb: &Verb) -> Outcome {
    let (errno, lost) = (bus.expected("errno")?, bus.expected("lost")?);
    let family = bus.register(furnished())?;
    let members = [bus.generic()?, bus.generic()?, bus.generic()?];
    for member in &members {
        member.set(libc::NETLINK_BROADCAST_ERROR, 1)?;
        member.join(family.groups[0])?;
    }
    bus.fail_each_of_call(|how| {
        let returned = family.send_with(KernelSend::new(*verb), how)?;
        // Who has joined last comes first.
        let received: Vec<_> = members.iter().rev().flat_map(drain).map(|got| got.err()).collect();
        let after = received.iter().skip_while(|got| got.is_none());
        let all_lose = after.clone().all(|got| *got == Some(lost));
        expect("members after the one that loses it", all_lose, "lose it, too", &received)?;
        match received.contains(&Some(lost)) {
            true => expect_errno("multicast that a member has lost", returned, lost),
            false if returned == 0 => expect_eq("what members receive", received, vec![None; 3]),
            false => {
                expect_errno("multicast", returned, errno)?;
                expect_empty("what members receive", received)
            }
        }
    })
}

/// Everything that can be received.
fn drain(socket: &Socket) -> Vec<Result<Datagram, Errno>> {
    let receive = || Some(socket.receive_now(ROOM, 0)).filter(|got| !matches!(got, Err(Errno::EAGAIN)));
    std::iter::from_fn(receive).collect()
}

/// Whether the only errors received are those of lost messages.
fn lost_only(bus: &Bus<'_>, received: &[Result<Datagram, Errno>]) -> Result<bool, Failure> {
    let lost = bus.expected("lost")?;
    Ok(received.iter().all(|got| got.as_ref().err().is_none_or(|errno| *errno == lost)))
}

/// What is received must answer what was sent without memory: completely, or with an errno that
/// says why not.
fn expect_clean(bus: &Bus<'_>, sent: Result<usize, Errno>, received: &[Result<Datagram, Errno>]) -> Outcome {
    let (errno, lost) = (bus.expected("errno")?, bus.expected("lost")?);
    if sent.is_err() {
        return expect_errno("sending", sent, lost);
    }
    let messages = received.iter().flatten().flat_map(|datagram| &datagram.messages);
    let ends: Vec<&Message> =
        messages.filter(|message| [NLMSG_ERROR, NLMSG_DONE].contains(&message.kind)).collect();
    for end in &ends {
        let status = Ack::read(end).and_then(|ack| ack.result().err());
        let fits = status.is_none_or(|status| status == errno || status == lost);
        expect("end of the answer", fits, &format!("success, {errno:?} or {lost:?}"), status)?;
    }
    expect("receiving", lost_only(bus, received)?, &format!("no errno but {lost:?}"), received)?;
    let reported = !ends.is_empty() || received.iter().any(Result::is_err);
    expect("answer", reported, "an end, or an error of the socket", received)
}

/// What a request is made with, and the command of its reply.
type Request = (fn(&Registered<'_>) -> Message, u8);

const REQUESTS: &[(&str, Request)] = &[
    ("of_a_family", (|family| family.request(1, Attrs::new().u32(2, 1)), 1)),
    ("of_the_controller", (|family| about(family, genl::CTRL_CMD_GETFAMILY), genl::CTRL_CMD_NEWFAMILY)),
];

/// A request to the controller.
fn about(family: &Registered<'_>, cmd: u8) -> Message {
    let id = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, family.id);
    genl::request(genl::GENL_ID_CTRL, cmd, id)
}

fn request_is_answered_or_its_loss_reported(bus: &Bus<'_>, (request, reply): &Request) -> Outcome {
    let family = bus.register(furnished())?;
    let request = request(&family).with(NLM_F_ACK).seq(7);
    let outgoing = Outgoing { bytes: request.encode(), ..Outgoing::default() };
    let socket = bus.generic()?;
    bus.fail_each_of_step(
        || Ok(()),
        |()| socket.raw().send(&outgoing),
        |(), sent| {
            expect_clean(bus, sent, &drain(&socket))?;
            let next = socket.ask(&request)?;
            expect_ok("next request", &next)?;
            expect_eq("command of the next reply", genl::cmd(next.reply()?), Some(*reply))
        },
    )
}

/// A family, and a dump of it or about it.
type Dump = (fn() -> Family, fn(&Registered<'_>) -> Message);

const DUMPS: &[(&str, Dump)] = &[
    ("family", (furnished, |family| family.request(2, Attrs::new().u32(2, 1)))),
    ("policies", (furnished, policies)),
    // The list of policies has room for 10 at first, and is made longer when there are more.
    ("many_policies", (|| with_policies(&[(Op::doing, 3), (Op::doing, MANY)]), policies)),
    ("many_policies_of_a_dump", (|| with_policies(&[(Op::doing, 3), (Op::dumping, MANY)]), policies)),
    ("many_policies_at_once", (|| with_policies(&[(Op::doing, MANY)]), policies)),
    ("one_policy_too_many", (|| with_policies(&[(Op::doing, 9), (Op::doing, 0)]), policies)),
    ("policies_of_one_request", (|| with_policies(&[(Op::doing, MANY)]), policies_of_the_first)),
    ("policies_of_one_dump", (|| with_policies(&[(Op::dumping, MANY)]), policies_of_the_first)),
];

fn policies(family: &Registered<'_>) -> Message {
    about(family, genl::CTRL_CMD_GETPOLICY)
}

/// The policies of command 1.
fn policies_of_the_first(family: &Registered<'_>) -> Message {
    policies(family).attrs(Attrs::new().u32(genl::CTRL_ATTR_OP, 1))
}

/// So many that the kernel's list of them is made longer several times.
const MANY: u32 = 59;

/// A command, and how many policies are nested in its own.
type Command = (fn(u8) -> Op, u32);

/// A family with these commands, from 1 on.
fn with_policies(commands: &[Command]) -> Family {
    let mut family = Family { resv_start_op: 255, ..Family::named("nlc_memory") };
    let flag = |attr| PolicyEntry::new(attr, AttrKind::Flag);
    let mut nested = commands.len() as u32;
    for (policy, (op, count)) in (0..).zip(commands) {
        let nest =
            |(attr, policy)| PolicyEntry::new(attr, AttrKind::Nested).len(1).check(Check::Nested(policy));
        let nests = (2..).zip(nested..nested + count).map(nest);
        family.policies.push(Policy::of([flag(1)].into_iter().chain(nests).collect::<Vec<_>>()));
        nested += count;
        family = family.op(Op { policy: Some(policy), maxattr: count + 1, ..op(policy as u8 + 1) });
    }
    family.policies.resize_with(nested as usize, || Policy::of([flag(1)]));
    family
}

fn failed_start_of_a_dump_holds_nothing(bus: &Bus<'_>, (family, dump): &Dump) -> Outcome {
    let family = bus.register(family())?;
    let references = bus.provider()?.module_references()?;
    let request = dump(&family).with(NLM_F_DUMP).seq(7);
    let outgoing = Outgoing { bytes: request.encode(), ..Outgoing::default() };
    bus.fail_each_of_step(
        || bus.generic(),
        |socket| socket.raw().send(&outgoing),
        |socket, sent| {
            expect_clean(bus, sent, &drain(&socket))?;
            drop(socket);
            expect_whole(bus, &request)?;
            expect_eq("references to its module", bus.provider()?.module_references()?, references)
        },
    )
}

fn failed_rest_of_a_dump_holds_nothing(bus: &Bus<'_>, (family, dump): &Dump) -> Outcome {
    let family = bus.register(family())?;
    let references = bus.provider()?.module_references()?;
    let request = dump(&family).with(NLM_F_DUMP).seq(7);
    bus.fail_each_of_rest(&request, ROOM, |socket, first| {
        let received = [vec![first], drain(&socket)].concat();
        expect_clean(bus, Ok(0), &received)?;
        drop(socket);
        expect_whole(bus, &request)?;
        expect_eq("references to its module", bus.provider()?.module_references()?, references)
    })
}

/// The same dump again, through another socket, must be complete.
fn expect_whole(bus: &Bus<'_>, request: &Message) -> Outcome {
    let answer = bus.generic()?.ask(request)?;
    expect_ok("next dump", &answer)?;
    if request.kind == genl::GENL_ID_CTRL {
        return expect("messages of the next dump", !answer.replies.is_empty(), "some", answer.replies.len());
    }
    expect_eq("records of the next dump", answer.replies.len(), RECORDS as usize)
}
