//! `SCM_CREDENTIALS`: the sender of a datagram.

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Gid, Uid};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno, expect_ok, mismatch};
use crate::port::capability::Capability;
use crate::port::provider::Family;
use crate::port::{Control, Outgoing, Who};
use crate::scene::bus::{Bus, Datagram, Socket};
use crate::wire::address::Address;
use crate::wire::route;
use crate::wire::u32_at;

cases! {
    credentials_are_the_senders => "NL-SEND-012";
    process_is_named_as_in_its_pid_namespace => "NL-SEND-031";
    credentials_of_a_multicast_are_the_senders => "NL-SEND-012";
    credentials_of_the_kernel_are_zero => "NL-SEND-012";
    credentials_of_a_multicast_of_the_kernel_are_zero => "NL-SEND-012";
    credentials_are_not_sent_by_default => "NL-SEND-012";
    own_credentials_may_be_claimed => "NL-SEND-022";
    others_credentials_may_not_be_claimed(FORGERIES) => "NL-SEND-022";
    root_may_claim_others_credentials => "NL-SEND-022";
}

/// Process, user and group: `struct ucred`.
type Credentials = (u32, u32, u32);

fn own() -> Credentials {
    (std::process::id(), Uid::current().as_raw(), Gid::current().as_raw())
}

fn claim(credentials: Credentials) -> Control {
    let (pid, uid, gid) = credentials;
    let data = [pid, uid, gid].map(u32::to_ne_bytes).concat();
    Control { level: libc::SOL_SOCKET, kind: libc::SCM_CREDENTIALS, data }
}

fn credentials(datagram: &Datagram) -> Result<Credentials, Failure> {
    let wanted =
        |control: &&Control| (control.level, control.kind) == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS);
    let data = datagram.incoming.control.iter().find(wanted).map(|control| &control.data[..]);
    let number = |offset| u32_at(data?, offset);
    match (number(0), number(4), number(8)) {
        (Some(pid), Some(uid), Some(gid)) => Ok((pid, uid, gid)),
        _ => mismatch("control messages", "SCM_CREDENTIALS", format_args!("{:?}", datagram.incoming.control)),
    }
}

/// A bound socket with SO_PASSCRED.
fn asking(bus: &Bus<'_>, protocol: i32) -> Result<Socket, Failure> {
    bus.need(Capability::Processes)?;
    let socket = bus.bound(protocol)?;
    socket.set_at(libc::SOL_SOCKET, libc::SO_PASSCRED, 1)?;
    Ok(socket)
}

/// Sends to a port, claiming credentials.
fn send_as(bus: &Bus<'_>, to: u32, credentials: Credentials) -> Result<usize, Errno> {
    bus.try_open(libc::SOCK_RAW, libc::NETLINK_USERSOCK)?.transmit(Outgoing {
        bytes: b"hello".to_vec(),
        to: Some(Address::port(to).encode()),
        control: vec![claim(credentials)],
        ..Outgoing::default()
    })
}

fn credentials_are_the_senders(bus: &Bus<'_>) -> Outcome {
    let receiver = asking(bus, libc::NETLINK_USERSOCK)?;
    let to = Address::port(receiver.portid()?);
    let sender = bus.run_as(Who::Nobody, || {
        bus.open(libc::NETLINK_USERSOCK)?.send_to(to, b"hello")?;
        Ok(own())
    })?;
    expect_eq("process, user and group", credentials(&receiver.receive()?)?, sender)
}

fn credentials_of_a_multicast_are_the_senders(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let member = asking(bus, libc::NETLINK_USERSOCK)?;
    member.join(1)?;
    let sender = bus.run_as(Who::Nobody, || {
        // The message also goes to port 0, where no socket is.
        let sent = bus.open(libc::NETLINK_USERSOCK)?.send_to(Address::groups(1), b"hello");
        expect_errno("send()", sent, Errno::ECONNREFUSED)?;
        Ok(own())
    })?;
    expect_eq("process, user and group", credentials(&member.receive()?)?, sender)
}

fn credentials_of_a_multicast_of_the_kernel_are_zero(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_events").group("events"))?;
    let member = asking(bus, libc::NETLINK_GENERIC)?;
    member.join(family.groups[0])?;
    expect_ok("genlmsg_multicast()", family.multicast(0, &[])?)?;
    expect_eq("process, user and group", credentials(&member.receive()?)?, (0, 0, 0))
}

fn process_is_named_as_in_its_pid_namespace(bus: &Bus<'_>) -> Outcome {
    let receiver = asking(bus, libc::NETLINK_USERSOCK)?;
    let to = Address::port(receiver.portid()?);
    bus.run_as(Who::OtherPid, || Ok(bus.open(libc::NETLINK_USERSOCK)?.send_to(to, b"hello").map(drop)?))?;
    expect_eq("process of a datagram of process 1 there", credentials(&receiver.receive()?)?.0, 1)
}

fn credentials_of_the_kernel_are_zero(bus: &Bus<'_>) -> Outcome {
    let socket = asking(bus, libc::NETLINK_ROUTE)?;
    socket.send(&route::refused(7))?;
    expect_eq("process, user and group", credentials(&socket.receive()?)?, (0, 0, 0))
}

fn credentials_are_not_sent_by_default(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.send(&route::refused(7))?;
    let control = socket.receive()?.incoming.control;
    expect("control messages", control.is_empty(), "none", control)
}

fn own_credentials_may_be_claimed(bus: &Bus<'_>) -> Outcome {
    let receiver = asking(bus, libc::NETLINK_USERSOCK)?;
    let to = receiver.portid()?;
    let sender = bus.run_as(Who::Nobody, || {
        expect_ok("send()", send_as(bus, to, own()))?;
        Ok(own())
    })?;
    expect_eq("process, user and group", credentials(&receiver.receive()?)?, sender)
}

/// Changes one of the three to another's.
type Forgery = fn(Credentials) -> Credentials;

const FORGERIES: &[(&str, Forgery)] = &[
    ("process", |(_, uid, gid)| (1, uid, gid)),
    ("user", |(pid, _, gid)| (pid, 0, gid)),
    ("group", |(pid, uid, _)| (pid, uid, 0)),
];

fn others_credentials_may_not_be_claimed(bus: &Bus<'_>, forge: &Forgery) -> Outcome {
    let receiver = asking(bus, libc::NETLINK_USERSOCK)?;
    let to = receiver.portid()?;
    bus.run_as(Who::Nobody, || expect_errno("send()", send_as(bus, to, forge(own())), bus.expected("errno")?))
}

fn root_may_claim_others_credentials(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let receiver = asking(bus, libc::NETLINK_USERSOCK)?;
    expect_ok("send()", send_as(bus, receiver.portid()?, (1, 65534, 65534)))?;
    expect_eq("process, user and group", credentials(&receiver.receive()?)?, (1, 65534, 65534))
}
