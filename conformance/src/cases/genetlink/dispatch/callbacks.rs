//! What a command's callbacks get, when they are called, and which policy applies.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_bytes, expect_eq, expect_errno, expect_ok};
use crate::port::provider::{
    Action, AttrKind, Capture, Check, Family, LogEntry, On, Op, OpKind, Policy, PolicyEntry,
};
use crate::scene::bus::Bus;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP};
use crate::wire::u32_at;

cases! {
    doit_gets_the_request => "GENL-DSP-014";
    doit_gets_the_senders_namespace => "GENL-DSP-014";
    doit_gets_the_attributes(ATTRIBUTES) => "GENL-DSP-031";
    doit_gets_null_user_pointers => "GENL-DSP-032";
    doit_gets_the_info_of_its_request => "GENL-DSP-014";
    callbacks_of_a_dump_get_the_info_of_its_request => "GENL-DSP-042";
    callbacks_of_a_dump_get_null_user_pointers => "GENL-DSP-043";
    callbacks_get_the_internal_flags(ARRAYS) => "GENL-DSP-041";
    callbacks_are_called_in_order => "GENL-DSP-017";
    failed_parsing_calls_no_callback => "GENL-DSP-017";
    refusal_of_pre_doit_ends_the_request => "GENL-DSP-017";
    post_doit_is_called_after_a_failed_doit => "GENL-DSP-033";
    dump_calls_neither_pre_nor_post_doit => "GENL-DSP-034";
    split_command_has_its_own_pre_and_post_doit => "GENL-DSP-035";
    split_command_does_not_use_the_familys_pre_and_post_doit => "GENL-DSP-035";
    small_command_has_no_start_and_no_done => "GENL-DSP-021";
    policy_and_maxattr_come_from(POLICIES) => "GENL-DSP-037";
}

/// The callbacks that a request called, and its result.
fn called(bus: &Bus<'_>, request: &Message) -> Result<(Vec<On>, i64), Failure> {
    let status = bus.generic()?.ask(request)?.ack()?.status;
    Ok((bus.calls_so_far()?.iter().map(|entry| entry.on).collect(), status.into()))
}

/// The log entry of the `doit` that a request calls.
fn doit(bus: &Bus<'_>, family: Family, attrs: Attrs) -> Result<LogEntry, Failure> {
    let family = bus.register(family.op(Op::doing(1)))?;
    expect_ok("request", bus.generic()?.ask(&family.request(1, attrs).with(NLM_F_ACK))?)?;
    let mut calls = bus.calls(On::Doit)?;
    expect_eq("calls of doit", calls.len(), 1)?;
    Ok(calls.remove(0))
}

fn doit_gets_the_request(bus: &Bus<'_>) -> Outcome {
    // Below resv_start_op, where a command without a policy accepts any attribute.
    let family = Family { resv_start_op: 10, ..Family::named("nlc_told") }.op(Op::doing(9));
    let family = bus.register(family.on(On::Doit, Action::Capture(Capture::Message)))?;
    let socket = bus.generic()?;
    let request = family.request(9, Attrs::new().u32(1, 5)).with(NLM_F_ACK).seq(0x1234).portid(0x77);
    expect_ok("request", socket.ask(&request)?)?;
    let calls = bus.calls(On::Doit)?;
    expect_eq("calls of doit", calls.len(), 1)?;
    expect_eq("sequence number", calls[0].seq, 0x1234)?;
    expect_eq("port ID, which is not nlmsg_pid", calls[0].portid, socket.portid()?)?;
    expect_eq("command", calls[0].subject, 9)?;
    expect_eq("message", &calls[0].bytes, &request.encode())
}

/// A reply goes to the port in the network namespace that `doit` gets: the same port is open in
/// two of them.
fn doit_gets_the_senders_namespace(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_replies").op(Op::doing(1)).on(On::Doit, Action::Reply(2, 0, vec![]));
    let family = bus.register(family)?;
    let here = bus.generic()?;
    let portid = here.portid()?;
    let reply = bus.run_as(crate::port::Who::OtherNet, || {
        let there = bus.open(libc::NETLINK_GENERIC)?;
        there.bind(crate::wire::address::Address::port(portid))?;
        let answer = there.ask(&family.request(1, Attrs::new()).with(NLM_F_ACK))?;
        Ok(genl::cmd(answer.reply()?))
    })?;
    expect_eq("command of the reply", reply, Some(2))?;
    here.expect_nothing("reply at the same port of another network namespace")
}

/// A policy that accepts a u32 for each type up to this one.
fn numbers(maxattr: u16) -> Policy {
    let entry = |attr| PolicyEntry { attr, kind: AttrKind::U32, ..PolicyEntry::default() };
    Policy::of((1..=maxattr).map(entry).collect::<Vec<_>>())
}

type Attributes = (u16, fn() -> Attrs, &'static [u8]);

/// Highest type that the policy covers, attributes sent, and for each type whether it is there.
const ATTRIBUTES: &[(&str, Attributes)] = &[
    ("none_sent", (3, Attrs::new, &[0, 0, 0, 0])),
    ("some_sent", (3, || Attrs::new().u32(3, 0).u32(1, 0), &[0, 1, 0, 1])),
    ("highest_sent", (200, || Attrs::new().u32(200, 0), &HIGHEST)),
    ("maxattr_0", (0, Attrs::new, &[])),
];

const HIGHEST: [u8; 201] = {
    let mut present = [0; 201];
    present[200] = 1;
    present
};

fn doit_gets_the_attributes(bus: &Bus<'_>, (maxattr, attrs, present): &Attributes) -> Outcome {
    let family = Family::named("nlc_attrs").on(On::Doit, Action::Capture(Capture::AttrsPresent));
    let family = if *maxattr > 0 { family.policy(numbers(*maxattr)) } else { family };
    // Without a policy, a command below this one does not get the policy that rejects everything.
    let family = Family { resv_start_op: 2, ..family };
    expect_eq("types of the pointers that are set", doit(bus, family, attrs())?.bytes, *present)
}

/// The provider leaves pointers in each request when it is done, as families do.
/// Both `user_ptr`, and the rest of `ctx` where there is one, must be zero.
fn expect_untouched(bus: &Bus<'_>, call: &LogEntry) -> Outcome {
    let least = 2 * bus.sizes().long;
    expect(
        "bytes of user_ptr and ctx",
        call.bytes.len() >= least,
        &format!("{least} or more"),
        call.bytes.len(),
    )?;
    expect_bytes(
        &format!("what {:?} gets in user_ptr and ctx", call.on),
        &call.bytes,
        vec![0; call.bytes.len()],
    )
}

fn doit_gets_null_user_pointers(bus: &Bus<'_>) -> Outcome {
    let family = Family::named("nlc_pointers").on(On::Doit, Action::Capture(Capture::UserPointers));
    let family = bus.register(family.op(Op::doing(1)))?;
    let socket = bus.generic()?;
    for _ in 0..3 {
        expect_ok("request", socket.ask(&family.request(1, Attrs::new()).with(NLM_F_ACK))?)?;
    }
    let calls = bus.calls(On::Doit)?;
    expect_eq("calls of doit", calls.len(), 3)?;
    for call in calls {
        expect_untouched(bus, &call)?;
    }
    Ok(())
}

/// A family whose command 1 can be done and dumped, in several datagrams; its callbacks capture this.
fn capturing(what: Capture) -> Family {
    let family = Family::named("nlc_info").op(Op { doit: true, ..Op::dumping(1) });
    [On::Doit, On::Start, On::Dumpit, On::Done]
        .into_iter()
        .fold(family, |family, on| family.on(on, Action::Capture(what)))
        .on(On::Dumpit, Action::records(30, 500))
}

/// The calls of callbacks must have captured these words.
fn expect_words(calls: &[LogEntry], words: &[u32]) -> Outcome {
    for call in calls {
        let captured: Vec<u32> =
            (0..call.bytes.len()).step_by(4).filter_map(|at| u32_at(&call.bytes, at)).collect();
        expect_eq(&format!("what {:?} gets", call.on), captured, words)?;
    }
    Ok(())
}

/// Sequence number and port ID, and that all else is that of the request.
fn info(portid: u32) -> [u32; 7] {
    [0x1234, portid, 1, 1, 1, 1, 1]
}

fn doit_gets_the_info_of_its_request(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(capturing(Capture::Info))?;
    let socket = bus.generic()?;
    let request = family.request(1, Attrs::new()).with(NLM_F_ACK).seq(0x1234).portid(0x77);
    expect_ok("request", socket.ask(&request)?)?;
    let calls = bus.calls(On::Doit)?;
    expect_eq("calls of doit", calls.len(), 1)?;
    expect_words(&calls, &info(socket.portid()?))
}

/// start, several calls of dumpit, done.
fn expect_dumped(calls: &[LogEntry]) -> Outcome {
    let callbacks: Vec<On> = calls.iter().map(|call| call.on).collect();
    let several =
        calls.len() > 3 && callbacks.first() == Some(&On::Start) && callbacks.last() == Some(&On::Done);
    expect("callbacks", several, "start, several calls of dumpit, done", &callbacks)
}

fn callbacks_of_a_dump_get_the_info_of_its_request(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(capturing(Capture::Info))?;
    let socket = bus.generic()?;
    let request = family.request(1, Attrs::new()).with(NLM_F_DUMP).seq(0x1234).portid(0x77);
    expect_ok("dump", socket.ask(&request)?)?;
    let calls = bus.calls_so_far()?;
    expect_dumped(&calls)?;
    expect_words(&calls, &info(socket.portid()?))
}

fn callbacks_of_a_dump_get_null_user_pointers(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(capturing(Capture::UserPointers))?;
    let socket = bus.generic()?;
    for _ in 0..3 {
        expect_ok("dump", socket.ask(&family.request(1, Attrs::new()).with(NLM_F_DUMP))?)?;
        let calls = bus.calls_so_far()?;
        expect_dumped(&calls)?;
        calls.iter().try_for_each(|call| expect_untouched(bus, call))?;
    }
    Ok(())
}

const ARRAYS: &[(&str, OpKind)] =
    &[("ops", OpKind::Full), ("small_ops", OpKind::Small), ("split_ops", OpKind::Split)];

/// Bits of command 1, which is a do, and of command 2, which is a dump.
const INTERNAL: [u8; 2] = [0x35, 0xa6];

fn callbacks_get_the_internal_flags(bus: &Bus<'_>, kind: &OpKind) -> Outcome {
    let split = *kind == OpKind::Split;
    let own = |op: Op, flags, internal_flags| {
        let flags = if split { flags } else { 0 };
        Op { internal_flags, ..op.kind(*kind).flags(flags) }
    };
    let doing = Op { pre_post: split, ..own(Op::doing(1), genl::GENL_CMD_CAP_DO, INTERNAL[0]) };
    let family = Family { pre_post: !split, ..Family::named("nlc_internal") }.op(doing).op(own(
        Op::dumping(2),
        genl::GENL_CMD_CAP_DUMP,
        INTERNAL[1],
    ));
    let family = [On::PreDoit, On::PostDoit, On::Start, On::Dumpit, On::Done]
        .into_iter()
        .fold(family, |family, on| family.on(on, Action::Capture(Capture::InternalFlags)));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    expect_ok("request", socket.ask(&family.request(1, Attrs::new()).with(NLM_F_ACK))?)?;
    expect_ok("dump", socket.ask(&family.request(2, Attrs::new()).with(NLM_F_DUMP))?)?;
    let calls: Vec<_> = bus.calls_so_far()?.into_iter().filter(|call| call.on != On::Doit).collect();
    for (cmd, internal) in (1..).zip(INTERNAL) {
        let of_command = || calls.iter().filter(|call| call.subject == cmd);
        expect(
            "calls of callbacks that get the bits",
            of_command().count() > 0,
            "some",
            of_command().count(),
        )?;
        for call in of_command() {
            expect_eq(&format!("internal_flags that {:?} gets", call.on), &call.bytes[..], [internal])?;
        }
    }
    Ok(())
}

/// A family with `pre_doit` and `post_doit` whose command 1 has doit and dumpit.
fn framed() -> Family {
    Family { pre_post: true, ..Family::named("nlc_framed") }.op(Op { doit: true, ..Op::dumping(1) })
}

const EACCES: Action = Action::Return(-(libc::EACCES as i64));

fn callbacks_are_called_in_order(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(framed())?;
    let (callbacks, status) = called(bus, &family.request(1, Attrs::new()).with(NLM_F_ACK))?;
    expect_ok("request", status)?;
    expect_eq("callbacks", callbacks, [On::PreDoit, On::Doit, On::PostDoit])
}

fn failed_parsing_calls_no_callback(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(framed().policy(numbers(1)))?;
    let (callbacks, status) = called(bus, &family.request(1, Attrs::new().u32(2, 0)).with(NLM_F_ACK))?;
    expect_errno("request with an unknown attribute", status, Errno::EINVAL)?;
    expect_eq("callbacks", callbacks, [])
}

fn refusal_of_pre_doit_ends_the_request(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(framed().on(On::PreDoit, EACCES))?;
    let (callbacks, status) = called(bus, &family.request(1, Attrs::new()).with(NLM_F_ACK))?;
    expect_errno("request", status, Errno::EACCES)?;
    expect_eq("callbacks", callbacks, [On::PreDoit])
}

fn post_doit_is_called_after_a_failed_doit(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(framed().on(On::Doit, EACCES))?;
    let (callbacks, status) = called(bus, &family.request(1, Attrs::new()).with(NLM_F_ACK))?;
    expect_errno("request", status, Errno::EACCES)?;
    expect_eq("callbacks", callbacks, [On::PreDoit, On::Doit, On::PostDoit])
}

fn dump_calls_neither_pre_nor_post_doit(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(framed())?;
    let (callbacks, status) = called(bus, &family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    expect_ok("dump", status)?;
    expect_eq("callbacks", callbacks, [On::Start, On::Dumpit, On::Done])
}

fn split(pre_post: bool) -> Op {
    Op { pre_post, ..Op::doing(1).kind(OpKind::Split).flags(genl::GENL_CMD_CAP_DO) }
}

fn split_command_has_its_own_pre_and_post_doit(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_split").op(split(true)))?;
    let (callbacks, _) = called(bus, &family.request(1, Attrs::new()).with(NLM_F_ACK))?;
    expect_eq("callbacks", callbacks, [On::PreDoit, On::Doit, On::PostDoit])
}

fn split_command_does_not_use_the_familys_pre_and_post_doit(bus: &Bus<'_>) -> Outcome {
    let family = Family { pre_post: true, ..Family::named("nlc_split") };
    let family = bus.register(family.op(split(false)))?;
    let (callbacks, _) = called(bus, &family.request(1, Attrs::new()).with(NLM_F_ACK))?;
    expect_eq("callbacks", callbacks, [On::Doit])
}

fn small_command_has_no_start_and_no_done(bus: &Bus<'_>) -> Outcome {
    let family = bus.register(Family::named("nlc_small").op(Op::dumping(1).kind(OpKind::Small)))?;
    let (callbacks, status) = called(bus, &family.request(1, Attrs::new()).with(NLM_F_DUMP))?;
    expect_ok("dump", status)?;
    expect_eq("callbacks", callbacks, [On::Dumpit])
}

/// A policy that rejects the types up to this one with this message.
fn rejecting(maxattr: u16, words: &str) -> Policy {
    let check = Check::Message(words.into());
    let entry = |attr| PolicyEntry { attr, kind: AttrKind::Reject, check: check.clone(), len: 0 };
    Policy::of((1..=maxattr).map(entry).collect::<Vec<_>>())
}

const FAMILYS: &str = "the family's policy";
const COMMANDS: &str = "the command's policy";
const UNKNOWN: &str = "Unknown attribute type";

/// The command, and the messages for attributes 1, 2 and 3. The family's maxattr is 2.
type Command = (fn() -> Op, [&'static str; 3]);

const POLICIES: &[(&str, Command)] = &[
    ("family_for_small_ops", (|| Op::doing(1).kind(OpKind::Small), [FAMILYS, FAMILYS, UNKNOWN])),
    ("family_for_ops_without", (|| Op::doing(1), [FAMILYS, FAMILYS, UNKNOWN])),
    ("command", (|| Op { policy: Some(1), maxattr: 3, ..Op::doing(1) }, [COMMANDS; 3])),
    (
        "command_with_the_familys_maxattr",
        (|| Op { policy: Some(1), ..Op::doing(1) }, [COMMANDS, COMMANDS, UNKNOWN]),
    ),
    ("family_with_the_commands_maxattr", (|| Op { maxattr: 1, ..Op::doing(1) }, [FAMILYS, UNKNOWN, UNKNOWN])),
];

fn policy_and_maxattr_come_from(bus: &Bus<'_>, (op, said): &Command) -> Outcome {
    let mut family = Family::named("nlc_policies").policy(rejecting(2, FAMILYS)).op(op());
    family.policies.push(rejecting(3, COMMANDS));
    let family = bus.register(family)?;
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    for (kind, said) in (1..).zip(said) {
        let answer = socket.ask(&family.request(1, Attrs::new().u32(kind, 0)).with(NLM_F_ACK))?;
        let ack = answer.ack()?;
        expect_errno(&format!("request with attribute {kind}"), ack, Errno::EINVAL)?;
        expect_eq(&format!("message for attribute {kind}"), ack.message.as_deref(), Some(*said))?;
    }
    Ok(())
}
