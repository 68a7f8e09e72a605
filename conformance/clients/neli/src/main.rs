//! neli, the crate. Built by `cargo build --release -p neli-adapter`.
//!
//! A handle is one `NlRouter`. The router has no deadlines, but may be called by several threads: each request has
//! one of its own, which is left behind when its deadline passes. Extended acks are read as in neli's example extack.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use neli::attr::Attribute;
use neli::consts::nl::{NlmF, NlmsgerrAttr};
use neli::consts::socket::NlFamily;
use neli::err::{RouterError, SocketError};
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, Nlattr, NlattrBuilder, NoUserHeader};
use neli::nl::{NlPayload, Nlmsghdr};
use neli::router::synchronous::{NlRouter, NlRouterReceiverHandle};
use neli::types::{Buffer, GenlBuffer};
use neli::utils::Groups;
use serde_json::{Value, json};

type Generic = Genlmsghdr<u8, u16, NoUserHeader>;
type Attributes = GenlBuffer<u16, Buffer>;

#[derive(Clone)]
struct Handle {
    router: Arc<NlRouter>,
    /// IDs of the families that have been resolved.
    families: Arc<Mutex<HashMap<String, u16>>>,
    /// Outcomes of multicasts, from the thread that iterates over them.
    events: Arc<Mutex<Receiver<Value>>>,
}

fn bytes(list: &Value) -> Vec<u8> {
    list.as_array().into_iter().flatten().map(|byte| byte.as_u64().unwrap_or(0) as u8).collect()
}

fn encode(list: &Value) -> Attributes {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_object()?.iter().next())
        .map(attribute)
        .collect()
}

fn attribute((name, value): (&String, &Value)) -> Nlattr<u16, Buffer> {
    let typed = |kind| AttrTypeBuilder::default().nla_type(kind).build().expect("all is set");
    let nested =
        |kind| AttrTypeBuilder::default().nla_nested(true).nla_type(kind).build().expect("all is set");
    let number = value.as_u64().unwrap_or(0);
    let built = match name.as_str() {
        "number" => NlattrBuilder::default().nla_type(typed(1)).nla_payload(number as u32).build(),
        "text" => {
            NlattrBuilder::default().nla_type(typed(3)).nla_payload(value.as_str().unwrap_or("")).build()
        }
        "nest" => NlattrBuilder::default().nla_type(nested(4)).nla_payload(encode(value)).build(),
        "wide" => NlattrBuilder::default().nla_type(typed(5)).nla_payload(number).build(),
        _ => NlattrBuilder::default().nla_type(typed(2)).nla_payload(bytes(value)).build(),
    };
    built.expect("all is set")
}

/// The attributes, or in the library's words why one is not of its type.
fn decode(list: &Attributes) -> Result<Value, String> {
    let words = |error: neli::err::DeError| error.to_string();
    let decoded = list.iter().map(|attribute| {
        let kind = *attribute.nla_type().nla_type();
        Ok(match kind {
            1 => json!({ "number": attribute.get_payload_as::<u32>().map_err(words)? }),
            2 => json!({ "filler": attribute.nla_payload().as_ref() }),
            3 => json!({ "text": attribute.get_payload_as_with_len::<String>().map_err(words)? }),
            4 => {
                json!({ "nest": decode(&attribute.get_payload_as_with_len::<Attributes>().map_err(words)?)? })
            }
            5 => json!({ "wide": attribute.get_payload_as::<u64>().map_err(words)? }),
            _ => json!({ "unknown": [kind, attribute.nla_payload().as_ref()] }),
        })
    });
    decoded.collect()
}

fn shown<P>(message: &Nlmsghdr<u16, P>, payload: Value) -> Value {
    let flags = message.nl_flags().bits();
    let mut shown = json!({ "type": message.nl_type(), "flags": flags, "seq": message.nl_seq() });
    shown.as_object_mut().expect("it is one").extend(payload.as_object().cloned().unwrap_or_default());
    shown
}

/// How a call ended that failed.
fn failed<T: std::fmt::Debug, P: std::fmt::Debug>(error: &RouterError<T, P>) -> Value {
    match error {
        RouterError::Nlmsgerr(error) => {
            let mut outcome = json!({ "end": "error", "errno": -error.error() });
            for tlv in error.ext_ack().iter() {
                let payload = tlv.nla_payload().as_ref();
                match tlv.nla_type().nla_type() {
                    NlmsgerrAttr::Msg => outcome["message"] = text(payload).into(),
                    NlmsgerrAttr::Offset => outcome["offset"] = tlv.get_payload_as::<u32>().ok().into(),
                    NlmsgerrAttr::Cookie => outcome["cookie"] = json!(payload),
                    _ => {}
                }
            }
            outcome
        }
        RouterError::BadSeqOrPid(_) => json!({ "end": "foreign" }),
        RouterError::Socket(SocketError::Io(error)) => match error.raw_os_error() {
            Some(105) => json!({ "end": "overrun" }),
            errno => json!({ "end": "error", "errno": errno }),
        },
        other => {
            json!({ "end": "library", "words": format!("{other:?}").chars().take(200).collect::<String>() })
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}

/// Adds a message to the outcome; false when there is nothing more to ask for.
fn add<P: std::fmt::Debug>(
    outcome: &mut Value,
    item: Result<Nlmsghdr<u16, P>, RouterError<u16, P>>,
    payload: impl Fn(&P) -> Result<Value, String>,
) -> bool {
    match item {
        Err(error) => {
            let messages = outcome["messages"].take();
            *outcome = failed(&error);
            outcome["messages"] = messages;
            return false;
        }
        Ok(message) => match message.nl_payload() {
            // An error in NLMSG_DONE is handed over as a message.
            NlPayload::DumpExtAck(done) if *done.error() < 0 => {
                outcome["end"] = "error".into();
                outcome["errno"] = (-done.error()).into();
            }
            NlPayload::Payload(data) => match payload(data) {
                Ok(data) => {
                    outcome["messages"].as_array_mut().expect("it is one").push(shown(&message, data))
                }
                Err(words) => {
                    outcome["end"] = "library".into();
                    outcome["words"] = words.into();
                }
            },
            _ => {}
        },
    }
    true
}

fn generic(header: &Generic) -> Result<Value, String> {
    Ok(json!({ "command": header.cmd(), "attributes": decode(header.attrs())? }))
}

fn raw(buffer: &Buffer) -> Result<Value, String> {
    Ok(json!({ "payload": buffer.as_ref() }))
}

fn done() -> Value {
    json!({ "end": "done", "messages": [] })
}

fn collect<P: neli::Size + neli::FromBytesWithInput<Input = usize> + std::fmt::Debug>(
    answer: NlRouterReceiverHandle<u16, P>,
    payload: impl Fn(&P) -> Result<Value, String>,
) -> Value {
    let mut outcome = done();
    for item in answer {
        if !add(&mut outcome, item, &payload) {
            break;
        }
    }
    outcome
}

impl Handle {
    fn open(question: &Value) -> Result<Handle, String> {
        let protocol = question["protocol"].as_i64().unwrap_or(0) as i32;
        let (router, multicasts) = NlRouter::connect(NlFamily::from(protocol), None, Groups::empty())
            .map_err(|error| error.to_string())?;
        if question["options"]["ext_ack"] == true {
            router.enable_ext_ack(true).map_err(|error| error.to_string())?;
        }
        if question["options"]["strict"] == true {
            router.enable_strict_checking(true).map_err(|error| error.to_string())?;
        }
        let (sender, events) = channel();
        let is_generic = protocol == 16;
        thread::spawn(move || {
            let mut multicasts = multicasts;
            loop {
                let mut outcome = done();
                let more = if is_generic {
                    multicasts.next().map(|item| add(&mut outcome, item, generic))
                } else {
                    multicasts.next_typed::<u16, Buffer>().map(|item| add(&mut outcome, item, raw))
                };
                if more.is_none() || sender.send(outcome).is_err() {
                    return;
                }
            }
        });
        let (router, events) = (Arc::new(router), Arc::new(Mutex::new(events)));
        Ok(Handle { router, families: Arc::default(), events })
    }

    fn resolve(&self, family: &str) -> Result<u16, Value> {
        let id = self.router.resolve_genl_family(family).map_err(|error| failed(&error))?;
        self.families.lock().expect("nobody panics with it").insert(family.to_owned(), id);
        Ok(id)
    }

    fn request(&self, question: &Value) -> Value {
        let flags = match question["expects"].as_str() {
            None => NlmF::DUMP,
            Some("ack" | "both") => NlmF::ACK,
            Some(_) => NlmF::empty(),
        };
        if let Some(family) = question["family"].as_str() {
            let known = self.families.lock().expect("nobody panics with it").get(family).copied();
            let id = match known.map_or_else(|| self.resolve(family), Ok) {
                Ok(id) => id,
                Err(outcome) => return outcome,
            };
            let command = question["command"].as_u64().unwrap_or(0) as u8;
            let header = GenlmsghdrBuilder::<u8, u16, NoUserHeader>::default().cmd(command).version(1);
            let header = header.attrs(encode(&question["attributes"])).build().expect("all is set");
            match self.router.send::<_, _, u16, Generic>(id, flags, NlPayload::Payload(header)) {
                Ok(answer) if question["expects"] != "nothing" => collect(answer, generic),
                Ok(_) => done(),
                Err(error) => failed(&error),
            }
        } else {
            let (kind, payload) =
                (question["type"].as_u64().unwrap_or(0) as u16, bytes(&question["payload"]));
            match self.router.send::<_, _, u16, Buffer>(
                kind,
                flags,
                NlPayload::Payload(Buffer::from(payload)),
            ) {
                Ok(answer) if question["expects"] != "nothing" => collect(answer, raw),
                Ok(_) => done(),
                Err(error) => failed(&error),
            }
        }
    }

    fn call(&self, question: &Value) -> Value {
        let group = Groups::new_groups(&[question["number"].as_u64().unwrap_or(0) as u32]);
        let outcome = |result: Result<(), RouterError<u16, Buffer>>| {
            result.map_or_else(|error| failed(&error), |()| done())
        };
        match question["call"].as_str().unwrap_or("") {
            "join" => outcome(self.router.add_mcast_membership(group)),
            "leave" => outcome(self.router.drop_mcast_membership(group)),
            "resolve" => match self.resolve(question["family"].as_str().unwrap_or("")) {
                Ok(id) => json!({ "end": "done", "family": { "id": id } }),
                Err(outcome) => outcome,
            },
            _ => self.request(question),
        }
    }
}

/// The next outcome of the thread that iterates, which ends when the router has been dropped.
fn next_event(events: &Mutex<Receiver<Value>>, deadline: Duration) -> Value {
    let events = events.lock().expect("nobody panics with it");
    events.recv_timeout(deadline).unwrap_or_else(|_| json!({ "end": "timeout" }))
}

/// The wishes that its router has no means for.
fn ignored(wishes: &Value) -> Vec<&'static str> {
    ["cap_ack", "buffer"].into_iter().filter(|name| !wishes[*name].is_null()).collect()
}

fn greeting() -> Value {
    json!({ "version": 1, "language": "Rust", "hidden": ["sender"], "own_code": ["threads, for deadlines"],
        "identity": { "role": "client", "name": "neli", "version": "0.7.5", "capabilities": {
            "generic": null, "raw": null, "dump": null, "events": null, "big-groups": null, "shared-socket": null,
            "ext-ack": null, "ext-ack-offset": null, "deadlines": null, "parallel-calls": null,
            "connector": "its router matches answers by sequence numbers, which those of the connector do not repeat",
            "proc-events": "its router has none; they need its socket and a loop of the caller's",
            "warnings": "the extended ack of a success is not parsed",
            "options": "its router has no option for NETLINK_CAP_ACK",
            "receive-buffer": "its router does not pass on the size of its socket's buffer" } } })
}

fn answer(seq: &Value, member: &str, value: Value) {
    println!("{}", json!({ "seq": seq, member: value }));
}

fn main() {
    let mut handles: Vec<Option<Handle>> = Vec::new();
    for line in std::io::stdin().lines() {
        let question: Value =
            serde_json::from_str(&line.expect("the suite asks")).expect("questions are JSON");
        let seq = question["seq"].clone();
        let at = question["handle"].as_u64().unwrap_or(0) as usize;
        match question["call"].as_str().unwrap_or("") {
            "hello" => answer(&seq, "ok", greeting()),
            "open" => match Handle::open(&question) {
                Ok(handle) => {
                    let port = handle.router.pid();
                    handles.push(Some(handle));
                    answer(
                        &seq,
                        "ok",
                        json!({ "handle": handles.len() - 1, "port": port,
                        "ignored": ignored(&question["options"]) }),
                    );
                }
                Err(words) => answer(&seq, "failed", words.into()),
            },
            "close" => {
                handles[at] = None;
                answer(&seq, "ok", Value::Null);
            }
            "listen" => answer(&seq, "unsupported", "its router has no process events".into()),
            call => {
                let handle = handles[at].clone().expect("it is open");
                let deadline = Duration::from_millis(question["deadline_ms"].as_u64().unwrap_or(0));
                if call == "next-event" {
                    // Without the router, which a close drops.
                    let events = handle.events;
                    thread::spawn(move || answer(&seq, "ok", next_event(&events, deadline)));
                    continue;
                }
                thread::spawn(move || {
                    let (sender, outcome) = channel();
                    thread::spawn(move || sender.send(handle.call(&question)));
                    let outcome = outcome.recv_timeout(deadline).unwrap_or_else(|error| match error {
                        RecvTimeoutError::Timeout => json!({ "end": "timeout" }),
                        RecvTimeoutError::Disconnected => json!({ "end": "library", "words": "it panicked" }),
                    });
                    answer(&seq, "ok", outcome);
                });
            }
        }
    }
}
