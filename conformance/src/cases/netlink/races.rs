//! Races that went wrong in the kernel's history: each case repeats one such
//! race for a short while. It checks what it can see; the rest is for the kernel's own
//! checkers (KASAN, lockdep, a warning on the console) to report.

mod from_kernel;
mod memberships;
mod one_socket;

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, MSG_DONTWAIT, POLLIN, SO_RCVBUF, SOL_SOCKET};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, Under, expect, expect_empty, expect_eq, expect_errno, expect_ok};
use crate::port::capability::Capability;
use crate::port::provider::{Action, Family, On};
use crate::port::{Outgoing, Receive};
use crate::scene::PORT;
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::dumps::{families, policies, recorder};
use crate::scene::threads::{at_once, joined, rounds, while_other};
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::message::{Message, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR};
use crate::wire::sock_diag;

cases! {
    receive_races_with_close_of_a_dump => "NL-DMP-021";
    close_of_a_dump_races_with_its_inspection => "NL-DMP-021";
    receives_of_one_dump_race => "NL-DMP-024";
    dump_requests_race => "NL-DMP-007";
    end_of_a_dump_races_with_the_next_requests => "NL-DMP-007";
    overrun_races_with_receive => "NL-OVR-001", "NL-OVR-002";
    overrun_races_with_no_enobufs => "NL-OVR-005";
    multicast_races_with_close_of_a_member => "NL-OVR-001";
    unicast_races_with_close_of_the_receiver => "NL-BIND-017";
    first_sends_of_two_sockets_race => "NL-BIND-015";
    send_races_with_its_receive => "NL-SEND-039";
    join_races_with_unregistration => "GENL-MC-018";
    first_portion_races_with_receives => "NL-DMP-007";
    + from_kernel;
    + memberships;
    + one_socket;
}

/// A socket with a running dump that will not end before a receive.
fn dumping(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let socket = bus.generic()?;
    socket.send(&policies().seq(1))?;
    socket.wait(WAIT)?;
    Ok(socket)
}

/// A dump was freed in a work item and in close() (CVE-2024-53140): here a receive that continues it
/// races with the close of the other descriptor.
fn receive_races_with_close_of_a_dump(bus: &Bus<'_>) -> Outcome {
    for _ in rounds() {
        let socket = dumping(bus)?;
        let second = socket.raw().duplicate()?;
        let receive = move || {
            for _ in 0..2 {
                second.receive(&Receive { room: 4096, flags: MSG_DONTWAIT })?;
            }
            Ok(())
        };
        let close = || {
            drop(socket);
            Ok(())
        };
        at_once(close, receive)?;
    }
    expect_ok("dump afterwards", bus.generic()?.ask(&policies())?)
}

/// sock_diag looked at the dump of a socket that was being closed.
fn close_of_a_dump_races_with_its_inspection(bus: &Bus<'_>) -> Outcome {
    bus.inspect(&bus.generic()?)?;
    let asking = bus.diag()?;
    let show = sock_diag::NDIAG_SHOW_FLAGS | sock_diag::NDIAG_SHOW_MEMINFO | sock_diag::NDIAG_SHOW_GROUPS;
    let inspect = || {
        let answer = asking.ask(&sock_diag::sockets(libc::NETLINK_GENERIC as u8, show))?;
        expect_ok("dump of the sockets", answer)
    };
    while_other(inspect, || rounds().try_for_each(|_| dumping(bus).map(drop)))
}

/// Two receives continued one dump at once and freed its request twice (CVE-2016-9806).
fn receives_of_one_dump_race(bus: &Bus<'_>) -> Outcome {
    let alone = bus.generic()?.ask(&policies())?.replies.len() + 1;
    for _ in rounds() {
        let socket = dumping(bus)?;
        let receive = || match socket.receive_now(4096, 0) {
            Ok(datagram) => Ok(datagram.messages.len()),
            // The other one has received the datagram, and has not continued the dump yet.
            Err(Errno::EAGAIN) => Ok(0),
            Err(errno) => Err(errno.into()),
        };
        let (one, two) = at_once(receive, receive)?;
        let mut got = one + two;
        if one == 0 || two == 0 {
            got += socket.receive()?.messages.len();
        }
        expect_eq("messages of the dump", got, alone)?;
    }
    Ok(())
}

/// Of two requests on one socket one starts a dump; the other is refused, or comes after its end.
fn dump_requests_race(bus: &Bus<'_>) -> Outcome {
    bus.need_prompt_answers()?;
    for _ in rounds() {
        let socket = bus.generic()?;
        let ask = |seq| {
            let request = policies().seq(seq);
            let socket = &socket;
            move || Ok(socket.send(&request)?)
        };
        at_once(ask(1), ask(2))?;
        let (ended, refused) = fates(&receive_all(&socket));
        expect_eq("dumps that ended, and refusals", (ended, refused), (1, vec![Errno::EBUSY]))?;
    }
    Ok(())
}

/// A dump that ended took its request from where the next one's was by then, and freed that (CVE-2016-9806).
fn end_of_a_dump_races_with_the_next_requests(bus: &Bus<'_>) -> Outcome {
    const NEXT: u32 = 4;
    bus.need_prompt_answers()?;
    for _ in rounds() {
        let socket = dumping(bus)?;
        let ask = || (0..NEXT).try_for_each(|more| Ok(socket.send(&policies().seq(2 + more)).map(drop)?));
        let (mut messages, ()) = at_once(|| Ok(receive_all(&socket)), ask)?;
        messages.extend(receive_all(&socket));
        let (ended, refused) = fates(&messages);
        expect_eq("refusals", &refused, &vec![Errno::EBUSY; refused.len()])?;
        expect_eq("dumps that ended, and refusals", ended + refused.len(), 1 + NEXT as usize)?;
    }
    Ok(())
}

/// All messages that are there.
fn receive_all(socket: &Socket) -> Vec<Message> {
    let datagrams = std::iter::from_fn(|| socket.receive_now(4096, 0).ok());
    datagrams.flat_map(|datagram| datagram.messages).collect()
}

/// How many dumps ended, and the errors of requests.
fn fates(messages: &[Message]) -> (usize, Vec<Errno>) {
    let ended = messages.iter().filter(|message| message.kind == NLMSG_DONE).count();
    (ended, messages.iter().filter_map(refusal).collect())
}

fn refusal(message: &Message) -> Option<Errno> {
    (message.kind == NLMSG_ERROR).then(|| Errno::from_raw(-message.status().unwrap_or(0)))
}

/// Sends a message with this number to group 1.
fn say(sender: &Socket, number: u32) -> Outcome {
    Ok(sender.multicast(&Message::new(0x20).seq(number).bytes(&[0; 800]).encode())?)
}

/// A member of group 1 with room for a few messages.
fn small_member(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let member = bus.bound(libc::NETLINK_USERSOCK)?;
    member.set_at(SOL_SOCKET, SO_RCVBUF, 2304)?;
    member.join(1)?;
    Ok(member)
}

/// Receives what is there: the numbers of the messages. `ENOBUFS` may come in between.
fn drain(member: &Socket, numbers: &mut Vec<u32>) -> Outcome {
    loop {
        match member.receive_now(4096, 0) {
            Ok(datagram) => numbers.extend(datagram.messages.iter().map(|message| message.seq)),
            Err(Errno::ENOBUFS) => {}
            Err(Errno::EAGAIN) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The end of a congestion must not be missed, or the member never receives again.
fn overrun_races_with_receive(bus: &Bus<'_>) -> Outcome {
    let (member, sender) = (small_member(bus)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let mut numbers = Vec::new();
    let flood = || rounds().map(|number| say(&sender, number).map(|()| number + 1)).last().unwrap_or(Ok(0));
    let sent = thread::scope(|scope| {
        let flood = scope.spawn(flood);
        while !flood.is_finished() {
            drain(&member, &mut numbers)?;
        }
        joined(flood)
    })?;
    drain(&member, &mut numbers)?;
    expect(
        "messages received",
        numbers.is_sorted_by(|one, next| one < next),
        "in order, none twice",
        &numbers,
    )?;
    say(&sender, sent)?;
    expect_eq("message to the empty queue", member.receive_one()?.seq, sent).under("NL-OVR-002")?;
    if bus.has(Capability::NetlinkDiag) {
        let lost = bus.inspect(&member)?.drops;
        expect_eq("messages received and lost", numbers.len() as u32 + lost, sent)?;
    }
    Ok(())
}

fn overrun_races_with_no_enobufs(bus: &Bus<'_>) -> Outcome {
    let (member, sender) = (small_member(bus)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let flood = || say(&sender, 0);
    while_other(flood, || {
        for round in rounds() {
            member.set(libc::NETLINK_NO_ENOBUFS, round % 2)?;
            drain(&member, &mut Vec::new())?;
        }
        Ok(())
    })?;
    member.set(libc::NETLINK_NO_ENOBUFS, 0)?;
    drain(&member, &mut Vec::new())?;
    say(&sender, 7)?;
    expect_eq("message to the empty queue", member.receive_one()?.seq, 7)
}

/// A multicast looked at the groups of a member that were freed in its close.
fn multicast_races_with_close_of_a_member(bus: &Bus<'_>) -> Outcome {
    let (stays, sender) = (small_member(bus)?, bus.bound(libc::NETLINK_USERSOCK)?);
    while_other(
        || say(&sender, 0),
        || {
            for _ in rounds() {
                small_member(bus)?;
                drain(&stays, &mut Vec::new())?;
            }
            Ok(())
        },
    )?;
    drain(&stays, &mut Vec::new())?;
    say(&sender, 7)?;
    expect_eq("message to the member that stays", stays.receive_one()?.seq, 7)
}

/// A socket found by its port ID may be closed before the message reaches it.
fn unicast_races_with_close_of_the_receiver(bus: &Bus<'_>) -> Outcome {
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    let to = Some(Address::port(PORT).encode());
    let outgoing = Outgoing { bytes: vec![1; 16], to, flags: MSG_DONTWAIT, ..Outgoing::default() };
    let send = || match sender.transmit(outgoing.clone()) {
        Ok(16) | Err(Errno::ECONNREFUSED | Errno::EAGAIN) => Ok(()),
        other => expect("unicast", false, "16 bytes taken, ECONNREFUSED or EAGAIN", other),
    };
    while_other(send, || {
        for _ in rounds() {
            let receiver = bus.open(libc::NETLINK_USERSOCK)?;
            expect_ok(
                "bind() of the port ID of a socket that was closed",
                receiver.bind(Address::port(PORT)),
            )?;
        }
        Ok(())
    })?;
    let send = sender.send_to(Address::port(PORT), &[1]);
    expect_errno("unicast to a missing port", send, Errno::ECONNREFUSED)
}

/// Two sockets that got a port ID at the same time once both had none.
fn first_sends_of_two_sockets_race(bus: &Bus<'_>) -> Outcome {
    for _ in rounds() {
        let sockets = [bus.open(libc::NETLINK_GENERIC)?, bus.open(libc::NETLINK_GENERIC)?];
        let [one, two] = sockets.each_ref().map(|socket| {
            move || {
                socket.send(&families())?;
                socket.wait(WAIT)?;
                socket.portid()
            }
        });
        let (one, two) = at_once(one, two)?;
        expect("port IDs", one != 0 && two != 0 && one != two, "two, neither of them 0", (one, two))?;
    }
    Ok(())
}

/// A send read the length of its message when the receiver could have freed that already.
fn send_races_with_its_receive(bus: &Bus<'_>) -> Outcome {
    let (receiver, sender) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let to = Some(Address::port(receiver.portid()?).encode());
    // One who sleeps, whom the sender wakes after the message is queued, and one who takes it meanwhile.
    let sleep = || receiver.raw().poll(POLLIN, Duration::from_millis(1)).map(drop).map_err(Failure::from);
    let receive = || match receiver.receive_now(4096, 0) {
        Ok(_) | Err(Errno::EAGAIN) => Ok(()),
        Err(errno) => Err(errno.into()),
    };
    let send = || {
        for round in rounds() {
            let bytes = vec![1; 16 + round as usize % 64];
            let len = bytes.len();
            let outgoing = Outgoing { bytes, to: to.clone(), flags: MSG_DONTWAIT, ..Outgoing::default() };
            match sender.transmit(outgoing) {
                Err(Errno::EAGAIN) => {}
                sent => expect_eq("what send() returns", sent, Ok(len))?,
            }
        }
        Ok(())
    };
    while_other(sleep, || while_other(receive, send))
}

/// A join looked up the family of a group that was being unregistered.
fn join_races_with_unregistration(bus: &Bus<'_>) -> Outcome {
    let events = || Family::named("nlc_passing").group("events");
    let first = bus.register(events())?;
    let group = first.groups[0];
    first.unregister()?;
    let socket = bus.generic()?;
    let join = || {
        // The group may exist or not; what counts is the final state.
        let _ = socket.join(group);
        Ok(())
    };
    while_other(join, || {
        for _ in rounds() {
            bus.register(events())?.unregister()?;
        }
        Ok(())
    })?;
    let last = bus.register(events())?;
    expect_eq("group that exists at the end", last.groups[0], group)?;
    socket.join(group)?;
    expect_ok("multicast", last.multicast(0, &[1; 8])?)?;
    last.unregister()?;
    expect_eq("member's memberships when the family is gone", socket.memberships()?.contains(&group), false)
}

/// A second thread once continued a dump, and ended it, before the request had its first portion: the request was refused
/// although its answer was there.
fn first_portion_races_with_receives(bus: &Bus<'_>) -> Outcome {
    bus.need_prompt_answers()?;
    let family = bus.register(recorder(1).on(On::Dumpit, Action::Return(0)))?;
    let request = family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(7);
    let (sender, socket) = (bus.bound(libc::NETLINK_GENERIC)?, bus.bound(libc::NETLINK_GENERIC)?);
    socket.set_at(SOL_SOCKET, SO_RCVBUF, 1 << 20)?;
    let to = Some(Address::port(socket.portid()?).encode());
    let filler = Outgoing { bytes: vec![1; 16], to, flags: MSG_DONTWAIT, ..Outgoing::default() };
    let refused = Mutex::new(Vec::new());
    // A receive continues a dump whatever it takes, so that there is always something else to take.
    let receive = || {
        let _ = sender.transmit(filler.clone());
        let messages = receive_all(&socket);
        // Another dump may be running, or there may be no room for the first portion.
        let errnos = messages
            .iter()
            .filter_map(refusal)
            .filter(|errno| ![Errno::EBUSY, Errno::ENOBUFS].contains(errno));
        refused.lock().unwrap_or_else(PoisonError::into_inner).extend(errnos);
        Ok(())
    };
    while_other(receive, || rounds().try_for_each(|_| Ok(socket.send(&request).map(drop)?)))?;
    expect_empty("other refusals", refused.into_inner().unwrap_or_else(PoisonError::into_inner))
}
