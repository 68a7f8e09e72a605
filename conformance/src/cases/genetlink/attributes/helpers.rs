//! Functions of lib/nlattr.c and include/net/netlink.h for callbacks: copying, comparing, finding, parsing, appending.

use nix::libc::{E2BIG, EINVAL, EMSGSIZE, ENOENT, ERANGE};

use super::wrapped;
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, broken, expect_bytes, expect_eq, expect_ok};
use crate::port::provider::{
    Action, AttrKind, Check, Family, Helper, HelperCall, On, Op, Policy, PolicyEntry,
};
use crate::scene::bus::Bus;
use crate::wire::attr::{Attrs, NLA_F_NESTED};
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK};

cases! {
    copy_keeps_to_its_buffer(COPIES) => "GENL-ATT-052";
    comparison_is_by_length_and_bytes(COMPARISONS) => "GENL-ATT-053";
    first_of_a_type_is_found(FINDINGS) => "GENL-ATT-054";
    attributes_are_validated_by_a_policy(VALIDATIONS) => "GENL-ATT-054";
    message_is_parsed_strictly(MESSAGES) => "GENL-ATT-065";
    message_of_old_is_parsed_liberally(MESSAGES) => "GENL-ATT-065";
    message_of_a_family_is_parsed_strictly(MESSAGES) => "GENL-ATT-069";
    message_of_a_family_of_old_is_parsed_liberally(MESSAGES) => "GENL-ATT-069";
    nest_is_parsed_strictly(NESTS) => "GENL-ATT-065";
    payload_is_written_or_does_not_fit(WRITINGS) => "GENL-ATT-055";
    attribute_is_written_or_does_not_fit(ATTRIBUTES) => "GENL-ATT-058";
    policy_has_a_length(LENGTHS) => "GENL-ATT-055";
}

/// Type of an attribute that the policy rejects with a message.
const REJECTED: u16 = 6;
/// Type of the attribute that the function gets.
pub(super) const GIVEN: u16 = 7;
/// The highest type; the one before it has no policy.
const NEST: u16 = 9;

/// Has a function of the kernel work on an attribute with this payload: what it returned, and what it wrote.
pub(super) fn call(bus: &Bus<'_>, payload: &[u8], call: HelperCall) -> Result<(i64, Vec<u8>), Failure> {
    call_with_header(bus, 0, payload, call)
}

/// The same for a family whose own header has this size.
fn call_with_header(
    bus: &Bus<'_>,
    hdrsize: u32,
    payload: &[u8],
    call: HelperCall,
) -> Result<(i64, Vec<u8>), Failure> {
    let kinds = [AttrKind::U32, AttrKind::String, AttrKind::U8, AttrKind::Msecs, AttrKind::Flag];
    let entry =
        |(attr, kind)| PolicyEntry::new(attr, kind).len(if kind == AttrKind::String { 10 } else { 0 });
    let mut entries: Vec<_> = (1..).zip(kinds).map(entry).collect();
    entries.extend([
        PolicyEntry::new(REJECTED, AttrKind::Reject).check(Check::Message("not from you".into())),
        PolicyEntry::new(GIVEN, AttrKind::Binary),
        // It may hold whatever is validated.
        PolicyEntry::new(NEST, AttrKind::Nested).len(NEST).check(Check::Nested(0)),
    ]);
    let family =
        Family { hdrsize, ..Family::named("nlc_helpers").policy(Policy::of(entries)).op(Op::doing(1)) };
    let family = bus.register(family.on(On::Doit, Action::Helper(HelperCall { attr: GIVEN, ..call })))?;
    let header = vec![0; hdrsize.next_multiple_of(4) as usize];
    let attrs = Attrs::new().put(GIVEN, payload);
    let request = family.request(1, Attrs::new()).bytes(&header).attrs(attrs).with(NLM_F_ACK);
    expect_ok("request", bus.generic()?.ask(&request)?)?;
    let captured = bus.calls(On::Doit)?.pop().map(|entry| entry.bytes).unwrap_or_default();
    match captured.split_first_chunk() {
        Some((returned, written)) => Ok((i64::from_ne_bytes(*returned), written.to_vec())),
        None => broken("the probe captured no result"),
    }
}

/// The function, the attribute, the size of the buffer, what is returned, and what is written.
type Writing = (Helper, &'static [u8], u32, i64, &'static [u8]);

/// 0xa5 is what was there before.
const COPIES: &[(&str, Writing)] = &[
    ("string", (Helper::Strscpy, b"abc\0", 8, 3, b"abc\0\0\0\0\0\xa5")),
    ("string_without_nul", (Helper::Strscpy, b"abc", 8, 3, b"abc\0\0\0\0\0\xa5")),
    ("string_that_just_fits", (Helper::Strscpy, b"abc\0", 4, 3, b"abc\0\xa5")),
    ("string_of_the_buffers_size", (Helper::Strscpy, b"abcd", 4, -(E2BIG as i64), b"abc\0\xa5")),
    ("string_that_does_not_fit", (Helper::Strscpy, b"abcdefg\0", 4, -(E2BIG as i64), b"abc\0\xa5")),
    ("empty_string", (Helper::Strscpy, b"", 4, 0, b"\0\0\0\0\xa5")),
    ("string_of_a_nul", (Helper::Strscpy, b"\0", 4, 0, b"\0\0\0\0\xa5")),
    ("string_into_a_byte", (Helper::Strscpy, b"abc", 1, -(E2BIG as i64), b"\0\xa5")),
    ("string_into_nothing", (Helper::Strscpy, b"abc", 0, -(E2BIG as i64), b"\xa5")),
    ("duplicate", (Helper::Strdup, b"abc\0", 0, 0, b"abc\0")),
    ("duplicate_without_nul", (Helper::Strdup, b"abc", 0, 0, b"abc\0")),
    ("duplicate_of_two_bytes", (Helper::Strdup, b"ab", 0, 0, b"ab\0")),
    ("duplicate_of_nothing", (Helper::Strdup, b"", 0, 0, b"\0")),
    ("duplicate_of_a_nul", (Helper::Strdup, b"\0", 0, 0, b"\0")),
    ("bytes_that_fit", (Helper::Memcpy, b"abcd", 6, 4, b"abcd\0\0\xa5")),
    ("bytes_that_just_fit", (Helper::Memcpy, b"abcd", 4, 4, b"abcd\xa5")),
    ("bytes_that_do_not_fit", (Helper::Memcpy, b"abcd", 3, 3, b"abc\xa5")),
    ("no_bytes", (Helper::Memcpy, b"", 2, 0, b"\0\0\xa5")),
    ("bytes_into_nothing", (Helper::Memcpy, b"ab", 0, 0, b"\xa5")),
];

fn copy_keeps_to_its_buffer(bus: &Bus<'_>, row: &Writing) -> Outcome {
    expect_writing(bus, row)
}

fn expect_writing(bus: &Bus<'_>, (helper, payload, argument, returned, written): &Writing) -> Outcome {
    let helper = HelperCall { helper: *helper, argument: *argument, ..HelperCall::default() };
    let (got, bytes) = call(bus, payload, helper)?;
    expect_eq("return value", got, *returned)?;
    expect_bytes("bytes in the buffer", bytes, written)
}

/// The function, the attribute, what it is compared with, and the sign of what is returned.
type Comparison = (Helper, &'static [u8], &'static [u8], i64);

const COMPARISONS: &[(&str, Comparison)] = &[
    ("equal_bytes", (Helper::Memcmp, b"ab\0d", b"ab\0d", 0)),
    ("no_bytes", (Helper::Memcmp, b"", b"", 0)),
    ("fewer_bytes", (Helper::Memcmp, b"zz", b"abc", -1)),
    ("more_bytes", (Helper::Memcmp, b"abc", b"zz", 1)),
    ("lower_byte", (Helper::Memcmp, b"abc", b"abd", -1)),
    ("higher_byte", (Helper::Memcmp, b"bbc", b"abd", 1)),
    ("bytes_with_a_nul_more", (Helper::Memcmp, b"abc\0", b"abc", 1)),
    ("equal_strings", (Helper::Strcmp, b"abc\0", b"abc", 0)),
    ("string_without_nul", (Helper::Strcmp, b"abc", b"abc", 0)),
    ("string_with_three_nuls", (Helper::Strcmp, b"abc\0\0\0", b"abc", 0)),
    ("empty_strings", (Helper::Strcmp, b"\0", b"", 0)),
    ("no_string", (Helper::Strcmp, b"", b"", 0)),
    ("shorter_string", (Helper::Strcmp, b"zz\0", b"abc", -1)),
    ("longer_string", (Helper::Strcmp, b"abcd\0", b"zzz", 1)),
    ("lower_string", (Helper::Strcmp, b"abc\0", b"abd", -1)),
    ("higher_string", (Helper::Strcmp, b"bbc\0", b"abd", 1)),
    ("string_against_an_empty_one", (Helper::Strcmp, b"a", b"", 1)),
];

fn comparison_is_by_length_and_bytes(bus: &Bus<'_>, (helper, payload, with, sign): &Comparison) -> Outcome {
    let helper = HelperCall { helper: *helper, bytes: with.to_vec(), ..HelperCall::default() };
    expect_eq("sign of the return value", call(bus, payload, helper)?.0.signum(), *sign)
}

/// Attributes, the type that is looked for, and its place.
type Finding = (fn() -> Attrs, u32, i64);

const FINDINGS: &[(&str, Finding)] = &[
    ("first", (|| Attrs::new().u32(1, 0).u32(2, 0), 1, 0)),
    ("later", (|| Attrs::new().u8(1, 0).u32(2, 0).u32(3, 0), 3, 16)),
    ("first_of_several", (|| Attrs::new().u32(1, 0).u32(2, 7).u32(2, 8), 2, 8)),
    ("last", (|| Attrs::new().u32(1, 0).put(2, &[]), 2, 8)),
    ("with_a_flag", (|| Attrs::new().u32(1, 0).u32(0x8002, 0), 2, 8)),
    ("absent", (|| Attrs::new().u32(1, 0).u32(2, 0), 3, -(ENOENT as i64))),
    ("of_none", (Attrs::new, 1, -(ENOENT as i64))),
];

fn first_of_a_type_is_found(bus: &Bus<'_>, (attrs, argument, place): &Finding) -> Outcome {
    let helper = HelperCall { helper: Helper::Find, argument: *argument, ..HelperCall::default() };
    expect_eq("place", call(bus, attrs().as_bytes(), helper)?.0, *place)
}

/// `NL_VALIDATE_STRICT`; 0 is `NL_VALIDATE_LIBERAL`.
const STRICT: u32 = 0x1f;
/// `NL_VALIDATE_NESTED` alone.
const NESTED: u32 = 0x10;

const VALIDATIONS: &[(&str, Finding)] = &[
    ("good", (|| Attrs::new().u32(1, 9).string(2, "abc"), STRICT, 0)),
    ("unknown_type", (|| Attrs::new().u32(NEST + 1, 0), STRICT, -(EINVAL as i64))),
    ("unknown_type_liberal", (|| Attrs::new().u32(NEST + 1, 0), 0, 0)),
    ("rejected", (|| Attrs::new().u32(REJECTED, 0), STRICT, -(EINVAL as i64))),
    ("nested_flag_without_policy", (|| Attrs::new().put((NEST - 1) | NLA_F_NESTED, &[]), NESTED, 0)),
    ("nine_levels", (|| wrapped(NEST, 9), STRICT, 0)),
    ("ten_levels", (|| wrapped(NEST, 10), STRICT, -(EINVAL as i64))),
    ("too_short", (|| Attrs::new().put(1, &[0; 2]), 0, -(ERANGE as i64))),
    ("string_too_long", (|| Attrs::new().string(2, "abcdefghijk"), STRICT, -(ERANGE as i64))),
    ("second_is_bad", (|| Attrs::new().u32(1, 9).put(5, &[1]), STRICT, -(ERANGE as i64))),
];

fn attributes_are_validated_by_a_policy(bus: &Bus<'_>, (attrs, argument, returned): &Finding) -> Outcome {
    let helper = HelperCall { helper: Helper::Validate, argument: *argument, ..HelperCall::default() };
    expect_eq("return value", call(bus, attrs().as_bytes(), helper)?.0, *returned)
}

/// Bytes after a message's nlmsghdr, the size of the header among them, and what strict and liberal parsing return.
type Parsing = (fn() -> Vec<u8>, u32, i64, i64);

const MESSAGES: &[(&str, Parsing)] = &[
    ("good", (|| Attrs::new().u32(1, 9).as_bytes().to_vec(), 0, 0, 0)),
    ("unknown_type", (|| Attrs::new().u32(NEST + 1, 0).as_bytes().to_vec(), 0, -(EINVAL as i64), 0)),
    ("type_without_policy", (|| Attrs::new().u32(NEST - 1, 0).as_bytes().to_vec(), 0, -(EINVAL as i64), 0)),
    ("too_long", (|| Attrs::new().put(1, &[0; 8]).as_bytes().to_vec(), 0, -(EINVAL as i64), 0)),
    ("bytes_left_over", (|| vec![0; 3], 0, -(EINVAL as i64), 0)),
    ("nest_without_flag", (|| Attrs::new().put(NEST, &[]).as_bytes().to_vec(), 0, -(EINVAL as i64), 0)),
    (
        "too_short",
        (|| Attrs::new().put(1, &[0; 2]).as_bytes().to_vec(), 0, -(EINVAL as i64), -(ERANGE as i64)),
    ),
    (
        "header_that_is_padded",
        (|| [vec![1; 8], Attrs::new().u32(1, 9).as_bytes().to_vec()].concat(), 6, 0, 0),
    ),
    ("header_alone", (|| vec![1; 8], 8, 0, 0)),
    ("header_that_is_too_short", (|| vec![1; 7], 8, -(EINVAL as i64), -(EINVAL as i64))),
];

fn parsed(bus: &Bus<'_>, helper: Helper, payload: &[u8], header: u32) -> Result<i64, Failure> {
    let message = Message::new(16).bytes(payload).encode();
    Ok(call(bus, &message, HelperCall { helper, argument: header, ..HelperCall::default() })?.0)
}

fn message_is_parsed_strictly(bus: &Bus<'_>, (payload, header, strict, _): &Parsing) -> Outcome {
    let returned = parsed(bus, Helper::ParseMessage, &payload(), *header)?;
    expect_eq("return value of nlmsg_parse()", returned, *strict)
}

fn message_of_old_is_parsed_liberally(bus: &Bus<'_>, (payload, header, _, liberal): &Parsing) -> Outcome {
    let returned = parsed(bus, Helper::ParseMessageDeprecated, &payload(), *header)?;
    expect_eq("return value of nlmsg_parse_deprecated()", returned, *liberal)
}

/// What parsing returns for a family whose own header has the size that the others are told.
fn parsed_of_family(bus: &Bus<'_>, helper: Helper, payload: &[u8], hdrsize: u32) -> Result<i64, Failure> {
    let message = genl::request(16, 1, Attrs::new()).bytes(payload).encode();
    Ok(call_with_header(bus, hdrsize, &message, HelperCall { helper, ..HelperCall::default() })?.0)
}

fn message_of_a_family_is_parsed_strictly(bus: &Bus<'_>, (payload, header, strict, _): &Parsing) -> Outcome {
    let returned = parsed_of_family(bus, Helper::ParseFamily, &payload(), *header)?;
    expect_eq("return value of genlmsg_parse()", returned, *strict)
}

fn message_of_a_family_of_old_is_parsed_liberally(
    bus: &Bus<'_>,
    (payload, header, _, liberal): &Parsing,
) -> Outcome {
    let returned = parsed_of_family(bus, Helper::ParseFamilyDeprecated, &payload(), *header)?;
    expect_eq("return value of genlmsg_parse_deprecated()", returned, *liberal)
}

/// A nest's type and contents, and what parsing it returns.
type Nest = (u16, fn() -> Attrs, i64);

const NESTS: &[(&str, Nest)] = &[
    ("good", (1 | NLA_F_NESTED, || Attrs::new().u32(1, 9), 0)),
    ("empty", (1 | NLA_F_NESTED, Attrs::new, 0)),
    ("without_flag", (1, || Attrs::new().u32(1, 9), -(EINVAL as i64))),
    ("unknown_type", (1 | NLA_F_NESTED, || Attrs::new().u32(NEST + 1, 0), -(EINVAL as i64))),
    ("too_long", (1 | NLA_F_NESTED, || Attrs::new().put(1, &[0; 8]), -(EINVAL as i64))),
];

fn nest_is_parsed_strictly(bus: &Bus<'_>, (kind, attrs, returned): &Nest) -> Outcome {
    let nest = Attrs::new().put(*kind, attrs().as_bytes());
    let helper = HelperCall { helper: Helper::ParseNested, ..HelperCall::default() };
    expect_eq("return value", call(bus, nest.as_bytes(), helper)?.0, *returned)
}

const WRITINGS: &[(&str, Writing)] = &[
    ("appended", (Helper::Append, b"abcde", 8, 0, b"abcde")),
    ("appended_aligned", (Helper::Append, b"abcd", 4, 0, b"abcd")),
    ("not_appended", (Helper::Append, b"abcde", 7, -(EMSGSIZE as i64), b"")),
    ("put", (Helper::PutNohdr, b"abcde", 8, 0, b"abcde\0\0\0")),
    ("put_aligned", (Helper::PutNohdr, b"abcd", 4, 0, b"abcd")),
    ("not_put", (Helper::PutNohdr, b"abcde", 7, -(EMSGSIZE as i64), b"")),
    ("reserved", (Helper::ReserveNohdr, b"abcde", 8, 0, b"\0\0\0\0\0\0\0\0")),
    ("reserved_aligned", (Helper::ReserveNohdr, b"abcd", 4, 0, b"\0\0\0\0")),
    ("not_reserved", (Helper::ReserveNohdr, b"abcde", 7, -(EMSGSIZE as i64), b"")),
];

fn payload_is_written_or_does_not_fit(bus: &Bus<'_>, row: &Writing) -> Outcome {
    expect_writing(bus, row)
}

/// A payload, which takes 12 bytes with its header and its padding.
const PAYLOAD: [u8; 5] = *b"abcde";

/// The function, the room, and whether it writes the payload. None of them needs to align it in 12 bytes.
const ATTRIBUTES: &[(&str, (Helper, u32, bool))] = &[
    ("put", (Helper::Put, 12, true)),
    ("put_with_room_left", (Helper::Put, 20, true)),
    ("not_put", (Helper::Put, 11, true)),
    ("put_64_bits", (Helper::Put64bit, 12, true)),
    ("not_put_64_bits", (Helper::Put64bit, 11, true)),
    ("reserved", (Helper::Reserve, 12, false)),
    ("not_reserved", (Helper::Reserve, 11, false)),
    ("reserved_64_bits", (Helper::Reserve64bit, 12, false)),
    ("not_reserved_64_bits", (Helper::Reserve64bit, 11, false)),
];

fn attribute_is_written_or_does_not_fit(
    bus: &Bus<'_>,
    (helper, room, writes): &(Helper, u32, bool),
) -> Outcome {
    let helper = HelperCall { helper: *helper, argument: *room, ..HelperCall::default() };
    let (returned, bytes) = call(bus, &PAYLOAD, helper)?;
    if *room < 12 {
        expect_eq("return value", returned, -(EMSGSIZE as i64))?;
        return expect_bytes("bytes in the buffer", bytes, []);
    }
    expect_eq("return value", returned, 0)?;
    let payload = if *writes { PAYLOAD } else { [0xa5; 5] };
    let header = [9u16.to_ne_bytes(), GIVEN.to_ne_bytes()].concat();
    expect_bytes("bytes in the buffer", bytes, [&header[..], &payload, &[0; 3]].concat())
}

/// Entries, and their length: U32, a string of 10, U8, MSECS (a u64), a flag.
const LENGTHS: &[(&str, (u32, i64))] = &[
    ("none", (0, 0)),
    ("unspecified", (1, 0)),
    ("integer", (2, 8)),
    ("string", (3, 24)),
    ("small_integer", (4, 32)),
    ("milliseconds", (5, 44)),
    ("flag", (6, 44)),
];

fn policy_has_a_length(bus: &Bus<'_>, (entries, length): &(u32, i64)) -> Outcome {
    let helper = HelperCall { helper: Helper::PolicyLen, argument: *entries, ..HelperCall::default() };
    expect_eq("length", call(bus, &[], helper)?.0, *length)
}
