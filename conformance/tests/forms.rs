//! The forms of a report that other programs read, against what those programs ask: KTAP by its grammar,
//! JUnit by the rules of Jenkins' schema. The record holds all verdicts, and what a hostile target may say.

use std::path::Path;

use nlconform::report::{Record, junit, ktap};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

fn record() -> Record {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/results.json");
    Record::read(&golden).unwrap()
}

/// The subtests of each test: whether they are ok, name and directive.
type Subtests<'a> = Vec<(bool, &'a str, &'a str)>;

/// Reads KTAP with one level of subtests.
fn parse(text: &str) -> Vec<(&str, bool, Subtests<'_>)> {
    let mut lines = text.split_terminator(['\n', '\r']);
    assert_eq!(lines.next(), Some("KTAP version 1"));
    let tests = plan(lines.next().unwrap());
    let parsed: Vec<_> = (1..=tests)
        .map(|number| {
            assert_eq!(lines.next(), Some("  KTAP version 1"));
            let name = lines.next().unwrap().strip_prefix("  # Subtest: ").unwrap();
            let cases = plan(lines.next().unwrap().strip_prefix("  ").unwrap());
            assert!(cases > 0, "kunit.py: 0 tests run!");
            let subtests = (1..=cases).map(|number| {
                let is_diagnostic = |line: &&str| line.starts_with("  #");
                let line = lines
                    .by_ref()
                    .inspect(|line| assert!(!line.trim_start().starts_with("# Subtest:")))
                    .find(|line| !is_diagnostic(line));
                result(line.unwrap().strip_prefix("  ").unwrap(), number)
            });
            let subtests = subtests.collect();
            let (ok, result_name, directive) = result(lines.next().unwrap(), number);
            assert_eq!((name, ""), (result_name, directive), "kunit.py: missing subtest result line!");
            (name, ok, subtests)
        })
        .collect();
    assert_eq!(lines.next(), None);
    parsed
}

fn plan(line: &str) -> usize {
    line.strip_prefix("1..").unwrap().parse().unwrap()
}

fn result(line: &str, number: usize) -> (bool, &str, &str) {
    let (ok, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ").unwrap_or_else(|| panic!("no result line: {line}"))),
    };
    let rest = rest.strip_prefix(&format!("{number} ")).unwrap();
    let (name, directive) = rest.split_once(" # ").unwrap_or((rest, ""));
    assert!(!name.contains('#') && !directive.contains(" # "), "{line}");
    (ok, name, directive)
}

#[test]
fn tap_has_a_line_for_each_case_as_a_selftest_has() {
    let record = record();
    let text = ktap::tap(&record);
    let mut lines = text.split_terminator(['\n', '\r']);
    assert_eq!(lines.next(), Some("TAP version 13"));
    let cases = plan(lines.next().unwrap());
    let results: Vec<_> = lines.filter(|line| !line.starts_with("#  ")).collect();
    assert_eq!(results.len(), cases);
    let nested = ktap::ktap(&record);
    let expected: Vec<_> = parse(&nested).into_iter().flat_map(|(_, _, subtests)| subtests).collect();
    for (number, (line, (ok, name, directive))) in results.iter().zip(&expected).enumerate() {
        let (got, full, said) = result(line, number + 1);
        assert!(full.ends_with(name), "{line}");
        assert_eq!((got, said), (*ok, *directive), "{line}");
    }
    assert_eq!(expected.len(), cases);
}

#[test]
fn ktap_has_the_form_that_the_kernel_documents() {
    let text = ktap::ktap(&record());
    let tests = parse(&text);
    let names: Vec<_> = tests.iter().map(|(name, ok, subtests)| (*name, *ok, subtests.len())).collect();
    assert_eq!(names, [("kernel 6.12.117", false, 8), ("kernel 7.3.4", false, 1), ("gVisor", true, 2)]);
    let directive = |test: usize, case: &str| {
        let (ok, _, directive) = tests[test].2.iter().find(|(_, name, _)| name.contains(case)).unwrap();
        (*ok, *directive)
    };
    assert_eq!(directive(0, "raw_and_dgram"), (true, ""));
    assert_eq!(directive(0, "stream"), (false, ""));
    assert_eq!(directive(0, "seqpacket"), (false, "ERROR broken: opening a socket: EMFILE too many"));
    assert_eq!(directive(0, "stalls"), (false, "TIMEOUT 10000 ms"));
    assert_eq!(directive(0, "connector"), (true, "SKIP needs connector: CONFIG_CONNECTOR is off SKIP"));
    assert_eq!(directive(0, "ack_carries"), (true, "SKIP known fail: https://example.org/issues/17"));
    assert!(!directive(0, "known_difference_holds").0);
    let (ok, error) = directive(1, "run::error");
    assert!(!ok && error.starts_with("ERROR guests end before"), "{error}");
}

/// An element of Jenkins' schema.
struct Element {
    name: &'static str,
    children: &'static [&'static str],
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const SCHEMA: &[Element] = &[
    Element {
        name: "testsuites",
        children: &["testsuite"],
        required: &[],
        optional: &["name", "time", "tests", "failures", "errors", "disabled"],
    },
    Element {
        name: "testsuite",
        children: &["properties", "testcase", "system-out", "system-err"],
        required: &["name", "tests"],
        optional: &[
            "failures",
            "errors",
            "time",
            "disabled",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
        ],
    },
    Element {
        name: "testcase",
        children: &["skipped", "error", "failure", "system-out", "system-err"],
        required: &["name"],
        optional: &["assertions", "time", "classname", "status"],
    },
    Element { name: "skipped", children: &[], required: &[], optional: &["message"] },
    Element { name: "error", children: &[], required: &[], optional: &["type", "message"] },
    Element { name: "failure", children: &[], required: &[], optional: &["type", "message"] },
];

/// Checks an element and its attributes; `parent` is what it lies in.
fn check(element: &BytesStart<'_>, parent: Option<&Element>) -> &'static Element {
    let name = String::from_utf8_lossy(element.name().as_ref()).into_owned();
    assert!(parent.is_none_or(|parent| parent.children.contains(&name.as_str())), "{name}");
    let known = SCHEMA.iter().find(|known| known.name == name).unwrap_or_else(|| panic!("element {name}"));
    for attribute in element.attributes() {
        let key = String::from_utf8_lossy(attribute.unwrap().key.as_ref()).into_owned();
        let may = known.required.contains(&key.as_str()) || known.optional.contains(&key.as_str());
        assert!(may, "attribute {key} of {name}");
    }
    for key in known.required {
        assert!(element.try_get_attribute(key).unwrap().is_some(), "{name} without {key}");
    }
    known
}

fn number(element: &BytesStart<'_>, name: &str) -> usize {
    let value = element.try_get_attribute(name).unwrap().unwrap().value;
    str::from_utf8(&value).unwrap().parse().unwrap()
}

#[test]
fn junit_keeps_to_the_schema_and_counts_right() {
    let text = junit::junit(&record()).unwrap();
    let mut reader = Reader::from_str(&text);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<&Element> = Vec::new();
    // Of the suites: tests, failures and errors, as they say and as they are.
    let (mut said, mut seen) = (Vec::new(), Vec::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(element) => {
                let known = check(&element, open.last().copied());
                open.push(known);
                match known.name {
                    "testsuite" => {
                        said.push(["tests", "failures", "errors"].map(|name| number(&element, name)));
                        seen.push([0; 3]);
                    }
                    "testcase" => seen.last_mut().unwrap()[0] += 1,
                    "failure" => seen.last_mut().unwrap()[1] += 1,
                    "error" => seen.last_mut().unwrap()[2] += 1,
                    _ => {}
                }
            }
            Event::End(_) => drop(open.pop()),
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(said, seen);
    assert_eq!(seen, [[8, 1, 4], [1, 0, 1], [2, 0, 0]]);
}
