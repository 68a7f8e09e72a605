//! Small objects that requests give back: so many requests in a datagram that a lost one of each shows.

use super::{get_policy, given_back};
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq};
use crate::port::Outgoing;
use crate::port::provider::{AttrKind, Family, Op, Policy, PolicyEntry};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Socket};
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_DUMP, UNKNOWN};
use crate::wire::sock_diag;

cases! {
    small_objects_are_given_back(REQUESTS) [invasive] => "GENL-MEM-006";
}

/// Who is asked, what (with the IDs of a family with a policy and of one without), and how often: lost objects of 128
/// bytes, or 4000 of 64, are more than others may change.
type Request = (Who, fn(u16, u16) -> Message, usize);

/// Opens a socket on which it is asked.
type Who = fn(&Bus<'_>) -> Result<Socket, Failure>;

const REQUESTS: &[(&str, Request)] = &[
    ("policies_of_no_family", (generic, |_, _| get_policy(of_family(UNKNOWN)), 2000)),
    ("policies_of_an_unknown_command", (generic, |id, _| get_policy(of_command(id, 9)), 2000)),
    ("policies_of_a_command_without", (generic, |id, _| get_policy(of_command(id, 2)), 2000)),
    ("policies_of_a_family_without", (generic, |_, id| get_policy(of_family(id)), 2000)),
    ("dump", (generic, |id, _| genl::request(id, 3, Attrs::new()).with(NLM_F_DUMP), 2000)),
    ("dump_whose_attributes_are_refused", (generic, |_, _| get_policy(Attrs::new().u32(99, 0)), 2000)),
    ("request_for_no_family", (generic, |_, _| get_family(of_family(UNKNOWN)), 2000)),
    ("request_whose_attributes_are_refused", (generic, |_, _| get_family(Attrs::new().u32(99, 0)), 2000)),
    ("dump_of_sockets", (diag, |_, _| sock_diag::sockets(FREE_PROTOCOL as u8, 0), 4000)),
];

fn generic(bus: &Bus<'_>) -> Result<Socket, Failure> {
    bus.generic()
}

fn diag(bus: &Bus<'_>) -> Result<Socket, Failure> {
    bus.diag()
}

fn of_family(id: u16) -> Attrs {
    Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, id)
}

fn of_command(id: u16, cmd: u32) -> Attrs {
    of_family(id).u32(genl::CTRL_ATTR_OP, cmd)
}

fn get_family(attrs: Attrs) -> Message {
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs)
}

/// Its command 1 alone has a policy.
fn family() -> Family {
    let mut family = Family { resv_start_op: 255, ..Family::named("nlc_small") };
    family.policies = vec![Policy::of([PolicyEntry::new(1, AttrKind::U32)])];
    family.op(Op { policy: Some(0), maxattr: 1, ..Op::doing(1) }).op(Op::doing(2)).op(Op::dumping(3))
}

fn small_objects_are_given_back(bus: &Bus<'_>, (who, request, times): &Request) -> Outcome {
    let family = bus.register(family())?;
    let without =
        bus.register(Family { resv_start_op: 255, ..Family::named("nlc_bare") }.op(Op::doing(1)))?;
    let one = request(family.id, without.id).encode();
    let batch = Outgoing { bytes: one.repeat(*times), ..Outgoing::default() };
    given_back(bus, 1, || {
        // What answers is dropped: it would fill the queue, and end what is to be repeated.
        let socket = who(bus)?;
        bus.attach_filter(&socket, 0)?;
        expect_eq("send()", socket.raw().send(&batch), Ok(batch.bytes.len()))?;
        // The provider keeps what it notes of its callbacks until it is asked.
        while !bus.provider()?.log(0)?.is_empty() {}
        Ok(())
    })
}
