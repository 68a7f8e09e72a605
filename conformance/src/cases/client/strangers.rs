//! Messages of other processes: who has CAP_NET_ADMIN may send to any port, and as a multicast.

use nix::errno::Errno;

use crate::cases::scenarios;
use crate::client::protocol::Expects;
use crate::outcome::{Failure, Outcome};
use crate::port::provider::{Action, Family, LogEntry, On};
use crate::scene::bus::Registered;
use crate::scene::client::{
    ATTRIBUTES, BRIEF, CANARY, DO, Handle, Stage, Told, doing, meanwhile, number, numbered,
};
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLMSG_ERROR};

scenarios! {
    message_with_another_number => "CL-STR-001";
    data_with_another_number => "CL-STR-002";
    error_with_the_expected_number => "CL-STR-003";
    multicast_of_a_stranger => "CL-STR-004";
    lengths_that_cannot_be(LENGTHS) => "CL-STR-005";
    data_with_the_expected_number => "CL-STR-006";
    payload_that_cannot_be(PAYLOADS) => "CL-STR-007";
}

/// Acceptable where a stranger knows the number of the request.
const UNTAKEN: &str = "done, with number 7; or foreign message";

/// The number of the stranger's data.
const STRANGE: u32 = 666;
/// How far the sequence number of another message is from the request's: the lower half does not show it.
const APART: u32 = 1 << 16;

/// A request during which a stranger sends this, made of the family and the request: what the caller is told.
fn met_by<'s>(
    stage: &'s Stage<'_>,
    message: impl FnOnce(&Registered<'_>, &LogEntry) -> Message,
) -> Result<(Handle<'s>, Told), Failure> {
    // What pre_doit was given is logged before doit waits.
    let announced = |family| Family { pre_post: true, ..family };
    let family =
        stage.family(|family| announced(family).step(doing(Action::Block)).step(doing(numbered(7))))?;
    let handle = stage.generic()?;
    let stranger = stage.bus().generic()?;
    let told = meanwhile(
        || handle.request(DO, Expects::Reply),
        || {
            stage.while_blocked(|| {
                let request = stage.called(On::PreDoit, DO)?;
                let message = message(&family, &request);
                stranger.send_to(Address::port(request.portid), &message.encode())?;
                Ok(())
            })
        },
    )?;
    Ok((handle, told))
}

fn data(family: &Registered<'_>, command: u8, seq: u32) -> Message {
    Message::new(family.id).seq(seq).bytes(&genl::header(command, 1)).bytes(&number(STRANGE))
}

fn message_with_another_number(stage: &Stage<'_>) -> Outcome {
    let (handle, told) =
        met_by(stage, |family, request| data(family, CANARY, request.seq.wrapping_add(APART)))?;
    told.must("outcome of the request", told.gave(&[7]), "done, with number 7")?;
    handle.canary()
}

fn data_with_another_number(stage: &Stage<'_>) -> Outcome {
    let (handle, told) = met_by(stage, |family, request| data(family, DO, request.seq.wrapping_add(APART)))?;
    let unmixed = !told.numbers().contains(&STRANGE);
    told.must(
        "outcome of the request",
        unmixed && !told.is_timeout(),
        "number 7, or a failure; never number 666",
    )?;
    handle.canary()
}

fn data_with_the_expected_number(stage: &Stage<'_>) -> Outcome {
    let data = |family: &Registered<'_>, request: &LogEntry| {
        // All that is in the message is as in the kernel's reply.
        data(family, DO, request.seq).portid(request.portid)
    };
    let (handle, told) = met_by(stage, data)?;
    told.must("outcome of the request", told.gave(&[7]) || told.is_foreign(), UNTAKEN)?;
    handle.canary()
}

fn error_with_the_expected_number(stage: &Stage<'_>) -> Outcome {
    let error = |_: &Registered<'_>, request: &LogEntry| {
        let error = Message::new(NLMSG_ERROR).seq(request.seq).portid(request.portid);
        error.bytes(&(-(Errno::EXDEV as i32)).to_ne_bytes()).bytes(&Message::request(0).header())
    };
    let (handle, told) = met_by(stage, error)?;
    told.must("outcome of the request", told.gave(&[7]) || told.is_foreign(), UNTAKEN)?;
    handle.canary()
}

fn group_of(family: &Registered<'_>) -> Address {
    Address { groups: 1 << (family.groups[0] - 1), ..Address::KERNEL }
}

fn multicast_of_a_stranger(stage: &Stage<'_>) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let stranger = stage.bus().generic()?;
    stranger.send_to(group_of(&family), &data(&family, DO, 0).encode())?;
    let told = handle.within(BRIEF).next_event()?;
    let port = stranger.portid()?;
    let marked = told.messages().iter().all(|message| message.sender == Some(port));
    let acceptable = "timeout, or a failure; or the message, with the sender's port";
    told.must("next event", told.is_failure() || marked, acceptable)?;
    handle.canary()
}

/// nlmsg_len, and the bytes of the datagram.
const LENGTHS: &[(&str, (u32, usize))] =
    &[("0", (0, 20)), ("15", (15, 20)), ("beyond_the_end", (4000, 20)), ("less_than_a_header", (4, 4))];

fn lengths_that_cannot_be(stage: &Stage<'_>, (length, size): &(u32, usize)) -> Outcome {
    let _family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.canary()?;
    let port = stage.called(On::Doit, CANARY)?.portid;
    let message = Message::new(16).bytes(&[0; 4]).claim_len(*length);
    stage.bus().generic()?.send_to(Address::port(port), &message.encode()[..*size])?;
    handle.canary()?;
    handle.canary()
}

/// Makes what follows the nlmsghdr.
type Payload = fn() -> Vec<u8>;

const PAYLOADS: &[(&str, Payload)] = &[
    ("attribute_of_0_bytes", || number_claiming(0)),
    ("attribute_of_3_bytes", || number_claiming(3)),
    ("attribute_beyond_the_end", || number_claiming(4000)),
    ("less_than_a_header", || vec![DO, 1]),
];

/// A number whose nla_len is not true.
fn number_claiming(len: u16) -> Vec<u8> {
    let number = Attrs::new().put_claiming(ATTRIBUTES.number, len, &STRANGE.to_ne_bytes());
    [&genl::header(DO, 1), number.as_bytes()].concat()
}

fn payload_that_cannot_be(stage: &Stage<'_>, payload: &Payload) -> Outcome {
    let family = stage.family(|family| family)?;
    let handle = stage.generic()?;
    handle.subscribe(&family)?;
    let message = Message::new(family.id).bytes(&payload());
    stage.bus().generic()?.send_to(group_of(&family), &message.encode())?;
    family.multicast(0, &number(9))?;
    handle.until_event(9)?;
    handle.canary()
}
