//! The bytes: messages, attributes, extended acks, connector messages.

use serde_json::{Map, Value, json};

use crate::broken::broken;

pub const NLM_F_REQUEST: u16 = 1;
pub const NLM_F_MULTI: u16 = 2;
pub const NLM_F_ACK: u16 = 4;
pub const NLM_F_DUMP_INTR: u16 = 0x10;
pub const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

#[derive(Debug, Clone)]
pub struct Message {
    pub kind: u16,
    pub flags: u16,
    pub seq: u32,
    /// nlmsg_pid.
    pub port: u32,
    /// From the source address of its datagram.
    pub sender: u32,
    /// What follows the header.
    pub payload: Vec<u8>,
}

impl Message {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = (16 + self.payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(self.seq.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.payload);
        bytes
    }
}

/// The messages of a datagram. The first one whose length cannot be is the end.
pub fn messages(mut bytes: &[u8], sender: u32) -> Vec<Message> {
    let mut messages = Vec::new();
    assert!(!broken("trust-headers") || bytes.len() >= 16, "a datagram of {} bytes", bytes.len());
    while let (Some(len), Some(header)) = (u32_at(bytes, 0), bytes.get(4..16)) {
        let Some(payload) = bytes.get(16..len as usize) else {
            assert!(!broken("trust-lengths"), "a message of {len} bytes");
            break;
        };
        messages.push(Message {
            kind: u16::from_ne_bytes([header[0], header[1]]),
            flags: u16::from_ne_bytes([header[2], header[3]]),
            seq: u32_at(header, 4).unwrap_or(0),
            port: u32_at(header, 8).unwrap_or(0),
            sender,
            payload: payload.to_vec(),
        });
        let next = if broken("messages-touch") { len } else { len.next_multiple_of(4) };
        bytes = bytes.get(next as usize..).unwrap_or_default();
    }
    messages
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + payload.len() as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Types, without the flags that share their field, with payloads. The last one may lack its padding.
pub fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut attributes = Vec::new();
    while let Some(&[a, b, c, d]) = bytes.get(..4) {
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let Some(payload) = bytes.get(4..len) else {
            assert!(!broken("trust-attributes"), "an attribute of {len} bytes");
            break;
        };
        if broken("few-attributes") && attributes.len() == 32 {
            break;
        }
        let kind = u16::from_ne_bytes([c, d]);
        let ends = payload.is_empty() && broken("empty-attributes-end") || kind == 0 && broken("type-0-ends");
        if ends {
            break;
        }
        let padded = bytes.get(len.next_multiple_of(4)..);
        if padded.is_none() && broken("last-attribute-is-padded") {
            break;
        }
        let kind = if broken("keep-nla-flags") { kind } else { kind & 0x3fff };
        attributes.retain(|(other, _)| !broken("attributes-by-type") || *other != kind);
        attributes.push((kind, payload));
        bytes = padded.unwrap_or_default();
    }
    if broken("attributes-backwards") {
        attributes.reverse();
    }
    attributes
}

/// Attributes of the client family, from JSON. See docs/client-adapter.md.
pub fn encode(list: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in
        list.as_array().into_iter().flatten().filter_map(|item| item.as_object()?.iter().next())
    {
        bytes.extend(match name.as_str() {
            "number" => attribute(1, &(value.as_u64().unwrap_or(0) as u32).to_ne_bytes()),
            "filler" => attribute(2, &bytes_of(value)),
            "text" => attribute(3, &[value.as_str().unwrap_or("").as_bytes(), &[0]].concat()),
            "nest" => attribute(4 | if broken("no-nested-flag") { 0 } else { 0x8000 }, &encode(value)),
            "wide" => attribute(5, &value.as_u64().unwrap_or(0).to_ne_bytes()),
            _ => attribute(value[0].as_u64().unwrap_or(0) as u16, &bytes_of(&value[1])),
        });
    }
    if broken("short-requests") {
        bytes.truncate(8192);
    }
    bytes
}

pub fn bytes_of(list: &Value) -> Vec<u8> {
    list.as_array().into_iter().flatten().filter_map(|byte| byte.as_u64()).map(|byte| byte as u8).collect()
}

/// Attributes of the client family, to JSON.
pub fn decode(bytes: &[u8]) -> Value {
    let decoded = attributes(bytes).into_iter().map(|(kind, payload)| match (kind, payload.len()) {
        (1, 4) if broken("numbers-of-31-bits") => {
            json!({ "number": u32_at(payload, 0).unwrap_or(0) & 0x7fff_ffff })
        }
        (1, 4) => json!({ "number": u32_at(payload, 0) }),
        (2, _) => json!({ "filler": payload }),
        (3, _) => {
            assert!(!(broken("texts-have-letters") && text(payload).is_empty()), "a text of no letters");
            json!({ "text": text(payload) })
        }
        (4, _) if broken("shallow-nests") => {
            let mut inner = decode(payload);
            inner.as_array_mut().expect("a list").retain(|item| item.get("nest").is_none());
            json!({ "nest": inner })
        }
        (4, _) if !broken("no-nests") => json!({ "nest": decode(payload) }),
        (5, 8) if broken("wide-is-aligned") => panic!("a u64 at an address that is aligned to 4"),
        (5, 8) => {
            let wide = u64::from_ne_bytes(payload.try_into().unwrap_or_default());
            json!({ "wide": if broken("numbers-are-floats") { wide as f64 as u64 } else { wide } })
        }
        _ => {
            assert!(!broken("known-attributes"), "attribute {kind}");
            json!({ "unknown": [kind, payload] })
        }
    });
    decoded.collect()
}

/// A string that may lack its NUL.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}

/// How an NLMSG_ERROR or NLMSG_DONE ends a request: its error, 0 for success, and its extended ack.
pub fn end(message: &Message, done: bool) -> (i32, Map<String, Value>) {
    let payload = &message.payload;
    if broken("done-has-an-error") {
        assert!(payload.len() >= 4, "a message without an error");
    }
    // NLMSG_DONE may be empty.
    let error = u32_at(payload, 0).map_or(0, |error| (error as i32).wrapping_neg());
    let mut ack = Map::new();
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return (error, ack);
    }
    // Before them is the request, but for its payload where that is capped.
    let capped = message.flags & NLM_F_CAPPED != 0 && !broken("ignore-capped");
    let echoed = if capped { 16 } else { u32_at(payload, 4).unwrap_or(0) as usize };
    let start =
        if done { 4 } else { 4 + if broken("unaligned-tlvs") { echoed } else { echoed.next_multiple_of(4) } };
    let tlvs = payload.get(start..).unwrap_or_default();
    assert!(!(broken("ack-tlvs-are-there") && tlvs.is_empty()), "NLM_F_ACK_TLVS without a TLV");
    for (kind, value) in attributes(tlvs) {
        match kind {
            1 => ack.insert("message".into(), text(value).into()),
            2 => ack.insert("offset".into(), u32_at(value, 0).into()),
            3 => ack.insert("cookie".into(), value.into()),
            5 => ack.insert("missing".into(), u32_at(value, 0).into()),
            4 | 6 => None,
            _ => {
                assert!(!broken("known-tlvs"), "TLV {kind}");
                None
            }
        };
        assert!(
            !(broken("short-texts") && kind == 1 && value.len() > 200),
            "a text of {} bytes",
            value.len()
        );
    }
    (error, ack)
}
