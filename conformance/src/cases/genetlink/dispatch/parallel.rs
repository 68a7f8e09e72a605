//! Concurrent requests, and unregistration during requests.

use std::thread;
use std::time::Duration;

use crate::cases::cases;
use crate::outcome::{
    Failure, Outcome, Status, broken, expect_empty, expect_eq, expect_errno, expect_ok, mismatch,
};
use crate::port::provider::{Action, AttrKind, Capture, Family, On, Op, Policy, PolicyEntry, Step};
use crate::scene::bus::{Bus, Registered, WAIT};
use crate::scene::threads::{ended_by, joined};
use crate::wire::attr::Attrs;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP};

cases! {
    request_waits_for_another_request(SERIAL) [parallel] => "GENL-DSP-018";
    request_overtakes_another_request(PARALLEL) [parallel] => "GENL-DSP-018";
    request_waits_for_a_callback_of_a_dump(DUMP_CALLBACKS) [parallel] => "GENL-DSP-036";
    request_overtakes_a_callback_of_a_dump(DUMP_CALLBACKS) [parallel] => "GENL-DSP-036";
    parallel_requests_have_their_own_attributes [parallel] => "GENL-DSP-031";
    unregistration_waits_for_a_request [parallel] => "GENL-DSP-022";
    nothing_is_handled_after_unregistration [parallel] => "GENL-DSP-022";
}

/// Time in which something that does not have to wait would be done.
const SHORT: Duration = Duration::from_millis(5);

/// A family whose command 1 blocks in `doit`, while command 2 replies at once.
fn family(name: &str, parallel_ops: bool) -> Family {
    let family = Family { parallel_ops, ..Family::named(name) }.op(Op::doing(1)).op(Op::doing(2));
    family.step(Step::new(On::Doit, Action::Block).cmd(1))
}

/// What happens during a callback that blocks.
struct Beside {
    /// Whether the second request was answered before the callback continued.
    overtook: bool,
    /// The results of the two requests.
    statuses: [i64; 2],
}

/// Sends `first`, whose callback blocks, and then `second`, which has `time` to be answered.
fn beside(bus: &Bus<'_>, first: Message, second: Message, time: Duration) -> Result<Beside, Failure> {
    let (one, two) = (bus.generic()?, bus.generic()?);
    let (first, second) = (first.seq(1), second.seq(2));
    let provider = bus.provider()?;
    let overtook = thread::scope(|scope| {
        scope.spawn(|| one.send(&first));
        if provider.blocked(WAIT.as_millis() as u64)? == 0 {
            return broken("the first request does not block");
        }
        scope.spawn(|| two.send(&second));
        let overtook = two.wait(time).is_ok();
        provider.release()?;
        Ok(overtook)
    })?;
    let statuses = [one.answer_to(&first)?.status(), two.answer_to(&second)?.status()];
    Ok(Beside { overtook, statuses })
}

fn expect_waits(bus: &Bus<'_>, first: Message, second: Message) -> Outcome {
    let beside = beside(bus, first, second, SHORT)?;
    if beside.overtook {
        return mismatch("second request", "no answer as long as the first is handled", "an answer");
    }
    expect_eq("results of the two requests then", beside.statuses, [0, 0])
}

fn expect_overtakes(bus: &Bus<'_>, first: Message, second: Message) -> Outcome {
    let beside = beside(bus, first, second, WAIT)?;
    if !beside.overtook {
        return mismatch("second request", "an answer while the first is handled", "none");
    }
    expect_eq("results of the two requests", beside.statuses, [0, 0])
}

/// A request for this command.
fn ask(family: &Registered<'_>, cmd: u8) -> Message {
    family.request(cmd, Attrs::new()).with(NLM_F_ACK)
}

/// Whether the second request goes to another family.
const SERIAL: &[(&str, bool)] = &[("of_its_own_family", false), ("of_another_family", true)];

fn request_waits_for_another_request(bus: &Bus<'_>, to_another: &bool) -> Outcome {
    let (first, other) = (bus.register(family("nlc_one", false))?, bus.register(family("nlc_two", false))?);
    expect_waits(bus, ask(&first, 1), ask(if *to_another { &other } else { &first }, 2))
}

/// Whether the two families have parallel_ops, and whether the second request goes to the second one.
const PARALLEL: &[(&str, ([bool; 2], bool))] = &[
    ("of_its_own_family", ([true, true], false)),
    ("of_another_parallel_family", ([true, true], true)),
    ("of_a_serial_family", ([false, true], true)),
    ("of_a_parallel_family_to_a_serial_one", ([true, false], true)),
];

fn request_overtakes_another_request(bus: &Bus<'_>, (parallel, to_other): &([bool; 2], bool)) -> Outcome {
    let first = bus.register(family("nlc_one", parallel[0]))?;
    let other = bus.register(family("nlc_two", parallel[1]))?;
    expect_overtakes(bus, ask(&first, 1), ask(if *to_other { &other } else { &first }, 2))
}

fn parallel_requests_have_their_own_attributes(bus: &Bus<'_>) -> Outcome {
    let number = Policy::of([PolicyEntry::new(1, AttrKind::U32)]);
    let family = family("nlc_own", true).policy(number).on(On::Doit, Action::Capture(Capture::Attr(1)));
    let family = bus.register(family)?;
    let request = |cmd, value| family.request(cmd, Attrs::new().put(1, value)).with(NLM_F_ACK);
    expect_overtakes(bus, request(1, b"kept"), request(2, b"late"))?;
    let mut calls = bus.calls(On::Doit)?;
    calls.sort_by_key(|call| call.seq);
    let attributes: Vec<_> = calls.into_iter().map(|call| call.bytes).collect();
    expect_eq("attribute in each call of doit", attributes, [b"kept".to_vec(), b"late".to_vec()])
}

const DUMP_CALLBACKS: &[(&str, On)] = &[("start", On::Start), ("dumpit", On::Dumpit), ("done", On::Done)];

/// A family whose dump, without records, blocks in this callback, and another family.
fn dumping<'b>(bus: &'b Bus<'_>, on: On, parallel_ops: bool) -> Result<[Registered<'b>; 2], Failure> {
    let dumps = Family { parallel_ops, ..Family::named("nlc_dumps") }.op(Op::dumping(1));
    Ok([bus.register(dumps.on(on, Action::Block))?, bus.register(family("nlc_other", false))?])
}

fn request_waits_for_a_callback_of_a_dump(bus: &Bus<'_>, on: &On) -> Outcome {
    let [dumps, other] = dumping(bus, *on, false)?;
    expect_waits(bus, dumps.request(1, Attrs::new()).with(NLM_F_DUMP), ask(&other, 2))
}

fn request_overtakes_a_callback_of_a_dump(bus: &Bus<'_>, on: &On) -> Outcome {
    let [dumps, other] = dumping(bus, *on, true)?;
    expect_overtakes(bus, dumps.request(1, Attrs::new()).with(NLM_F_DUMP), ask(&other, 2))
}

fn unregistration_waits_for_a_request(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(family("nlc_going", true))?;
    let socket = bus.generic()?;
    let request = ask(&family, 1).seq(1);
    let provider = bus.provider()?;
    let returned = thread::scope(|scope| {
        scope.spawn(|| socket.send(&request));
        if provider.blocked(WAIT.as_millis() as u64)? == 0 {
            return broken("the request does not block");
        }
        ended_by(|| family.unregister(), || Ok(provider.release()?))
    })?;
    expect_ok("request", socket.answer_to(&request)?)?;
    expect_ok("unregistration", returned?)?;
    expect_errno("request after it", socket.ask(&request)?, bus.expected("errno")?)
}

/// Sends requests until one is refused: how many were accepted, and the errno.
fn hammer(bus: &Bus<'_>, request: &Message) -> Result<(usize, i64), Failure> {
    let socket = bus.generic()?;
    for accepted in 0.. {
        match socket.ask(request)?.ack()?.status {
            0 => {}
            refused => return Ok((accepted, refused.into())),
        }
    }
    broken("requests without end")
}

fn nothing_is_handled_after_unregistration(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(family("nlc_going", true))?;
    let request = ask(&family, 2);
    let (handled, late, hammered) = thread::scope(|scope| {
        let hammering = scope.spawn(|| hammer(bus, &request));
        let mut handled = bus.calls(On::Doit)?.len();
        family.unregister()?;
        handled += bus.calls_so_far()?.len();
        let hammered = joined(hammering)?;
        Ok::<_, Failure>((handled, bus.calls_so_far()?, hammered))
    })?;
    let (accepted, refusal) = hammered;
    expect_errno("request that is not handled", refusal, bus.expected("errno")?)?;
    expect_empty("calls of doit when unregistration had returned", late)?;
    expect_eq("requests acknowledged, and calls of doit", accepted, handled)
}
