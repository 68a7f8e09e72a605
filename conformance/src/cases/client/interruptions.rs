//! Dumps whose data changed while they ran.

use std::thread;
use std::time::Duration;

use crate::cases::scenarios;
use crate::client::protocol::Expects;
use crate::outcome::{Failure, Outcome};
use crate::port::provider::{Action, Family, On, RawDatagram, Step};
use crate::scene::client::{BRIEF, DO, DUMP, Stage, Told, complete_later, meanwhile, number, record, silent};
use crate::wire::message::{Message, NLM_F_DUMP_INTR, NLM_F_MULTI, NLMSG_DONE};
use nix::errno::Errno;

scenarios! {
    interruption_is_reported(PLACES) => "CL-INT-001";
    data_of_an_interrupted_dump(PLACES) => "CL-INT-002";
    request_after_an_interrupted_dump(PLACES) => "CL-INT-003";
    interruption_without_end => "CL-INT-004";
    stopped_while_it_waits => "CL-INT-005";
    stopped_while_a_request_waits => "CL-INT-006";
}

/// The message that says so: three records, and NLMSG_DONE.
const PLACES: &[(&str, usize)] = &[("first", 0), ("middle", 1), ("last", 2), ("done", 3)];

/// Numbers 0 to 2, interrupted at this place.
fn interrupted_at(place: Option<usize>) -> RawDatagram {
    let flags = |nth| if place == Some(nth) { NLM_F_DUMP_INTR } else { 0 };
    let records = (0..3)
        .fold(RawDatagram::default(), |datagram, nth| datagram.family_reply(&record(nth as u32, flags(nth))));
    records.reply(&Message::new(NLMSG_DONE).with(NLM_F_MULTI | flags(3)).bytes(&[0; 4]))
}

/// The first dump is interrupted at this place, the second one is not.
fn once(family: Family, place: usize) -> Family {
    let start = |call, action| Step { call, ..Step::new(On::Start, action).cmd(DUMP) };
    family
        .step(start(Some(1), Action::Datagram(interrupted_at(Some(place)))))
        .step(start(Some(2), Action::Datagram(interrupted_at(None))))
        .step(start(None, Action::Return(-(Errno::EINTR as i64))))
}

/// What the caller is told of the dump, and whether the library has repeated it.
fn dumped(stage: &Stage<'_>, place: usize) -> Result<(Told, bool), Failure> {
    let _family = stage.family(|family| once(family, place))?;
    let told = stage.generic()?.dump()?;
    let starts = stage.bus().calls(On::Start)?.len();
    Ok((told, starts > 1))
}

fn interruption_is_reported(stage: &Stage<'_>, place: &usize) -> Outcome {
    let (told, repeated) = dumped(stage, *place)?;
    let acceptable = told.is_interrupted() || repeated && told.gave(&[0, 1, 2]);
    told.must("outcome of the dump", acceptable, "interrupted; or done, when it has been repeated")
}

fn data_of_an_interrupted_dump(stage: &Stage<'_>, place: &usize) -> Outcome {
    let (told, _) = dumped(stage, *place)?;
    told.must("messages of the dump", told.numbers() == [0, 1, 2], "numbers 0, 1 and 2, however it ended")
}

fn request_after_an_interrupted_dump(stage: &Stage<'_>, place: &usize) -> Outcome {
    let _family = stage.family(|family| once(family, *place))?;
    let handle = stage.generic()?;
    handle.dump()?;
    handle.canary()
}

fn interruption_without_end(stage: &Stage<'_>) -> Outcome {
    let start = |action| Step::new(On::Start, action).cmd(DUMP);
    let _family = stage.family(|family| {
        family
            .step(start(Action::Datagram(interrupted_at(Some(1)))))
            .step(start(Action::Return(-(Errno::EINTR as i64))))
    })?;
    let handle = stage.generic()?;
    let told = handle.within(5 * BRIEF).dump()?;
    told.must(
        "outcome of the dump",
        told.is_failure() || told.is_interrupted(),
        "interrupted, or a failure",
    )?;
    handle.canary()
}

fn stopped_while_it_waits(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let told = meanwhile(
        || handle.next_event(),
        || {
            stop_and_go(stage)?;
            family.multicast(0, &number(9)).map(drop)
        },
    )?;
    told.must("next event", told.gave(&[9]), "the notification, with number 9")?;
    handle.canary()
}

/// Certain system calls end with EINTR when their process goes on. On a busy machine it may not have made one yet
/// when it is stopped for the first time.
fn stop_and_go(stage: &Stage<'_>) -> Outcome {
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(BRIEF));
        stage.while_paused(|| Ok(()))?;
    }
    thread::sleep(Duration::from_millis(BRIEF));
    Ok(())
}

fn stopped_while_a_request_waits(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(silent)?;
    let handle = stage.generic()?;
    let told = meanwhile(
        || handle.request(DO, Expects::Reply),
        || {
            let request = stage.called(On::Doit, DO)?;
            stop_and_go(stage)?;
            complete_later(&family, &request, 7)
        },
    )?;
    told.must("outcome of the request", told.gave(&[7]), "done, with number 7")?;
    handle.canary()
}
