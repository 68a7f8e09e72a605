//! What a multicast from the kernel returns, and netlink_set_err().

use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, POLLERR, SO_RCVBUF, SOL_SOCKET};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect_eq, expect_errno, expect_ok, expect_result};
use crate::port::Who;
use crate::port::provider::{Family, KernelSend, Verb};
use crate::scene::bus::{Bus, Registered, Socket, WAIT};
use crate::scene::threads::ended_by;

cases! {
    loss_is_reported_to_the_sender(SETTINGS) => "NL-OVR-006";
    loss_by_all_members_is_reported_to_the_sender(SETTINGS_OF_ALL) => "NL-OVR-006";
    broadcast_error_without_a_loss_changes_nothing => "NL-OVR-006";
    place_of_who_loses_does_not_matter(PLACES) => "NL-OVR-015";
    place_of_who_filters_does_not_matter(PLACES) => "NL-OVR-015";
    multicast_without_a_member_fails => "NL-OVR-007";
    multicast_to_one_member_succeeds => "NL-OVR-007";
    multicast_that_all_lose_fails => "NL-OVR-007";
    multicast_that_one_member_receives_succeeds => "NL-OVR-007";
    multicast_that_excludes_the_only_member_fails => "NL-OVR-007";
    error_is_reported_to_each_member_once(ERRORS) => "NL-OVR-008";
    error_wakes_who_polls_for_errors [parallel] => "NL-RCV-007";
    error_is_reported_before_the_queue => "NL-OVR-008";
    error_skips_the_excluded_port => "NL-OVR-008";
    error_is_not_reported_to_others => "NL-OVR-008";
    error_stays_in_its_network_namespace => "NL-OVR-008";
    members_with_no_enobufs_are_counted => "NL-OVR-012";
    members_with_no_enobufs_get_other_errors => "NL-OVR-012";
}

fn events<'b>(bus: &'b Bus<'_>) -> Result<Registered<'b>, Failure> {
    bus.register(Family::named("nlc_told").group("events").group("others"))
}

fn member(bus: &Bus<'_>, family: &Registered<'_>) -> Result<Socket, Failure> {
    let member = bus.generic()?;
    member.join(family.groups[0])?;
    Ok(member)
}

/// A member that has just lost a message, and will lose further ones until its queue is read.
fn full_member(bus: &Bus<'_>, family: &Registered<'_>) -> Result<Socket, Failure> {
    let member = member(bus, family)?;
    member.set_at(SOL_SOCKET, SO_RCVBUF, 2304)?;
    for _ in 0..20 {
        family.multicast(0, &[0; 800])?;
        if member.raw().poll(POLLERR, Duration::ZERO)? & POLLERR != 0 {
            return Ok(member);
        }
    }
    broken("20 messages did not fill the member's receive buffer")
}

/// Whether the members that lose the message set NETLINK_BROADCAST_ERROR, and the value that
/// the multicast returns.
const SETTINGS: &[(&str, (u32, &str))] =
    &[("with_broadcast_error", (1, "asked")), ("by_default", (0, "unasked"))];

fn loss_is_reported_to_the_sender(bus: &Bus<'_>, (broadcast_error, expected): &(u32, &str)) -> Outcome {
    let family = events(bus)?;
    let full = full_member(bus, &family)?;
    let free = member(bus, &family)?;
    full.set(libc::NETLINK_BROADCAST_ERROR, *broadcast_error)?;
    expect_result("multicast that one member loses", family.multicast(0, &[1; 8])?, bus.expected(expected)?)?;
    expect_eq("payload that the other has", &free.receive_one()?.payload[4..], [1; 8])
}

const SETTINGS_OF_ALL: &[(&str, (u32, &str))] =
    &[("with_broadcast_error", (1, "asked")), ("by_default", (0, "to_nobody"))];

fn loss_by_all_members_is_reported_to_the_sender(
    bus: &Bus<'_>,
    (broadcast_error, expected): &(u32, &str),
) -> Outcome {
    let family = events(bus)?;
    let full = full_member(bus, &family)?;
    full.set(libc::NETLINK_BROADCAST_ERROR, *broadcast_error)?;
    let returned = family.multicast(0, &[1; 8])?;
    expect_result("multicast that its only member loses", returned, bus.expected(expected)?)
}

fn broadcast_error_without_a_loss_changes_nothing(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let free = member(bus, &family)?;
    free.set(libc::NETLINK_BROADCAST_ERROR, 1)?;
    expect_ok("multicast", family.multicast(0, &[1; 8])?)
}

/// Which of three members, in the order in which they joined.
const PLACES: &[(&str, usize)] = &[("first", 0), ("second", 1), ("third", 2)];

/// What the members but this one have: the first bytes of each message's payload.
fn others_have(members: &[Socket], place: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let others = members.iter().enumerate().filter(|(number, _)| *number != place);
    others.map(|(_, member)| Ok(member.receive_one()?.payload[4..].to_vec())).collect()
}

fn place_of_who_loses_does_not_matter(bus: &Bus<'_>, place: &usize) -> Outcome {
    let family = events(bus)?;
    let members = [member(bus, &family)?, member(bus, &family)?, member(bus, &family)?];
    let full = &members[*place];
    full.set_at(SOL_SOCKET, SO_RCVBUF, 2304)?;
    for _ in 0..20 {
        family.multicast(0, &[0; 800])?;
    }
    for member in members.iter().filter(|member| !std::ptr::eq(*member, full)) {
        while member.receive_now(4096, 0).is_ok() {}
    }
    for (wish, told) in [(1, "asked"), (0, "unasked")] {
        full.set(libc::NETLINK_BROADCAST_ERROR, wish)?;
        let returned = family.multicast(0, &[1; 8])?;
        expect_result("multicast that one of three members loses", returned, bus.expected(told)?)?;
        expect_eq("payloads that the others have", others_have(&members, *place)?, vec![vec![1; 8]; 2])?;
    }
    Ok(())
}

fn place_of_who_filters_does_not_matter(bus: &Bus<'_>, place: &usize) -> Outcome {
    let family = events(bus)?;
    let members = [member(bus, &family)?, member(bus, &family)?, member(bus, &family)?];
    bus.attach_filter(&members[*place], 0)?;
    expect_ok("multicast that one of three members filters out", family.multicast(0, &[1; 8])?)?;
    expect_eq("payloads that the others have", others_have(&members, *place)?, vec![vec![1; 8]; 2])?;
    expect_errno("receive of who filters", members[*place].receive_now(100, 0), Errno::EAGAIN)
}

fn multicast_without_a_member_fails(bus: &Bus<'_>) -> Outcome {
    let returned = events(bus)?.multicast(0, &[1; 8])?;
    expect_errno("multicast to an empty group", returned, bus.expected("errno")?)
}

fn multicast_to_one_member_succeeds(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let member = member(bus, &family)?;
    expect_ok("multicast", family.multicast(0, &[1; 8])?)?;
    member.receive_one().map(drop)
}

fn multicast_that_all_lose_fails(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let _full = full_member(bus, &family)?;
    let returned = family.multicast(0, &[1; 8])?;
    expect_errno("multicast that its only member loses", returned, bus.expected("errno")?)
}

fn multicast_that_one_member_receives_succeeds(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let _full = full_member(bus, &family)?;
    let _free = member(bus, &family)?;
    expect_ok("multicast that one of two members loses", family.multicast(0, &[1; 8])?)
}

fn multicast_that_excludes_the_only_member_fails(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let only = member(bus, &family)?;
    let send = KernelSend { portid: only.portid()?, ..KernelSend::new(Verb::Multicast) };
    expect_errno("multicast", family.send(send)?, bus.expected("errno")?)
}

/// `genl_set_err()` for the first group, excluding this port; returns its result.
fn set_err(family: &Registered<'_>, errno: Errno, portid: u32) -> Result<i64, Failure> {
    family.send(KernelSend { portid, ..KernelSend::new(Verb::SetErr(errno as i32)) })
}

const ERRORS: &[(&str, Errno)] = &[("enobufs", Errno::ENOBUFS), ("eio", Errno::EIO)];

fn error_is_reported_to_each_member_once(bus: &Bus<'_>, errno: &Errno) -> Outcome {
    let family = events(bus)?;
    let members = [member(bus, &family)?, member(bus, &family)?];
    expect_eq("what netlink_set_err() returns", set_err(&family, *errno, 0)?, 0)?;
    for member in members {
        expect_errno("first receive", member.receive_now(100, 0), *errno)?;
        expect_errno("second receive", member.receive_now(100, 0), Errno::EAGAIN)?;
    }
    Ok(())
}

fn error_wakes_who_polls_for_errors(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let member = member(bus, &family)?;
    let poll = || member.raw().poll(POLLERR, 2 * WAIT);
    let events = ended_by(poll, || set_err(&family, Errno::EIO, 0).map(drop))?;
    expect_eq("events", events, Ok(POLLERR))
}

fn error_is_reported_before_the_queue(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let member = member(bus, &family)?;
    family.multicast(0, &[1; 8])?;
    set_err(&family, Errno::EIO, 0)?;
    expect_errno("first receive", member.receive_now(100, 0), Errno::EIO)?;
    expect_ok("second receive", member.receive_now(100, 0))
}

fn error_skips_the_excluded_port(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let (reported, spared) = (member(bus, &family)?, member(bus, &family)?);
    set_err(&family, Errno::EIO, spared.portid()?)?;
    expect_errno("receive of the excluded member", spared.receive_now(100, 0), Errno::EAGAIN)?;
    expect_errno("receive of the other", reported.receive_now(100, 0), Errno::EIO)
}

fn error_is_not_reported_to_others(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let (outside, elsewhere) = (bus.generic()?, bus.generic()?);
    elsewhere.join(family.groups[1])?;
    set_err(&family, Errno::EIO, 0)?;
    expect_errno("receive of a socket without a group", outside.receive_now(100, 0), Errno::EAGAIN)?;
    expect_errno("receive of another group's member", elsewhere.receive_now(100, 0), Errno::EAGAIN)
}

fn error_stays_in_its_network_namespace(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let here = member(bus, &family)?;
    bus.run_as(Who::OtherNet, || {
        let there = member(bus, &family)?;
        expect_eq("result of netlink_set_err() in another namespace", set_err(&family, Errno::EIO, 0)?, 0)?;
        expect_errno("receive there", there.receive_now(100, 0), Errno::EIO)
    })?;
    expect_errno("receive here", here.receive_now(100, 0), Errno::EAGAIN)
}

fn members_with_no_enobufs_are_counted(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let members = [member(bus, &family)?, member(bus, &family)?, member(bus, &family)?];
    for spared in &members[1..] {
        spared.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    }
    expect_eq("what netlink_set_err() returns", set_err(&family, Errno::ENOBUFS, 0)?, 2)?;
    let reported = members.map(|member| member.receive_now(100, 0).map(drop));
    let silent = Err(Errno::EAGAIN);
    expect_eq("receive calls of the members", reported, [Err(Errno::ENOBUFS), silent, silent])
}

fn members_with_no_enobufs_get_other_errors(bus: &Bus<'_>) -> Outcome {
    let family = events(bus)?;
    let member = member(bus, &family)?;
    member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    expect_eq("what netlink_set_err() returns", set_err(&family, Errno::EIO, 0)?, 0)?;
    expect_errno("receive", member.receive_now(100, 0), Errno::EIO)
}
