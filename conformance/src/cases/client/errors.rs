//! Errors, and the extended acknowledgements that come with them.

use nix::errno::Errno;

use crate::cases::scenarios;
use crate::client::protocol::{Attribute, Body, Expects, Options};
use crate::outcome::{Failure, Outcome, expect_ok};
use crate::port::provider::{Action, Family, RawDatagram, Step};
use crate::scene::client::{ATTRIBUTES, DO, Stage, Told, doing, numbered, record};
use crate::wire::ack::{NLMSGERR_ATTR_COOKIE, NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS};
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR};

scenarios! {
    errno_of_the_handler(EXPECTED) => "CL-ERR-001";
    errno_that_sockets_give_too(ERRNOS) => "CL-ERR-014";
    extended_ack_hides_no_error(ECHOES) => "CL-ERR-002";
    capped_extended_ack_hides_no_error => "CL-ERR-003";
    text_after_an_unaligned_request => "CL-ERR-004";
    warning_is_success => "CL-ERR-005";
    extended_ack_of_another_form(FORMS) => "CL-ERR-006";
    cookie_and_missing_attribute => "CL-ERR-006";
    text_of_another_form(TEXTS) => "CL-ERR-007";
    errno_without_a_name => "CL-ERR-008";
    no_room_for_the_acknowledgement => "CL-ERR-009";
    text_is_reported(CAPS) => "CL-ERR-010";
    offset_is_reported(CAPS) => "CL-ERR-011";
    warning_is_reported => "CL-ERR-012";
    text_of_an_earlier_error => "CL-ERR-015";
    error_after_a_reply => "CL-ERR-013";
    error_after_parts => "CL-ERR-013";
}

/// So long that an offset read at a wrong place is not right by chance.
const TEXT: &str = "there is no such number";
/// nlmsghdr, genlmsghdr, and the attribute before the bad one.
const OFFSET: u32 = 16 + 4 + 8;

/// Refuses the number, with a text.
fn refusing(family: Family) -> Family {
    family
        .step(doing(Action::BadAttr(ATTRIBUTES.number)))
        .step(doing(Action::ErrMsg(TEXT.into())))
        .step(doing(Action::Return(-(Errno::EXDEV as i64))))
}

/// What the caller is told of the refusal, with these options.
fn refused(stage: &Stage<'_>, options: Options) -> Result<Told, Failure> {
    let _family = stage.family(refusing)?;
    let handle = stage.generic_with(options)?;
    let attributes = vec![Attribute::Text("abc".into()), Attribute::Number(1)];
    let told = handle.request_with(DO, attributes, Expects::Ack)?;
    handle.canary()?;
    Ok(told)
}

fn options(cap_ack: bool) -> Options {
    Options { ext_ack: true, cap_ack, ..Options::default() }
}

/// What the caller expects instead.
const EXPECTED: &[(&str, Expects)] =
    &[("for_an_ack", Expects::Ack), ("for_a_reply", Expects::Reply), ("for_both", Expects::Both)];

fn errno_of_the_handler(stage: &Stage<'_>, expected: &Expects) -> Outcome {
    let _family = stage.family(refusing)?;
    let handle = stage.generic()?;
    let told = handle.request_with(DO, vec![Attribute::Number(1)], *expected)?;
    told.must("outcome of the request", told.is_error(Errno::EXDEV), "error EXDEV (18)")?;
    handle.canary()
}

fn error_after_a_reply(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| refusing(family.step(doing(numbered(7)))))?;
    let handle = stage.generic()?;
    let told = handle.request_with(DO, vec![Attribute::Number(1)], Expects::Both)?;
    let failed = told.is_failure() && !told.is_timeout();
    told.must("outcome of the request", failed, "error EXDEV (18), or another failure")?;
    handle.canary()
}

fn error_after_parts(stage: &Stage<'_>) -> Outcome {
    let part = |value| doing(Action::Datagram(RawDatagram::default().family_reply(&record(value, 0))));
    let _family = stage.family(|family| refusing(family.step(part(1)).step(part(2))))?;
    let handle = stage.generic()?;
    let told = handle.request_with(DO, vec![Attribute::Number(1)], Expects::Reply)?;
    let failed = told.is_failure() && !told.is_timeout();
    told.must("outcome of the request", failed, "error EXDEV (18), or another failure")?;
    handle.canary()
}

/// Errors of a request that recvmsg() may give, too, and means something else by.
const ERRNOS: &[(&str, Errno)] = &[("eagain", Errno::EAGAIN), ("enobufs", Errno::ENOBUFS)];

fn errno_that_sockets_give_too(stage: &Stage<'_>, errno: &Errno) -> Outcome {
    let _family = stage.family(|family| family.step(doing(Action::Return(-(*errno as i64)))))?;
    stage.generic()?.must_fail("outcome of the request", *errno, |handle| handle.request(DO, Expects::Ack))
}

const ECHOES: &[(&str, usize)] = &[("short", 0), ("long", 5000)];

fn extended_ack_hides_no_error(stage: &Stage<'_>, filler: &usize) -> Outcome {
    let _family = stage.family(refusing)?;
    let handle = stage.generic_with(options(false))?;
    let attributes = vec![Attribute::Filler(vec![1; *filler]), Attribute::Number(1)];
    let told = handle.request_with(DO, attributes, Expects::Ack)?;
    let acceptable = told.is_error(Errno::EXDEV) || told.is_truncated();
    told.must("outcome of the request", acceptable, "error EXDEV (18); or truncated")?;
    handle.canary()
}

fn capped_extended_ack_hides_no_error(stage: &Stage<'_>) -> Outcome {
    let told = refused(stage, options(true))?;
    told.must("outcome of the request", told.is_error(Errno::EXDEV), "error EXDEV (18)")
}

const CAPS: &[(&str, bool)] = &[("full", false), ("capped", true)];

fn text_is_reported(stage: &Stage<'_>, cap_ack: &bool) -> Outcome {
    let told = refused(stage, options(*cap_ack))?;
    told.must("text of the error", told.text() == Some(TEXT), &format!("error EXDEV (18) {TEXT:?}"))
}

fn offset_is_reported(stage: &Stage<'_>, cap_ack: &bool) -> Outcome {
    let told = refused(stage, options(*cap_ack))?;
    let acceptable = format!("error EXDEV (18) at offset {OFFSET}");
    told.must("offset of the error", told.offset() == Some(OFFSET), &acceptable)
}

fn text_of_an_earlier_error(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| {
        let text = Step { call: Some(1), ..doing(Action::ErrMsg(TEXT.into())) };
        family.step(text).step(doing(Action::Return(-(Errno::EXDEV as i64))))
    })?;
    let handle = stage.generic_with(options(false))?;
    let first = handle.request(DO, Expects::Ack)?;
    first.must("outcome of the first request", first.is_error(Errno::EXDEV), "error EXDEV (18)")?;
    let second = handle.request(DO, Expects::Ack)?;
    let without = second.is_error(Errno::EXDEV) && second.text().is_none();
    second.must("outcome of the second request", without, "error EXDEV (18), without a text")?;
    handle.canary()
}

fn text_after_an_unaligned_request(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(refusing)?;
    let handle = stage.generic_with(options(false))?;
    // An attribute of 7 bytes, which ends the message.
    let mut payload = genl::header(DO, 1).to_vec();
    payload.extend(&Attrs::new().string(ATTRIBUTES.text, "ab").as_bytes()[..7]);
    let told = handle.request_of(Body::Raw { kind: family.id, payload }, Expects::Ack)?;
    told.must("text of the error", told.text() == Some(TEXT), &format!("error EXDEV (18) {TEXT:?}"))?;
    handle.canary()
}

fn warned(stage: &Stage<'_>) -> Result<Told, Failure> {
    let _family = stage.family(|family| family.step(doing(Action::ErrMsg("deprecated".into()))))?;
    let handle = stage.generic_with(options(false))?;
    let told = handle.request(DO, Expects::Ack)?;
    handle.canary()?;
    Ok(told)
}

fn warning_is_success(stage: &Stage<'_>) -> Outcome {
    let told = warned(stage)?;
    told.must("outcome of the request", told.gave(&[]), "done, without messages")
}

fn warning_is_reported(stage: &Stage<'_>) -> Outcome {
    let told = warned(stage)?;
    told.must("warning", told.warning() == Some("deprecated"), "done, with the warning \"deprecated\"")
}

/// Answers with EXDEV and these attributes of an extended ack, after the header of the request only.
fn answered_with(stage: &Stage<'_>, tlvs: Attrs) -> Outcome {
    let error = Message::new(NLMSG_ERROR)
        .with(NLM_F_CAPPED | NLM_F_ACK_TLVS)
        .bytes(&(-(Errno::EXDEV as i32)).to_ne_bytes())
        .bytes(&Message::request(0).with(NLM_F_ACK).header())
        .attrs(tlvs);
    let _family = stage.family(|family| {
        family
            .step(doing(Action::Datagram(RawDatagram::default().reply(&error))))
            .step(doing(Action::Return(-(Errno::EINTR as i64))))
    })?;
    let handle = stage.generic_with(options(true))?;
    let told = handle.request(DO, Expects::Ack)?;
    told.must("outcome of the request", told.is_error(Errno::EXDEV), "error EXDEV (18)")?;
    handle.canary()
}

/// Makes the attributes of an extended ack.
type Form = fn() -> Attrs;

const FORMS: &[(&str, Form)] = &[
    ("unknown_attribute", || Attrs::new().u32(77, 1).string(NLMSGERR_ATTR_MSG, TEXT)),
    ("other_order", || {
        Attrs::new()
            .put(NLMSGERR_ATTR_COOKIE, b"cookie")
            .u32(NLMSGERR_ATTR_OFFS, 20)
            .string(NLMSGERR_ATTR_MSG, TEXT)
    }),
];

fn extended_ack_of_another_form(stage: &Stage<'_>, form: &Form) -> Outcome {
    answered_with(stage, form())
}

fn cookie_and_missing_attribute(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| refusing(family.step(doing(Action::Cookie(0x1234)))))?;
    let handle = stage.generic_with(options(false))?;
    let told = handle.request_with(DO, vec![Attribute::Number(1)], Expects::Ack)?;
    told.must("outcome of the request", told.is_error(Errno::EXDEV), "error EXDEV (18)")?;
    handle.canary()
}

const TEXTS: &[(&str, Form)] = &[
    ("long", || Attrs::new().string(NLMSGERR_ATTR_MSG, &"x".repeat(300))),
    ("without_nul", || Attrs::new().put(NLMSGERR_ATTR_MSG, b"abcd")),
];

fn text_of_another_form(stage: &Stage<'_>, form: &Form) -> Outcome {
    answered_with(stage, form())
}

fn errno_without_a_name(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| family.step(doing(Action::Return(-524))))?;
    let handle = stage.generic()?;
    let told = handle.request(DO, Expects::Ack)?;
    let failed = told.is_failure() && !told.is_timeout();
    told.must("outcome of the request", failed, "error 524, or another failure")?;
    handle.canary()
}

fn no_room_for_the_acknowledgement(stage: &Stage<'_>) -> Outcome {
    // The notifications are queued in the very call that sends the request.
    let family = stage.family(|family| {
        (0..20).fold(family, |family, _| family.step(doing(Action::Notify(0, DO, vec![0; 2000]))))
    })?;
    let handle = stage.generic_with(Options { buffer: Some(4096), ..Options::default() })?;
    handle.subscribe(&family)?;
    let told = handle.request(DO, Expects::Ack)?;
    told.must("outcome of the request", told.is_failure(), "overrun, or another failure")?;
    expect_ok("unregistering", family.unregister()?)
}
