//! Socket filters that look into what they decide about.

use nix::errno::Errno;
use nix::libc::{
    self, BPF_ABS, BPF_H, BPF_IMM, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_RET, BPF_W,
};

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, Under, expect_bytes, expect_eq, expect_errno, expect_ok};
use crate::port::Instruction;
use crate::port::capability::Capability;
use crate::port::provider::{Action, Family, KernelSend, On, Op, Verb};
use crate::scene::bus::{Bus, Registered, Socket};
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_MULTI};

cases! {
    filter_picks_unicasts(BASES) => "NL-SEND-025", "NL-SEND-028";
    filter_picks_multicasts(BASES) => "NL-SEND-025", "NL-SEND-028";
    filter_picks_answers(BASES) => "NL-SEND-025", "NL-SEND-028";
    filter_picks_notifications(BASES) => "NL-SEND-025", "NL-SEND-028";
    filter_picks_portions_of_a_dump(BASES) => "NL-SEND-025", "NL-SEND-028";
    filter_sees_the_length(LENGTHS) => "NL-SEND-025";
    filter_sees_the_end_of_a_large_message => "NL-SEND-025";
    load_beyond_the_end_drops => "NL-SEND-029";
    filter_that_keeps_less_cuts => "NL-SEND-029";
    filter_of_the_last_member_cuts_for_all(CUTTERS) => "NL-SEND-035";
    multicast_of_a_user_is_cut_for_the_filtered_alone => "NL-SEND-036";
    filter_finds_attributes(ATTRIBUTES) => "NL-SEND-026";
}

/// Where a load counts from: the datagram's first byte, its network header and its link header
/// (`SKF_NET_OFF`, `SKF_LL_OFF`); for netlink these are one. With the name of the value that says so.
const BASES: &[(&str, (u32, Option<&str>))] = &[
    ("data", (0, None)),
    ("network_header", (-0x10_0000_i32 as u32, None)),
    ("link_header", (-0x20_0000_i32 as u32, Some("link"))),
];

/// Offset of nlmsg_type.
const TYPE: u32 = 4;
/// Types of two messages, one of which is picked.
const PICKED: u16 = 0x20;
const OTHER: u16 = 0x21;

const fn step(code: u32, k: u32) -> Instruction {
    Instruction { code: code as u16, jt: 0, jf: 0, k }
}

/// Keeps a datagram when what `load` leaves in the accumulator is `value`.
fn keeps_when(load: &[Instruction], value: u32) -> Vec<Instruction> {
    let compare = Instruction { jf: 1, ..step(BPF_JMP | BPF_JEQ | BPF_K, value) };
    [load, &[compare, step(BPF_RET | BPF_K, u32::MAX), step(BPF_RET | BPF_K, 0)]].concat()
}

/// A number of two bytes as a load sees it, which takes it for one of the network's order.
fn loaded(number: u16) -> u32 {
    u16::from_be_bytes(number.to_ne_bytes()).into()
}

/// Keeps the messages of this type.
fn keeps_type(base: u32, kind: u16) -> Vec<Instruction> {
    keeps_when(&[step(BPF_LD | BPF_H | BPF_ABS, base.wrapping_add(TYPE))], loaded(kind))
}

fn attach(bus: &Bus<'_>, socket: &Socket, program: &[Instruction]) -> Outcome {
    bus.need(Capability::SocketFilters)?;
    match socket.raw().attach_program(program) {
        Err(Errno::ENOSYS) => Err(Failure::Skip("the target has no socket filters that load data".into())),
        result => Ok(result?),
    }
}

/// Whether a filter finds the link header, by the value of this name.
fn finds(bus: &Bus<'_>, value: Option<&str>) -> Result<bool, Failure> {
    value.map_or(Ok(true), |value| bus.expected(value))
}

/// The requirement that a load from this base is about.
fn requirement(value: Option<&str>) -> &'static str {
    if value.is_some() { "NL-SEND-028" } else { "NL-SEND-025" }
}

/// What has arrived: the types of the messages.
fn types(socket: &Socket) -> Vec<u16> {
    let datagrams = std::iter::from_fn(|| socket.receive_now(1 << 16, 0).ok());
    datagrams.flat_map(|datagram| datagram.messages).map(|message| message.kind).collect()
}

/// The types that a filter leaves of the two.
fn left(found: bool) -> Vec<u16> {
    if found { vec![PICKED] } else { vec![] }
}

fn filter_picks_unicasts(bus: &Bus<'_>, (base, value): &(u32, Option<&str>)) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    attach(bus, &receiver, &keeps_type(*base, PICKED))?;
    for kind in [OTHER, PICKED, OTHER] {
        sender.send_to(Address::port(receiver.portid()?), &Message::new(kind).encode())?;
    }
    expect_eq("types of what arrived", types(&receiver), left(finds(bus, *value)?)).under(requirement(*value))
}

fn filter_picks_multicasts(bus: &Bus<'_>, (base, value): &(u32, Option<&str>)) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let unfiltered = bus.bound(libc::NETLINK_USERSOCK)?;
    attach(bus, &receiver, &keeps_type(*base, PICKED))?;
    receiver.join(1)?;
    unfiltered.join(1)?;
    for kind in [OTHER, PICKED, OTHER] {
        // Nobody is at port 0, which the message goes to as well.
        let sent = sender.send_to(Address::groups(1), &Message::new(kind).encode());
        expect_errno("send()", sent, Errno::ECONNREFUSED)?;
    }
    expect_eq("types of what arrived", types(&receiver), left(finds(bus, *value)?))
        .under(requirement(*value))?;
    expect_eq("types of what arrived unfiltered", types(&unfiltered), [OTHER, PICKED, OTHER])
}

/// A family that has been asked for two replies and sends notifications.
fn family<'b>(bus: &'b Bus<'_>) -> Result<Registered<'b>, Failure> {
    let replies = |flags| Action::Reply(1, flags, vec![]);
    let family = Family::named("nlc_filtered").group("events").op(Op::doing(1));
    bus.register(family.on(On::Doit, replies(0)).on(On::Doit, replies(NLM_F_MULTI)))
}

/// Offset of nlmsg_flags, by which replies of one family differ.
const FLAGS: u32 = 6;

fn filter_picks_answers(bus: &Bus<'_>, (base, value): &(u32, Option<&str>)) -> Outcome {
    let family = family(bus)?;
    let socket = bus.generic()?;
    let load = step(BPF_LD | BPF_H | BPF_ABS, base.wrapping_add(FLAGS));
    attach(bus, &socket, &keeps_when(&[load], loaded(NLM_F_MULTI)))?;
    socket.send(&family.request(1, Attrs::new()).with(NLM_F_ACK))?;
    let expected = if finds(bus, *value)? { vec![family.id] } else { vec![] };
    expect_eq("types of what arrived", types(&socket), expected).under(requirement(*value))
}

fn filter_picks_notifications(bus: &Bus<'_>, (base, value): &(u32, Option<&str>)) -> Outcome {
    let family = family(bus)?;
    let socket = bus.generic()?;
    socket.join(family.groups[0])?;
    // The command is the byte after the header.
    let load = step(BPF_LD | BPF_H | BPF_ABS, base.wrapping_add(16));
    let picked = u32::from(u16::from_be_bytes(genl::header(2, 0)[..2].try_into().unwrap_or_default()));
    attach(bus, &socket, &keeps_when(&[load], picked))?;
    for cmd in [1, 2, 3] {
        family.send(KernelSend { cmd, ..KernelSend::new(Verb::Multicast) })?;
    }
    let arrived = std::iter::from_fn(|| socket.receive_now(1 << 16, 0).ok());
    let commands: Vec<_> = arrived.flat_map(|it| it.messages).filter_map(|it| genl::cmd(&it)).collect();
    let expected = if finds(bus, *value)? { vec![2] } else { vec![] };
    expect_eq("commands of what arrived", commands, expected).under(requirement(*value))
}

/// Portions differ from others by what they begin with.
fn filter_picks_portions_of_a_dump(bus: &Bus<'_>, (base, _): &(u32, Option<&str>)) -> Outcome {
    let dumps = Family::named("nlc_portions").op(Op::dumping(1)).on(On::Dumpit, Action::records(60, 500));
    let family = bus.register(dumps)?;
    let socket = bus.generic()?;
    attach(bus, &socket, &keeps_type(*base, family.id))?;
    let request = family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(7);
    socket.send(&request)?;
    let mut records = 0;
    while let Ok(datagram) = socket.receive_now(8192, 0) {
        records += datagram.messages.iter().filter(|message| message.kind == family.id).count();
    }
    expect_eq("records received", records, 60)
}

const LENGTHS: &[(&str, usize)] = &[("1", 1), ("16", 16), ("4096", 4096), ("100000", 100_000)];

fn filter_sees_the_length(bus: &Bus<'_>, len: &usize) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    attach(bus, &receiver, &keeps_when(&[step(BPF_LD | BPF_W | BPF_LEN, 0)], *len as u32))?;
    let to = Address::port(receiver.portid()?);
    for length in [len + 1, *len] {
        sender.send_to(to, &vec![0xa5; length])?;
    }
    let datagram = receiver.receive_into(1 << 17)?;
    expect_eq("length of what arrived", datagram.incoming.returned, *len)
}

fn filter_sees_the_end_of_a_large_message(bus: &Bus<'_>) -> Outcome {
    const LEN: usize = 60_000;
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let last = step(BPF_LD | BPF_W | BPF_ABS, LEN as u32 - 4);
    attach(bus, &receiver, &keeps_when(&[last], u32::from_be_bytes(*b"last")))?;
    let mut bytes = vec![0; LEN];
    let to = Address::port(receiver.portid()?);
    sender.send_to(to, &bytes)?;
    bytes[LEN - 4..].copy_from_slice(b"last");
    sender.send_to(to, &bytes)?;
    expect_bytes("what arrived", receiver.receive_into(2 * LEN)?.incoming.bytes, bytes)
}

fn load_beyond_the_end_drops(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    // A load that fails ends the program, whatever it would do next.
    let program = [step(BPF_LD | BPF_W | BPF_ABS, 14), step(BPF_RET | BPF_K, u32::MAX)];
    attach(bus, &receiver, &program)?;
    let to = Address::port(receiver.portid()?);
    expect_eq("send()", sender.send_to(to, &[1; 16]), Ok(16))?;
    expect_eq("send()", sender.send_to(to, &[2; 18]), Ok(18))?;
    expect_bytes("what arrived", receiver.receive()?.incoming.bytes, [2; 18])
}

fn filter_that_keeps_less_cuts(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    attach(bus, &receiver, &[step(BPF_RET | BPF_K, 20)])?;
    let message = Message::new(PICKED).bytes(&[7; 100]).encode();
    expect_eq("send()", sender.send_to(Address::port(receiver.portid()?), &message), Ok(20))?;
    expect_bytes("what arrived", receiver.receive()?.incoming.bytes, &message[..20])
}

/// Length of a multicast, headers included, and of what a filter leaves of it.
const WHOLE: usize = 120;
const CUT: usize = 20;

/// Which of three members, in the order in which they join, has the filter; what each receives.
type Cutter = (usize, [usize; 3]);

const CUTTERS: &[(&str, Cutter)] = &[
    ("first", (0, [CUT, WHOLE, WHOLE])),
    ("second", (1, [WHOLE, CUT, WHOLE])),
    ("last", (2, [CUT, CUT, CUT])),
];

/// The member that joined last is served first.
fn filter_of_the_last_member_cuts_for_all(bus: &Bus<'_>, (cutter, expected): &Cutter) -> Outcome {
    let family = bus.register(Family::named("nlc_cut").group("events"))?;
    let members = [bus.generic()?, bus.generic()?, bus.generic()?];
    members.iter().try_for_each(|member| member.join(family.groups[0]))?;
    attach(bus, &members[*cutter], &[step(BPF_RET | BPF_K, CUT as u32)])?;
    let headers = genl::request(family.id, 1, Attrs::new()).encode().len();
    expect_ok("genlmsg_multicast()", family.multicast(0, &vec![7; WHOLE - headers])?)?;
    expect_eq("lengths of what the members received", lengths(&members)?, expected)
}

fn multicast_of_a_user_is_cut_for_the_filtered_alone(bus: &Bus<'_>) -> Outcome {
    let protocol = libc::NETLINK_USERSOCK;
    let (sender, members) = (bus.bound(protocol)?, [bus.bound(protocol)?, bus.bound(protocol)?]);
    attach(bus, &members[1], &[step(BPF_RET | BPF_K, CUT as u32)])?;
    members.iter().try_for_each(|member| member.join(1))?;
    let sent = sender.send_to(Address::groups(1), &[7; WHOLE]);
    expect_errno("send()", sent, Errno::ECONNREFUSED)?;
    expect_eq("lengths of what the members received", lengths(&members)?, [WHOLE, CUT])
}

fn lengths(members: &[Socket]) -> Result<Vec<usize>, Failure> {
    members.iter().map(|member| Ok(member.receive()?.incoming.returned)).collect()
}

/// `SKF_AD_OFF + SKF_AD_NLATTR` and `+ SKF_AD_NLATTR_NEST`: the place of an attribute.
const FIND: u32 = (-0x1000_i32 + 12) as u32;
const FIND_IN_NEST: u32 = (-0x1000_i32 + 16) as u32;

/// Which search, from where, for which type; what is searched, and the place that is found.
type Search = (u32, u32, u32, fn() -> Vec<u8>, u32);

/// Two attributes of 4 bytes.
fn two() -> Vec<u8> {
    Attrs::new().u32(1, 7).u32(2, 7).as_bytes().to_vec()
}

/// A nest of type 1 that holds an attribute of type 2.
fn nest() -> Vec<u8> {
    Attrs::new().nest(1, Attrs::new().u32(2, 7)).as_bytes().to_vec()
}

/// The same, but the nest claims to go on beyond the end.
fn nest_beyond() -> Vec<u8> {
    Attrs::new().put_claiming(1, 200, Attrs::new().u32(2, 7).as_bytes()).as_bytes().to_vec()
}

const ATTRIBUTES: &[(&str, Search)] = &[
    ("first", (FIND, 4, 1, || [vec![0; 4], two()].concat(), 4)),
    ("second", (FIND, 0, 2, two, 8)),
    ("from_the_second_on", (FIND, 8, 2, two, 8)),
    ("absent", (FIND, 0, 3, two, 0)),
    ("before", (FIND, 8, 1, two, 0)),
    ("from_the_last_three_bytes_on", (FIND, 13, 2, two, 0)),
    ("from_beyond_the_end_on", (FIND, 1 << 20, 2, two, 0)),
    ("from_the_highest_number_on", (FIND, u32::MAX, 2, two, 0)),
    ("in_three_bytes", (FIND, 0, 2, || vec![8, 0, 2], 0)),
    ("in_a_nest", (FIND_IN_NEST, 0, 2, nest, 4)),
    ("absent_in_a_nest", (FIND_IN_NEST, 0, 3, nest, 0)),
    ("in_a_nest_that_goes_on_beyond_the_end", (FIND_IN_NEST, 0, 2, nest_beyond, 0)),
    ("in_a_nest_in_three_bytes", (FIND_IN_NEST, 0, 2, || vec![8, 0, 1], 0)),
    ("in_a_nest_beyond_the_end", (FIND_IN_NEST, 1 << 20, 2, nest, 0)),
];

fn filter_finds_attributes(bus: &Bus<'_>, (how, from, kind, bytes, place): &Search) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let search =
        [step(BPF_LD | BPF_IMM, *from), step(BPF_LDX | BPF_IMM, *kind), step(BPF_LD | BPF_W | BPF_ABS, *how)];
    attach(bus, &receiver, &keeps_when(&search, *place))?;
    expect_ok("send()", sender.send_to(Address::port(receiver.portid()?), &bytes()))?;
    expect_bytes("what the filter kept", receiver.receive()?.incoming.bytes, bytes())
}
