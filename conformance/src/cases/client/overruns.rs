//! Messages that were lost, and messages larger than usual.

use nix::errno::Errno;

use crate::cases::scenarios;
use crate::client::protocol::{Attribute, Expects};
use crate::outcome::{Failure, Outcome};
use crate::port::provider::{Action, KernelSend, Step, Verb};
use crate::scene::bus::Registered;
use crate::scene::client::{ATTRIBUTES, DO, Handle, Stage, Told, doing, dumping, meanwhile, number};
use crate::wire::attr::Attrs;

scenarios! {
    overrun_is_reported(OVERRUNS) => "CL-OVR-001";
    overrun_differs_from_other_errors(OVERRUNS) => "CL-OVR-002";
    overrun_in_a_dump => "CL-OVR-003";
    large_notification(SIZES) => "CL-OVR-004";
    large_reply(SIZES) => "CL-OVR-005";
}

/// Makes the kernel lose messages of a subscription, or say so.
type Overrun = fn(&Stage<'_>, &Registered<'_>) -> Outcome;

const OVERRUNS: &[(&str, Overrun)] = &[("set_err", set_err), ("no_room", no_room)];

fn set_err(_: &Stage<'_>, family: &Registered<'_>) -> Outcome {
    family.send(KernelSend::new(Verb::SetErr(Errno::ENOBUFS as i32))).map(drop)
}

fn no_room(stage: &Stage<'_>, family: &Registered<'_>) -> Outcome {
    stage.while_paused(|| (0..400).try_for_each(|_| family.multicast(0, &large(2000)).map(drop)))
}

/// A subscription that loses messages, and what its caller is told up to the notification after that.
fn overrun<'s>(stage: &'s Stage<'_>, overrun: Overrun) -> Result<(Handle<'s>, Vec<Told>), Failure> {
    let family = stage.family(|family| family)?;
    let handle = stage.generic_with(stage.small_buffer())?;
    handle.subscribe(&family)?;
    overrun(stage, &family)?;
    let mut told = handle.drain_events()?;
    family.multicast(0, &number(9))?;
    told.extend(handle.until_event(9)?);
    Ok((handle, told))
}

fn overrun_is_reported(stage: &Stage<'_>, how: &Overrun) -> Outcome {
    let (handle, told) = overrun(stage, *how)?;
    let heard = told.iter().any(|event| event.is_overrun() || event.is_failure() && !event.is_timeout());
    told[0].must("events", heard, "overrun, or another failure, once; then what is sent later")?;
    handle.canary()
}

fn overrun_differs_from_other_errors(stage: &Stage<'_>, how: &Overrun) -> Outcome {
    let (handle, told) = overrun(stage, *how)?;
    told[0].must("events", told.iter().any(Told::is_overrun), "overrun, once")?;
    handle.canary()
}

fn overrun_in_a_dump(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| {
        family.step(Step { call: Some(1), ..dumping(Action::Block) }).step(dumping(Action::records(3, 10)))
    })?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let told = meanwhile(|| handle.dump(), || stage.while_blocked(|| set_err(stage, &family)))?;
    let mut heard = told.is_failure() || told.is_overrun();
    if !heard {
        // Told to whoever waits for events, it is told too.
        heard = handle.next_event()?.is_overrun();
    }
    told.must("outcome of the dump", heard, "overrun, or another failure; or the next event is overrun")?;
    handle.canary()
}

const SIZES: &[(&str, usize)] = &[("8_kib", 8193), ("16_kib", 16385), ("32_kib", 32769), ("60_kib", 60000)];

/// Bytes of filler that the caller was given.
fn filler(told: &Told) -> usize {
    let attributes = told.messages().iter().flat_map(|message| message.attributes.iter().flatten());
    attributes.map(|attribute| if let Attribute::Filler(bytes) = attribute { bytes.len() } else { 0 }).sum()
}

fn large(size: usize) -> Vec<u8> {
    Attrs::new().put(ATTRIBUTES.filler, &vec![7; size]).as_bytes().to_vec()
}

fn large_notification(stage: &Stage<'_>, size: &usize) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    family.multicast(0, &large(*size))?;
    let told = handle.next_event()?;
    let acceptable = told.is_done() && filler(&told) == *size || told.is_failure() && !told.is_timeout();
    told.must(
        "next event",
        acceptable,
        &format!("all {size} bytes of filler; or truncated, or another failure"),
    )?;
    family.multicast(0, &number(9))?;
    handle.until_event(9)?;
    handle.canary()
}

fn large_reply(stage: &Stage<'_>, size: &usize) -> Outcome {
    let reply = Action::Reply(DO.into(), 0, large(*size));
    let _family = stage.family(|family| family.step(doing(reply)))?;
    let handle = stage.generic()?;
    let told = handle.request(DO, Expects::Reply)?;
    let acceptable = told.is_done() && filler(&told) == *size || told.is_failure() && !told.is_timeout();
    let words = format!("all {size} bytes of filler; or truncated, or another failure");
    told.must("outcome of the request", acceptable, &words)?;
    handle.canary()
}
