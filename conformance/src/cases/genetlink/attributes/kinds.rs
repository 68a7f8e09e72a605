//! Attributes other than integers: strings, flags, binary data, bit fields, and what a policy
//! rejects or leaves to a function.

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{Outcome, Under, expect_eq, expect_errno, expect_ok};
use crate::port::provider::{AttrKind, Check, On, PolicyEntry};
use crate::scene::bus::Bus;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{NLM_F_ACK, NLM_F_DUMP};
use crate::wire::policy::{self, Advertised};

use crate::scene::validated::{End, FIRST, LIBERAL, REFUSED, STRICT, Validated, expect_end, explaining};

cases! {
    nul_string_is_terminated_within_its_length(NAMES) => "GENL-ATT-008";
    nul_string_is_terminated_within_its_length(LONG_NAMES) => "GENL-ATT-039";
    nul_string_in_a_strict_request_is_terminated_within_its_length(NAMES) => "GENL-ATT-008";
    nul_string_in_a_strict_request_is_terminated_within_its_length(LONG_NAMES) => "GENL-ATT-039";
    nul_string_without_a_limit_is_terminated(UNLIMITED) => "GENL-ATT-061";
    refusal_of_a_nul_string_reports_its_length => "GENL-ATT-008";
    string_is_not_empty_and_not_too_long(STRINGS) => "GENL-ATT-009";
    flag_has_no_payload(FLAGS) => "GENL-ATT-010";
    binary_is_not_too_long(BINARIES) => "GENL-ATT-011";
    binary_length_is_in_range(LENGTHS) => "GENL-ATT-040";
    liberal_command_uses_the_first_bytes_of_a_longer_binary => "GENL-ATT-041", "GENL-ATT-040";
    bitfield_has_only_valid_and_selected_bits(BITFIELDS) => "GENL-ATT-014";
    bitfield_has_8_bytes(BITFIELD_LENGTHS) => "GENL-ATT-042";
    rejected_attribute_is_refused => "GENL-ATT-015";
    rejected_attribute_is_refused_with_the_policys_message => "GENL-ATT-015";
    validation_function_decides => "GENL-ATT-019";
}

const UNTERMINATED: End = Some(("unterminated", "message"));
const LONG: End = Some(("long", "message"));

const NAMES: &[(&str, (&[u8], End))] = &[
    ("empty", (b"", UNTERMINATED)),
    ("without_nul", (b"nlctrl", UNTERMINATED)),
    ("longest_without_nul", (b"0123456789abcde", UNTERMINATED)),
    ("nul_too_late", (b"0123456789abcdef\0", UNTERMINATED)),
    ("nothing_but_nul_too_late", (&[b'x'; 40], UNTERMINATED)),
    ("with_nul", (b"nlctrl\0", None)),
];

const LONG_NAMES: &[(&str, (&[u8], End))] = &[
    ("rest_that_fits", (b"nlctrl\0garbage!", None)),
    ("rest_that_fits_with_its_nul", (b"nlctrl\0garbage!\0", None)),
    ("rest_that_is_too_long", (b"nlctrl\0garbage!!", LONG)),
    ("rest_that_is_much_too_long", (b"nlctrl\0garbagegarbagegarbage", LONG)),
];

/// The controller takes names of up to 15 characters, here in a request validated liberally.
fn nul_string_is_terminated_within_its_length(bus: &Bus<'_>, (name, end): &(&[u8], End)) -> Outcome {
    let attrs = Attrs::new().put(genl::CTRL_ATTR_FAMILY_NAME, name);
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs).with(NLM_F_ACK);
    expect_end(bus, "request", explaining(bus)?.ask(&request)?.ack()?, *end, Some(FIRST))
}

fn nul_string_in_a_strict_request_is_terminated_within_its_length(
    bus: &Bus<'_>,
    (name, end): &(&[u8], End),
) -> Outcome {
    let attrs = Attrs::new().put(genl::CTRL_ATTR_FAMILY_NAME, name);
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs).with(NLM_F_DUMP);
    expect_end(bus, "request", explaining(bus)?.ask(&request)?.ack()?, *end, Some(FIRST))
}

const UNLIMITED: &[(&str, (&[u8], End))] = &[
    ("empty", (b"", UNTERMINATED)),
    ("without_nul", (b"nlctrl", UNTERMINATED)),
    ("with_nul", (b"nlctrl\0", None)),
    ("long", (&[0; 1000], None)),
];

fn nul_string_without_a_limit_is_terminated(bus: &Bus<'_>, (text, end): &(&[u8], End)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, AttrKind::NulString))?;
    validated.strictly(Attrs::new().put(1, text), *end)?;
    validated.liberally(Attrs::new().put(1, text), *end)
}

fn refusal_of_a_nul_string_reports_its_length(bus: &Bus<'_>) -> Outcome {
    let attrs = Attrs::new().put(genl::CTRL_ATTR_FAMILY_NAME, b"nlctrl");
    let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs).with(NLM_F_ACK);
    let answer = explaining(bus)?.ask(&request)?;
    let reported = Advertised { max_length: Some(15), ..Advertised::plain(policy::NL_ATTR_TYPE_NUL_STRING) };
    expect_eq("policy", answer.ack()?.advertised(), Some(reported))
}

/// The limit, what is sent, and how the request ends.
type Text = (u16, &'static [u8], End);

const STRINGS: &[(&str, Text)] = &[
    ("empty", (4, b"", REFUSED)),
    ("nothing_but_nul", (4, b"\0", None)),
    ("longest", (4, b"abcd", None)),
    ("longest_with_nul", (4, b"abcd\0", None)),
    ("nul_in_the_middle", (4, b"a\0cd", None)),
    ("too_long", (4, b"abcde", REFUSED)),
    ("too_long_with_nul", (4, b"abcde\0", REFUSED)),
    ("two_nuls", (4, b"abcd\0\0", REFUSED)),
    ("empty_without_limit", (0, b"", REFUSED)),
    ("long_without_limit", (0, &[b'x'; 1000], None)),
];

fn string_is_not_empty_and_not_too_long(bus: &Bus<'_>, (limit, text, end): &Text) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, AttrKind::String).len(*limit))?;
    validated.strictly(Attrs::new().put(1, text), *end)?;
    validated.liberally(Attrs::new().put(1, text), *end)
}

const FLAGS: &[(&str, (usize, End))] = &[("0", (0, None)), ("1", (1, REFUSED)), ("4", (4, REFUSED))];

fn flag_has_no_payload(bus: &Bus<'_>, (len, end): &(usize, End)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, AttrKind::Flag))?;
    validated.strictly(Attrs::new().put(1, &vec![0; *len]), *end)?;
    validated.liberally(Attrs::new().put(1, &vec![0; *len]), *end)
}

const BINARIES: &[(&str, (u16, usize, End))] = &[
    ("empty", (6, 0, None)),
    ("longest", (6, 6, None)),
    ("too_long", (6, 7, LONG)),
    ("empty_without_limit", (0, 0, None)),
    ("long_without_limit", (0, 1000, None)),
];

fn binary_is_not_too_long(bus: &Bus<'_>, (limit, len, end): &(u16, usize, End)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, AttrKind::Binary).len(*limit))?;
    validated.strictly(Attrs::new().put(1, &vec![0; *len]), *end)?;
    validated.liberally(Attrs::new().put(1, &vec![0; *len]), *end)
}

/// The check, the minimum and the maximum length.
const LENGTHS: &[(&str, (Check, usize, usize))] = &[
    ("exact", (Check::Range(6, 6), 6, 6)),
    ("range", (Check::Range(2, 6), 2, 6)),
    ("min", (Check::Min(4), 4, 100)),
    ("max", (Check::Max(6), 0, 6)),
    ("wide_range", (Check::WideRange(1, 40_000), 1, 40_000)),
];

fn binary_length_is_in_range(bus: &Bus<'_>, (check, min, max): &(Check, usize, usize)) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, AttrKind::Binary).check(check.clone()))?;
    let outside = Some(("outside", "outside_message"));
    let without_max = matches!(check, Check::Min(_));
    let lengths = [min.checked_sub(1), Some(*min), Some(*max), (!without_max).then_some(max + 1)];
    for len in lengths.into_iter().flatten() {
        let end = if (*min..=*max).contains(&len) { None } else { outside };
        validated.strictly(Attrs::new().put(1, &vec![0; len]), end)?;
        validated.liberally(Attrs::new().put(1, &vec![0; len]), end)?;
    }
    Ok(())
}

fn liberal_command_uses_the_first_bytes_of_a_longer_binary(bus: &Bus<'_>) -> Outcome {
    let entry = PolicyEntry::new(1, AttrKind::Binary).len(6).check(Check::ExactLenWarn);
    let validated = Validated::by_entry(bus, entry)?;
    let of = |len| Attrs::new().put(1, &vec![0; len]);
    let outside = Some(("outside", "outside_message"));
    validated.strictly(of(6), None)?;
    validated.strictly(of(5), outside).under("GENL-ATT-040")?;
    validated.strictly(of(7), Some(("warned", "warned_message")))?;
    validated.liberally(of(5), outside).under("GENL-ATT-040")?;
    validated.liberally(of(7), None)
}

/// The policy's valid bits, value and selector sent, and how the request ends.
type Bits = (u64, u32, u32, End);

const BITFIELDS: &[(&str, Bits)] = &[
    ("nothing", (0x0f, 0, 0, None)),
    ("all", (0x0f, 0x0f, 0x0f, None)),
    ("highest", (0x8000_0000, 0x8000_0000, 0x8000_0000, None)),
    ("some_unset", (0x0f, 1, 3, None)),
    ("invalid_value_and_selector", (0x0f, 0x10, 0x10, INVALID)),
    ("invalid_selector", (0x0f, 0, 0x10, INVALID)),
    ("invalid_value", (0x0f, 0x10, 0x0f, INVALID)),
    ("value_not_selected", (0x0f, 1, 2, INVALID)),
    ("no_bit_is_valid", (0, 0, 0, INVALID)),
];
const INVALID: End = Some(("invalid", "message"));

fn bitfield_has_only_valid_and_selected_bits(bus: &Bus<'_>, (valid, value, selector, end): &Bits) -> Outcome {
    let entry = PolicyEntry::new(1, AttrKind::Bitfield32).check(Check::Mask(*valid));
    let validated = Validated::by_entry(bus, entry)?;
    let payload = [value.to_ne_bytes(), selector.to_ne_bytes()].concat();
    let ack = validated.ask(STRICT, Attrs::new().put(1, &payload))?;
    expect_end(bus, "strict request", &ack, *end, Some(FIRST))?;
    let reported = Advertised {
        bitfield32_mask: Some(*valid as u32),
        ..Advertised::plain(policy::NL_ATTR_TYPE_BITFIELD32)
    };
    expect_eq("policy", ack.advertised(), end.map(|_| reported))?;
    validated.liberally(Attrs::new().put(1, &payload), *end)
}

const BITFIELD_LENGTHS: &[(&str, (usize, End))] = &[
    ("0", (0, Some(("length", "message")))),
    ("4", (4, Some(("length", "message")))),
    ("7", (7, Some(("length", "message")))),
    ("8", (8, None)),
    ("9", (9, Some(("length", "message")))),
    ("12", (12, Some(("length", "message")))),
];

fn bitfield_has_8_bytes(bus: &Bus<'_>, (len, end): &(usize, End)) -> Outcome {
    let entry = PolicyEntry::new(1, AttrKind::Bitfield32).check(Check::Mask(0x0f));
    let validated = Validated::by_entry(bus, entry)?;
    validated.strictly(Attrs::new().put(1, &vec![0; *len]), *end)?;
    validated.liberally(Attrs::new().put(1, &vec![0; *len]), *end)
}

fn rejected_attribute_is_refused(bus: &Bus<'_>) -> Outcome {
    let validated = Validated::by_entry(bus, PolicyEntry::new(1, AttrKind::Reject))?;
    for cmd in [STRICT, LIBERAL] {
        let ack = validated.ask(cmd, Attrs::new().u32(1, 0))?;
        expect_end(bus, "request", &ack, REFUSED, Some(FIRST))?;
        expect_eq("policy", ack.policy, None)?;
    }
    Ok(())
}

fn rejected_attribute_is_refused_with_the_policys_message(bus: &Bus<'_>) -> Outcome {
    let text = "not from you";
    let entry = PolicyEntry::new(1, AttrKind::Reject).check(Check::Message(text.into()));
    let ack = Validated::by_entry(bus, entry)?.ask(STRICT, Attrs::new().u32(1, 0))?;
    expect_errno("request", &ack, bus.expected("errno")?)?;
    expect_eq("message", ack.message.as_deref(), Some(text))?;
    expect_eq("offset of the attribute", ack.offset, Some(FIRST))?;
    expect_eq("policy", ack.policy, None)
}

/// The function's errno is one that validation itself never returns.
fn validation_function_decides(bus: &Bus<'_>) -> Outcome {
    let entry = PolicyEntry::new(1, AttrKind::Binary).check(Check::Function(Errno::EDOM as i32));
    let validated = Validated::by_entry(bus, entry)?;
    let ack = validated.ask_with(validated.request(STRICT, Attrs::new().u8(1, 1)).with(NLM_F_ACK).seq(1))?;
    expect_errno("request with the attribute", &ack, Errno::EDOM)?;
    expect_eq("message", ack.message.as_deref(), Some(Check::FUNCTION_MESSAGE))?;
    expect_eq("offset of the attribute", ack.offset, Some(FIRST))?;
    let ack = validated.ask_with(validated.request(STRICT, Attrs::new()).with(NLM_F_ACK).seq(2))?;
    expect_ok("request without it", ack)?;
    expect_eq("requests that were executed", validated.logged(On::Doit)?, [(2, vec![])])
}
