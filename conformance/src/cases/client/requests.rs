//! Requests that are no dumps, and all that may answer them.

use crate::cases::scenarios;
use crate::client::protocol::Expects;
use crate::outcome::{Failure, Outcome, mismatch};
use crate::port::provider::{Action, Family, KernelSend, LogEntry, On, RawDatagram, Verb};
use crate::scene::bus::Registered;
use crate::scene::client::{BRIEF, DO, Stage, doing, meanwhile, number, numbered};
use crate::wire::genl;
use crate::wire::message::{Message, NLMSG_ERROR, NLMSG_NOOP};
use nix::errno::Errno;

scenarios! {
    reply_without_acknowledgement => "CL-REQ-001";
    acknowledgement_alone => "CL-REQ-002";
    acknowledgement_after_the_reply => "CL-REQ-003";
    acknowledgement_before_the_reply => "CL-REQ-004";
    three_replies => "CL-REQ-005";
    no_answer => "CL-REQ-006";
    late_answer => "CL-REQ-007";
    two_requests_at_a_time => "CL-REQ-009";
    noop_before_the_reply => "CL-REQ-010";
    second_handle => "CL-REQ-011";
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

/// No reply, and no acknowledgement whether one was asked for or not.
fn silent(family: Family) -> Family {
    family.step(doing(Action::Return(-(Errno::EINTR as i64))))
}

/// Replies with a number to a request whose handler has returned, by the headers of genlmsg_put_reply().
fn reply_later(family: &Registered<'_>, request: &LogEntry, value: u32) -> Outcome {
    let LogEntry { portid, seq, .. } = *request;
    let header = Message::new(family.id).seq(seq).portid(portid);
    let reply = header.bytes(&genl::header(DO, 1)).bytes(&number(value));
    family.send(KernelSend { portid, ..KernelSend::messages(Verb::Unicast, &[reply]) }).map(drop)
}

fn no_answer(stage: &Stage<'_>) -> Outcome {
    let _family = stage.family(silent)?;
    let handle = stage.generic()?;
    let told = handle.within(BRIEF).request(DO, Expects::Reply)?;
    told.must("outcome of the request", told.is_timeout(), "timeout")?;
    handle.canary()
}

fn late_answer(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(silent)?;
    let handle = stage.generic()?;
    let told = handle.within(BRIEF).request(DO, Expects::Reply)?;
    told.must("outcome of the request that is not answered", told.is_timeout(), "timeout")?;
    let request = stage.called(On::Doit, DO)?;
    reply_later(&family, &request, 13)?;
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
            reply_later(&family, &request, 7)
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
