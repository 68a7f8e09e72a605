//! Datagrams of several requests: what one of them was about is not in the answer to another.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_errno};
use crate::port::provider::{Action, AttrKind, Check, Family, On, Op, Policy, PolicyEntry, Step};
use crate::scene::bus::{Bus, Registered, Socket};
use crate::wire::attr::Attrs;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_NOOP, UNKNOWN, batch};

cases! {
    request_leaves_nothing_to_the_next(LEAVING) => "NL-ACK-017";
    success_with_a_text_leaves_nothing_to_the_next => "NL-ACK-017";
}

/// Commands of the family: each leaves something in the extended acknowledgement.
const TEXT: u8 = 1;
const OFFSET: u8 = 2;
const COOKIE: u8 = 3;
const WARNING: u8 = 4;
/// It leaves nothing.
const PLAIN: u8 = 5;
/// It ends at once.
const EMPTY_DUMP: u8 = 6;

const EINVAL: i64 = -(libc::EINVAL as i64);

/// A family whose commands leave each something else. Attribute 1 is at most 3.
fn leaving<'b>(bus: &'b Bus<'_>) -> Result<Registered<'b>, Failure> {
    let number = PolicyEntry::new(1, AttrKind::U32).check(Check::Max(3));
    let commands = [TEXT, OFFSET, COOKIE, WARNING, PLAIN].map(Op::doing);
    let family = Family::named("nlc_leaving").policy(Policy::of([number]));
    let family = Family { ops: [&commands[..], &[Op::dumping(EMPTY_DUMP)]].concat(), ..family };
    let does = |cmd, action| Step::new(On::Doit, action).cmd(cmd);
    bus.register(
        family
            .step(does(TEXT, Action::ErrMsg("of the first".into())))
            .step(does(TEXT, Action::Return(EINVAL)))
            .step(does(OFFSET, Action::BadAttr(1)))
            .step(does(OFFSET, Action::Return(EINVAL)))
            .step(does(COOKIE, Action::Cookie(0x1122_3344_5566_7788)))
            .step(does(COOKIE, Action::Return(EINVAL)))
            .step(does(WARNING, Action::ErrMsg("a warning".into())))
            .step(does(WARNING, Action::Cookie(7))),
    )
}

/// What may follow: a control message, an unknown family, a refusal without a word, a success, a dump.
fn followers(family: &Registered<'_>) -> Vec<Message> {
    let requests = [
        Message::new(NLMSG_NOOP).with(NLM_F_REQUEST | NLM_F_ACK),
        Message::request(UNKNOWN).with(NLM_F_ACK),
        family.request(99, Attrs::new()).with(NLM_F_ACK),
        family.request(PLAIN, Attrs::new()).with(NLM_F_ACK),
        family.request(EMPTY_DUMP, Attrs::new()).with(NLM_F_DUMP),
    ];
    (2..).zip(requests).map(|(seq, request)| request.seq(seq)).collect()
}

/// Sends a datagram and gathers so many answers.
fn answers(socket: &Socket, requests: &[Message], number: usize) -> Result<Vec<Message>, Failure> {
    socket.send_bytes(&batch(requests))?;
    let mut answers = Vec::new();
    while answers.len() < number {
        answers.extend(socket.receive()?.messages);
    }
    Ok(answers)
}

/// Each follower is answered in the batch as it is when it comes alone.
fn expect_nothing_left(bus: &Bus<'_>, family: &Registered<'_>, first: Message) -> Result<Message, Failure> {
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    let mut alone = Vec::new();
    for follower in followers(family) {
        alone.extend(answers(&socket, &[follower], 1)?);
    }
    let requests = [vec![first.with(NLM_F_ACK).seq(1)], followers(family)].concat();
    let mut together = answers(&socket, &requests, requests.len())?;
    let first = together.remove(0);
    for (one, other) in together.iter().zip(&alone) {
        expect_eq(&format!("answer to message {} of the batch", one.seq), one, other)?;
    }
    Ok(first)
}

/// The command of the first request, and its attribute.
const LEAVING: &[(&str, (u8, u32))] =
    &[("text", (TEXT, 0)), ("offset", (OFFSET, 0)), ("cookie", (COOKIE, 0)), ("policy", (PLAIN, 4))];

fn request_leaves_nothing_to_the_next(bus: &Bus<'_>, (cmd, number): &(u8, u32)) -> Outcome {
    let family = leaving(bus)?;
    let first = expect_nothing_left(bus, &family, family.request(*cmd, Attrs::new().u32(1, *number)))?;
    let expected = if *cmd == PLAIN { Errno::ERANGE } else { Errno::EINVAL };
    let status = i64::from(first.status().unwrap_or(0));
    expect_errno("answer to the first request", status, expected)
}

fn success_with_a_text_leaves_nothing_to_the_next(bus: &Bus<'_>) -> Outcome {
    let family = leaving(bus)?;
    let first = expect_nothing_left(bus, &family, family.request(WARNING, Attrs::new()))?;
    expect_eq("status of the first request", first.status(), Some(0))
}
