//! What kernel code sends: in which contexts, and its notifications.

use nix::errno::Errno;
use nix::libc::{self, SO_RCVBUF, SOL_SOCKET};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_errno, expect_ok, expect_result};
use crate::port::capability::Capability;
use crate::port::provider::{Call, Context, Family, Handle, KernelSend, Protocol, Returned, Verb};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Socket};

cases! {
    kernel_code_sends_in_any_context(CONTEXTS) => "NL-SEND-037";
    notification_that_nobody_hears_succeeds => "NL-SEND-038";
    notification_is_reported_once => "NL-SEND-038";
    notification_without_a_group_is_only_reported => "NL-SEND-038";
    notification_reported_to_a_missing_port_fails => "NL-SEND-038";
    notification_that_is_lost_fails_if_a_member_asks => "NL-SEND-038";
}

/// A port ID that no socket has.
const MISSING: u32 = 0x7fff_0001;

/// A protocol of the kernel, whose code sends.
struct Sender<'b> {
    bus: &'b Bus<'b>,
    handle: Handle,
}

impl<'b> Sender<'b> {
    fn new(bus: &'b Bus<'_>) -> Result<Sender<'b>, Failure> {
        bus.need(Capability::NetAdmin)?;
        let protocol = Protocol::with_groups(FREE_PROTOCOL, 32);
        let handle = bus.create_protocol(&protocol)?;
        Ok(Sender { bus, handle })
    }

    fn member(&self) -> Result<Socket, Failure> {
        let member = self.bus.bound(FREE_PROTOCOL)?;
        member.join(1)?;
        Ok(member)
    }

    fn send(&self, verb: Verb, portid: u32, how: &Call) -> Result<Returned, Failure> {
        let send = KernelSend { group: 1, portid, payload: vec![1; 8], ..KernelSend::new(verb) };
        self.bus.send_from(self.handle, &send, how)
    }

    fn notify(&self, report: bool, portid: u32) -> Result<Returned, Failure> {
        self.send(Verb::Notify(report), portid, &Call::default())
    }
}

/// How many messages a socket has.
fn received(socket: &Socket) -> usize {
    std::iter::from_fn(|| socket.receive_now(4096, 0).ok()).count()
}

const CONTEXTS: &[(&str, Context)] = &[
    ("process", Context::Process),
    ("softirq", Context::Softirq),
    ("interrupts_off", Context::InterruptsOff),
];

/// What a lock must not be in one context shows only if it is taken in the other one, too.
fn kernel_code_sends_in_any_context(bus: &Bus<'_>, context: &Context) -> Outcome {
    let sender = Sender::new(bus)?;
    let member = sender.member()?;
    let family = bus.register(Family::named("nlc_anywhere").group("events"))?;
    let listener = bus.generic()?;
    listener.join(family.groups[0])?;
    for context in [*context, Context::Process] {
        let how = Call { context, ..Call::default() };
        for verb in [Verb::Multicast, Verb::Unicast, Verb::Notify(false), Verb::Notify(true)] {
            let portid = if verb == Verb::Multicast { 0 } else { member.portid()? };
            expect_ok(&format!("{verb:?}, {context:?}"), sender.send(verb, portid, &how)?)?;
            expect_eq(&format!("messages of {verb:?}, {context:?}"), received(&member), 1)?;
        }
        expect_eq("netlink_has_listeners()", sender.send(Verb::HasListeners, 0, &how)?, 1)?;
        expect_eq("netlink_set_err()", sender.send(Verb::SetErr(libc::EIO), 0, &how)?, 0)?;
        expect_errno("receive after netlink_set_err()", member.receive_now(100, 0), Errno::EIO)?;

        expect_ok("multicast of a family", family.send_with(KernelSend::new(Verb::Multicast), &how)?)?;
        let portid = listener.portid()?;
        let unicast = KernelSend { portid, ..KernelSend::new(Verb::Unicast) };
        expect_ok("unicast of a family", family.send_with(unicast, &how)?)?;
        expect_eq("messages of a family", received(&listener), 2)?;
        let error = KernelSend::new(Verb::SetErr(libc::EIO));
        expect_eq("genl_set_err()", family.send_with(error, &how)?, 0)?;
        expect_errno("receive after genl_set_err()", listener.receive_now(100, 0), Errno::EIO)?;
    }
    Ok(())
}

fn notification_that_nobody_hears_succeeds(bus: &Bus<'_>) -> Outcome {
    let sender = Sender::new(bus)?;
    expect_ok("nlmsg_notify() without members", sender.notify(false, 0)?)?;
    let asker = bus.bound(FREE_PROTOCOL)?;
    expect_ok("nlmsg_notify() that is reported, without members", sender.notify(true, asker.portid()?)?)?;
    expect_eq("messages of the port", received(&asker), 1)
}

fn notification_is_reported_once(bus: &Bus<'_>) -> Outcome {
    let sender = Sender::new(bus)?;
    let (asker, other) = (sender.member()?, sender.member()?);
    expect_ok("nlmsg_notify() that is reported", sender.notify(true, asker.portid()?)?)?;
    expect_eq("messages of the port, which is a member", received(&asker), 1)?;
    expect_eq("messages of the other member", received(&other), 1)?;
    expect_ok("nlmsg_notify() that is not reported", sender.notify(false, asker.portid()?)?)?;
    expect_eq("messages of the port, as a member", received(&asker), 1)?;
    expect_eq("messages of the other member", received(&other), 1)
}

fn notification_without_a_group_is_only_reported(bus: &Bus<'_>) -> Outcome {
    let sender = Sender::new(bus)?;
    let (asker, other) = (sender.member()?, sender.member()?);
    let send = KernelSend { portid: asker.portid()?, ..KernelSend::new(Verb::Notify(true)) };
    expect_ok("nlmsg_notify()", bus.send_from(sender.handle, &send, &Call::default())?)?;
    expect_eq("messages of the port", received(&asker), 1)?;
    expect_eq("messages of the member", received(&other), 0)
}

fn notification_reported_to_a_missing_port_fails(bus: &Bus<'_>) -> Outcome {
    let sender = Sender::new(bus)?;
    let member = sender.member()?;
    expect_errno("nlmsg_notify()", sender.notify(true, MISSING)?, bus.expected("missing")?)?;
    expect_eq("messages of the member", received(&member), 1)?;
    member.leave(1)?;
    expect_errno("nlmsg_notify() without members", sender.notify(true, MISSING)?, bus.expected("missing")?)
}

fn notification_that_is_lost_fails_if_a_member_asks(bus: &Bus<'_>) -> Outcome {
    let sender = Sender::new(bus)?;
    let member = sender.member()?;
    member.set_at(SOL_SOCKET, SO_RCVBUF, 0)?;
    while member.raw().poll(libc::POLLERR, std::time::Duration::ZERO)? & libc::POLLERR == 0 {
        expect_ok("nlmsg_notify(), whose loss nobody minds", sender.notify(false, 0)?)?;
    }
    expect_ok("nlmsg_notify() that is lost", sender.notify(false, 0)?)?;
    member.set(libc::NETLINK_BROADCAST_ERROR, 1)?;
    expect_result("nlmsg_notify() that is lost", sender.notify(false, 0)?, Err(bus.expected("lost")?))?;
    let asker = bus.bound(FREE_PROTOCOL)?;
    let returned = sender.notify(true, asker.portid()?)?;
    expect_errno("nlmsg_notify() that is lost and reported", returned, bus.expected("lost")?)?;
    expect_eq("messages of the port", received(&asker), 1)
}
