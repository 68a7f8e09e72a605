//! What others write and read: JSON Schemas made from the types, and files of each version that must stay
//! readable. `NLCONFORM_BLESS=1 cargo test -p nlconform --test schemas` writes docs/schemas anew; what that
//! changes raises a version or not, as docs/stability.md says.

use std::fs;
use std::path::{Path, PathBuf};

use nlconform::adapters::json::protocol as adapter;
use nlconform::client::protocol as client;
use nlconform::event::{Event, Request, Verdict};
use nlconform::report::Record;
use schemars::schema_for;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn crate_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The schemas by the names of their files.
fn schemas() -> Vec<(&'static str, schemars::Schema)> {
    vec![
        ("request", schema_for!(Request)),
        ("event", schema_for!(Event)),
        ("results", schema_for!(Record)),
        ("adapter-question", schema_for!(adapter::Ask)),
        ("adapter-answer", schema_for!(adapter::Answer)),
        ("adapter-hello", schema_for!(adapter::Hello)),
        ("client-question", schema_for!(client::Question)),
        ("client-answer", schema_for!(client::Answer)),
        ("client-hello", schema_for!(client::Hello)),
        ("client-opened", schema_for!(client::Opened)),
        ("client-outcome", schema_for!(client::Outcome)),
    ]
}

fn file(name: &str) -> PathBuf {
    crate_root().join("../docs/schemas").join(name).with_extension("json")
}

#[test]
fn schemas_are_those_of_the_types() {
    for (name, schema) in schemas() {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("NLCONFORM_BLESS").is_some() {
            fs::write(file(name), &text).unwrap();
        }
        let kept = fs::read_to_string(file(name)).unwrap_or_default();
        assert!(text == kept, "docs/schemas/{name}.json is not that of the type: see the head of this test");
    }
}

/// Each line of a golden file, read by today's types; and today's types written, read again.
fn lines<T: Serialize + DeserializeOwned>(name: &str) -> Vec<T> {
    let path = crate_root().join("tests/golden").join(name);
    let text = fs::read_to_string(&path).unwrap();
    let read = |line: &str| -> T {
        let value: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
        let before: Value = serde_json::from_str(line).unwrap();
        let after = serde_json::to_value(&value).unwrap();
        assert!(holds(&after, &before), "{name}: {line} became {after}");
        value
    };
    text.lines().map(read).collect()
}

/// Whether nothing of `before` was lost but members that are not known.
fn holds(after: &Value, before: &Value) -> bool {
    match (after, before) {
        (Value::Object(after), Value::Object(before)) => before
            .iter()
            .filter(|(key, _)| *key != "added-later")
            .all(|(key, value)| after.get(key).map_or(is_default(value), |after| holds(after, value))),
        (Value::Array(after), Value::Array(before)) => {
            after.len() == before.len()
                && after.iter().zip(before).all(|(after, before)| holds(after, before))
        }
        _ => after == before,
    }
}

/// What need not be written.
fn is_default(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false)) || *value == Value::Array(vec![]) || *value == ""
}

#[test]
fn files_of_each_version_are_read() {
    let events: Vec<Event> = lines("events-1.jsonl");
    let verdicts: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Finished(report) => Some(std::mem::discriminant(&report.verdict)),
            _ => None,
        })
        .collect();
    assert_eq!(verdicts.len(), 6, "one of each verdict");
    assert_eq!(verdicts[0], std::mem::discriminant(&Verdict::Pass));
    assert_eq!(lines::<Request>("requests-1.jsonl").len(), 2);
    assert_eq!(lines::<adapter::Ask>("adapter-questions-1.jsonl").len(), 6);
    assert_eq!(lines::<adapter::Answer>("adapter-answers-1.jsonl").len(), 4);
    assert_eq!(lines::<client::Question>("client-questions-1.jsonl").len(), 6);
    assert_eq!(lines::<client::Answer>("client-answers-1.jsonl").len(), 3);
    let record = Record::read(&crate_root().join("tests/golden/results.json")).unwrap();
    assert_eq!(record.runs.len(), 3);
}

#[test]
fn newer_results_are_refused_and_added_members_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.json");
    let golden = fs::read(crate_root().join("tests/golden/results.json")).unwrap();
    let mut results: Value = serde_json::from_slice(&golden).unwrap();
    results["added-later"] = true.into();
    fs::write(&path, results.to_string()).unwrap();
    assert!(Record::read(&path).is_ok());
    results["protocol"] = 1000.into();
    fs::write(&path, results.to_string()).unwrap();
    assert!(Record::read(&path).unwrap_err().contains("1000"));
}
