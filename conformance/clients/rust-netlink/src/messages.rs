//! The types of messages, as the crates ask their users to define them.

use std::sync::Mutex;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_F_NESTED, NetlinkDeserializable, NetlinkHeader, NetlinkPayload,
    NetlinkSerializable, Nla, NlasIterator, ParseableParametrized, parse_string, parse_u32, parse_u64,
};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use serde_json::{Value, json};

/// genetlink finds the name of a family by the type of its messages; the families of the scenarios have one type.
static FAMILY_NAME: Mutex<&str> = Mutex::new("");

pub fn set_family_name(name: &str) {
    *FAMILY_NAME.lock().expect("nobody panics with it") = Box::leak(name.to_owned().into_boxed_str());
}

/// A message of the client family.
#[derive(Debug, Clone)]
pub struct Client {
    pub command: u8,
    pub attributes: Vec<DefaultNla>,
}

impl GenlFamily for Client {
    fn family_name() -> &'static str {
        *FAMILY_NAME.lock().expect("nobody panics with it")
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Client {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Client {
    fn parse_with_param(payload: &[u8], header: GenlHeader) -> Result<Client, DecodeError> {
        Ok(Client { command: header.cmd, attributes: parse(payload)? })
    }
}

impl Client {
    pub fn shown(&self) -> Result<Value, String> {
        let attributes = decode(&self.attributes).map_err(|error| error.to_string())?;
        Ok(json!({ "command": self.command, "attributes": attributes }))
    }
}

fn parse(payload: &[u8]) -> Result<Vec<DefaultNla>, DecodeError> {
    let parsed = NlasIterator::new(payload).map(|attribute| {
        let attribute = attribute?;
        // kind() is without NLA_F_NESTED.
        Ok(DefaultNla::new(attribute.kind(), attribute.value().to_vec()))
    });
    parsed.collect()
}

fn decode(attributes: &[DefaultNla]) -> Result<Vec<Value>, DecodeError> {
    let decoded = attributes.iter().map(|attribute| {
        let mut value = vec![0; attribute.value_len()];
        attribute.emit_value(&mut value);
        Ok(match attribute.kind() {
            1 => json!({ "number": parse_u32(&value)? }),
            2 => json!({ "filler": value }),
            3 => json!({ "text": parse_string(&value)? }),
            4 => json!({ "nest": decode(&parse(&value)?)? }),
            5 => json!({ "wide": parse_u64(&value)? }),
            kind => json!({ "unknown": [kind, value] }),
        })
    });
    decoded.collect()
}

pub fn encode(list: &Value) -> Vec<DefaultNla> {
    let pairs = list.as_array().into_iter().flatten().filter_map(|item| item.as_object()?.iter().next());
    let encoded = pairs.map(|(name, value)| match name.as_str() {
        "number" => DefaultNla::new(1, (value.as_u64().unwrap_or(0) as u32).to_ne_bytes().to_vec()),
        "text" => DefaultNla::new(3, [value.as_str().unwrap_or("").as_bytes(), &[0]].concat()),
        "nest" => {
            let inner = encode(value);
            let mut payload = vec![0; inner.as_slice().buffer_len()];
            inner.as_slice().emit(&mut payload);
            DefaultNla::new(4 | NLA_F_NESTED, payload)
        }
        "wide" => DefaultNla::new(5, value.as_u64().unwrap_or(0).to_ne_bytes().to_vec()),
        _ => DefaultNla::new(2, bytes(value)),
    });
    encoded.collect()
}

pub fn bytes(list: &Value) -> Vec<u8> {
    list.as_array().into_iter().flatten().map(|byte| byte.as_u64().unwrap_or(0) as u8).collect()
}

/// A message of any other protocol.
#[derive(Debug, Clone)]
pub struct Bytes {
    pub kind: u16,
    pub payload: Vec<u8>,
}

impl NetlinkSerializable for Bytes {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.payload.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.payload);
    }
}

impl NetlinkDeserializable for Bytes {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Bytes, DecodeError> {
        Ok(Bytes { kind: header.message_type, payload: payload.to_vec() })
    }
}

impl From<Bytes> for NetlinkPayload<Bytes> {
    fn from(bytes: Bytes) -> NetlinkPayload<Bytes> {
        NetlinkPayload::InnerMessage(bytes)
    }
}

impl Bytes {
    pub fn shown(&self) -> Result<Value, String> {
        Ok(json!({ "payload": self.payload }))
    }
}
