//! One socket that two threads use at once. What a call sees is one of the values that were set, and never a mixture of
//! them. The fields of the socket that it sees are read without a lock: a kernel that watches for data races
//! (`--variant kcsan`) reports where that is not marked.

use nix::errno::Errno;
use nix::libc::{
    self, MSG_PEEK, MSG_TRUNC, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_PKTINFO, SO_RCVBUF, SOL_SOCKET,
};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno, mismatch};
use crate::port::provider::{Action, On};
use crate::scene::bus::{Bus, Socket, WAIT};
use crate::scene::dumps::{families, recorder};
use crate::scene::threads::{at_once, rounds, while_other};
use crate::wire::address::{self, Address};
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLMSG_DONE};
use crate::wire::sock_diag::{self, Record};

cases! {
    connect_races_with_getpeername => "NL-BIND-028";
    connect_races_with_sends_without_an_address => "NL-BIND-028";
    connect_races_with_its_inspection => "NL-BIND-028";
    connect_races_with_a_send_to_it => "NL-BIND-029";
    first_send_races_with_getsockname => "NL-BIND-030";
    first_sends_race => "NL-BIND-030";
    peeks_of_one_message_race => "NL-RCV-009";
    peeks_with_more_and_more_room_race => "NL-RCV-009";
    dumps_race_with_peeks => "NL-DMP-008";
    options_are_set_at_once => "NL-GRP-036";
    refusals_race_with_an_option(OPTIONS) => "NL-ACK-003", "NL-ACK-004";
}

/// A socket that is connected to the first of two others.
fn connected(bus: &Bus<'_>) -> Result<(Socket, [Socket; 2]), Failure> {
    let peers = [bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?];
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    socket.connect(Address::port(peers[0].portid()?))?;
    Ok((socket, peers))
}

/// Connects it to both in turn, for as long as a race lasts.
fn reconnect(socket: &Socket, peers: &[Socket; 2]) -> Outcome {
    let ports = [peers[0].portid()?, peers[1].portid()?];
    for round in rounds() {
        socket.connect(Address::port(ports[(round as usize + 1) % 2]))?;
    }
    Ok(())
}

fn connect_races_with_getpeername(bus: &Bus<'_>) -> Outcome {
    let (socket, peers) = connected(bus)?;
    let addresses = [peers[0].portid()?, peers[1].portid()?].map(|port| Address::port(port).encode());
    let ask = || {
        let (peer, _) = socket.raw().peer(address::LEN)?;
        expect("getpeername()", addresses.contains(&peer), "one of the two ports, no group", peer)
    };
    while_other(ask, || reconnect(&socket, &peers))
}

fn connect_races_with_sends_without_an_address(bus: &Bus<'_>) -> Outcome {
    let (socket, peers) = connected(bus)?;
    let send = || expect_eq("send()", socket.send(&Message::new(0x20).seq(7)), Ok(16));
    // Each takes what there is, so that nobody waits for room.
    let receive = || {
        for peer in &peers {
            match peer.receive_now(64, 0) {
                Ok(datagram) => expect_eq("message", datagram.only()?.seq, 7)?,
                Err(errno) => expect_eq("receive", errno, Errno::EAGAIN)?,
            }
        }
        Ok(())
    };
    while_other(receive, || while_other(send, || reconnect(&socket, &peers)))
}

fn connect_races_with_its_inspection(bus: &Bus<'_>) -> Outcome {
    let (socket, peers) = connected(bus)?;
    let (asking, inode) = (bus.diag()?, socket.raw().inode()?);
    let ports = [peers[0].portid()?, peers[1].portid()?];
    let inspect = || {
        let answer = asking.ask(&sock_diag::sockets(libc::NETLINK_USERSOCK as u8, 0))?;
        let mut records = answer.replies.iter().filter_map(Record::read);
        match records.find(|record| u64::from(record.inode) == inode) {
            Some(record) => expect("peer", ports.contains(&record.peer), "one of the two ports", record.peer),
            None => mismatch("sockets listed by sock_diag", format_args!("inode {inode}"), "no such socket"),
        }
    };
    while_other(inspect, || reconnect(&socket, &peers))
}

/// A socket that is connected takes messages of its peer alone.
fn connect_races_with_a_send_to_it(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let (from, to) = (Address::port(sender.portid()?), Address::port(receiver.portid()?));
    let reconnect = || {
        receiver.connect(from)?;
        Ok(receiver.connect(Address { family: libc::AF_UNSPEC as u16, ..Address::KERNEL })?)
    };
    while_other(reconnect, || {
        for seq in rounds() {
            match sender.send_to(to, &Message::new(0x20).seq(seq).encode()) {
                Ok(_) => expect_eq("message that was taken", receiver.receive_one()?.seq, seq)?,
                refused => {
                    expect_errno("send", refused, bus.expected("errno")?)?;
                    expect_eq("receive", receiver.receive_now(64, 0).err(), Some(Errno::EAGAIN))?;
                }
            }
        }
        Ok(())
    })
}

fn first_send_races_with_getsockname(bus: &Bus<'_>) -> Outcome {
    for _ in rounds() {
        let socket = bus.open(libc::NETLINK_GENERIC)?;
        let ask = || {
            let first = socket.portid()?;
            Ok(if first == 0 { [first, socket.portid()?] } else { [first; 2] })
        };
        let (_, meanwhile) = at_once(|| Ok(socket.send(&families())?), ask)?;
        let port = socket.portid()?;
        let expected = "0 at first, then that of the socket";
        let holds =
            port != 0 && meanwhile.is_sorted() && meanwhile.iter().all(|seen| [0, port].contains(seen));
        expect("port ID meanwhile", holds, expected, (meanwhile, port))?;
    }
    Ok(())
}

fn first_sends_race(bus: &Bus<'_>) -> Outcome {
    let receiver = bus.bound(libc::NETLINK_USERSOCK)?;
    let to = Address::port(receiver.portid()?);
    for _ in rounds() {
        let socket = bus.open(libc::NETLINK_USERSOCK)?;
        let send = || Ok(socket.send_to(to, &Message::new(0x20).encode())?);
        at_once(send, send)?;
        let from = [receiver.receive()?.from, receiver.receive()?.from];
        expect_eq("senders", from, [Address::port(socket.portid()?); 2])?;
    }
    Ok(())
}

/// A message whose number is also in each word of its payload.
fn uniform(number: u32) -> Message {
    Message::new(0x20).seq(number).bytes(&number.to_ne_bytes().repeat(64))
}

fn peeks_of_one_message_race(bus: &Bus<'_>) -> Outcome {
    let (sender, socket) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let to = Address::port(socket.portid()?);
    let peek = || match socket.receive_now(1024, MSG_PEEK) {
        Ok(datagram) => {
            let message = datagram.only()?;
            expect_eq("message that was peeked at", message.clone(), uniform(message.seq))
        }
        Err(errno) => expect_eq("peek", errno, Errno::EAGAIN),
    };
    while_other(peek, || {
        for number in rounds() {
            let message = uniform(number);
            sender.send_to(to, &message.encode())?;
            for flags in [MSG_PEEK, 0] {
                expect_eq("message", socket.receive_now(1024, flags)?.only()?, message.clone())?;
            }
        }
        Ok(())
    })
}

/// The largest room that was offered is remembered for dumps.
fn peeks_with_more_and_more_room_race(bus: &Bus<'_>) -> Outcome {
    let (sender, socket) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let bytes = uniform(7).encode();
    sender.send_to(Address::port(socket.portid()?), &bytes)?;
    socket.wait(WAIT)?;
    let peek = |room: usize| {
        let peeked = socket.receive_now(room, MSG_PEEK)?.incoming;
        let cut = bytes.len().min(room);
        let expected = (cut, if cut < bytes.len() { MSG_TRUNC } else { 0 });
        expect_eq("length and flags of the peek", (peeked.returned, peeked.flags & MSG_TRUNC), expected)?;
        expect("bytes of the peek", peeked.bytes[..] == bytes[..cut], "those of the message", &peeked.bytes)
    };
    for round in rounds() {
        let room = 2 * round as usize + 200;
        at_once(|| peek(room), || peek(room + 1))?;
    }
    expect_eq("message", socket.receive()?.incoming.bytes, bytes)
}

/// More than half of the queue is in use, so that receives see whether a dump is running but continue none.
fn dumps_race_with_peeks(bus: &Bus<'_>) -> Outcome {
    bus.need_prompt_answers()?;
    let family = bus.register(recorder(1).on(On::Dumpit, Action::Return(0)))?;
    let request = family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(7);
    let socket = bus.generic()?;
    socket.set_at(SOL_SOCKET, SO_RCVBUF, 32 * 1024)?;
    let whole = |datagram: Vec<Message>| {
        let kinds: Vec<_> = datagram.iter().map(|message| message.kind == NLMSG_DONE).collect();
        expect_eq("which messages of the dump are its end", kinds, [false, true])
    };
    for _ in 0..12 {
        socket.send(&request)?;
    }
    while_other(
        || whole(socket.receive_now(1024, MSG_PEEK)?.messages),
        || {
            for _ in rounds() {
                socket.send(&request)?;
                whole(socket.receive_now(1024, 0)?.messages)?;
            }
            Ok(())
        },
    )
}

fn options_are_set_at_once(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let toggle = |option| {
        for value in [1, 0] {
            socket.set(option, value)?;
            expect_eq("option that the other thread does not set", socket.get(option)?, value)?;
        }
        Ok(())
    };
    while_other(|| toggle(NETLINK_CAP_ACK), || rounds().try_for_each(|_| toggle(NETLINK_PKTINFO)))
}

const OPTIONS: &[(&str, i32)] = &[("ext_ack", NETLINK_EXT_ACK), ("cap_ack", NETLINK_CAP_ACK)];

/// An acknowledgement once asked for the option twice: for its flags, and for what it holds.
fn refusals_race_with_an_option(bus: &Bus<'_>, option: &i32) -> Outcome {
    let socket = bus.generic()?;
    socket.set(NETLINK_EXT_ACK, 1)?;
    let attrs = Attrs::new().u32(99, 0);
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs).with(NLM_F_DUMP);
    let toggle = || [0, 1].into_iter().try_for_each(|value| Ok(socket.set(*option, value)?));
    while_other(toggle, || {
        for seq in rounds() {
            socket.send(&request.clone().seq(seq))?;
            let refusal = socket.receive_one()?;
            let copy = if refusal.flags & NLM_F_CAPPED == 0 { request.len() } else { 16 };
            let has_tlvs = refusal.flags & NLM_F_ACK_TLVS != 0;
            expect_eq("whether attributes follow the copy", refusal.len() > 20 + copy, has_tlvs)?;
            expect_eq("number of the request", refusal.payload.get(12..16), Some(&seq.to_ne_bytes()[..]))?;
        }
        Ok(())
    })
}
