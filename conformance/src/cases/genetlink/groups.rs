//! Multicast groups of families: their IDs, their names, how many there can be.

mod callbacks;
mod joining;
mod sending;

use std::collections::BTreeSet;

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{
    Failure, Outcome, Under, broken, expect, expect_empty, expect_eq, expect_errno, expect_ok,
};
use crate::port::provider::Family;
use crate::scene::bus::{Bus, Registered};
use crate::wire::attr::Attrs;
use crate::wire::genl::{self, FamilyInfo};

cases! {
    groups_of_a_family_are_contiguous => "GENL-MC-001";
    lowest_gap_is_used_first => "GENL-MC-001";
    gap_that_is_too_small_is_skipped => "GENL-MC-001";
    reserved_ids_are_not_allocated => "GENL-MC-001";
    group_of_the_controller_has_its_id => "GENL-MC-002";
    family_has_its_reserved_group(SPECIAL) [initial_net, invasive] => "GENL-MC-003";
    group_id_is_reused => "GENL-MC-004";
    group_name_is_checked(NAMES) => "GENL-MC-005";
    group_names_need_not_differ => "GENL-MC-006";
    families_may_share_a_group_name => "GENL-MC-006";
    room_for_groups_grows_and_never_shrinks [invasive] => "GENL-MC-007";
    family_of_the_initial_namespace_makes_room_there [initial_net, invasive] => "GENL-MC-007";
    memberships_end_with_the_family => "GENL-MC-018";
    reused_group_has_no_members => "GENL-MC-018", "GENL-MC-004", "GENL-MC-014";
    reserved_group_is_given_to_others [invasive] => "GENL-MC-024";
    memberships_of_other_families_stay => "GENL-MC-030";
    groups_that_just_fit_need_no_more_room [invasive] => "GENL-MC-031";
    + callbacks;
    + joining;
    + sending;
}

fn events() -> Family {
    Family::named("nlc_events").group("events")
}

/// A family with this many groups.
pub(super) fn grouped(name: &str, groups: u32) -> Family {
    (0..groups).fold(Family::named(name), |family, number| family.group(&format!("group{number}")))
}

/// This many families with one group each, which fill gaps between the groups of others.
fn singles<'b>(bus: &'b Bus<'_>, count: u32) -> Result<Vec<Registered<'b>>, Failure> {
    (0..count).map(|number| bus.register(grouped(&format!("nlc_{number}"), 1))).collect()
}

fn groups_of_a_family_are_contiguous(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(grouped("nlc_many", 15))?;
    let info = bus.controller()?.by_id(family.id)??;
    let ids: Vec<u32> = info.groups.iter().map(|group| group.0).collect();
    expect("IDs", ids.len() == 15 && ids.is_sorted_by(|a, b| a + 1 == *b), "15, one after the other", &ids)
}

fn lowest_gap_is_used_first(bus: &Bus<'_>) -> Outcome {
    let families = singles(bus, 3)?;
    let ids: Vec<u32> = families.iter().map(|family| family.groups[0]).collect();
    expect("IDs of three groups", ids.is_sorted(), "ascending", &ids)?;
    families[2].unregister()?;
    families[0].unregister()?;
    let next = bus.register(events())?;
    expect_eq("id when the first and the third are free", next.groups[0], ids[0])
}

fn gap_that_is_too_small_is_skipped(bus: &Bus<'_>) -> Outcome {
    let families = singles(bus, 30)?;
    let follows = |three: &[Registered<'_>]| three[0].groups[0] + 2 == three[2].groups[0];
    let Some(three) = families.windows(3).find(|three| follows(three)) else {
        return broken("no three of 30 groups have consecutive IDs");
    };
    three[1].unregister()?;
    let gap = three[1].groups[0];
    let pair = bus.register(grouped("nlc_pair", 2))?;
    expect(
        "ids of two groups",
        pair.groups[0] > gap,
        &format!("after the gap of one at {gap}"),
        &pair.groups,
    )?;
    expect_eq("ID of one group", bus.register(events())?.groups[0], gap)
}

fn reserved_ids_are_not_allocated(bus: &Bus<'_>) -> Outcome {
    let reserved = [0, bus.expected("drop_monitor")?, bus.expected("controller")?];
    for family in singles(bus, 60)? {
        let id = family.groups[0];
        expect("ID", !reserved.contains(&id), &format!("none of {reserved:?}"), id)?;
    }
    Ok(())
}

fn group_of_the_controller_has_its_id(bus: &Bus<'_>) -> Outcome {
    let groups = bus.controller()?.by_name("nlctrl")??.groups;
    expect_eq("groups", groups, [(bus.expected::<u32>("id")?, "notify".to_owned())])
}

const SPECIAL: &[(&str, (&str, &str))] = &[
    ("net_dm", ("NET_DM", "drop_monitor")),
    ("vfs_dquot", ("VFS_DQUOT", "quota")),
    ("pmcraid", ("pmcraid", "pmcraid")),
];

/// If the kernel itself has this family, ours is refused, and the kernel's has the group.
fn family_has_its_reserved_group(bus: &Bus<'_>, (name, id): &(&str, &str)) -> Outcome {
    bus.try_register(grouped(name, 1))?;
    let groups = bus.controller()?.by_name(name)??.groups;
    let ids: Vec<u32> = groups.iter().map(|group| group.0).collect();
    expect_eq("IDs of its groups", ids, [bus.expected::<u32>(id)?])
}

fn reserved_group_is_given_to_others(bus: &Bus<'_>) -> Outcome {
    bus.register(grouped("pmcraid", 1))?.unregister()?;
    let owner = bus.register(grouped("pmcraid", 1))?;
    let others: Vec<u32> = singles(bus, 30)?.iter().map(|family| family.groups[0]).collect();
    expect("IDs of other groups", others.contains(&owner.groups[0]), "its id among them", &others)
}

fn group_id_is_reused(bus: &Bus<'_>) -> Outcome {
    let first = bus.register(events())?;
    first.unregister()?;
    let second = bus.register(events())?;
    expect_eq("global ID of the group", &second.groups, &first.groups)?;
    expect("ID of the family", second.id != first.id, "another than before", second.id)
}

const NAMES: &[(&str, &str)] = &[("empty", ""), ("without_nul", "sixteen_letters_")];

/// The kernel warns about this: it is a programming error.
fn group_name_is_checked(bus: &Bus<'_>, name: &&str) -> Outcome {
    let refused = bus.try_register(Family::named("nlc_name").group("good").group(name))?;
    expect_errno("registration", refused.returned, bus.expected("errno")?)?;
    expect_errno("GETFAMILY by its name", bus.controller()?.by_name("nlc_name")?, Errno::ENOENT)?;
    let family = bus.register(Family::named("nlc_name"))?;
    expect_eq("ID that the controller then reports", bus.controller()?.by_name("nlc_name")??.id, family.id)
}

fn group_names_need_not_differ(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events().group("events"))?;
    let groups = bus.controller()?.by_id(family.id)??.groups;
    let expected: Vec<_> = family.groups.iter().map(|id| (*id, "events".to_owned())).collect();
    expect_eq("groups that the controller reports", groups, expected)
}

fn families_may_share_a_group_name(bus: &Bus<'_>) -> Outcome {
    let first = bus.register(events())?;
    let second = bus.register(Family::named("nlc_others").group("events"))?;
    expect("IDs", first.groups != second.groups, "different", (&first.groups, &second.groups))
}

/// The number of groups grows by the bits of the kernel's `unsigned long`.
fn step(bus: &Bus<'_>) -> u32 {
    8 * bus.sizes().long as u32
}

/// The highest ID that can be joined, found in the steps in which the number grows.
pub(super) fn limit(bus: &Bus<'_>) -> Result<u32, Failure> {
    let socket = bus.generic()?;
    let step = step(bus);
    let mut limit = step;
    socket.join(limit)?;
    while socket.join(limit + 1).is_ok() {
        limit += step;
        socket.join(limit)?;
    }
    Ok(limit)
}

fn family_of_the_initial_namespace_makes_room_there(bus: &Bus<'_>) -> Outcome {
    let step = step(bus);
    let before = limit(bus)?;
    for number in 0..=before / step {
        let family = Family { netnsok: false, ..grouped(&format!("nlc_{number}"), step) };
        let family = bus.register(family)?;
        let last = *family.groups.last().unwrap_or(&0);
        expect_ok("joining its last group", bus.generic()?.join(last))?;
    }
    let after = limit(bus)?;
    expect("highest group", after > before, &format!("higher than {before}"), after)
}

fn room_for_groups_grows_and_never_shrinks(bus: &Bus<'_>) -> Outcome {
    const MOST: u32 = 255; // of one family
    let step = step(bus);
    let (mut room, mut families) = (limit(bus)?, Vec::new());
    // The first growth of all moves the groups to other memory, the next extends that.
    for _ in 0..2 {
        let beyond = bus.generic()?.join(room + 1);
        expect_errno("joining the group after the last", beyond, bus.expected("errno")?)?;
        while limit(bus)? == room {
            families.push(bus.register(grouped(&format!("nlc_{}", families.len()), MOST))?);
        }
        room += MOST.next_multiple_of(step);
        expect_eq("highest group when the families did not fit", limit(bus)?, room)?;
    }
    families.push(bus.register(grouped("nlc_last", 64))?);
    let ids: BTreeSet<u32> = families.iter().flat_map(|family| &family.groups).copied().collect();
    let groups: usize = families.iter().map(|family| family.groups.len()).sum();
    expect_eq("different IDs of all these groups", ids.len(), groups)?;
    let room = limit(bus)?;
    for family in families {
        family.unregister()?;
    }
    expect_eq("highest group when they are gone", limit(bus)?, room)
}

/// An ID is less than the number of groups: the first one, 0, is that of no group.
fn groups_that_just_fit_need_no_more_room(bus: &Bus<'_>) -> Outcome {
    let room = limit(bus)?;
    let lowest = singles(bus, 30)?;
    let mut last = lowest.iter().map(|family| family.groups[0]).max().unwrap_or(0);
    for number in 30.. {
        let left = (room - 1).saturating_sub(last);
        if left == 0 {
            break;
        }
        let family = bus.register(grouped(&format!("nlc_{number}"), left.min(255)))?;
        last = family.groups.last().map_or(last, |group| last.max(*group));
    }
    if last >= room {
        return broken("groups of others are in the way");
    }
    expect_eq("highest group when the families just fit", limit(bus)?, room)
}

fn memberships_of_other_families_stay(bus: &Bus<'_>) -> Outcome {
    let families = ["nlc_before", "nlc_gone", "nlc_after"].map(|name| bus.register(grouped(name, 2)));
    let [before, gone, after] = families;
    let (before, gone, after) = (before?, gone?, after?);
    let socket = bus.generic()?;
    for family in [&before, &gone, &after] {
        family.groups.iter().try_for_each(|group| socket.join(*group))?;
    }
    gone.unregister()?;
    let mut others = [before.groups, after.groups].concat();
    others.sort_unstable();
    expect_eq("memberships", socket.memberships()?, others)
}

fn memberships_end_with_the_family(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    expect_eq("memberships before", socket.memberships()?, &family.groups[..])?;
    family.unregister()?;
    expect_empty("memberships after", socket.memberships()?)?;
    let attrs = Attrs::new().string(genl::CTRL_ATTR_FAMILY_NAME, "nlctrl");
    let answer = socket.ask(&genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs))?;
    expect_eq(
        "reply to a request of the same socket",
        FamilyInfo::read(answer.reply()?).id,
        genl::GENL_ID_CTRL,
    )
}

fn reused_group_has_no_members(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let gone = bus.register(events())?;
    socket.join(gone.groups[0])?;
    gone.unregister()?;
    let next = bus.register(events())?;
    expect_eq("global ID of the group", &next.groups, &gone.groups).under("GENL-MC-004")?;
    expect_errno(
        "multicast to the group of the next family",
        next.multicast(0, &[])?,
        bus.expected("nobody")?,
    )
}
