//! Extended acknowledgements: attributes after the copy of the request.

use nix::errno::Errno;
use nix::libc;

use crate::cases::cases;
use crate::outcome::{
    Failure, Outcome, expect, expect_bytes, expect_empty, expect_eq, expect_errno, expect_ok, mismatch,
};
use crate::port::provider::{Action, AttrKind, Check, Family, On, Op, Policy, PolicyEntry, Protocol, Step};
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::{Bus, Socket};
use crate::wire::ack::{self, Ack};
use crate::wire::attr::{Attrs, NLA_F_NESTED};
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLMSG_NOOP};
use crate::wire::policy::{self, Advertised};

cases! {
    attributes_are_not_sent_unasked(CAPPED_OR_NOT) => "NL-ACK-004";
    attributes_follow_the_request(CAPPED_OR_NOT) => "NL-ACK-004";
    no_flag_without_attributes [initial_net] => "NL-ACK-004";
    acknowledgement_without_an_extended_one_has_no_attributes(ERRNOS) => "NL-ACK-020";
    message_of_an_error_is_nul_terminated => "NL-ACK-005";
    success_may_come_with_a_warning => "NL-ACK-014";
    message_of_a_handler_that_succeeds_is_sent => "NL-ACK-014";
    offset_is_counted_from_the_header(OFFSETS) => "NL-ACK-006";
    offset_points_to_the_nested_attribute => "NL-ACK-006";
    offset_in_a_batch_is_counted_from_its_message => "NL-ACK-006";
    success_has_no_offset => "NL-ACK-006";
    policy_of_an_integer_is_described => "NL-ACK-007";
    violated_policy_is_described(POLICIES) => "NL-ACK-007";
    policy_is_not_described_for_a_mask_alone => "NL-ACK-015";
    cookie_is_sent(RESULTS) => "NL-ACK-008";
    cookie_is_in_host_byte_order_wherever_it_stands(TEXTS) => "NL-ACK-019";
    missing_attribute_is_reported => "NL-ACK-009";
    missing_attribute_is_reported_with_its_nest => "NL-ACK-009";
    success_has_no_missing_attribute => "NL-ACK-016";
    attributes_have_an_order => "NL-ACK-010";
    policy_follows_the_offset => "NL-ACK-010";
    formatted_message_is_truncated(LENGTHS) => "NL-ACK-013";
}

/// A `NETLINK_GENERIC` socket with `NETLINK_EXT_ACK`.
fn asking(bus: &Bus<'_>) -> Result<Socket, Failure> {
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    Ok(socket)
}

/// A request that fails because of its attributes: GETPOLICY is validated strictly.
fn get_policy(attrs: Attrs) -> Message {
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs).with(NLM_F_DUMP).seq(7)
}

/// An attribute that is unknown to GETPOLICY.
fn unknown() -> Attrs {
    Attrs::new().u32(99, 0)
}

const CAPPED_OR_NOT: &[(&str, u32)] = &[("full", 0), ("capped", 1)];

fn attributes_are_not_sent_unasked(bus: &Bus<'_>, cap: &u32) -> Outcome {
    let socket = bus.generic()?;
    socket.set(libc::NETLINK_CAP_ACK, *cap)?;
    let request = get_policy(unknown());
    socket.send(&request)?;
    let refusal = socket.receive_one()?;
    let copied = if *cap == 0 { request.len() } else { 16 };
    expect_eq("nlmsg_len", refusal.len(), 20 + copied)?;
    expect_eq("flags", refusal.flags, if *cap == 0 { 0 } else { NLM_F_CAPPED })
}

fn attributes_follow_the_request(bus: &Bus<'_>, cap: &u32) -> Outcome {
    let socket = asking(bus)?;
    socket.set(libc::NETLINK_CAP_ACK, *cap)?;
    let request = get_policy(unknown());
    socket.send(&request)?;
    let refusal = socket.receive_one()?;
    expect_eq("flags", refusal.flags, NLM_F_ACK_TLVS | if *cap == 0 { 0 } else { NLM_F_CAPPED })?;
    let copy = if *cap == 0 { request.encode() } else { request.header().to_vec() };
    expect_bytes("copy of the request", refusal.payload.get(4..4 + copy.len()).unwrap_or_default(), copy)?;
    let kinds: Vec<u16> = ack::tlvs(&refusal).iter().map(|attr| attr.kind()).collect();
    expect_eq("types of the attributes", kinds, [ack::NLMSGERR_ATTR_MSG, ack::NLMSGERR_ATTR_OFFS])
}

fn no_flag_without_attributes(bus: &Bus<'_>) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    let ack = socket.acknowledgement(&bus.acknowledged()?)?;
    expect_eq("flags", ack.flags, NLM_F_CAPPED)?;
    expect_eq("nlmsg_len", ack.len(), 36)
}

/// The errno, and whether `NETLINK_CAP_ACK` is on.
const ERRNOS: &[(&str, (u16, u32))] = &[
    ("success", (0, 0)),
    ("success_capped", (0, 1)),
    ("refusal", (libc::EPERM as u16, 0)),
    ("refusal_capped", (libc::EPERM as u16, 1)),
];

fn acknowledgement_without_an_extended_one_has_no_attributes(
    bus: &Bus<'_>,
    (errno, cap): &(u16, u32),
) -> Outcome {
    let script = vec![
        // The core's own extended acknowledgement, which the kernel code does not hand on.
        Step::new(On::Input, Action::ErrMsg("not for you".into())),
        Step::new(On::Input, Action::Ack(*errno)),
    ];
    bus.create_protocol(&Protocol { input: true, script, ..Protocol::with_groups(FREE_PROTOCOL, 1) })?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    socket.set(libc::NETLINK_EXT_ACK, 1)?;
    socket.set(libc::NETLINK_CAP_ACK, *cap)?;
    let request = Message::request(0x20).with(NLM_F_ACK).seq(7).bytes(&[1, 2, 3, 4]);
    socket.send(&request)?;
    let ack = socket.receive_one()?;
    let capped = *errno == 0 || *cap == 1;
    expect_eq("flags", ack.flags, if capped { NLM_F_CAPPED } else { 0 })?;
    let copy = if capped { request.header().to_vec() } else { request.encode() };
    expect_bytes("payload", ack.payload, [&(-i32::from(*errno)).to_ne_bytes()[..], &copy].concat())?;
    socket.expect_nothing("second acknowledgement")
}

fn message_of_an_error_is_nul_terminated(bus: &Bus<'_>) -> Outcome {
    let socket = asking(bus)?;
    socket.send(&get_policy(unknown()))?;
    let refusal = socket.receive_one()?;
    let tlvs = ack::tlvs(&refusal);
    let text = tlvs.iter().find(|attr| attr.raw_kind == ack::NLMSGERR_ATTR_MSG).map(|attr| attr.data);
    let expected = format!("{}\0", bus.expected::<String>("unknown")?);
    expect_bytes("NLMSGERR_ATTR_MSG", text.unwrap_or_default(), expected)
}

fn success_may_come_with_a_warning(bus: &Bus<'_>) -> Outcome {
    let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    let request =
        genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs).with(NLM_F_ACK).bytes(&[0; 3]);
    let answer = asking(bus)?.ask(&request)?;
    expect_ok("request with 3 bytes too many", answer.ack()?)?;
    expect_eq("text", answer.ack()?.message.clone(), Some(bus.expected::<String>("leftover")?))
}

/// The answer of a family whose command 1 runs this action and then returns 0 or a negative errno.
fn answer_of(bus: &Bus<'_>, actions: Vec<Action>, returned: i64, attrs: Attrs) -> Result<Ack, Failure> {
    let integers = [1, 2].map(|attr| PolicyEntry { attr, kind: AttrKind::U32, ..Default::default() });
    let inner = Policy::of(integers.clone());
    let nest = PolicyEntry { attr: 3, kind: AttrKind::Nested, check: Check::Nested(1), len: 2 };
    let mut family =
        Family::named("nlc_extack").op(Op::doing(1)).policy(Policy::of([&integers[..], &[nest]].concat()));
    family.policies.push(inner);
    for action in actions {
        family = family.on(On::Doit, action);
    }
    let family = bus.register(family.on(On::Doit, Action::Return(returned)))?;
    let answer = asking(bus)?.ask(&family.request(1, attrs).with(NLM_F_ACK))?;
    answer.ack().cloned()
}

const EINVAL: i64 = -(libc::EINVAL as i64);

fn message_of_a_handler_that_succeeds_is_sent(bus: &Bus<'_>) -> Outcome {
    let ack = answer_of(bus, vec![Action::ErrMsg("mind the gap".into())], 0, Attrs::new())?;
    expect_ok("request", &ack)?;
    expect_eq("text", ack.message.as_deref(), Some("mind the gap"))
}

/// Attributes before the bad one, and the offset of the bad one.
const OFFSETS: &[(&str, (usize, u32))] = &[("first", (0, 20)), ("second", (1, 28)), ("third", (2, 36))];

fn offset_is_counted_from_the_header(bus: &Bus<'_>, (before, offset): &(usize, u32)) -> Outcome {
    let mut attrs = Attrs::new();
    for _ in 0..*before {
        attrs = attrs.u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    }
    let answer = asking(bus)?.ask(&get_policy(attrs.u32(99, 0)))?;
    expect_eq("offset", answer.ack()?.offset, Some(*offset))
}

fn offset_points_to_the_nested_attribute(bus: &Bus<'_>) -> Outcome {
    let attrs = Attrs::new().u32(1, 0).nest(3, Attrs::new().u32(1, 0).u8(2, 0));
    let ack = answer_of(bus, vec![], 0, attrs)?;
    expect_errno("request with a short attribute in a nest", &ack, Errno::EINVAL)?;
    expect_eq("offset", ack.offset, Some(20 + 8 + 4 + 8))
}

fn offset_in_a_batch_is_counted_from_its_message(bus: &Bus<'_>) -> Outcome {
    let socket = asking(bus)?;
    let requests = [Message::request(NLMSG_NOOP).bytes(&[0; 100]), get_policy(unknown())];
    socket.send_bytes(&crate::wire::message::batch(&requests))?;
    let ack = Ack::read(&socket.receive_one()?);
    expect_eq("offset", ack.and_then(|ack| ack.offset), Some(20))
}

fn success_has_no_offset(bus: &Bus<'_>) -> Outcome {
    let ack = answer_of(bus, vec![Action::BadAttr(1)], 0, Attrs::new().u32(1, 0))?;
    expect_ok("request", &ack)?;
    expect_eq("offset", ack.offset, None)
}

/// The type must be `NLMSGERR_ATTR_POLICY` with `NLA_F_NESTED`.
fn described(ack: &Ack) -> Result<Advertised, Failure> {
    match ack.advertised() {
        Some(policy) if ack.order.contains(&(ack::NLMSGERR_ATTR_POLICY | NLA_F_NESTED)) => Ok(policy),
        _ => mismatch(
            "types of the attributes",
            "a nest NLMSGERR_ATTR_POLICY",
            format_args!("{:?}", ack.order),
        ),
    }
}

/// A family ID is a u16: any value, and no other length.
fn policy_of_an_integer_is_described(bus: &Bus<'_>) -> Outcome {
    let answer = asking(bus)?.ask(&get_policy(Attrs::new().u32(genl::CTRL_ATTR_FAMILY_ID, 16)))?;
    let expected = Advertised::unsigned(policy::NL_ATTR_TYPE_U16, 0, u16::MAX.into());
    expect_eq("policy", described(answer.ack()?)?, expected)
}

/// A policy for attribute 1, the attribute's payload, and the description of the policy.
type Violation = (fn() -> PolicyEntry, &'static [u8], Advertised);

const POLICIES: &[(&str, Violation)] = &[
    (
        "range",
        (
            || PolicyEntry { attr: 1, kind: AttrKind::U8, len: 0, check: Check::Range(10, 20) },
            &[9],
            Advertised::unsigned(policy::NL_ATTR_TYPE_U8, 10, 20),
        ),
    ),
    (
        "signed_range",
        (
            || PolicyEntry { attr: 1, kind: AttrKind::S8, len: 0, check: Check::Range(-10, -5) },
            &[0],
            Advertised::signed(policy::NL_ATTR_TYPE_S8, -10, -5),
        ),
    ),
    (
        "mask_and_wrong_length",
        (
            || PolicyEntry { attr: 1, kind: AttrKind::U8, len: 0, check: Check::Mask(0x0f) },
            &[0, 0],
            Advertised { mask: Some(0x0f), ..Advertised::plain(policy::NL_ATTR_TYPE_U8) },
        ),
    ),
    (
        "string",
        (
            || PolicyEntry { attr: 1, kind: AttrKind::String, len: 3, check: Check::None },
            b"four",
            Advertised { max_length: Some(3), ..Advertised::plain(policy::NL_ATTR_TYPE_STRING) },
        ),
    ),
    (
        "nest_without_its_flag",
        (
            || PolicyEntry { attr: 1, kind: AttrKind::Nested, len: 1, check: Check::Nested(0) },
            &[],
            Advertised::plain(policy::NL_ATTR_TYPE_NESTED),
        ),
    ),
];

fn violated_policy_is_described(bus: &Bus<'_>, (entry, payload, expected): &Violation) -> Outcome {
    let family = Family::named("nlc_policy").op(Op::doing(1)).policy(Policy::of([entry()]));
    let request = bus.register(family)?.request(1, Attrs::new().put(1, payload)).with(NLM_F_ACK);
    let answer = asking(bus)?.ask(&request)?;
    let refused = answer.result().is_err();
    expect("answer", refused, "a refusal", answer.result())?;
    expect_eq("policy", described(answer.ack()?)?, *expected)
}

fn policy_is_not_described_for_a_mask_alone(bus: &Bus<'_>) -> Outcome {
    let entry = PolicyEntry { attr: 1, kind: AttrKind::U8, len: 0, check: Check::Mask(0x0f) };
    let family = Family::named("nlc_mask").op(Op::doing(1)).policy(Policy::of([entry]));
    let request = bus.register(family)?.request(1, Attrs::new().u8(1, 0x10)).with(NLM_F_ACK);
    let answer = asking(bus)?.ask(&request)?;
    expect_errno("request with a bit beyond the mask", &answer, Errno::EINVAL)?;
    expect_eq("attributes", order(answer.ack()?), "MSG, OFFS")
}

const RESULTS: &[(&str, i64)] = &[("success", 0), ("refusal", EINVAL)];

fn cookie_is_sent(bus: &Bus<'_>, returned: &i64) -> Outcome {
    let cookie = 0x0102_0304_0506_0708_u64;
    let ack = answer_of(bus, vec![Action::Cookie(cookie)], *returned, Attrs::new())?;
    expect_eq("status", i64::from(ack.status), *returned)?;
    expect_bytes("cookie", ack.cookie.unwrap_or_default(), cookie.to_ne_bytes())
}

/// A text before the cookie, which with its header and its NUL takes a multiple of 8 bytes, or 4 more.
const TEXTS: &[(&str, &str)] = &[("after_8_bytes", "abc"), ("after_12_bytes", "abcdefg")];

fn cookie_is_in_host_byte_order_wherever_it_stands(bus: &Bus<'_>, text: &&str) -> Outcome {
    let cookie = 0x0102_0304_0506_0708_u64;
    let actions = vec![Action::ErrMsg((*text).into()), Action::Cookie(cookie)];
    let ack = answer_of(bus, actions, 0, Attrs::new())?;
    expect_eq("text", ack.message.as_deref(), Some(*text))?;
    expect_bytes("cookie", ack.cookie.unwrap_or_default(), cookie.to_ne_bytes())
}

fn missing_attribute_is_reported(bus: &Bus<'_>) -> Outcome {
    let ack = answer_of(bus, vec![Action::MissAttr(2, None)], EINVAL, Attrs::new().u32(1, 0))?;
    expect_eq("type of the missing attribute", ack.miss_type, Some(2))?;
    expect_eq("offset of its nest", ack.miss_nest, None)
}

fn missing_attribute_is_reported_with_its_nest(bus: &Bus<'_>) -> Outcome {
    let attrs = Attrs::new().u32(1, 0).nest(3, Attrs::new().u32(1, 0));
    let ack = answer_of(bus, vec![Action::MissAttr(2, Some(3))], EINVAL, attrs)?;
    expect_eq("type of the missing attribute", ack.miss_type, Some(2))?;
    expect_eq("offset of its nest", ack.miss_nest, Some(20 + 8))
}

fn success_has_no_missing_attribute(bus: &Bus<'_>) -> Outcome {
    let ack = answer_of(bus, vec![Action::MissAttr(2, None)], 0, Attrs::new())?;
    expect_ok("request", &ack)?;
    expect_empty("types of the attributes", ack.order)
}

/// The types of the attributes, as the specification writes them.
fn order(ack: &Ack) -> String {
    let names: Vec<&str> = ack
        .order
        .iter()
        .map(|kind| match kind & !NLA_F_NESTED {
            ack::NLMSGERR_ATTR_MSG => "MSG",
            ack::NLMSGERR_ATTR_OFFS => "OFFS",
            ack::NLMSGERR_ATTR_COOKIE => "COOKIE",
            ack::NLMSGERR_ATTR_POLICY => "POLICY",
            ack::NLMSGERR_ATTR_MISS_TYPE => "MISS_TYPE",
            ack::NLMSGERR_ATTR_MISS_NEST => "MISS_NEST",
            _ => "another",
        })
        .collect();
    names.join(", ")
}

fn attributes_have_an_order(bus: &Bus<'_>) -> Outcome {
    let mut actions = vec![Action::BadAttr(1), Action::Cookie(7), Action::ErrMsg("no".into())];
    let order: String = bus.expected("order")?;
    if order.contains("MISS_TYPE") {
        actions.push(Action::MissAttr(2, Some(3)));
    }
    let attrs = Attrs::new().u32(1, 0).nest(3, Attrs::new());
    let ack = answer_of(bus, actions, EINVAL, attrs)?;
    expect_eq("attributes", self::order(&ack), order)
}

fn policy_follows_the_offset(bus: &Bus<'_>) -> Outcome {
    let answer = asking(bus)?.ask(&get_policy(Attrs::new().u32(genl::CTRL_ATTR_FAMILY_ID, 16)))?;
    expect_eq("attributes", order(answer.ack()?), bus.expected::<String>("policy")?)
}

const LENGTHS: &[(&str, usize)] = &[("79", 79), ("80", 80), ("200", 200)];

fn formatted_message_is_truncated(bus: &Bus<'_>, len: &usize) -> Outcome {
    let text = "x".repeat(*len);
    let ack = answer_of(bus, vec![Action::ErrMsgFmt(text.clone())], EINVAL, Attrs::new())?;
    let longest = bus.expected::<usize>("longest")?;
    expect_eq("text", ack.message.as_deref(), Some(&text[..longest.min(*len)]))
}
