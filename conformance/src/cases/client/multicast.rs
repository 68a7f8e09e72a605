//! Notifications, and what else comes meanwhile.

use crate::cases::scenarios;
use crate::client::protocol::Expects;
use crate::outcome::{Failure, Outcome, broken};
use crate::port::provider::{Action, Family, KernelSend, Step, Verb};
use crate::scene::client::{
    ATTRIBUTES, BRIEF, DO, GROUP, Handle, Stage, Told, doing, dumping, meanwhile, number, numbered,
};
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_MULTI};

scenarios! {
    notification => "CL-MCA-001";
    notification_of_a_high_group(HIGH) => "CL-MCA-002";
    notification_before_the_reply => "CL-MCA-003";
    notification_of_a_busy_time => "CL-MCA-004";
    notification_before_a_request => "CL-MCA-004";
    notification_with_the_requests_number => "CL-MCA-005";
    notification_with_multi => "CL-MCA-006";
    two_notifications_in_a_datagram(ENDS) => "CL-MCA-007";
    unknown_notification => "CL-MCA-008";
    notification_after_leaving => "CL-MCA-009";
    other_group_after_leaving => "CL-MCA-009";
    second_group => "CL-MCA-010";
    notification_in_a_dump => "CL-MCA-011";
    notification_of_anothers_request => "CL-MCA-012";
    many_notifications => "CL-MCA-013";
    group_that_is_not_there => "CL-MCA-014";
    notification_with_other_flags => "CL-MCA-015";
    notification_before_a_family => "CL-MCA-016";
}

fn notification(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    family.multicast(0, &number(9))?;
    let told = handle.next_event()?;
    told.must("next event", told.gave(&[9]), "the notification, with number 9")?;
    let again = handle.within(BRIEF).next_event()?;
    again.must("event after that", again.is_timeout(), "timeout")?;
    handle.canary()
}

/// Groups that a family must have for the last one to be above 32, and above 100.
const HIGH: &[(&str, u32)] = &[("above_32", 40), ("above_100", 110)];

fn notification_of_a_high_group(stage: &Stage<'_>, count: &u32) -> Outcome {
    let grouped = |family| (1..*count).fold(family, |family: Family, nth| family.group(&format!("g{nth}")));
    let family = stage.family(grouped)?;
    let Some(&group) = family.groups.last() else { return broken("the family has no groups") };
    let handle = stage.generic()?;
    let joined = handle.join(&format!("g{}", count - 1), group)?;
    if joined.is_done() {
        family.multicast(count - 1, &number(9))?;
        let told = handle.next_event()?;
        told.must("next event", told.gave(&[9]), "the notification, with number 9; or joining is refused")?;
    }
    handle.canary()
}

/// A subscription, and a request that a notification with number 5 comes before the reply of: what the
/// caller is told of the request.
fn notified_before_the_reply<'s>(stage: &'s Stage<'_>) -> Result<(Handle<'s>, Told), Failure> {
    let family = stage.family(|family| family.step(doing(Action::Block)).step(doing(numbered(7))))?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let told = meanwhile(
        || handle.request(DO, Expects::Reply),
        || stage.while_blocked(|| family.multicast(0, &number(5)).map(drop)),
    )?;
    Ok((handle, told))
}

fn notification_before_the_reply(stage: &Stage<'_>) -> Outcome {
    let (handle, told) = notified_before_the_reply(stage)?;
    told.must("outcome of the request", told.gave(&[7]), "done, with number 7")?;
    handle.canary()
}

fn notification_of_a_busy_time(stage: &Stage<'_>) -> Outcome {
    let (handle, _) = notified_before_the_reply(stage)?;
    let told = handle.next_event()?;
    told.must("next event", told.gave(&[5]), "the notification, with number 5")?;
    handle.canary()
}

fn notification_before_a_request(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    family.multicast(0, &number(5))?;
    handle.canary()?;
    let told = handle.next_event()?;
    told.must("next event", told.gave(&[5]), "the notification, with number 5")?;
    handle.canary()
}

fn notification_with_the_requests_number(stage: &Stage<'_>) -> Outcome {
    let family = stage
        .family(|family| family.step(doing(Action::Notify(0, DO, number(5)))).step(doing(numbered(7))))?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let told = handle.request(DO, Expects::Both)?;
    told.must("outcome of the request", told.gave(&[7]), "done, with number 7 and nothing else")?;
    handle.canary()
}

fn notification_with_multi(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    family.send(KernelSend { flags: NLM_F_MULTI, payload: number(9), ..KernelSend::new(Verb::Multicast) })?;
    let told = handle.next_event()?;
    told.must("next event", told.gave(&[9]), "the notification, with number 9")?;
    handle.canary()
}

/// Bytes of an attribute that ends the first notification.
const ENDS: &[(&str, usize)] = &[("of_4n_bytes", 8), ("of_4n_plus_3_bytes", 7)];

fn two_notifications_in_a_datagram(stage: &Stage<'_>, end: &usize) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let text = Attrs::new().string(ATTRIBUTES.text, "ab");
    let news = |value| Message::new(family.id).bytes(&genl::header(DO, 1)).bytes(&number(value));
    let first = news(8).bytes(&text.as_bytes()[..*end]);
    family.send(KernelSend::messages(Verb::Multicast, &[first, news(9)]))?;
    let events = handle.until_event(9)?;
    let numbers: Vec<u32> = events.iter().flat_map(|told| told.numbers()).collect();
    let last = &events[events.len() - 1];
    last.must("numbers of the notifications", numbers == [8, 9], "8 and 9, together or one after the other")?;
    handle.canary()
}

fn unknown_notification(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    family.send(KernelSend { cmd: 200, payload: number(8), ..KernelSend::new(Verb::Multicast) })?;
    family.multicast(0, &number(9))?;
    handle.until_event(9)?;
    handle.canary()
}

fn notification_after_leaving(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let left = handle.leave(GROUP, family.groups[0])?;
    left.must("leaving the group", left.is_done(), "done")?;
    family.multicast(0, &number(9))?;
    let told = handle.within(BRIEF).next_event()?;
    told.must("next event", told.is_timeout(), "timeout")?;
    handle.canary()
}

fn other_group_after_leaving(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family.group("weather"))?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let joined = handle.join("weather", family.groups[1])?;
    joined.must("joining the second group", joined.is_done(), "done")?;
    let left = handle.leave(GROUP, family.groups[0])?;
    left.must("leaving the first group", left.is_done(), "done")?;
    family.multicast(1, &number(9))?;
    handle.until_event(9)?;
    handle.canary()
}

fn second_group(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family.group("weather"))?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let joined = handle.join("weather", family.groups[1])?;
    joined.must("joining the second group", joined.is_done(), "done")?;
    for group in [0, 1] {
        family.multicast(group, &number(8 + group))?;
        handle.until_event(8 + group)?;
    }
    handle.canary()
}

fn notification_in_a_dump(stage: &Stage<'_>) -> Outcome {
    const RECORDS: u32 = 500;
    let later = Step { call: Some(2), ..dumping(Action::Block) };
    let family = stage.family(|family| family.step(later).step(dumping(Action::records(RECORDS, 20))))?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let told = meanwhile(
        || handle.dump(),
        || stage.while_blocked(|| family.multicast(0, &number(RECORDS)).map(drop)),
    )?;
    let all: Vec<_> = (0..RECORDS).collect();
    told.must("outcome of the dump", told.gave(&all), "done, with all records and nothing else")?;
    handle.canary()
}

fn notification_of_anothers_request(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let news = Message::new(family.id).seq(4711).portid(4712).bytes(&genl::header(DO, 1)).bytes(&number(9));
    family.send(KernelSend::messages(Verb::Multicast, &[news]))?;
    let told = handle.next_event()?;
    told.must("next event", told.gave(&[9]), "the notification, with number 9")?;
    handle.canary()
}

fn many_notifications(stage: &Stage<'_>) -> Outcome {
    const COUNT: u32 = 20;
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    (0..COUNT).try_for_each(|value| family.multicast(0, &number(value)).map(drop))?;
    let events = handle.until_event(COUNT - 1)?;
    let numbers: Vec<u32> = events.iter().flat_map(|told| told.numbers()).collect();
    let all = numbers.iter().copied().eq(0..COUNT) || events.iter().any(Told::is_overrun);
    let last = &events[events.len() - 1];
    last.must(&format!("numbers of the notifications, which were {numbers:?}"), all, "0 to 19; or overrun")?;
    handle.canary()
}

fn group_that_is_not_there(stage: &Stage<'_>) -> Outcome {
    /// More than all families together have.
    const NOWHERE: u32 = 100_000;
    let _family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    let told = handle.join("nowhere", NOWHERE)?;
    let failed = told.is_failure() && !told.is_timeout();
    told.must("outcome of joining", failed, "error EINVAL (22), or another failure")?;
    handle.canary()
}

fn notification_with_other_flags(stage: &Stage<'_>) -> Outcome {
    // NLM_F_REPLACE to NLM_F_APPEND, as notifications of routes have them, and one that has no meaning yet.
    const FLAGS: u16 = 0x8f00;
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    family.send(KernelSend { flags: FLAGS, payload: number(9), ..KernelSend::new(Verb::Multicast) })?;
    let told = handle.next_event()?;
    told.must("next event", told.gave(&[9]), "the notification, with number 9")?;
    handle.canary()
}

fn notification_before_a_family(stage: &Stage<'_>) -> Outcome {
    const OTHER: &str = "nlc_other";
    let family = stage.family(|family| family)?;
    let other = stage.family_named(OTHER, |family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    family.multicast(0, &number(5))?;
    let told = handle.resolve(OTHER)?;
    let right = told.0.family.as_ref().is_some_and(|found| found.id.is_none_or(|id| id == other.id));
    told.must(
        "outcome of resolving",
        told.is_done() && right,
        &format!("done, family with ID {}", other.id),
    )?;
    handle.canary()
}
