//! Random sequences that follow the state: what a call refers to is mostly there.

mod connector;
mod family;
mod requests;
mod user;

use std::collections::VecDeque;
use std::rc::Rc;

use fastrand::Rng;
use nix::libc;
use serde::{Deserialize, Serialize};

use super::call::{Call, Name};
use crate::event::Identity;
use crate::port::capability::Capability;
use crate::port::provider::{self, CbId, Group};

/// Calls of the shortest and of the longest sequence.
const SHORTEST: usize = 10;
const LONGEST: usize = 200;
/// The most sockets, families, protocols and connector callbacks at a time.
const SOCKETS: usize = 6;
const FAMILIES: usize = 4;
const PROTOCOLS: usize = 2;
const CALLBACKS: usize = 3;

/// What both targets have, of what calls can use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Features {
    has: Vec<Capability>,
    /// Both list their families in one datagram. Where a longer list is divided is their own business, and where
    /// those of the sequence stand in it.
    list: bool,
}

impl Features {
    /// What both of these have.
    pub fn of(one: &Identity, other: &Identity) -> Features {
        let both =
            |capability: &Capability| one.lacks(capability).is_none() && other.lacks(capability).is_none();
        Features { has: Capability::all().filter(both).collect(), list: true }
    }

    /// Without the kernel's side.
    pub fn of_users_only(mut self) -> Features {
        self.has.retain(|capability| *capability != Capability::Probe);
        self
    }

    /// Without lists of families.
    pub fn without_lists(self) -> Features {
        Features { list: false, ..self }
    }

    fn has(&self, capability: Capability) -> bool {
        self.has.contains(&capability)
    }
}

/// The sequence with this number of a seed. It depends on nothing else but what the targets have.
pub fn sequence(seed: u64, number: u64, features: &Features) -> Vec<Call> {
    let mut generator = Generator::new(mix(seed, number), features.clone());
    // Short ones are as many as long ones: they run faster, and what they find is shrunk faster.
    let length = match generator.random.u32(0..4) {
        0 => generator.random.usize(SHORTEST..=20),
        1 | 2 => generator.random.usize(20..=60),
        _ => generator.random.usize(60..=LONGEST),
    };
    let mut calls = Vec::with_capacity(length);
    while calls.len() < length {
        calls.extend(generator.next());
    }
    calls
}

/// Neighbouring numbers must not give similar sequences (splitmix64).
fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A socket as the generator believes it to be.
#[derive(Debug, Clone)]
struct Sock {
    name: Name,
    protocol: i32,
    /// Datagrams that may be there.
    pending: u32,
}

/// A family as the generator believes it to be.
#[derive(Debug, Clone)]
struct Fam {
    name: Name,
    /// Shared, as it is picked by many calls and large.
    spec: Rc<provider::Family>,
    registered: bool,
}

/// A protocol of the sequence.
#[derive(Debug, Clone)]
struct Proto {
    name: Name,
    number: i32,
}

/// Makes one call after the other.
struct Generator {
    random: Rng,
    features: Features,
    sockets: Vec<Sock>,
    families: Vec<Fam>,
    protocols: Vec<Proto>,
    /// IDs of connector callbacks that may be there.
    callbacks: Vec<CbId>,
    /// The name that the next object gets.
    names: Name,
    /// Sequence number of the last request.
    seq: u32,
    /// Calls that are made next, because they belong to one that was made.
    follow: VecDeque<Call>,
}

/// A kind of call: its weight, and how one is made, if one can be.
type Choice = (u32, fn(&mut Generator) -> Option<Call>);

/// The user's side. The weights are those by which a run reaches most of the model's code.
const USER: &[Choice] = &[
    (6, Generator::open),
    (8, Generator::bind),
    (3, Generator::connect),
    (3, Generator::name),
    (2, Generator::peer),
    (12, Generator::set),
    (5, Generator::get),
    (1, Generator::filter),
    (26, Generator::send),
    (22, Generator::receive),
    (4, Generator::poll),
    (1, Generator::refused),
    (1, Generator::duplicate),
    (3, Generator::close),
    (3, Generator::by_another),
];

/// The kernel's side.
const KERNEL: &[Choice] = &[
    (7, Generator::register),
    (1, Generator::register_again),
    (2, Generator::unregister),
    (2, Generator::create),
    (1, |_| Some(Call::References)),
    (2, Generator::overrun),
    (1, Generator::release),
    (10, Generator::kernel_send),
    (2, Generator::add_callback),
    (1, Generator::del_callback),
    (3, Generator::connector_send),
    (1, |_| Some(Call::WatchRelease)),
    (2, |_| Some(Call::Log)),
];

impl Generator {
    fn new(seed: u64, features: Features) -> Generator {
        Generator {
            random: Rng::with_seed(seed),
            features,
            sockets: Vec::new(),
            families: Vec::new(),
            protocols: Vec::new(),
            callbacks: Vec::new(),
            names: 0,
            seq: 0,
            follow: VecDeque::new(),
        }
    }

    fn next(&mut self) -> Option<Call> {
        if let Some(call) = self.follow.pop_front() {
            return Some(call);
        }
        if self.sockets.is_empty() {
            return self.open();
        }
        if self.sockets.iter().any(|socket| socket.pending > 0) && self.one_in(4) {
            return self.receive();
        }
        let kernel = if self.features.has(Capability::Probe) { KERNEL } else { &[] };
        let choices = || USER.iter().chain(kernel);
        let mut at = self.random.u32(0..choices().map(|(weight, _)| weight).sum());
        let chosen = choices().find(|(weight, _)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        chosen.and_then(|(_, make)| make(self))
    }

    /// A name that nothing has had: without the call that makes an object, those on it are not made. With a name
    /// of an earlier object, they would be made on that one, and shrinking would end elsewhere.
    fn new_name(&mut self) -> Name {
        let name = self.names;
        self.names += 1;
        name
    }

    fn one_in(&mut self, times: u32) -> bool {
        self.random.u32(0..times) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        pick(&mut self.random, of)
    }

    /// One of several numbers.
    fn among<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.usize(0..of.len())]
    }

    fn socket(&mut self) -> Option<Sock> {
        pick(&mut self.random, &self.sockets)
    }

    /// A socket of this protocol.
    fn socket_of(&mut self, protocol: i32) -> Option<Sock> {
        let sockets: Vec<_> =
            self.sockets.iter().filter(|socket| socket.protocol == protocol).cloned().collect();
        self.pick(&sockets)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.random.u8(..)).collect()
    }

    /// Something may have arrived at the sockets of a protocol.
    fn arrived(&mut self, protocol: i32) {
        for socket in self.sockets.iter_mut().filter(|socket| socket.protocol == protocol) {
            socket.pending = (socket.pending + 1).min(8);
        }
    }

    fn privileged(&self) -> bool {
        self.features.has(Capability::NetAdmin)
    }

    /// The number of a group that a socket of this protocol may mean. Of generic netlink it is one that no
    /// family has, but for the controller's.
    fn a_group(&mut self, protocol: i32) -> u32 {
        match protocol {
            _ if self.one_in(12) => self.among(&[0, 33, 63, 64, 65, 4000, u32::MAX]),
            libc::NETLINK_GENERIC => self.among(&[16, 16, 16, 1, 17, 60]),
            libc::NETLINK_CONNECTOR => self.among(&connector::GROUPS),
            _ => self.random.u32(1..=6),
        }
    }
}

/// One of these, which may be the generator's own.
fn pick<T: Clone>(random: &mut Rng, of: &[T]) -> Option<T> {
    if of.is_empty() { None } else { Some(of[random.usize(0..of.len())].clone()) }
}

/// A group of a family.
fn group(name: &str) -> Group {
    Group { name: name.into(), ..Group::default() }
}
