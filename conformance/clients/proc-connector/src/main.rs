//! proc-connector, the crate: process events. Built by `cargo build --release -p proc-connector-adapter`.
//!
//! `listen` is `ProcConnector::new`, which opens, binds and subscribes, and has no deadline: it runs in a thread,
//! which is left behind when the deadline passes. `next-event` is `recv_timeout`, with the buffer of its example.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use proc_connector::{Error, ProcConnector, ProcEvent, Result};
use serde_json::{Value, json};

fn ended(error: &Error) -> Value {
    match error {
        Error::Overrun => json!({ "end": "overrun" }),
        Error::Truncated | Error::BufferTooSmall { .. } => json!({ "end": "truncated" }),
        Error::Os(error) if error.raw_os_error().is_some() => {
            json!({ "end": "error", "errno": error.raw_os_error() })
        }
        other => json!({ "end": "library", "words": other.to_string() }),
    }
}

fn shown(event: &ProcEvent) -> Value {
    let (what, pid) = match *event {
        ProcEvent::Fork { parent_tgid, child_tgid, .. } => {
            return json!({ "what": "fork", "pid": parent_tgid, "child": child_tgid });
        }
        ProcEvent::Exec { tgid, .. } => ("exec", tgid),
        ProcEvent::Exit { tgid, .. } => ("exit", tgid),
        ProcEvent::Uid { tgid, .. } => ("uid", tgid),
        ProcEvent::Gid { tgid, .. } => ("gid", tgid),
        ProcEvent::Sid { tgid, .. } => ("sid", tgid),
        ProcEvent::Ptrace { tgid, .. } => ("ptrace", tgid),
        ProcEvent::Comm { tgid, .. } => ("comm", tgid),
        ProcEvent::Coredump { tgid, .. } => ("coredump", tgid),
        _ => ("unknown", 0),
    };
    json!({ "what": what, "pid": pid })
}

fn next_event(connector: &ProcConnector, deadline: Duration) -> Value {
    match connector.recv_timeout(&mut vec![0; 4096], deadline) {
        Ok(Some(event)) => json!({ "end": "done", "messages": [{ "process": shown(&event) }] }),
        Ok(None) => json!({ "end": "timeout" }),
        Err(error) => ended(&error),
    }
}

/// A connector that listens, or the outcome that there is none.
fn listen(deadline: Duration) -> std::result::Result<ProcConnector, Value> {
    let (sender, made) = channel::<Result<ProcConnector>>();
    thread::spawn(move || sender.send(ProcConnector::new()));
    match made.recv_timeout(deadline) {
        Ok(made) => made.map_err(|error| ended(&error)),
        Err(_) => Err(json!({ "end": "timeout" })),
    }
}

/// No wish can be met.
fn ignored(wishes: &Value) -> Vec<&String> {
    wishes.as_object().into_iter().flat_map(|wishes| wishes.keys()).collect()
}

fn greeting() -> Value {
    let none = "the crate is for process events only";
    let mut capabilities = json!({ "proc-events": null, "receive-buffer": "it is set after the subscription",
        "deadlines": "a subscription has none" });
    for lacks in [
        "generic",
        "raw",
        "connector",
        "dump",
        "events",
        "big-groups",
        "shared-socket",
        "ext-ack",
        "ext-ack-offset",
        "warnings",
        "options",
        "parallel-calls",
    ] {
        capabilities[lacks] = none.into();
    }
    json!({ "version": 1, "language": "Rust", "hidden": ["type", "flags", "seq", "sender", "command"],
        "own_code": ["a thread, for the deadline of the subscription"],
        "identity": { "role": "client", "name": "proc-connector", "version": "0.3.0",
            "capabilities": capabilities } })
}

fn main() {
    let mut connectors: Vec<Option<ProcConnector>> = Vec::new();
    for line in std::io::stdin().lines() {
        let question: Value =
            serde_json::from_str(&line.expect("the suite asks")).expect("questions are JSON");
        let at = question["handle"].as_u64().unwrap_or(0) as usize;
        let deadline = Duration::from_millis(question["deadline_ms"].as_u64().unwrap_or(0));
        let (member, value) = match question["call"].as_str().unwrap_or("") {
            "hello" => ("ok", greeting()),
            "open" => {
                connectors.push(None);
                ("ok", json!({ "handle": connectors.len() - 1, "ignored": ignored(&question["options"]) }))
            }
            "listen" => match listen(deadline) {
                Ok(connector) => {
                    connectors[at] = Some(connector);
                    ("ok", json!({ "end": "done" }))
                }
                Err(outcome) => ("ok", outcome),
            },
            "next-event" => match &connectors[at] {
                Some(connector) => ("ok", next_event(connector, deadline)),
                None => ("failed", "the handle does not listen".into()),
            },
            "close" => {
                connectors[at] = None;
                ("ok", Value::Null)
            }
            _ => ("unsupported", "the crate is for process events only".into()),
        };
        println!("{}", json!({ "seq": question["seq"], member: value }));
    }
}
