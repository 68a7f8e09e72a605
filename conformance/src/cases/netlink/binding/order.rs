//! Binds and connects that are wrong in two ways: which of them the error is about.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Outcome, expect_empty, expect_errno};
use crate::port::Who;
use crate::port::capability::Capability;
use crate::port::provider::{On, Protocol};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::Bus;
use crate::scene::{OTHER_PORT, PORT};
use crate::wire::address::{self, Address};

cases! {
    wrong_address_counts_before_a_missing_privilege(WRONG) => "NL-BIND-026";
    missing_privilege_counts_before_another_port => "NL-BIND-026";
    other_port_is_refused_before_bind_callbacks_are_called => "NL-BIND-026";
}

/// Family and length of an address with a group that needs a privilege.
const WRONG: &[(&str, (u16, usize))] =
    &[("short", (address::AF_NETLINK, 11)), ("of_another_family", (libc::AF_INET as u16, 12))];

fn wrong_address_counts_before_a_missing_privilege(bus: &Bus<'_>, (family, len): &(u16, usize)) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let socket = bus.open(libc::NETLINK_GENERIC)?;
        let address = Address { family: *family, groups: 1, ..Address::port(PORT) }.encode();
        expect_errno("connect()", socket.raw().connect(&address[..*len]), bus.expected("wrong")?)?;
        let socket = bus.open(libc::NETLINK_USERSOCK)?;
        expect_errno("bind()", socket.raw().bind(&address[..*len]), bus.expected("wrong")?)
    })
}

fn missing_privilege_counts_before_another_port(bus: &Bus<'_>) -> Outcome {
    bus.run_as(Who::Nobody, || {
        let socket = bus.bound(libc::NETLINK_USERSOCK)?;
        let bound = socket.bind(Address { groups: 1, ..Address::port(PORT) });
        expect_errno("bind()", bound, bus.expected("privilege")?)
    })
}

fn other_port_is_refused_before_bind_callbacks_are_called(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let protocol = Protocol { bind: true, ..Protocol::with_groups(FREE_PROTOCOL, 32) };
    bus.create_protocol(&protocol)?;
    let socket = bus.open(FREE_PROTOCOL)?;
    socket.bind(Address::port(OTHER_PORT))?;
    let bound = socket.bind(Address { groups: 1, ..Address::port(PORT) });
    expect_errno("bind()", bound, bus.expected("wrong")?)?;
    let told = bus.calls_so_far()?.into_iter().filter(|entry| entry.on == On::Bind);
    expect_empty("calls of the protocol's bind()", told.collect::<Vec<_>>())
}
