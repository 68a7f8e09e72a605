//! Messages of the client family, as the crates ask their users to define them.

use std::sync::Mutex;

use adapter::{Attribute, Message, NEST, Question};
use genetlink::message::RawGenlMessage;
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_F_NESTED, Nla, NlasIterator, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader};

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
    /// What a question asks to send.
    pub fn asked(question: &Question) -> Client {
        Client { command: question.command, attributes: question.attributes.iter().map(encode).collect() }
    }

    pub fn shown(&self) -> Result<Message, String> {
        let attributes = decode(&self.attributes).map_err(|error| error.to_string())?;
        Ok(Message { command: Some(self.command), attributes: Some(attributes), ..Message::default() })
    }
}

/// A notification of the family, which the crate hands over unparsed.
pub fn shown(raw: &RawGenlMessage) -> Result<Message, String> {
    raw.parse_into_genlmsg::<Client>().map_err(|error| error.to_string())?.payload.shown()
}

fn parse(payload: &[u8]) -> Result<Vec<DefaultNla>, DecodeError> {
    let parsed = NlasIterator::new(payload).map(|attribute| {
        let attribute = attribute?;
        // kind() is without NLA_F_NESTED.
        Ok(DefaultNla::new(attribute.kind(), attribute.value().to_vec()))
    });
    parsed.collect()
}

fn decode(attributes: &[DefaultNla]) -> Result<Vec<Attribute>, DecodeError> {
    let decoded = attributes.iter().map(|attribute| {
        let mut value = vec![0; attribute.value_len()];
        attribute.emit_value(&mut value);
        Ok(match attribute.kind() {
            NEST => Attribute::Nest(decode(&parse(&value)?)?),
            kind => Attribute::shown(kind, &value),
        })
    });
    decoded.collect()
}

fn encode(attribute: &Attribute) -> DefaultNla {
    let Attribute::Nest(inner) = attribute else {
        let (kind, payload) = attribute.encoded();
        return DefaultNla::new(kind, payload);
    };
    let inner: Vec<_> = inner.iter().map(encode).collect();
    let mut payload = vec![0; inner.as_slice().buffer_len()];
    inner.as_slice().emit(&mut payload);
    DefaultNla::new(NEST | NLA_F_NESTED, payload)
}
