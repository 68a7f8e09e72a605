//! Dumps, and the ways in which they end.

use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use crate::cases::scenarios;
use crate::client::protocol::{Attribute, Options};
use crate::outcome::{Failure, Outcome};
use crate::port::provider::{Action, Family, On, RawDatagram, Step};
use crate::scene::client::{BRIEF, DO, DUMP, Stage, answer_later, answering, dumping, record};
use crate::scene::threads::joined;
use crate::wire::message::{
    Message, NLM_F_ACK_TLVS, NLM_F_DUMP_FILTERED, NLM_F_DUMP_INTR, NLM_F_MULTI, NLMSG_DONE,
};

scenarios! {
    done_with_the_last_data => "CL-DMP-001";
    done_alone => "CL-DMP-001";
    empty_dump => "CL-DMP-002";
    dump_of_many_datagrams => "CL-DMP-003";
    error_at_once => "CL-DMP-004";
    error_after_data => "CL-DMP-005";
    errno_that_sockets_give_too(ERRNOS) => "CL-DMP-018";
    error_with_an_extended_ack => "CL-DMP-006";
    error_whose_attributes_found_no_room => "CL-DMP-006";
    done_without_payload => "CL-DMP-007";
    start_fails => "CL-DMP-008";
    command_without_dump => "CL-DMP-009";
    large_records(SIZES) => "CL-DMP-010";
    dump_given_up => "CL-DMP-011";
    end_of_an_earlier_dump => "CL-DMP-016";
    data_before_the_error => "CL-DMP-012";
    text_in_done => "CL-DMP-013";
    dump_with_other_flags => "CL-DMP-014";
    two_dumps_at_a_time => "CL-DMP-015";
    dump_after_another(ENDS) => "CL-DMP-017";
}

const TEXT: &str = "no such record";

fn done(error: i32) -> Message {
    Message::new(NLMSG_DONE).with(NLM_F_MULTI).bytes(&error.to_ne_bytes())
}

fn failing(family: Family) -> Family {
    family.step(dumping(Action::Return(-(Errno::EXDEV as i64))))
}

/// Two records, then the error.
fn failing_later(family: Family) -> Family {
    let second = |action| Step { call: Some(2), ..dumping(action) };
    family
        .step(Step { call: Some(1), ..dumping(Action::records(2, 10)) })
        .step(second(Action::ErrMsg(TEXT.into())))
        .step(second(Action::Return(-(Errno::EXDEV as i64))))
}

fn done_with_the_last_data(stage: &Stage<'_>) -> Outcome {
    let datagram =
        RawDatagram::default().family_reply(&record(0, 0)).family_reply(&record(1, 0)).reply(&done(0));
    let _family = stage.family(|family| answering(family, [datagram]))?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    told.must("outcome of the dump", told.gave(&[0, 1]), "done, with numbers 0 and 1")?;
    handle.canary()
}

fn done_alone(stage: &Stage<'_>) -> Outcome {
    let data = RawDatagram::default().family_reply(&record(0, 0)).family_reply(&record(1, 0));
    let end = RawDatagram::default().reply(&done(0));
    let _family = stage.family(|family| answering(family, [data, end]))?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    told.must("outcome of the dump", told.gave(&[0, 1]), "done, with numbers 0 and 1")?;
    handle.canary()
}

fn empty_dump(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    told.must("outcome of the dump", told.gave(&[]), "done, without messages")?;
    handle.canary()
}

fn dump_of_many_datagrams(stage: &Stage<'_>) -> Outcome {
    const RECORDS: u32 = 1000;
    let _family = stage.family(|family| family.step(dumping(Action::records(RECORDS, 30))))?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    let all = told.gave(&(0..RECORDS).collect::<Vec<_>>());
    told.must("outcome of the dump", all, "done, with numbers 0 to 999")?;
    handle.canary()
}

fn error_at_once(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(failing)?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    told.must("outcome of the dump", told.is_error(Errno::EXDEV), "error EXDEV (18)")?;
    handle.canary()
}

fn error_after_data(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(failing_later)?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    told.must("outcome of the dump", told.is_error(Errno::EXDEV), "error EXDEV (18)")?;
    handle.canary()
}

/// Errors of a dump that a system call may give, too, and means something else by.
const ERRNOS: &[(&str, Errno)] =
    &[("eagain", Errno::EAGAIN), ("eintr", Errno::EINTR), ("enobufs", Errno::ENOBUFS)];

fn errno_that_sockets_give_too(stage: &Stage<'_>, errno: &Errno) -> Outcome {
    let _family = stage.family(|family| family.step(dumping(Action::Return(-(*errno as i64)))))?;
    stage.generic()?.must_fail("outcome of the dump", *errno, |handle| handle.dump())
}

fn data_before_the_error(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(failing_later)?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    told.must("messages of the dump", told.numbers() == [0, 1], "a failure, with numbers 0 and 1")?;
    handle.canary()
}

fn error_with_an_extended_ack(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(failing_later)?;
    let handle = stage.generic_with(Options { ext_ack: true, ..Options::default() })?;
    let told = handle.dump()?;
    told.must("outcome of the dump", told.is_error(Errno::EXDEV), "error EXDEV (18)")?;
    handle.canary()
}

fn text_in_done(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(failing_later)?;
    let handle = stage.generic_with(Options { ext_ack: true, ..Options::default() })?;
    let told = handle.dump()?;
    told.must("text of the error", told.text() == Some(TEXT), &format!("error EXDEV (18) {TEXT:?}"))?;
    handle.canary()
}

fn error_whose_attributes_found_no_room(stage: &Stage<'_>) -> Outcome {
    let end = done(-(Errno::EXDEV as i32)).with(NLM_F_ACK_TLVS);
    let _family = stage.family(|family| answering(family, [RawDatagram::default().reply(&end)]))?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    told.must("outcome of the dump", told.is_error(Errno::EXDEV), "error EXDEV (18)")?;
    handle.canary()
}

fn done_without_payload(stage: &Stage<'_>) -> Outcome {
    let end = Message::new(NLMSG_DONE).with(NLM_F_MULTI);
    let datagram = RawDatagram::default().family_reply(&record(0, 0)).reply(&end);
    let _family = stage.family(|family| answering(family, [datagram]))?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    told.must("outcome of the dump", told.gave(&[0]), "done, with number 0")?;
    handle.canary()
}

fn start_fails(stage: &Stage<'_>) -> Outcome {
    let refusal = Action::Return(-(Errno::EXDEV as i64));
    let _family = stage.family(|family| family.step(Step::new(On::Start, refusal).cmd(DUMP)))?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    told.must("outcome of the dump", told.is_error(Errno::EXDEV), "error EXDEV (18)")?;
    handle.canary()
}

fn command_without_dump(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    let told = handle.dump_of(DO)?;
    told.must("outcome of the dump", told.is_error(Errno::EOPNOTSUPP), "error EOPNOTSUPP (95)")?;
    handle.canary()
}

/// Bytes of filler in each of three records, and the room for each datagram.
const SIZES: &[(&str, (u32, u32))] = &[
    ("10_kib", (10_000, 11_000)),
    ("20_kib", (20_000, 21_000)),
    ("60_kib", (60_000, 61_000)),
    ("60_kib_thrice_a_datagram", (60_000, 181_000)),
];

fn large_records(stage: &Stage<'_>, (size, room): &(u32, u32)) -> Outcome {
    let room = Step::new(On::Start, Action::MinDumpAlloc(*room)).cmd(DUMP);
    let _family = stage.family(|family| family.step(room).step(dumping(Action::records(3, *size))))?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    let whole =
        told.messages().iter().all(|message| {
            message.attributes.iter().flatten().any(
                |attribute| matches!(attribute, Attribute::Filler(filler) if filler.len() == *size as usize),
            )
        });
    let acceptable = told.gave(&[0, 1, 2]) && whole || told.is_failure();
    told.must("outcome of the dump", acceptable, "done, with all three records whole; or a failure")?;
    handle.canary()
}

fn dump_given_up(stage: &Stage<'_>) -> Outcome {
    const RECORDS: u32 = 500;
    let later = Step { call: Some(2), ..dumping(Action::Sleep(2 * BRIEF as u32)) };
    let _family = stage.family(|family| family.step(later).step(dumping(Action::records(RECORDS, 20))))?;
    let handle = stage.generic()?;
    let all: Vec<_> = (0..RECORDS).collect();
    let first = handle.within(BRIEF).dump()?;
    let acceptable = first.gave(&all) || first.is_failure();
    first.must("outcome of the first dump", acceptable, "done, with all records; or timeout")?;
    let second = handle.dump()?;
    let acceptable = second.gave(&all) || second.is_failure();
    second.must("outcome of the second dump", acceptable, "done, with all records; or a failure")?;
    handle.canary()
}

fn end_of_an_earlier_dump(stage: &Stage<'_>) -> Outcome {
    let start = |call, action| Step { call, ..Step::new(On::Start, action).cmd(DUMP) };
    let second = RawDatagram::default().family_reply(&record(0, 0)).reply(&done(0));
    let family = stage.family(|family| {
        // The first dump is not answered.
        let family = family.step(start(Some(2), Action::Datagram(second)));
        family.step(start(None, Action::Return(-(Errno::EINTR as i64))))
    })?;
    let handle = stage.generic()?;
    let first = handle.within(BRIEF).dump()?;
    first.must("outcome of the dump that is not answered", first.is_timeout(), "timeout")?;
    let request = stage.called(On::Start, DUMP)?;
    answer_later(&family, &request, done(0))?;
    let told = handle.dump()?;
    let acceptable = told.gave(&[0]) || told.is_failure();
    told.must("outcome of the next dump", acceptable, "done, with number 0; or a failure")?;
    handle.canary()
}

fn dump_with_other_flags(stage: &Stage<'_>) -> Outcome {
    // The highest flag has no meaning yet.
    const FLAGS: u16 = NLM_F_DUMP_FILTERED | 0x8000;
    let data = RawDatagram::default().family_reply(&record(0, FLAGS)).family_reply(&record(1, FLAGS));
    let end = RawDatagram::default().reply(&done(0).with(NLM_F_MULTI | FLAGS));
    let _family = stage.family(|family| answering(family, [data, end]))?;
    let handle = stage.generic()?;
    let told = handle.dump()?;
    told.must("outcome of the dump", told.gave(&[0, 1]), "done, with numbers 0 and 1")?;
    handle.canary()
}

fn two_dumps_at_a_time(stage: &Stage<'_>) -> Outcome {
    // More than one datagram has room for (32 KiB), so that the first dump still runs when the second is asked for.
    const RECORDS: u32 = 300;
    let _family = stage.family(|family| family.step(dumping(Action::records(RECORDS, 100))))?;
    let handle = stage.generic()?;
    // Nothing of the family's name is to be asked meanwhile.
    handle.canary()?;
    let (one, other) = thread::scope(|scope| {
        // Both are asked for before the library can make either.
        let dumps = stage.while_paused(|| {
            let dumps = [scope.spawn(|| handle.dump()), scope.spawn(|| handle.dump())];
            thread::sleep(Duration::from_millis(BRIEF));
            Ok(dumps)
        });
        let [one, other] = dumps?.map(joined);
        Ok::<_, Failure>((one?, other?))
    })?;
    let all: Vec<_> = (0..RECORDS).collect();
    for (told, other) in [(&one, &other), (&other, &one)] {
        let acceptable = told.gave(&all) || told.is_failure() && other.gave(&all);
        told.must("outcome of a dump", acceptable, "done, with all records; of one of the two, a failure")?;
    }
    handle.canary()
}

/// How the first of two dumps ends: error, and flags.
const ENDS: &[(&str, (i32, u16))] =
    &[("that_failed", (-(Errno::EXDEV as i32), 0)), ("that_was_interrupted", (0, NLM_F_DUMP_INTR))];

fn dump_after_another(stage: &Stage<'_>, (error, flags): &(i32, u16)) -> Outcome {
    let start = |call, action| Step { call, ..Step::new(On::Start, action).cmd(DUMP) };
    let end = Action::Return(-(Errno::EINTR as i64));
    let first = RawDatagram::default().family_reply(&record(1, *flags)).reply(&done(*error).with(*flags));
    let later = RawDatagram::default().family_reply(&record(2, 0)).reply(&done(0));
    let _family = stage.family(|family| {
        family
            .step(start(Some(1), Action::Datagram(first)))
            .step(start(Some(1), end.clone()))
            .step(start(None, Action::Datagram(later)))
            .step(start(None, end))
    })?;
    let handle = stage.generic()?;
    handle.dump()?;
    let told = handle.dump()?;
    let own = told.gave(&[2]) && !told.is_interrupted();
    told.must("outcome of the second dump", own, "done, with number 2, and not interrupted")?;
    handle.canary()
}
