//! The calls on a handle: what they send, and what they then wait for.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::broken::broken;
use crate::handle::{GENL_ID_CTRL, Handle, Until, system_error};
use crate::message::*;
use crate::poll;

/// The question that a `resolve` inside another one stands for.
const INNER: u64 = u64::MAX;
const NOTHING: Message = Message { kind: 0, flags: 0, seq: 0, port: 0, sender: 0, payload: Vec::new() };

/// A call on a handle: its outcome, unless that comes later.
pub fn call(handle: &mut Handle, question: &Value) -> Option<Value> {
    let seq = question["seq"].as_u64()?;
    let deadline = Instant::now() + Duration::from_millis(question["deadline_ms"].as_u64().unwrap_or(0));
    let membership = |option| {
        move |handle: &mut Handle| {
            let group = question["number"].as_u64().unwrap_or(0) as u32;
            Some(
                handle
                    .set_membership(option, group)
                    .map_or_else(|error| system_error(&error), |()| json!({"end": "done"})),
            )
        }
    };
    match question["call"].as_str()? {
        "join" => membership(libc::NETLINK_ADD_MEMBERSHIP)(handle),
        "leave" if broken("no-leave") => Some(json!({ "end": "done" })),
        "leave" => membership(libc::NETLINK_DROP_MEMBERSHIP)(handle),
        "next-event" => {
            handle.wait(seq, NOTHING, Until::Event, deadline);
            None
        }
        "listen" => {
            let group = handle.set_membership(libc::NETLINK_ADD_MEMBERSHIP, 1);
            let number = handle.next_seq();
            // struct cn_msg: CN_IDX_PROC, CN_VAL_PROC, seq, ack, length, flags; PROC_CN_MCAST_LISTEN.
            let mut payload = [1, 1, number, number].map(u32::to_ne_bytes).concat();
            payload.extend([4, 0].map(u16::to_ne_bytes).concat());
            payload.extend(1_u32.to_ne_bytes());
            handle.ask(seq, Message { seq: number, kind: 3, payload, ..NOTHING }, Until::Listening, deadline);
            group.err().map(|error| system_error(&error))
        }
        "resolve" if broken("keep-ids") && handle.families.contains_key(question["family"].as_str()?) => {
            Some(json!({ "end": "done" }))
        }
        "resolve" if handle.families.get(question["family"].as_str()?).is_some_and(|(id, _)| *id == 0) => {
            Some(json!({ "end": "error", "errno": libc::ENOENT }))
        }
        "resolve" => Some(match resolve(handle, question["family"].as_str()?, deadline) {
            Ok((id, groups)) => json!({ "end": "done", "family": { "id": id, "groups": groups } }),
            Err(outcome) => outcome,
        }),
        call => request(handle, question, call == "dump", deadline),
    }
}

fn request(handle: &mut Handle, question: &Value, dump: bool, deadline: Instant) -> Option<Value> {
    let (kind, payload) = match question["family"].as_str() {
        None => (question["type"].as_u64()? as u16, bytes_of(&question["payload"])),
        Some(family) => {
            let known =
                handle.families.get(family).cloned().map_or_else(|| resolve(handle, family, deadline), Ok);
            let (id, _) = match known {
                Ok(known) => known,
                Err(outcome) => return Some(outcome),
            };
            let command = question["command"].as_u64()? as u8;
            (id, [vec![command, 1, 0, 0], encode(&question["attributes"])].concat())
        }
    };
    let (until, flags) = match question["expects"].as_str() {
        _ if dump => (Until::Dump, NLM_F_DUMP),
        Some("ack") => (Until::Ack, NLM_F_ACK),
        Some("both") => (Until::Both, NLM_F_ACK),
        _ => (Until::Reply, 0),
    };
    let message = Message { kind, flags: NLM_F_REQUEST | flags, seq: handle.next_seq(), payload, ..NOTHING };
    handle.ask(question["seq"].as_u64()?, message, until, deadline);
    None
}

/// ID and groups of a family, from nlctrl; or the outcome that there are none.
fn resolve(handle: &mut Handle, family: &str, deadline: Instant) -> Result<(u16, Map<String, Value>), Value> {
    const CTRL_CMD_GETFAMILY: u8 = 3;
    const CTRL_ATTR_FAMILY_NAME: u16 = 2;
    if broken("families-are-what-comes") {
        handle.receive();
        if let Some(message) = handle.events.pop_front().and_then(|(_, messages)| messages.first().cloned()) {
            return Ok(family_of(message.payload.get(4..).unwrap_or_default()));
        }
    }
    let name = attribute(CTRL_ATTR_FAMILY_NAME, &[family.as_bytes(), &[0]].concat());
    let payload = [vec![CTRL_CMD_GETFAMILY, 1, 0, 0], name].concat();
    let seq = handle.next_seq();
    let request = Message { kind: GENL_ID_CTRL, flags: NLM_F_REQUEST, seq, payload, ..NOTHING };
    handle.ask(INNER, request, Until::Reply, deadline);
    let answer = loop {
        if let Some(at) = handle.finished.iter().position(|finished| finished.question == INNER) {
            break handle.finished.remove(at);
        }
        poll(std::iter::once(handle.socket.fd()), handle.earliest_deadline());
        handle.receive();
        handle.expire(Instant::now());
    };
    let Some(message) = answer.messages.first() else {
        if broken("cache-misses") {
            // No family has ID 0.
            handle.families.insert(family.to_owned(), (0, Map::new()));
        }
        return Err(answer.outcome);
    };
    let known = family_of(message.payload.get(4..).unwrap_or_default());
    handle.families.insert(family.to_owned(), known.clone());
    Ok(known)
}

fn family_of(bytes: &[u8]) -> (u16, Map<String, Value>) {
    let (mut id, mut groups) = (0, Map::new());
    for (kind, value) in attributes(bytes) {
        match (kind, value) {
            (1, &[low, high]) if !broken("no-family-id") => id = u16::from_ne_bytes([low, high]),
            (7, value) => groups.extend(attributes(value).into_iter().map(|(_, group)| {
                let field = |kind| {
                    attributes(group).into_iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
                };
                let number = field(2).and_then(|value| u32_at(value, 0));
                (text(field(1).unwrap_or_default()), number.into())
            })),
            _ => {}
        }
    }
    (id, groups.into_iter().take(if broken("lose-groups") { 1 } else { usize::MAX }).collect())
}
