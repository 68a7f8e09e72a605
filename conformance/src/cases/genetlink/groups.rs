//! Multicast groups of families.

use crate::bus::Bus;
use crate::cases::cases;
use crate::outcome::{Outcome, expect, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::target::provider::{Family, KernelSend, Verb};
use crate::wire::genl;

cases! {
    group_id_is_reused => "GENL-MC-004";
    multicast_reaches_each_member => "GENL-MC-014";
    multicast_without_member_finds_nobody => "GENL-MC-014";
    port_left_out_receives_nothing => "GENL-MC-014";
    memberships_end_with_the_family => "GENL-MC-018";
}

fn events() -> Family {
    Family::named("nlc_events").group("events")
}

fn group_id_is_reused(bus: &Bus<'_>) -> Outcome {
    let first = bus.register(events())?;
    first.unregister()?;
    let second = bus.register(events())?;
    expect_eq("global id of the group", &second.groups, &first.groups)?;
    expect("id of the family", second.id != first.id, "another than before", second.id)
}

fn multicast_reaches_each_member(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let (one, two) = (bus.generic()?, bus.generic()?);
    one.join(family.groups[0])?;
    two.join(family.groups[0])?;
    expect_ok("genlmsg_multicast_netns()", family.multicast(0, &[])?)?;
    for socket in [one, two] {
        let event = socket.receive_one()?;
        expect_eq("type and command", (event.kind, genl::cmd(&event)), (family.id, Some(1)))?;
        socket.expect_nothing("second copy")?;
    }
    Ok(())
}

fn multicast_without_member_finds_nobody(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    expect_errno("genlmsg_multicast_netns()", family.multicast(0, &[])?, bus.expected("nobody")?)
}

fn port_left_out_receives_nothing(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let (left_out, other) = (bus.generic()?, bus.generic()?);
    left_out.join(family.groups[0])?;
    other.join(family.groups[0])?;
    let send = KernelSend { portid: left_out.portid()?, ..KernelSend::new(Verb::Multicast) };
    expect_ok("genlmsg_multicast_netns()", family.send(send)?)?;
    other.receive_one()?;
    left_out.expect_nothing("message at the port left out")
}

fn memberships_end_with_the_family(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(events())?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    expect_eq("memberships before", socket.memberships()?, &family.groups[..])?;
    family.unregister()?;
    expect_empty("memberships after", socket.memberships()?)
}
