//! Headers of what a family answers by genlmsg_iput(), as the family netdev does.

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect, expect_eq};
use crate::port::capability::Capability;
use crate::scene::bus::{Bus, Socket};
use crate::scene::interfaces;
use crate::wire::attr::Attrs;
use crate::wire::genl::{self, FamilyInfo};
use crate::wire::message::{Message, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use crate::wire::route::{self, Link};

cases! {
    answer_has_the_headers_of_its_request(REQUESTS) => "GENL-FMT-011";
    notification_has_no_headers_of_a_request => "GENL-FMT-011";
}

/// The loopback interface, which each network namespace has.
const LOOPBACK: u32 = 1;
const SEQ: u32 = 0x1234;

fn netdev(bus: &Bus<'_>) -> Result<FamilyInfo, Failure> {
    bus.need(Capability::Netdev)?;
    Ok(bus.controller()?.by_name(genl::NETDEV_FAMILY_NAME)??)
}

fn expect_headers(message: &Message, family: &FamilyInfo, cmd: u8, portid: u32, seq: u32) -> Outcome {
    let got = (message.kind, genl::cmd(message), message.portid, message.seq);
    expect_eq("type, command, nlmsg_pid and nlmsg_seq", got, (family.id, Some(cmd), portid, seq))
}

fn of_loopback() -> Attrs {
    Attrs::new().u32(genl::NETDEV_A_DEV_IFINDEX, LOOPBACK)
}

/// Flags of the request, and its attributes.
type Request = (u16, fn() -> Attrs);

const REQUESTS: &[(&str, Request)] = &[("do", (0, of_loopback)), ("dump", (NLM_F_DUMP, Attrs::new))];

fn answer_has_the_headers_of_its_request(bus: &Bus<'_>, (flags, attrs): &Request) -> Outcome {
    let (family, socket) = (netdev(bus)?, bus.generic()?);
    let request = genl::request(family.id, genl::NETDEV_CMD_DEV_GET, attrs());
    let answer = socket.ask(&request.with(*flags).seq(SEQ))?;
    expect("devices", !answer.replies.is_empty(), "one or more", answer.replies.len())?;
    let portid = socket.portid()?;
    answer
        .replies
        .iter()
        .try_for_each(|reply| expect_headers(reply, &family, genl::NETDEV_CMD_DEV_GET, portid, SEQ))
}

/// A member of the family's group for changes of devices.
fn member(bus: &Bus<'_>, family: &FamilyInfo) -> Result<Socket, Failure> {
    let socket = bus.generic()?;
    match family.groups.iter().find(|(_, name)| name == "mgmt") {
        Some((group, _)) => socket.join(*group)?,
        None => return broken("the family netdev has no group mgmt"),
    }
    Ok(socket)
}

fn notification_has_no_headers_of_a_request(bus: &Bus<'_>) -> Outcome {
    let family = netdev(bus)?;
    let socket = member(bus, &family)?;
    let link = route::link(route::RTM_NEWLINK, Link { index: 4242, ..Link::default() });
    let request = link.attrs(route::new_link("nlc_new", "nlmon")).with(NLM_F_CREATE | NLM_F_EXCL);
    interfaces::change(bus, request)?;
    expect_headers(&socket.receive_one()?, &family, genl::NETDEV_CMD_DEV_ADD_NTF, 0, 0)
}
