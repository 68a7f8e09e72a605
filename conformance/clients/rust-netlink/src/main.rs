//! rust-netlink: the crates genetlink, netlink-proto, netlink-packet-core and netlink-sys.
//!
//! A handle of NETLINK_GENERIC is a connection of genetlink, which brings an older netlink-proto along; one of another
//! protocol is a connection of netlink-proto. Answers are streams, and multicasts come by the connection's stream of
//! unsolicited messages. Groups are joined on its socket, by a second descriptor, because the connection has the first.

mod messages;

use std::fmt::Debug;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::sync::LazyLock;

use adapter::{Call, End, Family, Greeting, Handle, Message, Options, Question, serve};
use futures::channel::mpsc::UnboundedReceiver;
use futures::{Stream, StreamExt};
use genetlink::message::RawGenlMessage;
use genetlink::{GenetlinkError, GenetlinkHandle};
use messages::{Bytes, Client};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;
use netlink_proto::ConnectionHandle;
use netlink_proto::sys::{AsyncSocket, SocketAddr};
use netlink_sys::Socket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Notify};

type Events<T> = Mutex<UnboundedReceiver<(NetlinkMessage<T>, SocketAddr)>>;

/// The events are dropped first: a connection whose handle is dropped looks whether anybody still waits for them.
enum Link {
    Generic(Events<RawGenlMessage>, GenetlinkHandle),
    Raw(Events<Bytes>, ConnectionHandle<Bytes>),
}

struct Connection {
    link: Link,
    socket: Mutex<Socket>,
    closed: Notify,
}

/// Started with the first handle.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads"));

fn failed(error: &GenetlinkError) -> End {
    match error {
        GenetlinkError::NetlinkError(error) => End::system(error),
        other => End::library(other),
    }
}

/// Tells the call of a message.
fn tell<T>(
    call: &Call,
    message: NetlinkMessage<T>,
    sender: Option<u32>,
    shown: fn(&T) -> Result<Message, String>,
) -> Result<(), End> {
    let header = message.header;
    let (kind, flags, seq) = (Some(header.message_type), Some(header.flags), Some(header.sequence_number));
    match &message.payload {
        NetlinkPayload::InnerMessage(inner) => {
            let shown = shown(inner).map_err(|words| End::Library { words })?;
            call.message(Message { kind, flags, seq, sender, ..shown });
        }
        NetlinkPayload::Error(error) if error.code.is_some() => return Err(End::errno(-error.raw_code())),
        NetlinkPayload::Overrun(_) => return Err(End::Overrun),
        _ => {}
    }
    Ok(())
}

async fn collect<T, E: Debug>(
    answer: impl Stream<Item = Result<NetlinkMessage<T>, E>>,
    shown: fn(&T) -> Result<Message, String>,
    call: &Call,
) -> Result<(), End> {
    let mut answer = std::pin::pin!(answer);
    let mut end = Ok(());
    while let Some(item) = answer.next().await {
        let told =
            item.map_err(|error| End::library(&error)).and_then(|message| tell(call, message, None, shown));
        end = told.and(end);
    }
    end
}

/// A second descriptor of a connection's socket, which is bound: what is not gets no multicasts.
fn second(descriptor: i32) -> std::io::Result<Socket> {
    // SAFETY: the connection has the descriptor open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()?;
    // SAFETY: nobody else owns the copy.
    let mut socket = unsafe { Socket::from_raw_fd(descriptor.into_raw_fd()) };
    socket.bind_auto()?;
    Ok(socket)
}

fn connect(protocol: i32, options: &Options) -> std::io::Result<Connection> {
    let _runtime = RUNTIME.enter();
    let (link, socket) = if protocol == 16 {
        let (mut connection, handle, events) = genetlink::new_connection()?;
        let socket = second(connection.socket_mut().as_raw_fd())?;
        RUNTIME.spawn(connection);
        (Link::Generic(Mutex::new(events), handle), socket)
    } else {
        let (mut connection, handle, events) = netlink_proto::new_connection::<Bytes>(protocol as isize)?;
        let socket = second(connection.socket_mut().socket_ref().as_raw_fd())?;
        RUNTIME.spawn(connection);
        (Link::Raw(Mutex::new(events), handle), socket)
    };
    if options.ext_ack {
        socket.set_ext_ack(true)?;
    }
    if options.cap_ack {
        socket.set_cap_ack(true)?;
    }
    if let Some(size) = options.buffer {
        socket.set_rx_buf_sz(size)?;
    }
    Ok(Connection { link, socket: Mutex::new(socket), closed: Notify::new() })
}

impl Connection {
    /// Waits as a caller of an asynchronous library does who may give up.
    fn wait(&self, call: &Call, work: impl Future<Output = Result<(), End>>) -> Result<(), End> {
        RUNTIME.block_on(async {
            tokio::select! {
                ended = work => ended,
                () = self.closed.notified() => Err(End::library(&"cancelled: the handle was closed")),
                () = tokio::time::sleep(call.left()) => Err(End::Timeout),
            }
        })
    }

    async fn ask(&self, question: &Question, call: &Call) -> Result<(), End> {
        let flags = NLM_F_REQUEST | question.flags();
        match &self.link {
            Link::Generic(_, handle) => {
                let mut message = NetlinkMessage::from(GenlMessage::from_payload(Client::asked(question)));
                message.header.flags = flags;
                message.finalize();
                let answer = handle.clone().request(message).await.map_err(|error| failed(&error))?;
                collect(answer, |message| message.payload.shown(), call).await
            }
            Link::Raw(_, handle) => {
                let mut message = NetlinkMessage::from(Bytes::asked(question));
                message.header.flags = flags;
                message.finalize();
                let answer =
                    handle.request(message, SocketAddr::new(0, 0)).map_err(|error| End::library(&error))?;
                collect(answer.map(Ok::<_, ()>), Bytes::shown, call).await
            }
        }
    }

    async fn event(&self, call: &Call) -> Result<(), End> {
        let closed = || End::library(&"the connection is closed");
        match &self.link {
            Link::Generic(events, _) => {
                let (message, sender) = events.lock().await.next().await.ok_or_else(closed)?;
                tell(call, message, Some(sender.port_number()), messages::shown)
            }
            Link::Raw(events, _) => {
                let (message, sender) = events.lock().await.next().await.ok_or_else(closed)?;
                tell(call, message, Some(sender.port_number()), Bytes::shown)
            }
        }
    }
}

impl Handle for Connection {
    fn open(protocol: i32, options: &Options) -> Result<(Connection, Vec<&'static str>), String> {
        Ok((connect(protocol, options).map_err(|error| error.to_string())?, Vec::new()))
    }

    fn resolve(&self, family: &str) -> Result<Family, End> {
        let Link::Generic(_, handle) = &self.link else { return Err(End::library(&"not a generic handle")) };
        messages::set_family_name(family);
        let found = RUNTIME.block_on(async {
            handle.clear_family_cache().await; // the handle keeps what it has found
            handle.resolve_family::<Client>().await.map_err(|error| failed(&error))
        })?;
        Ok(Family { id: found.id, groups: Some(found.multicast_groups.into_iter().collect()) })
    }

    fn request(&self, question: &Question, call: &Call) -> Result<(), End> {
        question.family.iter().for_each(|family| messages::set_family_name(family));
        self.wait(call, self.ask(question, call))
    }

    fn set_membership(&self, group: u32, joins: bool) -> Result<(), End> {
        let socket = self.socket.blocking_lock();
        let set = if joins { socket.add_membership(group) } else { socket.drop_membership(group) };
        set.map_err(|error| End::system(&error))
    }

    fn next_event(&self, call: &Call) -> Result<(), End> {
        self.wait(call, self.event(call))
    }

    fn close(&self) {
        self.closed.notify_waiters();
    }
}

fn main() {
    serve::<Connection>(&Greeting {
        name: "rust-netlink",
        version: "genetlink 0.3.0 with netlink-proto 0.13.0; netlink-proto 0.14.1",
        hidden: &[],
        own_code: &["groups are joined by a second descriptor"],
        lacks: &[
            ("proc-events", Some("the crates have none")),
            ("ext-ack", Some("its ErrorMessage has a code only")),
            ("ext-ack-offset", Some("its ErrorMessage has a code only")),
            ("warnings", Some("acknowledgements are not handed over")),
        ],
    });
}
