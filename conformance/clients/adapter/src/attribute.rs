//! The attributes of the client family.

use serde::{Deserialize, Serialize};

/// The type of a nest.
pub const NEST: u16 = 4;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    Number(u32),
    Filler(Vec<u8>),
    Text(String),
    Nest(Vec<Attribute>),
    Wide(u64),
    Unknown(u16, Vec<u8>),
}

impl Attribute {
    /// Its type, and its payload unless it is a nest.
    pub fn encoded(&self) -> (u16, Vec<u8>) {
        match self {
            Attribute::Number(number) => (1, number.to_ne_bytes().to_vec()),
            Attribute::Filler(bytes) => (2, bytes.clone()),
            Attribute::Text(text) => (3, [text.as_bytes(), &[0]].concat()),
            Attribute::Nest(_) => (NEST, Vec::new()),
            Attribute::Wide(number) => (5, number.to_ne_bytes().to_vec()),
            Attribute::Unknown(kind, bytes) => (*kind, bytes.clone()),
        }
    }

    /// What is shown of one that is not a nest.
    pub fn shown(kind: u16, payload: &[u8]) -> Attribute {
        match (kind, payload) {
            (1, &[a, b, c, d]) => Attribute::Number(u32::from_ne_bytes([a, b, c, d])),
            (2, bytes) => Attribute::Filler(bytes.to_vec()),
            (3, bytes) => {
                let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
                Attribute::Text(String::from_utf8_lossy(text).into_owned())
            }
            (5, bytes) if bytes.len() == 8 => {
                Attribute::Wide(u64::from_ne_bytes(bytes.try_into().unwrap_or_default()))
            }
            _ => Attribute::Unknown(kind, payload.to_vec()),
        }
    }
}
