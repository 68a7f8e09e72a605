//! A connection of genetlink, or one of netlink-proto.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::sync::LazyLock;

use adapter::{Call, End, Options, Question};
use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use genetlink::GenetlinkHandle;
use genetlink::message::RawGenlMessage;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_generic::GenlMessage;
use netlink_proto::ConnectionHandle;
use netlink_proto::sys::{AsyncSocket, SocketAddr};
use netlink_sys::Socket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Notify};

use crate::answers::{collect, failed, tell};
use crate::bytes::Bytes;
use crate::messages::{self, Client};

type Events<T> = Mutex<UnboundedReceiver<(NetlinkMessage<T>, SocketAddr)>>;

/// The events are dropped first: a connection whose handle is dropped looks whether anybody still waits for them.
pub enum Link {
    Generic(Events<RawGenlMessage>, GenetlinkHandle),
    Raw(Events<Bytes>, ConnectionHandle<Bytes>),
}

pub struct Connection {
    pub link: Link,
    pub socket: Mutex<Socket>,
    pub closed: Notify,
}

/// Started with the first handle.
pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads"));

/// A second descriptor of a connection's socket, which is bound: what is not gets no multicasts.
fn second(descriptor: i32) -> std::io::Result<Socket> {
    // SAFETY: the connection has the descriptor open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()?;
    // SAFETY: nobody else owns the copy.
    let mut socket = unsafe { Socket::from_raw_fd(descriptor.into_raw_fd()) };
    socket.bind_auto()?;
    Ok(socket)
}

pub fn connect(protocol: i32, options: &Options) -> std::io::Result<Connection> {
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
    pub fn wait(&self, call: &Call, work: impl Future<Output = Result<(), End>>) -> Result<(), End> {
        RUNTIME.block_on(async {
            tokio::select! {
                ended = work => ended,
                () = self.closed.notified() => Err(End::library(&"cancelled: the handle was closed")),
                () = tokio::time::sleep(call.left()) => Err(End::Timeout),
            }
        })
    }

    pub async fn ask(&self, question: &Question, call: &Call) -> Result<(), End> {
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

    pub async fn event(&self, call: &Call) -> Result<(), End> {
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
