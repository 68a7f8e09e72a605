//! Families that come and go, their attributes, and the end of a handle.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::cases::scenarios;
use crate::client::protocol::{Attribute, Expects};
use crate::outcome::{Failure, Outcome, expect_ok, mismatch};
use crate::port::provider::{Action, Family, KernelSend, RawDatagram, Verb};
use crate::scene::client::{
    ATTRIBUTES, BRIEF, DO, FAMILY, Handle, Stage, Told, WAIT, answering, doing, meanwhile, number, record,
};
use crate::wire::attr::{Attrs, NLA_F_NET_BYTEORDER};

scenarios! {
    family_is_found(NAMES) => "CL-RES-001";
    unknown_family => "CL-RES-002";
    family_with_another_id => "CL-RES-003";
    family_that_comes_later => "CL-RES-004";
    close_while_waiting => "CL-RES-005";
    close_in_a_dump => "CL-RES-008";
    attributes_of_any_form(FORMS) => "CL-RES-006";
    closed_handle_leaves_nothing => "CL-RES-007";
    close_of_another_handle => "CL-RES-009";
}

/// Name of a family, and how many groups it has.
const NAMES: &[(&str, (&str, u32))] = &[
    ("without_groups", ("nlc_none", 0)),
    ("with_a_group", ("nlc_one", 1)),
    ("with_40_groups", ("nlc_many", 40)),
    ("with_a_long_name", ("nlc_fifteen_ltr", 1)),
];

fn family_is_found(stage: &Stage<'_>, (name, groups): &(&str, u32)) -> Outcome {
    let named = |family: Family, nth: u32| family.group(&format!("g{nth}"));
    let family = stage.bus().register((0..*groups).fold(Family::named(name).version(1), named))?;
    let _canary = stage.family(|family| family)?;
    let handle = stage.generic()?;
    let told = handle.resolve(name)?;
    let expected = (0..*groups).map(|nth| format!("g{nth}")).zip(family.groups.iter().copied()).collect();
    let right = told.0.family.as_ref().is_some_and(|found| {
        found.id.is_none_or(|id| id == family.id)
            && found.groups.as_ref().is_none_or(|groups| *groups == expected)
    });
    let acceptable = format!("done, family with ID {} and groups {expected:?}", family.id);
    told.must("outcome of resolving", told.is_done() && right, &acceptable)?;
    handle.canary()
}

fn unknown_family(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    let told = handle.resolve("nlc_nowhere")?;
    let failed = told.is_failure() && !told.is_timeout();
    told.must("outcome of resolving", failed, "error ENOENT (2), or another failure")?;
    handle.canary()
}

fn family_with_another_id(stage: &Stage<'_>) -> Outcome {
    let handle = {
        let family = stage.family(|family| family)?;
        let handle = stage.generic()?;
        handle.canary()?;
        expect_ok("unregistering", family.unregister()?)?;
        handle
    };
    let _again = stage.family(|family| family)?;
    let stale = handle.request(DO, Expects::Ack)?;
    let acceptable =
        stale.is_done() || stale.is_error(Errno::ENOENT) || stale.is_failure() && !stale.is_timeout();
    stale.must(
        "request by the ID that was resolved",
        acceptable,
        "error ENOENT (2); or done, when it was resolved again",
    )?;
    let told = handle.resolve(FAMILY)?;
    told.must("resolving again", told.is_done(), "done")?;
    handle.canary()
}

fn family_that_comes_later(stage: &Stage<'_>) -> Outcome {
    let handle = stage.generic()?;
    let told = handle.resolve(FAMILY)?;
    let failed = told.is_failure() && !told.is_timeout();
    told.must("resolving a family that is not there", failed, "error ENOENT (2), or another failure")?;
    let _family = stage.family(|family| family)?;
    let told = handle.resolve(FAMILY)?;
    told.must("resolving it when it is there", told.is_done(), "done")?;
    handle.canary()
}

fn close_while_waiting(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    expect_end_by_close(stage, &handle, "outcome of the wait", || handle.within(2 * WAIT).next_event())
}

fn close_in_a_dump(stage: &Stage<'_>) -> Outcome {
    // No NLMSG_DONE follows.
    let data = RawDatagram::default().family_reply(&record(0, 0));
    let _family = stage.family(|family| answering(family, [data]))?;
    let handle = stage.generic()?;
    expect_end_by_close(stage, &handle, "outcome of the dump", || handle.within(2 * WAIT).dump())
}

/// The call, which nothing else ends, fails when its handle is closed.
fn expect_end_by_close(
    stage: &Stage<'_>,
    handle: &Handle<'_>,
    what: &str,
    call: impl FnOnce() -> Result<Told, Failure> + Send,
) -> Outcome {
    let told = meanwhile(call, || {
        thread::sleep(Duration::from_millis(BRIEF));
        handle.close()
    })?;
    told.must(what, told.is_failure() && !told.is_timeout(), "a failure, before the deadline")?;
    stage.generic()?.canary()
}

fn closed_handle_leaves_nothing(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    handle.close()?;
    // A library with threads of its own may take a moment.
    let deadline = Instant::now() + Duration::from_millis(WAIT);
    while family.send(KernelSend::new(Verb::HasListeners))? != 0 {
        if Instant::now() > deadline {
            return mismatch("listeners of the group, after the handle was closed", "none", "one");
        }
        thread::sleep(Duration::from_millis(1));
    }
    stage.generic()?.canary()
}

fn close_of_another_handle(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let (first, second) = (stage.generic()?, stage.generic()?);
    first.subscribe(&family)?;
    second.subscribe(&family)?;
    first.close()?;
    family.multicast(0, &number(9))?;
    let told = second.next_event()?;
    told.must("next event of the other handle", told.gave(&[9]), "the notification, with number 9")?;
    second.canary()
}

/// The attributes of a reply, and what the caller must find among them.
type Form = (fn() -> Vec<u8>, fn() -> Vec<Attribute>);

const FORMS: &[(&str, Form)] = &[
    ("nested_flag", (nested_flag, || vec![Attribute::Nest(vec![Attribute::Number(3)])])),
    ("nested_without_flag", (nested_without_flag, || vec![Attribute::Nest(vec![Attribute::Number(3)])])),
    ("last_without_padding", (last_without_padding, || vec![Attribute::Text("abcde".into())])),
    ("u64_aligned_to_4", (u64_aligned_to_4, || vec![Attribute::Wide(1 << 62 | 5)])),
    ("unknown_type", (unknown_type, || vec![Attribute::Number(3)])),
    ("type_0", (type_0, || vec![Attribute::Number(3)])),
    ("net_byteorder_flag", (net_byteorder_flag, || vec![Attribute::Filler(vec![1, 2, 3, 4])])),
    ("none", (Vec::new, Vec::new)),
    (
        "without_payload",
        (without_payload, || vec![Attribute::Filler(Vec::new()), Attribute::Nest(Vec::new())]),
    ),
    ("repeated", (repeated, || vec![Attribute::Number(3), Attribute::Number(4)])),
    ("many", (many, || (0..MANY).map(Attribute::Number).collect())),
    ("empty_text", (empty_text, || vec![Attribute::Text(String::new())])),
    (
        "nest_in_a_nest",
        (nest_in_a_nest, || vec![Attribute::Nest(vec![Attribute::Nest(vec![Attribute::Number(3)])])]),
    ),
];

fn nested_flag() -> Vec<u8> {
    Attrs::new().nest(ATTRIBUTES.nest, Attrs::new().u32(ATTRIBUTES.number, 3)).as_bytes().to_vec()
}

fn nested_without_flag() -> Vec<u8> {
    let inner = Attrs::new().u32(ATTRIBUTES.number, 3);
    Attrs::new().put(ATTRIBUTES.nest, inner.as_bytes()).as_bytes().to_vec()
}

fn last_without_padding() -> Vec<u8> {
    Attrs::new().u32(ATTRIBUTES.number, 3).string(ATTRIBUTES.text, "abcde").as_bytes()[..8 + 4 + 6].to_vec()
}

/// An empty attribute of 4 bytes after 20 bytes of headers, and one more header: 28.
fn u64_aligned_to_4() -> Vec<u8> {
    Attrs::new().put(ATTRIBUTES.filler, &[]).u64(ATTRIBUTES.wide, 1 << 62 | 5).as_bytes().to_vec()
}

fn unknown_type() -> Vec<u8> {
    Attrs::new().put(99, &[]).put(100, &[1; 6]).u32(ATTRIBUTES.number, 3).as_bytes().to_vec()
}

/// Where a family has no type of its own for it, this is what comes before a u64 to align it.
fn type_0() -> Vec<u8> {
    Attrs::new().put(0, &[]).u32(ATTRIBUTES.number, 3).as_bytes().to_vec()
}

fn net_byteorder_flag() -> Vec<u8> {
    Attrs::new().put(ATTRIBUTES.filler | NLA_F_NET_BYTEORDER, &[1, 2, 3, 4]).as_bytes().to_vec()
}

fn without_payload() -> Vec<u8> {
    Attrs::new().put(ATTRIBUTES.filler, &[]).nest(ATTRIBUTES.nest, Attrs::new()).as_bytes().to_vec()
}

fn repeated() -> Vec<u8> {
    Attrs::new().u32(ATTRIBUTES.number, 3).u32(ATTRIBUTES.number, 4).as_bytes().to_vec()
}

/// Numbers in a reply, more than a table of the family's attributes has room for.
const MANY: u32 = 300;

fn many() -> Vec<u8> {
    (0..MANY).fold(Attrs::new(), |attrs, value| attrs.u32(ATTRIBUTES.number, value)).as_bytes().to_vec()
}

fn empty_text() -> Vec<u8> {
    Attrs::new().string(ATTRIBUTES.text, "").as_bytes().to_vec()
}

fn nest_in_a_nest() -> Vec<u8> {
    let inner = Attrs::new().nest(ATTRIBUTES.nest, Attrs::new().u32(ATTRIBUTES.number, 3));
    Attrs::new().nest(ATTRIBUTES.nest, inner).as_bytes().to_vec()
}

fn attributes_of_any_form(stage: &Stage<'_>, (bytes, expected): &Form) -> Outcome {
    let reply = Action::Reply(DO.into(), 0, bytes());
    let _family = stage.family(|family| family.step(doing(reply)))?;
    let handle = stage.generic()?;
    let told = handle.request(DO, Expects::Reply)?;
    let found: Vec<_> =
        told.messages().iter().flat_map(|message| message.attributes.iter().flatten()).collect();
    let expected = expected();
    let all = expected.iter().all(|attribute| found.contains(&attribute)) && told.messages().len() == 1;
    told.must(
        "outcome of the request",
        told.is_done() && all,
        &format!("done, with one message: {expected:?}"),
    )?;
    handle.canary()
}
