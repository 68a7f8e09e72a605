//! What the router takes and hands over, as the adapter's messages.

use std::fmt::Debug;

use adapter::{Attribute, Call, End, Error, Message, NEST, Question};
use neli::attr::Attribute as _;
use neli::consts::nl::NlmsgerrAttr;
use neli::err::{DeError, RouterError, SocketError};
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, Nlattr, NlattrBuilder, NoUserHeader};
use neli::nl::{NlPayload, Nlmsghdr};
use neli::router::synchronous::NlRouterReceiverHandle;
use neli::types::{Buffer, GenlBuffer};

pub type Generic = Genlmsghdr<u8, u16, NoUserHeader>;
type Attributes = GenlBuffer<u16, Buffer>;

/// The request that a question asks for.
pub fn asked(question: &Question) -> Generic {
    let attributes = question.attributes.iter().map(encode).collect();
    let header = GenlmsghdrBuilder::default().cmd(question.command).version(1).attrs(attributes);
    header.build().expect("all is set")
}

fn encode(attribute: &Attribute) -> Nlattr<u16, Buffer> {
    let (kind, payload) = attribute.encoded();
    let kind =
        AttrTypeBuilder::default().nla_type(kind).nla_nested(kind == NEST).build().expect("all is set");
    let built = match attribute {
        Attribute::Nest(inner) => {
            let inner: Attributes = inner.iter().map(encode).collect();
            NlattrBuilder::default().nla_type(kind).nla_payload(inner).build()
        }
        _ => NlattrBuilder::default().nla_type(kind).nla_payload(payload).build(),
    };
    built.expect("all is set")
}

fn decode(list: &Attributes) -> Result<Vec<Attribute>, DeError> {
    let decoded = list.iter().map(|attr| match *attr.nla_type().nla_type() {
        NEST => Ok(Attribute::Nest(decode(&attr.get_payload_as_with_len::<Attributes>()?)?)),
        kind => Ok(Attribute::shown(kind, attr.nla_payload().as_ref())),
    });
    decoded.collect()
}

pub fn failed<T: Debug, P: Debug>(error: &RouterError<T, P>) -> End {
    match error {
        RouterError::Nlmsgerr(error) => {
            let mut said = Error { errno: Some(-error.error()), ..Error::default() };
            for tlv in error.ext_ack().iter() {
                match tlv.nla_type().nla_type() {
                    NlmsgerrAttr::Msg => said.message = tlv.get_payload_as_with_len::<String>().ok(),
                    NlmsgerrAttr::Offset => said.offset = tlv.get_payload_as::<u32>().ok(),
                    NlmsgerrAttr::Cookie => said.cookie = Some(tlv.nla_payload().as_ref().to_vec()),
                    _ => {}
                }
            }
            End::Error(said)
        }
        RouterError::BadSeqOrPid(_) => End::Foreign,
        RouterError::Socket(SocketError::Io(error)) => End::system(error),
        other => End::library(other),
    }
}

/// A message of generic netlink or another, as far as it is the same for both.
pub type Item = Result<Option<Message>, End>;

/// What the router handed over; nothing where that is no data.
pub fn item<P: Debug>(
    handed: Result<Nlmsghdr<u16, P>, RouterError<u16, P>>,
    shown: fn(&P) -> Result<Message, DeError>,
) -> Item {
    let message = handed.map_err(|error| failed(&error))?;
    let (kind, flags) = (Some(*message.nl_type()), Some(message.nl_flags().bits()));
    match message.nl_payload() {
        // An error in NLMSG_DONE is handed over as a message.
        NlPayload::DumpExtAck(done) if *done.error() < 0 => Err(End::errno(-done.error())),
        NlPayload::Payload(data) => {
            let shown = shown(data).map_err(|error| End::Library { words: error.to_string() })?;
            Ok(Some(Message { kind, flags, seq: Some(*message.nl_seq()), ..shown }))
        }
        _ => Ok(None),
    }
}

pub fn generic(header: &Generic) -> Result<Message, DeError> {
    Ok(Message {
        command: Some(*header.cmd()),
        attributes: Some(decode(header.attrs())?),
        ..Message::default()
    })
}

pub fn raw(buffer: &Buffer) -> Result<Message, DeError> {
    Ok(Message { payload: Some(buffer.as_ref().to_vec()), ..Message::default() })
}

pub fn collect<P: neli::Size + neli::FromBytesWithInput<Input = usize> + Debug>(
    answer: Result<NlRouterReceiverHandle<u16, P>, RouterError<u16, P>>,
    shown: fn(&P) -> Result<Message, DeError>,
    call: &Call,
) -> Result<(), End> {
    for handed in answer.map_err(|error| failed(&error))? {
        item(handed, shown)?.into_iter().for_each(|message| call.message(message));
    }
    Ok(())
}
