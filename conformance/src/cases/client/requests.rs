//! Requests that are no dumps, and all that may answer them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::cases::scenarios;
use crate::client::protocol::{Attribute, Expects, Message as Shown};
use crate::outcome::{Failure, Outcome, expect_eq, mismatch};
use crate::port::provider::{Action, Capture, On, RawDatagram};
use crate::scene::bus::Registered;
use crate::scene::client::{
    ATTRIBUTES, BRIEF, DO, Stage, WAIT, answer_later, doing, meanwhile, number, numbered, record, reply,
    silent,
};
use crate::wire::attr::{Attrs, parse};
use crate::wire::genl::{self, GENL_HDRLEN};
use crate::wire::message::{Message, NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR, NLMSG_HDRLEN, NLMSG_NOOP};
use nix::errno::Errno;

scenarios! {
    reply_without_acknowledgement => "CL-REQ-001";
    acknowledgement_alone => "CL-REQ-002";
    acknowledgement_after_the_reply => "CL-REQ-003";
    acknowledgement_before_the_reply => "CL-REQ-004";
    three_replies => "CL-REQ-005";
    no_answer => "CL-REQ-006";
    late_answer(LATE) => "CL-REQ-007";
    two_requests_at_a_time => "CL-REQ-009";
    noop_before_the_reply => "CL-REQ-010";
    second_handle => "CL-REQ-011";
    reply_in_parts => "CL-REQ-012";
    request_as_the_kernel_gets_it(REQUESTS) => "CL-REQ-013";
    reply_as_the_kernel_sends_it => "CL-REQ-014";
    reply_of_another_form(FORMS) => "CL-REQ-015";
    larger_than_the_send_buffer => "CL-REQ-016";
    deadline_while_notifications_come => "CL-REQ-017";
}

fn reply_without_acknowledgement(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| family.step(doing(numbered(7))))?;
    let handle = stage.generic()?;
    let told = handle.request(DO, Expects::Reply)?;
    told.must("outcome of the request", told.gave(&[7]), "done, with number 7")?;
    handle.canary()
}

fn acknowledgement_alone(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    let told = handle.request(DO, Expects::Ack)?;
    told.must("outcome of the request", told.gave(&[]), "done, without messages")?;
    handle.canary()
}

fn acknowledgement_after_the_reply(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| family.step(doing(numbered(7))))?;
    let handle = stage.generic()?;
    for nth in ["first", "second", "third"] {
        let told = handle.request(DO, Expects::Both)?;
        told.must(&format!("outcome of the {nth} request"), told.gave(&[7]), "done, with number 7")?;
    }
    handle.canary()
}

fn acknowledgement_before_the_reply(stage: &Stage<'_>) -> Outcome {
    let acknowledgement = Message::new(NLMSG_ERROR).bytes(&[0; 4]).bytes(&Message::request(0).header());
    let _family = stage.family(|family| {
        family
            .step(doing(Action::Datagram(RawDatagram::default().reply(&acknowledgement))))
            .step(doing(numbered(7)))
            // The core adds no acknowledgement of its own.
            .step(doing(Action::Return(-(Errno::EINTR as i64))))
    })?;
    let handle = stage.generic()?;
    let told = handle.request(DO, Expects::Both)?;
    told.must("outcome of the request", told.gave(&[7]), "done, with number 7")?;
    handle.canary()
}

fn three_replies(stage: &Stage<'_>) -> Outcome {
    let _family = stage
        .family(|family| family.step(doing(numbered(1))).step(doing(numbered(2))).step(doing(numbered(3))))?;
    let handle = stage.generic()?;
    let told = handle.request(DO, Expects::Both)?;
    told.must("outcome of the request", told.gave(&[1, 2, 3]), "done, with numbers 1, 2 and 3")?;
    handle.canary()
}

fn error(_: &Registered<'_>) -> Message {
    let status = -(Errno::EXDEV as i32);
    Message::new(NLMSG_ERROR).bytes(&status.to_ne_bytes()).bytes(&Message::request(0).header())
}

/// Makes an answer.
type Answer = fn(&Registered<'_>) -> Message;

const LATE: &[(&str, Answer)] = &[("reply", |family| reply(family, 13)), ("error", error)];

fn no_answer(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(silent)?;
    let handle = stage.generic()?;
    let told = handle.within(BRIEF).request(DO, Expects::Reply)?;
    told.must("outcome of the request", told.is_timeout(), "timeout")?;
    handle.canary()
}

fn late_answer(stage: &Stage<'_>, answer: &Answer) -> Outcome {
    let family = stage.family(silent)?;
    let handle = stage.generic()?;
    let told = handle.within(BRIEF).request(DO, Expects::Reply)?;
    told.must("outcome of the request that is not answered", told.is_timeout(), "timeout")?;
    let request = stage.called(On::Doit, DO)?;
    answer_later(&family, &request, answer(&family))?;
    handle.canary()
}

fn two_requests_at_a_time(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    // Nothing of the family's name is to be asked meanwhile.
    handle.canary()?;
    let told = meanwhile(
        || handle.request(DO, Expects::Reply),
        || {
            let request = stage.called(On::Doit, DO)?;
            handle.canary()?;
            answer_later(&family, &request, reply(&family, 7))
        },
    )?;
    told.must("outcome of the request that was answered second", told.gave(&[7]), "done, with number 7")
}

fn noop_before_the_reply(stage: &Stage<'_>) -> Outcome {
    let reply = Message::new(0).bytes(&genl::header(DO, 1)).bytes(&number(7));
    let datagram = RawDatagram::default().reply(&Message::new(NLMSG_NOOP)).family_reply(&reply);
    let _family = stage.family(|family| family.step(doing(Action::Datagram(datagram))))?;
    let handle = stage.generic()?;
    let told = handle.request(DO, Expects::Reply)?;
    told.must("outcome of the request", told.gave(&[7]), "done, with number 7")?;
    handle.canary()
}

fn second_handle(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| family)?;
    let first = stage.generic()?;
    match stage.generic() {
        Ok(second) => second.canary()?,
        Err(Failure::Broken(why)) => return mismatch("opening a second handle", "a handle", why),
        Err(other) => return Err(other),
    }
    first.canary()
}

fn reply_in_parts(stage: &Stage<'_>) -> Outcome {
    let part = |value| Action::Datagram(RawDatagram::default().family_reply(&record(value, 0)));
    // As devlink sends it, without an error in it.
    let done = Message::new(NLMSG_DONE).with(NLM_F_MULTI);
    let _family = stage.family(|family| {
        family
            .step(doing(part(1)))
            .step(doing(part(2)))
            .step(doing(Action::Datagram(RawDatagram::default().reply(&done))))
    })?;
    let handle = stage.generic()?;
    let told = handle.request(DO, Expects::Reply)?;
    told.must("outcome of the request", told.gave(&[1, 2]), "done, with numbers 1 and 2")?;
    handle.canary()
}

/// What the caller asks for, and the attributes that a kernel must get of it.
type Request = (fn() -> Vec<Attribute>, fn() -> Attrs);

const REQUESTS: &[(&str, Request)] =
    &[("of_all_types", (of_all_types, all_types)), ("large", (large, larger))];

/// The u64 is one that no floating-point number is equal to.
fn of_all_types() -> Vec<Attribute> {
    let inner = vec![Attribute::Number(3), Attribute::Text("ab".into())];
    vec![
        Attribute::Text("abcd".into()),
        Attribute::Filler(vec![1, 2, 3]),
        Attribute::Number(0xfedc_ba98),
        Attribute::Nest(inner),
        Attribute::Wide(1 << 62 | 5),
    ]
}

fn all_types() -> Attrs {
    let inner = Attrs::new().u32(ATTRIBUTES.number, 3).string(ATTRIBUTES.text, "ab");
    Attrs::new()
        .string(ATTRIBUTES.text, "abcd")
        .put(ATTRIBUTES.filler, &[1, 2, 3])
        .u32(ATTRIBUTES.number, 0xfedc_ba98)
        .nest(ATTRIBUTES.nest, inner)
        .u64(ATTRIBUTES.wide, 1 << 62 | 5)
}

/// Bytes of filler. As JSON it still fits into a pipe.
const LARGE: usize = 20_000;

fn large() -> Vec<Attribute> {
    vec![Attribute::Filler(vec![7; LARGE]), Attribute::Number(7)]
}

fn larger() -> Attrs {
    Attrs::new().put(ATTRIBUTES.filler, &[7; LARGE]).u32(ATTRIBUTES.number, 7)
}

fn request_as_the_kernel_gets_it(stage: &Stage<'_>, (asked, wanted): &Request) -> Outcome {
    let _family = stage.family(|family| family.step(doing(Action::Capture(Capture::Message))))?;
    let handle = stage.generic()?;
    let told = handle.request_with(DO, asked(), Expects::Ack)?;
    told.must("outcome of the request", told.gave(&[]), "done, without messages")?;
    let got = stage.called(On::Doit, DO)?.bytes;
    // Their order says nothing.
    let sorted = |bytes: &[u8]| {
        let mut attributes: Vec<_> =
            parse(bytes).iter().map(|attribute| (attribute.kind(), attribute.data.to_vec())).collect();
        attributes.sort();
        attributes
    };
    let got = sorted(got.get(NLMSG_HDRLEN + GENL_HDRLEN..).unwrap_or_default());
    expect_eq("types and payloads of the attributes", got, sorted(wanted().as_bytes()))?;
    handle.canary()
}

fn reply_as_the_kernel_sends_it(stage: &Stage<'_>) -> Outcome {
    let sent = Action::Reply(DO.into(), 0, all_types().as_bytes().to_vec());
    let family = stage.family(|family| family.step(doing(sent)))?;
    let handle = stage.generic()?;
    let told = handle.request(DO, Expects::Reply)?;
    let seq = stage.called(On::Doit, DO)?.seq;
    let wanted = of_all_types();
    // What the library hides is missing.
    let is_whole = |message: &Shown| {
        message.kind.is_none_or(|kind| kind == family.id)
            && message.flags.is_none_or(|flags| flags == 0)
            && message.seq.is_none_or(|shown| shown == seq)
            && message.sender.is_none_or(|sender| sender == 0)
            && message.command.is_none_or(|command| command == DO)
            && message.attributes.as_ref() == Some(&wanted)
    };
    let acceptable = format!(
        "done, with one message of type {}, no flags, number {seq}, sender 0, command {DO} and {wanted:?}",
        family.id
    );
    let whole = told.is_done() && matches!(told.messages(), [message] if is_whole(message));
    told.must("outcome of the request", whole, &acceptable)?;
    handle.canary()
}

/// Command and flags of a reply to [`DO`].
const FORMS: &[(&str, (u16, u16))] = &[("other_command", (9, 0)), ("unknown_flag", (DO as u16, 0x8000))];

fn reply_of_another_form(stage: &Stage<'_>, (command, flags): &(u16, u16)) -> Outcome {
    let sent = Action::Reply(*command, *flags, number(7));
    let _family = stage.family(|family| family.step(doing(sent)))?;
    let handle = stage.generic()?;
    let told = handle.request(DO, Expects::Reply)?;
    told.must("outcome of the request", told.gave(&[7]), "done, with number 7")?;
    handle.canary()
}

fn larger_than_the_send_buffer(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    // The buffer has 212992 bytes unless the library asks for more, which lets the request through.
    let attributes = vec![Attribute::Filler(vec![7; 60_000]); 4];
    let told = handle.request_with(DO, attributes, Expects::Ack)?;
    let acceptable = told.gave(&[]) || told.is_failure() && !told.is_timeout();
    told.must("outcome of the request", acceptable, "error EMSGSIZE (90), or another failure; or done")?;
    if told.is_done() {
        stage.called(On::Doit, DO)?;
    }
    handle.canary()
}

fn deadline_while_notifications_come(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(silent)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let (ended, asked) = (AtomicBool::new(false), Instant::now());
    let told = meanwhile(
        || {
            let told = handle.within(5 * BRIEF).request(DO, Expects::Reply);
            ended.store(true, Relaxed);
            told
        },
        || {
            while !ended.load(Relaxed) && asked.elapsed() < Duration::from_millis(WAIT) {
                family.multicast(0, &number(5))?;
                thread::sleep(Duration::from_millis(BRIEF / 2));
            }
            Ok(())
        },
    )?;
    let in_time = told.is_failure() && asked.elapsed() < Duration::from_millis(WAIT);
    told.must("outcome of the request", in_time, "timeout, while notifications still come")?;
    handle.canary()
}
