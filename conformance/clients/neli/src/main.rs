//! neli, the crate.
//!
//! A handle is one `NlRouter`, which has no deadlines, but may be called by several threads. Multicasts are what it
//! iterates over, in a thread of their own. Extended acks are read as in neli's example extack.

use std::fmt::Debug;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use adapter::{
    Attribute, Call, End, Error, Family, Greeting, Handle, Message, NEST, Options, Question, serve,
};
use neli::attr::Attribute as _;
use neli::consts::nl::{NlmF, NlmsgerrAttr};
use neli::consts::socket::NlFamily;
use neli::err::{DeError, RouterError, SocketError};
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, Nlattr, NlattrBuilder, NoUserHeader};
use neli::nl::{NlPayload, Nlmsghdr};
use neli::router::synchronous::{NlRouter, NlRouterReceiverHandle};
use neli::types::{Buffer, GenlBuffer};
use neli::utils::Groups;

type Generic = Genlmsghdr<u8, u16, NoUserHeader>;
type Attributes = GenlBuffer<u16, Buffer>;

struct Router {
    router: Mutex<Option<Arc<NlRouter>>>,
    events: Mutex<Receiver<Item>>,
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

fn failed<T: Debug, P: Debug>(error: &RouterError<T, P>) -> End {
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
type Item = Result<Option<Message>, End>;

/// What the router handed over; nothing where that is no data.
fn item<P: Debug>(
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

fn generic(header: &Generic) -> Result<Message, DeError> {
    Ok(Message {
        command: Some(*header.cmd()),
        attributes: Some(decode(header.attrs())?),
        ..Message::default()
    })
}

fn raw(buffer: &Buffer) -> Result<Message, DeError> {
    Ok(Message { payload: Some(buffer.as_ref().to_vec()), ..Message::default() })
}

fn collect<P: neli::Size + neli::FromBytesWithInput<Input = usize> + Debug>(
    answer: Result<NlRouterReceiverHandle<u16, P>, RouterError<u16, P>>,
    shown: fn(&P) -> Result<Message, DeError>,
    call: &Call,
) -> Result<(), End> {
    for handed in answer.map_err(|error| failed(&error))? {
        item(handed, shown)?.into_iter().for_each(|message| call.message(message));
    }
    Ok(())
}

impl Router {
    /// The router, which a close takes away.
    fn router(&self) -> Result<Arc<NlRouter>, End> {
        self.router.lock().expect("nobody panics with it").clone().ok_or_else(|| End::library(&"closed"))
    }
}

impl Handle for Router {
    fn open(protocol: i32, options: &Options) -> Result<(Router, Vec<&'static str>), String> {
        let (router, mut multicasts) = NlRouter::connect(NlFamily::from(protocol), None, Groups::empty())
            .map_err(|error| error.to_string())?;
        if options.ext_ack {
            router.enable_ext_ack(true).map_err(|error| error.to_string())?;
        }
        let (sender, events) = channel();
        thread::spawn(move || {
            let mut next = || match protocol {
                16 => multicasts.next().map(|handed| item(handed, generic)),
                _ => multicasts.next_typed::<u16, Buffer>().map(|handed| item(handed, raw)),
            };
            while next().is_some_and(|event| sender.send(event).is_ok()) {}
        });
        let router = Mutex::new(Some(Arc::new(router)));
        Ok((Router { router, events: Mutex::new(events) }, options.among(&["cap_ack", "buffer"])))
    }

    fn resolve(&self, family: &str) -> Result<Family, End> {
        let id = self.router()?.resolve_genl_family(family).map_err(|error| failed(&error))?;
        Ok(Family { id, groups: None })
    }

    fn request(&self, question: &Question, call: &Call) -> Result<(), End> {
        let (router, flags) = (self.router()?, NlmF::from_bits_retain(question.flags()));
        if question.family.is_none() {
            let payload = NlPayload::Payload(Buffer::from(question.payload.clone()));
            return collect(router.send::<_, _, u16, Buffer>(question.kind, flags, payload), raw, call);
        }
        let header = GenlmsghdrBuilder::<u8, u16, NoUserHeader>::default().cmd(question.command).version(1);
        let header =
            header.attrs(question.attributes.iter().map(encode).collect()).build().expect("all is set");
        let payload = NlPayload::Payload(header);
        collect(router.send::<_, _, u16, Generic>(question.kind, flags, payload), generic, call)
    }

    fn set_membership(&self, group: u32, joins: bool) -> Result<(), End> {
        let (router, group) = (self.router()?, Groups::new_groups(&[group]));
        let set =
            if joins { router.add_mcast_membership(group) } else { router.drop_mcast_membership(group) };
        set.map_err(|error| failed(&error))
    }

    fn next_event(&self, call: &Call) -> Result<(), End> {
        // Its thread ends when the router has been dropped.
        let event = self.events.lock().expect("nobody panics with it").recv_timeout(call.left());
        event.unwrap_or(Err(End::Timeout))?.into_iter().for_each(|message| call.message(message));
        Ok(())
    }

    fn close(&self) {
        self.router.lock().expect("nobody panics with it").take();
    }
}

fn main() {
    serve::<Router>(&Greeting {
        name: "neli",
        version: "0.7.5",
        hidden: &["sender"],
        own_code: &["threads, for deadlines"],
        lacks: &[
            (
                "connector",
                Some(
                    "its router matches answers by sequence numbers, which those of the connector do not repeat",
                ),
            ),
            ("proc-events", Some("its router has none; they need its socket and a loop of the caller's")),
            ("warnings", Some("the extended ack of a success is not parsed")),
            ("options", Some("its router has no option for NETLINK_CAP_ACK")),
            ("receive-buffer", Some("its router does not pass on the size of its socket's buffer")),
        ],
    });
}
