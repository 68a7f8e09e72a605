//! Messages to the groups of families: which sockets they reach, in which network namespaces.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_errno, expect_ok, expect_result};
use crate::port::Who;
use crate::port::provider::{Action, Family, KernelSend, LogEntry, On, Op, Verb};
use crate::scene::bus::{Bus, Registered, Socket};
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ECHO};

cases! {
    index_selects_the_group(MULTICASTS_HERE) => "GENL-MC-013";
    index_beyond_the_last_is_refused(MULTICASTS) => "GENL-MC-013";
    message_to_an_index_beyond_the_last_is_freed_or_left(MULTICASTS) => "GENL-MC-032";
    notification_to_an_index_beyond_the_last_is_freed_or_left => "GENL-MC-032";
    multicast_reaches_each_member => "GENL-MC-014";
    multicast_without_members_returns_esrch => "GENL-MC-014";
    multicast_to_only_the_excluded_port_returns_esrch => "GENL-MC-014";
    excluded_port_receives_nothing => "GENL-MC-014";
    multicast_reaches_its_namespaces(NAMESPACES) [initial_net] => "GENL-MC-015";
    multicast_without_members_in_its_namespace_returns_esrch => "GENL-MC-015";
    multicast_to_all_namespaces_without_members_returns_esrch => "GENL-MC-015";
    multicast_to_all_namespaces_reports_what_became_of_it(FATES) => "GENL-MC-028";
    listener_in_any_namespace_counts => "GENL-MC-016";
    group_without_member_has_no_listeners => "GENL-MC-016";
    notification_reaches_the_requester_once(REQUESTERS) => "GENL-MC-017";
    notification_reaches_other_members => "GENL-MC-017";
    notification_reaches_a_member_with_any_port(PORTS) => "GENL-MC-017";
    index_selects_the_group_of_a_notification => "GENL-MC-013";
    filter_skips_a_socket => "GENL-MC-022";
    filter_that_skips_all_sockets_returns_esrch => "GENL-MC-022";
}

fn events() -> Family {
    Family::named("nlc_events").group("events")
}

/// The member's next and only message must be the one that was sent to the group.
fn expect_event(socket: &Socket, family: u16) -> Outcome {
    let event = socket.receive_one()?;
    expect_eq("type and command", (event.kind, genl::cmd(&event)), (family, Some(1)))?;
    socket.expect_nothing("second copy")
}

/// Those that reach a case's own network namespace.
const MULTICASTS_HERE: &[(&str, Verb)] =
    &[("genlmsg_multicast_netns", Verb::Multicast), ("genlmsg_multicast_allns", Verb::MulticastAll)];

fn index_selects_the_group(bus: &Bus<'_>, verb: &Verb) -> Outcome {
    let family = bus.register(events().group("others"))?;
    let (first, second) = (bus.generic()?, bus.generic()?);
    first.join(family.groups[0])?;
    second.join(family.groups[1])?;
    expect_ok("multicast to index 1", family.send(KernelSend { group: 1, ..KernelSend::new(*verb) })?)?;
    expect_event(&second, family.id)?;
    first.expect_nothing("message to the other group")
}

fn index_selects_the_group_of_a_notification(bus: &Bus<'_>) -> Outcome {
    let notifying = events().group("others").op(Op::doing(1)).on(On::Doit, Action::Notify(1, 1, vec![]));
    let family = bus.register(notifying)?;
    let (first, second) = (bus.generic()?, bus.generic()?);
    first.join(family.groups[0])?;
    second.join(family.groups[1])?;
    bus.generic()?.send(&family.request(1, Attrs::new()))?;
    expect_event(&second, family.id)?;
    first.expect_nothing("notification in the other group")
}

const MULTICASTS: &[(&str, Verb)] = &[
    ("genlmsg_multicast", Verb::MulticastInitial),
    ("genlmsg_multicast_netns", Verb::Multicast),
    ("genlmsg_multicast_allns", Verb::MulticastAll),
];

/// The kernel warns about this, once: it is a programming error.
fn index_beyond_the_last_is_refused(bus: &Bus<'_>, verb: &Verb) -> Outcome {
    let family = bus.register(events())?;
    let next = bus.register(Family::named("nlc_next").group("events"))?;
    let socket = bus.generic()?;
    socket.join(next.groups[0])?;
    let send = KernelSend { group: 1, ..KernelSend::new(*verb) };
    expect_errno("multicast", family.send(send)?, bus.expected("errno")?)?;
    socket.expect_nothing("message to a group of another family")
}

/// Messages that were left to whoever sent them, of one that was sent to the group with index 1.
fn expect_left(bus: &Bus<'_>, log: &[LogEntry]) -> Outcome {
    let left: Vec<u32> = log.iter().filter(|entry| entry.on == On::Left).map(|entry| entry.subject).collect();
    expect_eq(
        "groups of messages left to the caller",
        left,
        if bus.expected("freed")? { vec![] } else { vec![1] },
    )
}

fn message_to_an_index_beyond_the_last_is_freed_or_left(bus: &Bus<'_>, verb: &Verb) -> Outcome {
    let family = bus.register(events())?;
    family.send(KernelSend { group: 1, ..KernelSend::new(*verb) })?;
    expect_left(bus, &bus.calls_so_far()?)
}

fn notification_to_an_index_beyond_the_last_is_freed_or_left(bus: &Bus<'_>) -> Outcome {
    let notifying = events().op(Op::doing(1)).on(On::Doit, Action::Notify(1, 1, vec![]));
    let family = bus.register(notifying)?;
    bus.generic()?.send(&family.request(1, Attrs::new()))?;
    // The callback is logged when it returns.
    expect_left(bus, &bus.log()?)
}

fn multicast_reaches_each_member(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let (one, two) = (bus.generic()?, bus.generic()?);
    one.join(family.groups[0])?;
    two.join(family.groups[0])?;
    expect_ok("genlmsg_multicast_netns()", family.multicast(0, &[])?)?;
    expect_event(&one, family.id)?;
    expect_event(&two, family.id)
}

fn multicast_without_members_returns_esrch(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    expect_errno("genlmsg_multicast_netns()", family.multicast(0, &[])?, bus.expected("nobody")?)
}

fn multicast_to_only_the_excluded_port_returns_esrch(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    let send = KernelSend { portid: socket.portid()?, ..KernelSend::new(Verb::Multicast) };
    expect_errno("genlmsg_multicast_netns()", family.send(send)?, bus.expected("nobody")?)
}

fn excluded_port_receives_nothing(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let (left_out, other) = (bus.generic()?, bus.generic()?);
    left_out.join(family.groups[0])?;
    other.join(family.groups[0])?;
    let send = KernelSend { portid: left_out.portid()?, ..KernelSend::new(Verb::Multicast) };
    expect_ok("genlmsg_multicast_netns()", family.send(send)?)?;
    expect_event(&other, family.id)?;
    left_out.expect_nothing("message at the excluded port")
}

/// A call, whether it reaches the initial namespace, and whether it reaches the one that it is made in.
type Reach = (Verb, bool, bool);

const NAMESPACES: &[(&str, Reach)] = &[
    ("genlmsg_multicast", (Verb::MulticastInitial, true, false)),
    ("genlmsg_multicast_netns", (Verb::Multicast, false, true)),
    ("genlmsg_multicast_allns", (Verb::MulticastAll, true, true)),
];

fn multicast_reaches_its_namespaces(bus: &Bus<'_>, (verb, initial, own): &Reach) -> Outcome {
    let family = bus.register(events())?;
    let in_initial = bus.generic()?;
    in_initial.join(family.groups[0])?;
    bus.run_as(Who::OtherNet, || {
        let in_own = bus.generic()?;
        in_own.join(family.groups[0])?;
        expect_ok("multicast", family.send(KernelSend::new(*verb))?)?;
        for (socket, reached) in [(&in_initial, initial), (&in_own, own)] {
            match reached {
                true => expect_event(socket, family.id)?,
                false => socket.expect_nothing("message from another namespace")?,
            }
        }
        Ok(())
    })
}

/// What a namespace has: no member, one that has the message, or one that loses it and wants its sender
/// to know.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Nobody,
    Has,
    Loses,
}

/// The earlier and the later of two namespaces, and the value that says what the sender is told.
const FATES: &[(&str, ([Fate; 2], &str))] = &[
    ("nobody_has", ([Fate::Nobody, Fate::Has], "delivered")),
    ("has_nobody", ([Fate::Has, Fate::Nobody], "delivered")),
    ("has_has", ([Fate::Has, Fate::Has], "delivered")),
    ("loses_has", ([Fate::Loses, Fate::Has], "lost")),
    ("has_loses", ([Fate::Has, Fate::Loses], "lost")),
    ("nobody_loses", ([Fate::Nobody, Fate::Loses], "lost")),
];

/// A member of the group for whom this is kept ready.
fn fated(bus: &Bus<'_>, family: &Registered<'_>, fate: Fate) -> Result<Option<Socket>, Failure> {
    if fate == Fate::Nobody {
        return Ok(None);
    }
    let member = bus.generic()?;
    member.join(family.groups[0])?;
    if fate == Fate::Loses {
        member.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 2304)?;
        for _ in 0..20 {
            family.multicast(0, &[0; 800])?;
        }
        member.set(libc::NETLINK_BROADCAST_ERROR, 1)?;
    }
    Ok(Some(member))
}

fn multicast_to_all_namespaces_reports_what_became_of_it(
    bus: &Bus<'_>,
    ([earlier, later], told): &([Fate; 2], &str),
) -> Outcome {
    let family = bus.register(events())?;
    let here = fated(bus, &family, *earlier)?;
    bus.run_as(Who::OtherNet, || {
        let there = fated(bus, &family, *later)?;
        let returned = family.send(KernelSend::new(Verb::MulticastAll))?;
        expect_result("genlmsg_multicast_allns()", returned, bus.expected(told)?)?;
        let had = [(here, earlier), (there, later)].into_iter().filter(|(_, fate)| **fate == Fate::Has);
        // One that comes after a namespace with a loss is not reached.
        for (member, _) in had.filter(|_| *told == "delivered" || *earlier == Fate::Has) {
            if let Some(member) = member {
                member.receive_one()?;
            }
        }
        Ok(())
    })
}

fn multicast_without_members_in_its_namespace_returns_esrch(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    let returned = family.send(KernelSend::new(Verb::MulticastInitial))?;
    expect_errno("genlmsg_multicast()", returned, bus.expected("nobody")?)
}

fn multicast_to_all_namespaces_without_members_returns_esrch(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let returned = family.send(KernelSend::new(Verb::MulticastAll))?;
    expect_errno("genlmsg_multicast_allns()", returned, bus.expected("nobody")?)
}

fn listener_in_any_namespace_counts(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    bus.run_as(Who::OtherNet, || {
        let listeners = family.send(KernelSend::new(Verb::HasListeners))?;
        expect_eq("genl_has_listeners() for a namespace without member", listeners, 1)
    })
}

fn group_without_member_has_no_listeners(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events().group("others"))?;
    let socket = bus.generic()?;
    socket.join(family.groups[1])?;
    let listeners = family.send(KernelSend::new(Verb::HasListeners))?;
    expect_eq("genl_has_listeners() for another group", listeners, 0)
}

/// Whether the requester is a member, whether it requests an echo, and how many copies it gets.
type Requester = (bool, bool, usize);

const REQUESTERS: &[(&str, Requester)] = &[
    ("member_with_echo", (true, true, 1)),
    ("member_without_echo", (true, false, 1)),
    ("other_with_echo", (false, true, 1)),
    ("other_without_echo", (false, false, 0)),
];

/// A family whose command 1 notifies its group with command 2.
fn notifying() -> Family {
    events().op(Op::doing(1)).on(On::Doit, Action::Notify(0, 2, vec![]))
}

fn notification_reaches_the_requester_once(bus: &Bus<'_>, (member, echo, copies): &Requester) -> Outcome {
    let family = bus.register(notifying())?;
    let socket = bus.generic()?;
    if *member {
        socket.join(family.groups[0])?;
    }
    let flags = if *echo { NLM_F_ECHO } else { 0 };
    socket.send(&family.request(1, Attrs::new()).with(flags))?;
    for _ in 0..*copies {
        let notification = socket.receive_one()?;
        expect_eq("type and command", (notification.kind, genl::cmd(&notification)), (family.id, Some(2)))?;
    }
    socket.expect_nothing("further copy")
}

fn notification_reaches_other_members(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(notifying())?;
    let (requester, member) = (bus.generic()?, bus.generic()?);
    member.join(family.groups[0])?;
    requester.send(&family.request(1, Attrs::new()).with(NLM_F_ECHO))?;
    let received = |message: Message| (message.kind, genl::cmd(&message));
    expect_eq("type and command at the member", received(member.receive_one()?), (family.id, Some(2)))?;
    expect_eq("type and command at the requester", received(requester.receive_one()?), (family.id, Some(2)))
}

/// Port IDs that a notification might leave out by mistake.
const PORTS: &[(&str, u32)] = &[("1", 1), ("2", 2), ("highest", u32::MAX)];

fn notification_reaches_a_member_with_any_port(bus: &Bus<'_>, port: &u32) -> Outcome {
    let family = bus.register(notifying())?;
    let (requester, member) = (bus.generic()?, bus.open(libc::NETLINK_GENERIC)?);
    member.bind(Address::port(*port))?;
    member.join(family.groups[0])?;
    requester.send(&family.request(1, Attrs::new()))?;
    expect_eq("command of what the member has", genl::cmd(&member.receive_one()?), Some(2))
}

fn filter_skips_a_socket(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let (skipped, other) = (bus.generic()?, bus.generic()?);
    skipped.join(family.groups[0])?;
    other.join(family.groups[0])?;
    let send = KernelSend::new(Verb::MulticastFiltered(skipped.portid()?));
    expect_ok("genlmsg_multicast_netns_filtered()", family.send(send)?)?;
    expect_event(&other, family.id)?;
    skipped.expect_nothing("message at the socket that the filter skips")
}

fn filter_that_skips_all_sockets_returns_esrch(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    let returned = family.send(KernelSend::new(Verb::MulticastFiltered(0)))?;
    expect_errno("genlmsg_multicast_netns_filtered()", returned, bus.expected("nobody")?)?;
    socket.expect_nothing("message that the filter skips")
}
