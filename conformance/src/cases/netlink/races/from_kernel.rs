//! Calls of kernel code, and what a user does meanwhile.

use nix::errno::Errno;
use nix::libc::{self, SO_RCVBUF, SOL_SOCKET};

use crate::cases::cases;
use crate::outcome::{Outcome, expect, expect_eq, expect_ok};
use crate::port::provider::{Call, KernelSend, Protocol, Verb};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::Bus;
use crate::scene::interfaces;
use crate::scene::threads::{rounds, while_other};
use crate::wire::address::Address;
use crate::wire::message::Message;

cases! {
    errors_of_two_kinds_race => "NL-OVR-021";
    messages_race_with_removal_of_a_tap => "NL-TAP-005";
}

/// Of two errors each receive reports one.
fn errors_of_two_kinds_race(bus: &Bus<'_>) -> Outcome {
    let protocol = bus.create_protocol(&Protocol::with_groups(FREE_PROTOCOL, 32))?;
    let send = |verb, payload| {
        let send = KernelSend { group: 1, cmd: 0x20, payload, ..KernelSend::new(verb) };
        bus.send_from(protocol, &send, &Call::default()).map(drop)
    };
    let member = bus.bound(FREE_PROTOCOL)?;
    member.set_at(SOL_SOCKET, SO_RCVBUF, 2304)?;
    member.join(1)?;
    while_other(
        || send(Verb::SetErr(libc::EOVERFLOW), Vec::new()),
        || {
            for _ in rounds() {
                send(Verb::Multicast, vec![0; 800])?;
                match member.receive_now(4096, 0) {
                    Ok(_) | Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EOVERFLOW) => {}
                    other => expect("receive", false, "a message, ENOBUFS or EOVERFLOW", other.map(drop))?,
                }
            }
            Ok(())
        },
    )
}

/// Whoever is just handing a message to the tap still uses it.
fn messages_race_with_removal_of_a_tap(bus: &Bus<'_>) -> Outcome {
    const INDEX: i32 = 4242;
    interfaces::create_tap(bus, "nlc_tap", INDEX)?;
    let provider = bus.provider()?;
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let to = Address::port(receiver.portid()?);
    let talk = || {
        sender.send_to(to, &Message::new(0x20).seq(7).encode())?;
        expect_eq("message", receiver.receive_one()?.seq, 7)
    };
    while_other(talk, || {
        for _ in rounds() {
            expect_ok("netlink_add_tap()", provider.tap(INDEX as u32, true)?)?;
            expect_eq("netlink_remove_tap()", provider.tap(INDEX as u32, false)?, 0)?;
        }
        Ok(())
    })
}
