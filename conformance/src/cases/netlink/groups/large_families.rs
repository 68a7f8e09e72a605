//! Families whose groups do not fit in one word.

use nix::errno::Errno;
use nix::libc;

use super::many::heard;
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::port::Who;
use crate::port::provider::{Family, KernelSend, On, Verb};
use crate::scene::bus::{Bus, Registered};

cases! {
    group_of_a_large_family_is_left_with_the_family => "NL-GRP-029";
    group_of_a_large_family_is_a_place_of_its_own => "NL-GRP-029";
    large_family_gets_the_index_of_the_group => "NL-GRP-029";
    listeners_stay_when_there_are_more_groups => "NL-GRP-029";
    groups_that_nobody_joined_have_no_listeners => "NL-GRP-029";
}

/// A family with so many groups that they lie in several words, wherever they begin.
fn large_family<'b>(bus: &'b Bus<'_>) -> Result<Registered<'b>, Failure> {
    let family = Family { bind: true, ..Family::named("nlc_large") };
    bus.register((1..=150).fold(family, |family, n| family.group(&format!("g{n}"))))
}

/// Indices of groups of the large family.
const INDICES: [u32; 4] = [0, 70, 140, 149];

fn group_of_a_large_family_is_left_with_the_family(bus: &Bus<'_>) -> Outcome {
    let family = large_family(bus)?;
    let elsewhere = bus.generic()?;
    let socket = bus.generic()?;
    INDICES.iter().try_for_each(|index| socket.join(family.groups[*index as usize]))?;
    elsewhere.join(family.groups[140])?;
    family.unregister()?;
    expect_empty("memberships", socket.memberships()?)?;
    expect_empty("memberships of another member", elsewhere.memberships()?)
}

fn group_of_a_large_family_is_a_place_of_its_own(bus: &Bus<'_>) -> Outcome {
    let family = large_family(bus)?;
    for index in INDICES {
        let socket = bus.generic()?;
        socket.join(family.groups[index as usize])?;
        for other in INDICES {
            let listeners =
                family.send(KernelSend { group: other, ..KernelSend::new(Verb::HasListeners) })?;
            expect_eq("genl_has_listeners()", listeners, i64::from(other == index))?;
        }
        expect_ok("genlmsg_multicast_netns()", family.multicast(index, &[])?)?;
        socket.receive_one()?;
        let elsewhere = bus.run_as(Who::OtherNet, || family.multicast(index, &[]))?;
        expect_errno("genlmsg_multicast_netns() in another network namespace", elsewhere, Errno::ESRCH)?;
    }
    Ok(())
}

fn large_family_gets_the_index_of_the_group(bus: &Bus<'_>) -> Outcome {
    let family = large_family(bus)?;
    let socket = bus.generic()?;
    INDICES.iter().try_for_each(|index| socket.join(family.groups[*index as usize]))?;
    expect_eq("callbacks", heard(bus)?, INDICES.map(|index| (On::Bind, index)))?;
    socket.leave(family.groups[70])?;
    expect_eq("callbacks when it leaves one", heard(bus)?, [(On::Unbind, 70)])?;
    drop(socket);
    expect_eq("callbacks when it is closed", heard(bus)?, [0, 140, 149].map(|index| (On::Unbind, index)))
}

/// Families are registered until their groups need more room than there was.
fn listeners_stay_when_there_are_more_groups(bus: &Bus<'_>) -> Outcome {
    let first = bus.register(Family::named("nlc_first").group("events"))?;
    let socket = bus.generic()?;
    socket.join(first.groups[0])?;
    let room = || {
        let another = bus.generic()?;
        another.join(first.groups[0])?;
        Ok::<_, Failure>(another.get_bytes(libc::NETLINK_LIST_MEMBERSHIPS, 0)?.1)
    };
    let before = room()?;
    for number in 0.. {
        let more = Family::named(&format!("nlc_more_{number}"));
        bus.register((0..200).fold(more, |family, n| family.group(&format!("g{n}"))))?;
        // Before another socket joins, because then the listeners are counted anew.
        let listeners = first.send(KernelSend::new(Verb::HasListeners))?;
        expect_eq("genl_has_listeners() of the group that was joined before", listeners, 1)?;
        if room()? > before {
            break;
        }
    }
    expect_ok("genlmsg_multicast_netns()", first.multicast(0, &[])?)?;
    socket.receive_one().map(drop)
}

/// The groups lie in more words than a list of listeners has that did not grow with them.
fn groups_that_nobody_joined_have_no_listeners(bus: &Bus<'_>) -> Outcome {
    for number in 0..5 {
        let family = Family::named(&format!("nlc_unheard_{number}"));
        let family = bus.register((0..200).fold(family, |family, n| family.group(&format!("g{n}"))))?;
        let socket = bus.generic()?;
        socket.join(family.groups[199])?;
        for group in (0..199).step_by(3) {
            let listeners = family.send(KernelSend { group, ..KernelSend::new(Verb::HasListeners) })?;
            expect_eq(&format!("genl_has_listeners() of group {group}"), listeners, 0)?;
        }
    }
    Ok(())
}
