//! Messages that the kernel makes in larger buffers than they need: which of them are copied before they are queued.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect, expect_eq};
use crate::port::provider::{Family, Op};
use crate::scene::bus::Bus;
use crate::scene::interfaces;
use crate::wire::address::Address;
use crate::wire::align;
use crate::wire::attr::Attrs;
use crate::wire::genl::{self, CTRL_ATTR_FAMILY_ID, CTRL_CMD_GETFAMILY, GENL_ID_CTRL, GENL_NAMSIZ};
use crate::wire::message::{NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL};
use crate::wire::route::{self, Link};

cases! {
    buffer_that_is_half_free_is_copied(LENGTHS) => "NL-OVR-019";
    copy_has_no_byte_to_spare => "NL-OVR-019";
    notification_with_an_echo_is_copied => "NL-OVR-020";
}

/// A family for which GETFAMILY is answered by so many bytes, a multiple of 4: with commands of 20 bytes each, and
/// names that take the rest.
fn described_in(len: usize) -> Result<Family, Failure> {
    let attr = |len: usize| align(4 + len);
    let fixed = 20 + 4 * attr(4) + 4 + (4 + 4 + attr(4));
    for (own, of_group) in (5..GENL_NAMSIZ).flat_map(|own| (1..GENL_NAMSIZ).map(move |group| (own, group))) {
        let rest = len.saturating_sub(fixed + attr(own + 1) + attr(of_group + 1));
        if rest >= 20 && rest.is_multiple_of(20) {
            let family = Family::named(&format!("{:h<own$}", "nlc_")).group(&"g".repeat(of_group));
            return Ok((1..=(rest / 20) as u8).fold(family, |family, cmd| family.op(Op::doing(cmd))));
        }
    }
    broken(format!("no family is described in {len} bytes"))
}

/// The memory that a message of so many bytes takes, for which the kernel has a buffer of a page.
fn memory_of_reply(bus: &Bus<'_>, len: usize) -> Result<u32, Failure> {
    let family = bus.register(described_in(len)?)?;
    let socket = bus.generic()?;
    let id = Attrs::new().u16(CTRL_ATTR_FAMILY_ID, family.id);
    socket.send(&genl::request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, id).seq(1))?;
    let memory = bus.inspect(&socket)?.received;
    expect_eq("bytes of the message", socket.receive()?.incoming.returned, len)?;
    family.unregister()?;
    Ok(memory)
}

/// Bytes by which a message is longer than the longest that leaves half of its memory free, and whether it is
/// copied.
const LENGTHS: &[(&str, (isize, bool))] =
    &[("half", (0, true)), ("a_word_less_than_half", (4, false)), ("a_word_more_than_half", (-4, true))];

fn buffer_that_is_half_free_is_copied(bus: &Bus<'_>, (longer, copied): &(isize, bool)) -> Outcome {
    let room = bus.sizes().goodsize;
    let page = memory_of_reply(bus, room * 5 / 32 * 4)?;
    let half = room - page as usize / 2;
    let memory = memory_of_reply(bus, half.saturating_add_signed(*longer))?;
    match copied {
        true => expect("memory of the message", memory < page, &format!("less than {page}"), memory),
        false => expect_eq("memory of the message", memory, page),
    }
}

/// It fills a block of memory exactly, as a datagram of the same length from user space does.
fn copy_has_no_byte_to_spare(bus: &Bus<'_>) -> Outcome {
    let len = 1024 - bus.sizes().overhead;
    let [sender, receiver] = [bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?];
    sender.send_to(Address::port(receiver.portid()?), &vec![0; len])?;
    let expected = bus.inspect(&receiver)?.received;
    expect_eq("memory of the message", memory_of_reply(bus, len)?, expected)
}

/// The group of changes to interfaces (`RTNLGRP_LINK`).
const LINKS: u32 = 1;

/// The kernel makes room for the longest names that an interface might have, of which these take little.
fn notification_with_an_echo_is_copied(bus: &Bus<'_>) -> Outcome {
    let link = Link { index: 4242, ..Link::default() };
    let (requester, member) = (bus.bound(libc::NETLINK_ROUTE)?, bus.bound(libc::NETLINK_ROUTE)?);
    let names: Vec<String> = (0..40).map(|n| format!("n{n}")).collect();
    for (kind, attrs) in [
        (route::RTM_NEWLINK, route::new_link("nlc_long", "nlmon")),
        (route::RTM_NEWLINKPROP, route::names(&names)),
    ] {
        interfaces::change(bus, route::link(kind, link).attrs(attrs).with(NLM_F_CREATE | NLM_F_EXCL))?;
    }
    member.join(LINKS)?;
    requester.send(&route::link(route::RTM_DELLINK, link).with(NLM_F_ECHO))?;
    let receivers = if bus.expected("echoed")? { vec![&member, &requester] } else { vec![&member] };
    for receiver in receivers {
        let memory = bus.inspect(receiver)?.received;
        expect("memory of the notification", memory < bus.expected("page")?, "less than a page", memory)?;
        let notification = receiver.receive_one()?;
        expect_eq("type of the notification", notification.kind, route::RTM_DELLINK)?;
        let told = names.iter().all(|name| {
            let name = [name.as_bytes(), b"\0"].concat();
            notification.payload.windows(name.len()).any(|bytes| bytes == name)
        });
        expect("names in it", told, "all", &notification)?;
    }
    Ok(())
}
