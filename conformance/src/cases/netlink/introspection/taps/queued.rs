//! A tap sees what is queued, and nothing else.

use nix::errno::Errno;
use nix::libc;

use super::{TAP, seen, seen_of_process, tap};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno, expect_ok};
use crate::port::provider::Family;
use crate::port::{Outgoing, Who};
use crate::scene::bus::{Bus, Socket};
use crate::scene::dumps::recorder;
use crate::scene::namespaces::{listen_to_all, name_namespace};
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::message::{NLM_F_DUMP, NLMSG_DONE};

cases! {
    tap_sees_each_copy_of_a_multicast(MEMBERS) => "NL-TAP-008";
    tap_sees_each_copy_of_a_multicast_of_the_kernel => "NL-TAP-008";
    tap_sees_each_portion_of_a_dump => "NL-TAP-008";
    tap_does_not_see_what_nobody_gets(LOST) => "NL-TAP-008";
    tap_sees_what_a_receiver_of_its_namespace_gets_from_elsewhere => "NL-TAP-008";
}

/// Bytes and packets that the tap receives meanwhile.
fn seen_while(bus: &Bus<'_>, step: impl FnOnce() -> Outcome) -> Result<(u64, u64), Failure> {
    let before = seen(bus)?;
    step()?;
    let after = seen(bus)?;
    Ok((after.0 - before.0, after.1 - before.1))
}

/// A member of group 1 of `NETLINK_USERSOCK`.
fn member(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let member = bus.open(libc::NETLINK_USERSOCK)?;
    member.bind(Address::groups(1))?;
    Ok(member)
}

const MEMBERS: &[(&str, u64)] = &[("to_nobody", 0), ("to_one", 1), ("to_two", 2)];

fn tap_sees_each_copy_of_a_multicast(bus: &Bus<'_>, count: &u64) -> Outcome {
    tap(bus)?;
    let _members: Vec<Socket> = (0..*count).map(|_| member(bus)).collect::<Result<_, _>>()?;
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    let passed = seen_while(bus, || Ok(sender.multicast(b"hello")?))?;
    expect_eq("bytes and packets seen", passed, (5 * count, *count))
}

fn tap_sees_each_copy_of_a_multicast_of_the_kernel(bus: &Bus<'_>) -> Outcome {
    tap(bus)?;
    let family = bus.register(Family::named("nlc_tapped").group("events"))?;
    let members = [bus.generic()?, bus.generic()?];
    for member in &members {
        member.join(family.groups[0])?;
    }
    let passed = seen_while(bus, || expect_ok("multicast", family.multicast(0, &[7; 96])?))?;
    let len = members[0].receive()?.incoming.returned as u64;
    expect_eq("bytes and packets seen", passed, (2 * len, 2))
}

fn tap_sees_each_portion_of_a_dump(bus: &Bus<'_>) -> Outcome {
    tap(bus)?;
    let family = bus.register(recorder(60))?;
    let socket = bus.generic()?;
    let request = family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(7);
    let (mut bytes, mut packets) = (request.encode().len() as u64, 1);
    let passed = seen_while(bus, || {
        socket.send(&request)?;
        loop {
            let datagram = socket.receive_into(16 << 10)?;
            bytes += datagram.incoming.returned as u64;
            packets += 1;
            if datagram.messages.iter().any(|message| message.kind == NLMSG_DONE) {
                return Ok(());
            }
        }
    })?;
    expect("datagrams", packets > 2, "the request and several portions", packets)?;
    expect_eq("bytes and packets seen", passed, (bytes, packets))
}

/// Sends 800 bytes, without waiting, to a port that is given as an address.
fn send(sender: &Socket, to: Address) -> Result<usize, Errno> {
    let (to, flags) = (Some(to.encode()), libc::MSG_DONTWAIT);
    sender.transmit(Outgoing { bytes: vec![7; 800], to, flags, ..Outgoing::default() })
}

/// Makes a receive queue so full that it takes no more.
fn fill(sender: &Socket, receiver: &Socket) -> Outcome {
    receiver.set_at(libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?; // the minimum
    let to = Address::port(receiver.portid()?);
    let full = (0..100).any(|_| send(sender, to).is_err());
    expect_eq("whether 100 datagrams fill the queue", full, true)
}

/// Prepares that what `sender` sends does not reach the member of group 1; then sends it.
type Lost = (fn(&Bus<'_>, &Socket, &Socket) -> Outcome, fn(&Socket, &Socket) -> Outcome);

fn to_port(sender: &Socket, member: &Socket) -> Result<usize, Errno> {
    send(sender, member.name().map(|name| Address::port(name.portid)).unwrap_or(Address::KERNEL))
}

const LOST: &[(&str, Lost)] = &[
    (
        "to_a_full_port",
        (
            |_, sender, member| fill(sender, member),
            |sender, member| expect_errno("send()", to_port(sender, member), Errno::EAGAIN),
        ),
    ),
    (
        "to_a_full_member",
        (|_, sender, member| fill(sender, member), |sender, _| Ok(sender.multicast(b"hello")?)),
    ),
    (
        "to_a_port_that_filters",
        (
            |bus, _, member| bus.attach_filter(member, 0),
            |sender, member| expect_ok("send()", to_port(sender, member)),
        ),
    ),
    (
        "to_a_member_that_filters",
        (|bus, _, member| bus.attach_filter(member, 0), |sender, _| Ok(sender.multicast(b"hello")?)),
    ),
    (
        "to_a_port_that_is_not_there",
        (
            |_, _, _| Ok(()),
            |sender, _| expect_errno("send()", send(sender, Address::port(0x1234_5678)), Errno::ECONNREFUSED),
        ),
    ),
];

fn tap_does_not_see_what_nobody_gets(bus: &Bus<'_>, (prepare, lose): &Lost) -> Outcome {
    tap(bus)?;
    let (sender, member) = (bus.bound(libc::NETLINK_USERSOCK)?, member(bus)?);
    prepare(bus, &sender, &member)?;
    expect_eq("bytes and packets seen", seen_while(bus, || lose(&sender, &member))?, (0, 0))
}

/// The sender is in another network namespace, which has an ID here.
fn tap_sees_what_a_receiver_of_its_namespace_gets_from_elsewhere(bus: &Bus<'_>) -> Outcome {
    tap(bus)?;
    let (here, case) = (bus.bound(libc::NETLINK_ROUTE)?, std::process::id());
    let _member = listen_to_all(bus.open(libc::NETLINK_USERSOCK)?)?;
    let passed = bus.run_as(Who::OtherNet, || {
        name_namespace(&here, std::process::id())?;
        let before = seen_of_process(bus, case, TAP)?;
        bus.bound(libc::NETLINK_USERSOCK)?.multicast(b"hello")?;
        let after = seen_of_process(bus, case, TAP)?;
        Ok((after.0 - before.0, after.1 - before.1))
    })?;
    expect_eq("bytes and packets seen", passed, (5, 1))
}
