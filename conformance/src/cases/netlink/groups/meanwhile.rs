//! What others can do while a callback of a protocol or a family does not return.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect_eq, expect_ok, mismatch};
use crate::port::capability::Capability;
use crate::port::provider::{Action, Family, KernelSend, On, Op, Protocol, Step, Verb};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::threads::joined;
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::message::{Message, NLM_F_ACK, NLMSG_NOOP};
use crate::wire::sock_diag;

cases! {
    callback_of_a_join_holds_nobody_up(OTHERS) [parallel] => "NL-GRP-030";
    callback_of_a_bind_holds_nobody_up(OTHERS) [parallel] => "NL-GRP-030";
    callback_of_leaving_holds_nobody_up(OTHERS) [parallel] => "NL-GRP-030";
    callback_of_a_close_holds_nobody_up(OTHERS) [parallel] => "NL-GRP-030";
    request_and_join_overtake_a_bind_callback_of_the_family [parallel] => "GENL-MC-027";
}

/// Time for what waits for nobody, on a host that has much else to do.
const PATIENCE: Duration = Duration::from_secs(6);

/// What somebody else does.
type Other = fn(&Bus<'_>) -> Outcome;

const OTHERS: &[(&str, Other)] = &[
    ("open_and_bind", |bus| bus.bound(libc::NETLINK_USERSOCK).map(drop)),
    ("open_and_bind_of_the_protocol", |bus| bus.bound(FREE_PROTOCOL).map(drop)),
    ("join_and_close", |bus| Ok(bus.bound(libc::NETLINK_USERSOCK)?.join(3)?)),
    ("bind_to_groups", |bus| Ok(bus.open(libc::NETLINK_USERSOCK)?.bind(Address::groups(0b101))?)),
    ("multicast", multicast),
    ("request", |bus| {
        expect_ok(
            "request",
            bus.bound(libc::NETLINK_ROUTE)?.ask(&Message::request(NLMSG_NOOP).with(NLM_F_ACK))?,
        )
    }),
    ("registration", |bus| {
        let family = bus.register(Family::named("nlc_meanwhile").group("events"))?;
        expect_ok("unregistration", family.unregister()?)
    }),
    ("list_of_sockets", |bus| bus.file("/proc/net/netlink").map(drop)),
    ("dump_of_sockets", |bus| {
        let dump = sock_diag::sockets(sock_diag::NDIAG_PROTO_ALL, sock_diag::NDIAG_SHOW_GROUPS);
        expect_ok("dump of the sockets", bus.diag()?.ask(&dump)?)
    }),
];

fn multicast(bus: &Bus<'_>) -> Outcome {
    let (member, sender) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    member.join(1)?;
    match sender.send_to(Address::groups(1), b"hello") {
        // Nobody is at port 0, which the message goes to as well.
        Ok(_) | Err(Errno::ECONNREFUSED) => {}
        Err(errno) => return Err(errno.into()),
    }
    expect_eq("what arrived", &member.receive()?.incoming.bytes[..], b"hello")
}

/// Does `blocking`, whose callback does not return, and `other` meanwhile, which must not wait for it.
fn expect_overtakes(
    bus: &Bus<'_>,
    blocking: impl FnOnce() -> Outcome + Send,
    other: impl FnOnce(&Bus<'_>) -> Outcome + Send,
) -> Outcome {
    let provider = bus.provider()?;
    let (done, doing) = mpsc::channel();
    thread::scope(|scope| {
        let blocked = scope.spawn(blocking);
        if provider.blocked(WAIT.as_millis() as u64)? == 0 {
            return broken("no callback blocks");
        }
        let other = scope.spawn(move || {
            let outcome = other(bus);
            let _ = done.send(());
            outcome
        });
        let ended = doing.recv_timeout(PATIENCE);
        provider.release()?;
        let (blocked, other) = (joined(blocked), joined(other));
        match ended {
            Ok(()) => other.and(blocked),
            Err(_) => {
                mismatch("what somebody else does meanwhile", "an end", "none before the callback returns")
            }
        }
    })
}

/// A socket of a protocol whose callback of this kind blocks.
fn blocking(bus: &Bus<'_>, on: On) -> Result<Socket, Failure> {
    bus.need(Capability::NetAdmin)?;
    let script = vec![Step::new(on, Action::Block)];
    let protocol = Protocol { bind: true, script, ..Protocol::with_groups(FREE_PROTOCOL, 32) };
    bus.create_protocol(&protocol)?;
    bus.bound(FREE_PROTOCOL)
}

fn callback_of_a_join_holds_nobody_up(bus: &Bus<'_>, other: &Other) -> Outcome {
    let socket = blocking(bus, On::Bind)?;
    expect_overtakes(bus, || Ok(socket.join(3)?), other)
}

fn callback_of_a_bind_holds_nobody_up(bus: &Bus<'_>, other: &Other) -> Outcome {
    let socket = blocking(bus, On::Bind)?;
    let again = Address { groups: 0b100, ..socket.name()? };
    expect_overtakes(bus, || Ok(socket.bind(again)?), other)
}

fn callback_of_leaving_holds_nobody_up(bus: &Bus<'_>, other: &Other) -> Outcome {
    let socket = blocking(bus, On::Unbind)?;
    socket.join(3)?;
    expect_overtakes(bus, || Ok(socket.leave(3)?), other)
}

fn callback_of_a_close_holds_nobody_up(bus: &Bus<'_>, other: &Other) -> Outcome {
    let socket = blocking(bus, On::Unbind)?;
    socket.join(3)?;
    let close = || {
        drop(socket);
        Ok(())
    };
    expect_overtakes(bus, close, other)
}

fn request_and_join_overtake_a_bind_callback_of_the_family(bus: &Bus<'_>) -> Outcome {
    let told = Family { bind: true, ..Family::named("nlc_told").group("events") };
    let told = bus.register(told.on(On::Bind, Action::Block))?;
    let others = bus.register(Family::named("nlc_others").group("events").op(Op::doing(1)))?;
    let socket = bus.generic()?;
    let other = |bus: &Bus<'_>| {
        let socket = bus.generic()?;
        expect_ok("request", socket.ask(&others.request(1, Attrs::new()).with(NLM_F_ACK))?)?;
        expect_ok("joining a group of another family", socket.join(others.groups[0]))?;
        let sent = others.send(KernelSend::new(Verb::Multicast))?;
        expect_ok("genlmsg_multicast_netns()", sent)?;
        socket.receive_one().map(drop)
    };
    expect_overtakes(bus, || Ok(socket.join(told.groups[0])?), other)
}
