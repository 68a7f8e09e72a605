//! The buffers of dumps: how large they are at least, and at most.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Outcome, expect, expect_ok};
use crate::scene::bus::Bus;
use crate::scene::dumps::{links, many_sockets};
use crate::scene::interfaces;
use crate::wire::attr::Attrs;
use crate::wire::message::{Message, NLM_F_CREATE, NLM_F_EXCL};
use crate::wire::route::{self, Link};
use crate::wire::sock_diag;

cases! {
    buffer_has_32_kib_at_most => "NL-DMP-032";
    link_larger_than_a_page_is_dumped(NAMES) => "NL-DMP-031";
}

fn buffer_has_32_kib_at_most(bus: &Bus<'_>) -> Outcome {
    let _listed = many_sockets(bus, 100)?;
    let socket = bus.diag()?;
    socket.send(&sock_diag::sockets(libc::NETLINK_USERSOCK as u8, sock_diag::NDIAG_SHOW_MEMINFO).seq(1))?;
    socket.receive_into(1 << 20)?;
    let memory = bus.inspect(&socket)?.received;
    let range = bus.expected("more")?..bus.expected("less")?;
    expect("memory of the second datagram", range.contains(&memory), &format!("within {range:?}"), memory)
}

/// How many names, and the length of each. The kernel counts on 128 bytes for each, and wants less than 64 KiB for all.
const NAMES: &[(&str, (usize, usize))] =
    &[("alone", (40, 103)), ("estimated_at_more_than_64_kib", (495, 23))];

/// The loopback interface gets so many names that it takes more than a page to describe it.
fn link_larger_than_a_page_is_dumped(bus: &Bus<'_>, (count, len): &(usize, usize)) -> Outcome {
    let names: Vec<String> = (0..*count).map(|n| format!("nlc{n:0digits$}", digits = len - 3)).collect();
    let request = route::link(route::RTM_NEWLINKPROP, Link { index: 1, ..Link::default() });
    interfaces::change(bus, request.attrs(route::names(&names)).with(NLM_F_CREATE | NLM_F_EXCL))?;
    // Only with a mask does it look how long its messages are.
    let dump = links().attrs(Attrs::new().u32(route::EXT_MASK, route::SKIP_STATS));
    let answer = bus.bound(libc::NETLINK_ROUTE)?.ask(&dump)?;
    expect_ok("end of the dump", &answer)?;
    let longest = answer.replies.iter().map(Message::len).max().unwrap_or(0) as usize;
    expect("length of its longest message", longest > bus.sizes().goodsize, "more than a page", longest)
}
