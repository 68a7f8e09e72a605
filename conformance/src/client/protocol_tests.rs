use serde::de::DeserializeOwned;
use serde_json::{from_value, json, to_value};

use super::*;

/// The line becomes this value, and the value this line again.
fn is<T>(line: Value, value: T)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    assert_eq!(from_value::<T>(line.clone()).expect("is of the protocol"), value);
    assert_eq!(to_value(&value).expect("is JSON"), line);
}

#[test]
fn questions_are_flat() {
    is(
        json!({"seq": 1, "call": "hello", "version": 1}),
        Question { seq: 1, call: Call::Hello { version: 1 } },
    );
    is(
        json!({"seq": 2, "call": "open", "protocol": 16, "options": {"ext_ack": true, "buffer": 4096}}),
        Question {
            seq: 2,
            call: Call::Open {
                protocol: 16,
                options: Options { ext_ack: true, buffer: Some(4096), ..Options::default() },
            },
        },
    );
    is(
        json!({"seq": 3, "call": "join", "handle": 1, "family": "nlc_client", "group": "big", "number": 38,
            "deadline_ms": 10}),
        Question {
            seq: 3,
            call: Call::Join {
                handle: 1,
                group: Group { family: Some("nlc_client".into()), group: Some("big".into()), number: 38 },
                deadline_ms: 10,
            },
        },
    );
}

#[test]
fn a_request_is_for_a_family_or_raw() {
    let attributes = vec![
        Attribute::Number(7),
        Attribute::Filler(vec![1, 2]),
        Attribute::Text("abc".into()),
        Attribute::Nest(vec![Attribute::Wide(1 << 40)]),
        Attribute::Unknown(9, vec![3]),
    ];
    is(
        json!({"call": "request", "handle": 1, "family": "nlc_client", "command": 3, "expects": "both",
            "attributes": [{"number": 7}, {"filler": [1, 2]}, {"text": "abc"},
                {"nest": [{"wide": 1_099_511_627_776_u64}]}, {"unknown": [9, [3]]}],
            "deadline_ms": 2000}),
        Call::Request {
            handle: 1,
            body: Body::Family { family: "nlc_client".into(), command: 3, attributes },
            expects: Expects::Both,
            deadline_ms: 2000,
        },
    );
    is(
        json!({"call": "dump", "handle": 1, "type": 18, "payload": [0, 0], "deadline_ms": 2000}),
        Call::Dump { handle: 1, body: Body::Raw { kind: 18, payload: vec![0, 0] }, deadline_ms: 2000 },
    );
}

#[test]
fn an_answer_is_one_of_three() {
    is(json!({"seq": 1, "ok": null}), Answer { seq: 1, answered: Answered::Ok(Value::Null) });
    is(
        json!({"seq": 1, "unsupported": "hides it"}),
        Answer { seq: 1, answered: Answered::Unsupported("hides it".into()) },
    );
    is(
        json!({"seq": 1, "failed": "no memory"}),
        Answer { seq: 1, answered: Answered::Failed("no memory".into()) },
    );
    for wrong in [json!({"seq": 1}), json!({"ok": 1}), json!({"seq": 1, "ok": null, "failed": "both"})] {
        assert!(from_value::<Answer>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn outcomes_are_flat() {
    is(
        json!({"end": "error", "errno": 22, "message": "no", "offset": 20, "notices": ["interrupted", {"warning": "w"}],
            "messages": [{"type": 28, "flags": 2, "command": 1, "attributes": [{"number": 1}]}, {"payload": [1]}]}),
        Outcome {
            end: End::Error {
                errno: 22,
                message: Some("no".into()),
                offset: Some(20),
                cookie: None,
                missing: None,
            },
            messages: vec![
                Message {
                    kind: Some(28),
                    flags: Some(2),
                    command: Some(1),
                    attributes: Some(vec![Attribute::Number(1)]),
                    ..Message::default()
                },
                Message { payload: Some(vec![1]), ..Message::default() },
            ],
            notices: vec![Notice::Interrupted, Notice::Warning("w".into())],
            family: None,
        },
    );
    let ended = |end| Outcome { end, messages: Vec::new(), notices: Vec::new(), family: None };
    is(json!({"end": "timeout"}), ended(End::Timeout));
    is(
        json!({"end": "library", "words": "out of cheese"}),
        ended(End::Library { words: "out of cheese".into() }),
    );
    is(
        json!({"end": "done", "family": {"id": 16, "groups": {"notify": 16}}}),
        Outcome {
            family: Some(Family { id: Some(16), groups: Some([("notify".into(), 16)].into()) }),
            ..ended(End::Done)
        },
    );
}

#[test]
fn what_a_later_version_adds_is_ignored() {
    let line = json!({"seq": 1, "ok": {"version": 9, "language": "C", "colour": "red",
        "identity": {"role": "client", "name": "lib", "version": "1", "capabilities": {"dump": null}, "age": 3}}});
    let Answered::Ok(value) = from_value::<Answer>(line).expect("an answer").answered else {
        panic!("it is ok");
    };
    let hello: Hello = from_value(value).expect("a greeting");
    assert_eq!((hello.version, hello.identity.lacks("dump")), (9, None));

    let wait = json!({"seq": 4, "call": "next-event", "handle": 1, "deadline_ms": 5, "patience": true});
    let question: Question = from_value(wait).expect("a question");
    assert_eq!(question.call, Call::NextEvent { handle: 1, deadline_ms: 5 });
}
