//! A receive buffer that is filled exactly: what is counted is memory, and the last message that fits
//! is taken.

use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, MSG_DONTWAIT, POLLERR, SO_RCVBUF, SOL_SOCKET};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect, expect_eq, expect_errno, expect_ok};
use crate::port::Outgoing;
use crate::port::provider::{Call, Context, Family, KernelSend, Verb};
use crate::scene::bus::{Bus, Registered, Socket};
use crate::scene::dumps::controller;
use crate::scene::threads::joined;
use crate::wire::address::Address;
use crate::wire::genl::GENL_ID_CTRL;

cases! {
    queue_takes_what_fills_it_exactly(SENDERS) => "NL-OVR-014";
    queue_takes_nothing_that_exceeds_it_by_a_byte(SENDERS) => "NL-OVR-014";
    sender_that_may_wait_fills_the_queue(EXACT) [parallel] => "NL-OVR-014";
    received_message_gives_its_memory_back(SENDERS) => "NL-OVR-014";
    peeked_message_keeps_its_memory => "NL-OVR-014";
    multicast_from_a_softirq_to_a_filled_queue_succeeds => "NL-OVR-017";
    small_message_takes_little_memory(SMALL) => "NL-OVR-016";
    closed_queue_is_no_longer_counted => "NL-OVR-014";
    port_and_group_take_the_same_memory => "NL-OVR-018";
}

/// Messages that fill the queue.
const FOUR: u32 = 4;
/// Bytes of each.
const PAYLOAD: usize = 1000;

/// Who sends.
#[derive(Clone, Copy, PartialEq)]
enum Sender {
    UserToPort,
    UserToGroup,
    KernelToPort,
    KernelToGroup,
}

const SENDERS: &[(&str, Sender)] = &[
    ("user_to_port", Sender::UserToPort),
    ("user_to_group", Sender::UserToGroup),
    ("kernel_to_port", Sender::KernelToPort),
    ("kernel_to_group", Sender::KernelToGroup),
];

/// A receiver, and who sends to it.
struct Scene<'b> {
    bus: &'b Bus<'b>,
    how: Sender,
    sender: Socket,
    receiver: Socket,
    family: Option<Registered<'b>>,
}

impl<'b> Scene<'b> {
    fn new(bus: &'b Bus<'b>, how: Sender) -> Result<Scene<'b>, Failure> {
        let kernel = matches!(how, Sender::KernelToPort | Sender::KernelToGroup);
        let family =
            kernel.then(|| bus.register(Family::named("nlc_filling").group("events"))).transpose()?;
        let protocol = if kernel { libc::NETLINK_GENERIC } else { libc::NETLINK_USERSOCK };
        let (sender, receiver) = (bus.bound(protocol)?, bus.bound(protocol)?);
        receiver.join(family.as_ref().map_or(1, |family| family.groups[0]))?;
        Ok(Scene { bus, how, sender, receiver, family })
    }

    /// Sends one message, which does not wait: whether it was taken.
    fn send(&self) -> Result<bool, Failure> {
        let lost = self.receiver.raw().poll(POLLERR, Duration::ZERO)?;
        let bytes = vec![0xa5; PAYLOAD];
        let to = match self.how {
            Sender::UserToGroup => Address::groups(1),
            _ => Address::port(self.receiver.portid()?),
        };
        let outgoing = Outgoing { bytes, to: Some(to.encode()), flags: MSG_DONTWAIT, ..Outgoing::default() };
        match (&self.family, self.how) {
            (None, Sender::UserToGroup) => {
                // Nobody is at port 0, which the message goes to as well.
                let _ = self.sender.transmit(outgoing);
                Ok(self.receiver.raw().poll(POLLERR, Duration::ZERO)? == lost)
            }
            (None, _) => Ok(self.sender.transmit(outgoing).is_ok()),
            (Some(family), _) => {
                let verb = if self.how == Sender::KernelToPort { Verb::Unicast } else { Verb::Multicast };
                let portid = if verb == Verb::Unicast { self.receiver.portid()? } else { 0 };
                let payload = vec![0xa5; PAYLOAD];
                Ok(family.send(KernelSend { portid, payload, ..KernelSend::new(verb) })? == 0)
            }
        }
    }

    /// Memory that the receiver's queue takes.
    fn memory(&self) -> Result<u32, Failure> {
        Ok(self.bus.inspect(&self.receiver)?.received)
    }

    /// Memory that one message takes.
    fn of_one(&self) -> Result<u32, Failure> {
        if !self.send()? {
            return broken("an empty queue took no message");
        }
        let memory = self.memory()?;
        self.receiver.receive()?;
        expect("memory of one message", memory as usize > PAYLOAD, "more than its bytes", memory)?;
        Ok(memory)
    }

    /// Gives the receiver room for this much.
    fn limit(&self, room: u32) -> Outcome {
        self.receiver.set_at(SOL_SOCKET, SO_RCVBUF, room / 2)?;
        match self.receiver.get_at(SOL_SOCKET, SO_RCVBUF)? {
            set if set == room => Ok(()),
            set => broken(format!("SO_RCVBUF is {set} instead of {room}")),
        }
    }

    /// Sends until a message is lost, 20 at most: how many were taken, and the memory that they take.
    fn fill(&self) -> Result<(u32, u32), Failure> {
        let mut taken = 0;
        while taken < 20 && self.send()? {
            taken += 1;
        }
        Ok((taken, self.memory()?))
    }
}

fn queue_takes_what_fills_it_exactly(bus: &Bus<'_>, how: &Sender) -> Outcome {
    let scene = Scene::new(bus, *how)?;
    let room = FOUR * scene.of_one()?;
    scene.limit(room)?;
    expect_eq("messages taken, and their memory", scene.fill()?, (FOUR, room))
}

fn queue_takes_nothing_that_exceeds_it_by_a_byte(bus: &Bus<'_>, how: &Sender) -> Outcome {
    let scene = Scene::new(bus, *how)?;
    let of_one = scene.of_one()?;
    scene.limit(FOUR * of_one - 2)?;
    expect_eq("messages taken, and their memory", scene.fill()?, (FOUR - 1, (FOUR - 1) * of_one))
}

const EXACT: &[(&str, u32)] = &[("exactly", 0), ("with_two_bytes_to_spare", 2), ("with_much_to_spare", 512)];

/// Each of the sends must return by itself; one more waits until there is room.
fn sender_that_may_wait_fills_the_queue(bus: &Bus<'_>, spare: &u32) -> Outcome {
    let scene = Scene::new(bus, Sender::UserToPort)?;
    scene.limit(FOUR * scene.of_one()? + spare)?;
    let to = Address::port(scene.receiver.portid()?);
    let payload = [0xa5; PAYLOAD];
    for number in 1..=FOUR {
        expect_ok(&format!("send() number {number}"), scene.sender.send_to(to, &payload))?;
    }
    let now = Outgoing {
        bytes: payload.to_vec(),
        to: Some(to.encode()),
        flags: MSG_DONTWAIT,
        ..Outgoing::default()
    };
    expect_errno("send() that may not wait", scene.sender.transmit(now), Errno::EAGAIN)?;
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| scene.sender.send_to(to, &payload));
        for _ in 0..FOUR + 1 {
            scene.receiver.receive()?;
        }
        Ok::<_, Failure>(joined(sending))
    })?;
    expect_ok("send() that waits for room", sent)?;
    expect_eq("memory of the empty queue", scene.memory()?, 0)
}

fn received_message_gives_its_memory_back(bus: &Bus<'_>, how: &Sender) -> Outcome {
    let scene = Scene::new(bus, *how)?;
    let of_one = scene.of_one()?;
    expect_eq("memory of the empty queue", scene.memory()?, 0)?;
    for _ in 0..3 {
        scene.send()?;
    }
    for left in (0..3).rev() {
        scene.receiver.receive()?;
        expect_eq(&format!("memory with {left} messages left"), scene.memory()?, left * of_one)?;
    }
    Ok(())
}

fn peeked_message_keeps_its_memory(bus: &Bus<'_>) -> Outcome {
    let scene = Scene::new(bus, Sender::UserToPort)?;
    let of_one = scene.of_one()?;
    scene.send()?;
    for _ in 0..3 {
        scene.receiver.receive_now(10, libc::MSG_PEEK)?;
    }
    expect_eq("memory after three peeks", scene.memory()?, of_one)?;
    scene.receiver.receive_now(10, 0)?;
    expect_eq("memory after a receive without room", scene.memory()?, 0)
}

fn multicast_from_a_softirq_to_a_filled_queue_succeeds(bus: &Bus<'_>) -> Outcome {
    let scene = Scene::new(bus, Sender::KernelToGroup)?;
    scene.limit(FOUR * scene.of_one()?)?;
    let how = Call { context: Context::Softirq, ..Call::default() };
    for number in 1..=FOUR {
        let send = KernelSend { payload: vec![0xa5; PAYLOAD], ..KernelSend::new(Verb::Multicast) };
        let sent = scene.family.as_ref().map(|family| family.send_with(send, &how)).transpose()?;
        expect_eq(&format!("multicast number {number}"), sent, Some(0))?;
    }
    expect_eq("messages received", (0..FOUR).filter(|_| scene.receiver.receive().is_ok()).count(), 4)
}

/// What the controller sends, in buffers made for larger messages.
const SMALL: &[(&str, Source)] = &[("reply", reply_of_the_controller), ("notification", notification)];

/// Has the controller send this socket one small message.
type Source = for<'b> fn(&'b Bus<'b>, &Socket) -> Result<Option<Registered<'b>>, Failure>;

fn reply_of_the_controller<'b>(_: &'b Bus<'b>, socket: &Socket) -> Result<Option<Registered<'b>>, Failure> {
    socket.send(&controller().seq(1))?;
    Ok(None)
}

fn notification<'b>(bus: &'b Bus<'b>, socket: &Socket) -> Result<Option<Registered<'b>>, Failure> {
    socket.join(GENL_ID_CTRL.into())?;
    bus.register(Family::named("nlc_small")).map(Some)
}

fn small_message_takes_little_memory(bus: &Bus<'_>, source: &Source) -> Outcome {
    let socket = bus.generic()?;
    let _family = source(bus, &socket)?;
    let memory = bus.inspect(&socket)?.received;
    let len = socket.receive()?.incoming.returned;
    expect("bytes of the message", (1..1000).contains(&len), "fewer than 1000", len)?;
    expect("memory that it took", memory < bus.expected("page")?, "less than a page", memory)
}

/// Who sends to a socket that takes the port after it finds it empty.
fn closed_queue_is_no_longer_counted(bus: &Bus<'_>) -> Outcome {
    let mut scene = Scene::new(bus, Sender::UserToPort)?;
    scene.of_one()?;
    scene.send()?;
    let name = scene.receiver.name()?;
    scene.receiver = bus.open(libc::NETLINK_USERSOCK)?;
    scene.receiver.bind(name)?;
    expect_eq("memory of the next socket with the port", scene.memory()?, 0)?;
    expect_errno("its receive", scene.receiver.receive_now(10, 0), Errno::EAGAIN)
}

fn port_and_group_take_the_same_memory(bus: &Bus<'_>) -> Outcome {
    let to_port = Scene::new(bus, Sender::UserToPort)?.of_one()?;
    let to_group = Scene::new(bus, Sender::UserToGroup)?.of_one()?;
    expect_eq("memory of a datagram to a port, and of one to a group", to_port, to_group)
}
