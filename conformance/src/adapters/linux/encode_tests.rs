use std::slice;

use serde::de::DeserializeOwned;

use super::*;
use crate::adapters::linux::abi::{CONSTANTS, PolicyEntry};
use crate::adapters::linux::family::family;
use crate::port::provider::{self, AttrKind, Check, Context, Family, Helper, On, Op, OpKind, Policy};
use crate::wire::message::{Message, batch};

/// The items of an array.
fn items<T: Copy>(array: Array) -> Vec<T> {
    // SAFETY: the caller keeps the arena of the array alive.
    unsafe { slice::from_raw_parts(array.ptr as *const T, array.count as usize) }.to_vec()
}

fn encoded(action: Action) -> (Arena, abi::Step) {
    let mut arena = Arena::default();
    let array = arena.script(&[Step::new(On::Dumpit, action).cmd(7).call(2)]);
    let step = items(array)[0];
    (arena, step)
}

#[test]
fn a_step_keeps_its_conditions_and_its_bytes() {
    let (_arena, step) = encoded(Action::Put(3, 2, b"abc".to_vec()));
    assert_eq!((step.on, step.cmd, step.call), (On::Dumpit as u8, 7, 2));
    assert_eq!((step.action.into(), step.a, step.b), (abi::NLPROBE_PUT, 3, 2));
    assert_eq!(items::<u8>(step.bytes), b"abc");
}

#[test]
fn arguments_stand_where_the_probe_looks_for_them() {
    let arguments = |action| {
        let (_arena, step) = encoded(action);
        (u32::from(step.action), step.a, step.b, step.c)
    };
    assert_eq!(arguments(Action::Return(-95)), (abi::NLPROBE_RETURN, -95i64 as u64, 0, 0));
    assert_eq!(arguments(Action::MissAttr(4, None)), (abi::NLPROBE_MISS_ATTR, 4, u64::MAX, 0));
    assert_eq!(arguments(Action::MissAttr(4, Some(1))), (abi::NLPROBE_MISS_ATTR, 4, 1, 0));
    let records = Action::Records { until: 9, size: 100, emsgsize: true };
    assert_eq!(arguments(records), (abi::NLPROBE_RECORDS, 9, 100, 1));
    let capture = Action::Capture(Capture::Attr(5));
    assert_eq!(arguments(capture), (abi::NLPROBE_CAPTURE, abi::NLPROBE_CAPTURE_ATTR.into(), 5, 0));
}

#[test]
fn a_datagram_says_which_messages_the_request_completes() {
    let (reply, other) = (Message::new(1).bytes(&[7]), Message::new(2).seq(3));
    let datagram = RawDatagram::default().reply(&reply).exactly(&other).family_reply(&other);
    let (_arena, step) = encoded(Action::Datagram(datagram));
    assert_eq!((step.action.into(), step.a, step.b, step.c), (abi::NLPROBE_DATAGRAM, 0b100, 0b101, 0b101));
    assert_eq!(items::<u8>(step.bytes), batch(&[reply, other.clone(), other]));
}

/// The enumeration of the port has, for each of the header's constants with this prefix, a variant of its
/// name that is its number.
fn same_order<T: DeserializeOwned>(prefix: &str, number: impl Fn(T) -> u32) {
    let known = CONSTANTS.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
    for (name, value) in known.filter(|(name, _)| *name != "COUNT") {
        let word = name.to_lowercase().replace('_', "-");
        let variant = serde_json::from_value(word.into()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(i64::from(number(variant)), *value, "{prefix}{name}");
    }
}

#[test]
fn enumerations_are_the_headers() {
    same_order("NLPROBE_ON_", |on: On| on as u32);
    same_order("NLPROBE_KIND_", |kind: AttrKind| kind as u32);
    same_order("NLPROBE_HELPER_", |helper: Helper| helper as u32);
    same_order("NLPROBE_OPS_", |kind: OpKind| kind as u32);
    same_order("NLPROBE_CONTEXT_", |context: Context| context as u32);
    let numbers: Vec<_> = On::ALL.iter().map(|on| *on as u32).collect();
    assert_eq!(numbers, (0..abi::NLPROBE_ON_COUNT).collect::<Vec<_>>());
}

#[test]
fn names_fill_their_room_and_no_more() {
    assert_eq!(name::<4>("ab").unwrap(), *b"ab\0\0");
    assert_eq!(name::<4>("abcd").unwrap(), *b"abcd");
    assert!(name::<4>("abcde").is_err());
}

#[test]
fn no_descriptor_is_taken_for_a_namespace_of_another_kind() {
    let how = Call { net: Net::Fd(-1), ..Call::default() };
    assert!(matches!(call(&how), Err(Unable::Failed(_))));
}

fn entry(attr: u16, len: u16, check: Check) -> provider::PolicyEntry {
    provider::PolicyEntry { attr, kind: AttrKind::S32, len, check }
}

#[test]
fn bounds_keep_their_sign_and_texts_their_bytes() {
    let policy = Policy::of([entry(1, 0, Check::Range(-2, 3)), entry(2, 0, Check::Message("no".into()))]);
    let mut arena = Arena::default();
    let encoded = family(&mut arena, &Family::named("f").policy(policy), &Call::default()).unwrap();
    let entries: Vec<PolicyEntry> = items(items::<abi::Policy>(encoded.policies)[0].entries);
    assert_eq!(
        (entries[0].kind.into(), entries[0].check.into()),
        (abi::NLPROBE_KIND_S32, abi::NLPROBE_CHECK_RANGE)
    );
    assert_eq!((entries[0].a as i64, entries[0].b), (-2, 3));
    assert_eq!(items::<u8>(entries[1].text), b"no");
}

#[test]
fn a_policy_reaches_as_far_as_anybody_asks() {
    let nest = Policy::of([entry(1, 6, Check::Nested(1))]);
    let policies = vec![nest, Policy::default(), Policy::default()];
    let mut described = Family { policies, policy: Some(0), maxattr: 2, ..Family::named("f") };
    described.ops = vec![
        Op { maxattr: 4, ..Op::doing(1) },      // with the family's policy
        Op { policy: Some(2), ..Op::doing(2) }, // up to the family's highest type
    ];
    let mut arena = Arena::default();
    let encoded = family(&mut arena, &described, &Call::default()).unwrap();
    let reach: Vec<_> = items::<abi::Policy>(encoded.policies).iter().map(|policy| policy.maxattr).collect();
    assert_eq!(reach, [4, 6, 2]);
    let policies: Vec<_> = items::<abi::Op>(encoded.ops).iter().map(|op| op.policy).collect();
    assert_eq!(policies, [-1, 2]);
}
