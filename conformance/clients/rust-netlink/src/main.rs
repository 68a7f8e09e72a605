//! rust-netlink: the crates genetlink, netlink-proto, netlink-packet-core and netlink-sys. Built by
//! `cargo build --release -p rust-netlink`.
//!
//! A handle of NETLINK_GENERIC is a connection of genetlink, which brings an older netlink-proto along; one of another
//! protocol is a connection of netlink-proto. Answers are streams, and multicasts come by the connection's stream of
//! unsolicited messages. Groups are joined on its socket, by a second descriptor, because the connection has the first.

mod messages;

use std::fmt::Debug;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{Stream, StreamExt};
use genetlink::{GenetlinkError, GenetlinkHandle};
use messages::{Bytes, Client, bytes, encode};
use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_generic::GenlMessage;
use netlink_proto::ConnectionHandle;
use netlink_proto::sys::{AsyncSocket, SocketAddr};
use netlink_sys::Socket;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{Mutex, Notify};
use tokio::task::{LocalSet, spawn_local};

enum Link {
    Generic(
        GenetlinkHandle,
        Mutex<UnboundedReceiver<(NetlinkMessage<genetlink::message::RawGenlMessage>, SocketAddr)>>,
    ),
    Raw(ConnectionHandle<Bytes>, Mutex<UnboundedReceiver<(NetlinkMessage<Bytes>, SocketAddr)>>),
}

struct Handle {
    link: Link,
    socket: Mutex<Socket>,
    closed: Notify,
}

fn done() -> Value {
    json!({ "end": "done", "messages": [] })
}

fn refused(error: &ErrorMessage) -> Value {
    json!({ "end": "error", "errno": -error.raw_code() })
}

fn library(error: &dyn Debug) -> Value {
    json!({ "end": "library", "words": format!("{error:?}") })
}

fn failed(error: &GenetlinkError) -> Value {
    match error {
        GenetlinkError::NetlinkError(error) => match error.raw_os_error() {
            Some(errno) => json!({ "end": "error", "errno": errno }),
            None => library(error),
        },
        other => library(other),
    }
}

/// Adds a message to the outcome.
fn add<T>(outcome: &mut Value, message: NetlinkMessage<T>, shown: impl Fn(&T) -> Result<Value, String>) {
    let header = message.header;
    let end = match &message.payload {
        NetlinkPayload::InnerMessage(inner) => match shown(inner) {
            Ok(mut shown) => {
                shown["type"] = header.message_type.into();
                shown["flags"] = header.flags.into();
                shown["seq"] = header.sequence_number.into();
                return outcome["messages"].as_array_mut().expect("it is one").push(shown);
            }
            Err(words) => json!({ "end": "library", "words": words }),
        },
        NetlinkPayload::Error(error) if error.code.is_some() => refused(error),
        NetlinkPayload::Overrun(_) => json!({ "end": "overrun" }),
        _ => return,
    };
    outcome.as_object_mut().expect("it is one").extend(end.as_object().cloned().unwrap_or_default());
}

async fn collect<T, E: Debug>(
    answer: impl Stream<Item = Result<NetlinkMessage<T>, E>>,
    shown: impl Fn(&T) -> Result<Value, String>,
    outcome: &Mutex<Value>,
) {
    let mut answer = std::pin::pin!(answer);
    while let Some(item) = answer.next().await {
        match item {
            Ok(message) => add(&mut *outcome.lock().await, message, &shown),
            Err(error) => *outcome.lock().await = library(&error),
        }
    }
}

impl Handle {
    fn open(question: &Value) -> std::io::Result<(Handle, Value)> {
        let protocol = question["protocol"].as_i64().unwrap_or(0) as isize;
        let (link, socket) = if protocol == 16 {
            let (mut connection, handle, events) = genetlink::new_connection()?;
            let descriptor = second(connection.socket_mut().as_raw_fd())?;
            spawn_local(connection);
            (Link::Generic(handle, Mutex::new(events)), descriptor)
        } else {
            let (mut connection, handle, events) = netlink_proto::new_connection::<Bytes>(protocol)?;
            let descriptor = second(connection.socket_mut().socket_ref().as_raw_fd())?;
            spawn_local(connection);
            (Link::Raw(handle, Mutex::new(events)), descriptor)
        };
        // As in the example of rtnetlink that listens: what is not bound gets no multicasts.
        let mut socket = socket;
        let port = socket.bind_auto()?.port_number();
        let options = &question["options"];
        if options["ext_ack"] == true {
            socket.set_ext_ack(true)?;
        }
        if options["cap_ack"] == true {
            socket.set_cap_ack(true)?;
        }
        if let Some(size) = options["buffer"].as_u64() {
            socket.set_rx_buf_sz(size as u32)?;
        }
        let handle = Handle { link, socket: Mutex::new(socket), closed: Notify::new() };
        let ignored: &[&str] = if options["strict"] == true { &["strict"] } else { &[] };
        Ok((handle, json!({ "port": port, "ignored": ignored })))
    }

    async fn resolve(&self, family: &str) -> Result<Value, Value> {
        let Link::Generic(handle, _) = &self.link else { return Err(library(&"not a generic handle")) };
        // The handle keeps what it has found.
        handle.clear_family_cache().await;
        messages::set_family_name(family);
        let found = handle.resolve_family::<Client>().await.map_err(|error| failed(&error))?;
        Ok(json!({ "end": "done", "family": { "id": found.id, "groups": found.multicast_groups } }))
    }

    async fn request(&self, question: &Value, outcome: &Mutex<Value>) -> Result<(), Value> {
        let flags = NLM_F_REQUEST
            | match question["expects"].as_str() {
                None => NLM_F_DUMP,
                Some("ack" | "both") => NLM_F_ACK,
                Some(_) => 0,
            };
        let silent = question["expects"] == "nothing";
        match &self.link {
            Link::Generic(handle, _) => {
                let family = question["family"]
                    .as_str()
                    .ok_or_else(|| library(&"a generic handle sends to families"))?;
                messages::set_family_name(family);
                let command = question["command"].as_u64().unwrap_or(0) as u8;
                let payload = Client { command, attributes: encode(&question["attributes"]) };
                let mut message = NetlinkMessage::from(GenlMessage::from_payload(payload));
                message.header.flags = flags;
                message.finalize();
                let mut handle = handle.clone();
                if silent {
                    return handle.notify(message).await.map_err(|error| failed(&error));
                }
                let answer = handle.request(message).await.map_err(|error| failed(&error))?;
                collect(answer, |message| message.payload.shown(), outcome).await;
            }
            Link::Raw(handle, _) => {
                let payload = Bytes {
                    kind: question["type"].as_u64().unwrap_or(0) as u16,
                    payload: bytes(&question["payload"]),
                };
                let mut message = NetlinkMessage::from(payload);
                message.header.flags = flags;
                message.finalize();
                let kernel = SocketAddr::new(0, 0);
                if silent {
                    return handle.notify(message, kernel).map_err(|error| library(&error));
                }
                let answer = handle.request(message, kernel).map_err(|error| library(&error))?;
                collect(answer.map(Ok::<_, ()>), Bytes::shown, outcome).await;
            }
        }
        Ok(())
    }

    async fn next_event(&self, outcome: &Mutex<Value>) -> Result<(), Value> {
        let closed = || library(&"the connection is closed");
        let sender = match &self.link {
            Link::Generic(_, events) => {
                let (message, sender) = events.lock().await.next().await.ok_or_else(closed)?;
                let shown = |raw: &genetlink::message::RawGenlMessage| {
                    raw.parse_into_genlmsg::<Client>().map_err(|error| error.to_string())?.payload.shown()
                };
                add(&mut *outcome.lock().await, message, shown);
                sender
            }
            Link::Raw(_, events) => {
                let (message, sender) = events.lock().await.next().await.ok_or_else(closed)?;
                add(&mut *outcome.lock().await, message, Bytes::shown);
                sender
            }
        };
        for message in outcome.lock().await["messages"].as_array_mut().into_iter().flatten() {
            message["sender"] = sender.port_number().into();
        }
        Ok(())
    }

    async fn call(&self, question: &Value, outcome: &Mutex<Value>) -> Result<(), Value> {
        let group = question["number"].as_u64().unwrap_or(0) as u32;
        let error = |error: std::io::Error| json!({ "end": "error", "errno": error.raw_os_error() });
        match question["call"].as_str().unwrap_or("") {
            "join" => self.socket.lock().await.add_membership(group).map_err(error),
            "leave" => self.socket.lock().await.drop_membership(group).map_err(error),
            "next-event" => self.next_event(outcome).await,
            "resolve" => {
                *outcome.lock().await = self.resolve(question["family"].as_str().unwrap_or("")).await?;
                Ok(())
            }
            _ => self.request(question, outcome).await,
        }
    }
}

/// A second descriptor of a connection's socket.
fn second(descriptor: i32) -> std::io::Result<Socket> {
    // SAFETY: the connection has the descriptor open.
    let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()?;
    // SAFETY: nobody else owns the copy.
    Ok(unsafe { Socket::from_raw_fd(descriptor.into_raw_fd()) })
}

fn greeting() -> Value {
    json!({ "version": 1, "language": "Rust", "hidden": [], "own_code": ["groups are joined by a second descriptor"],
        "identity": { "role": "client", "name": "rust-netlink",
            "version": "genetlink 0.3.0 with netlink-proto 0.13.0; netlink-proto 0.14.1", "capabilities": {
            "generic": null, "raw": null, "connector": null, "dump": null, "events": null, "big-groups": null,
            "shared-socket": null, "options": null, "receive-buffer": null, "deadlines": null, "parallel-calls": null,
            "proc-events": "the crates have none", "ext-ack": "its ErrorMessage has a code only",
            "ext-ack-offset": "its ErrorMessage has a code only",
            "warnings": "acknowledgements are not handed over" } } })
}

fn answer(seq: &Value, member: &str, value: Value) {
    println!("{}", json!({ "seq": seq, member: value }));
}

async fn serve() {
    let mut handles: Vec<Option<Rc<Handle>>> = Vec::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.expect("the suite asks") {
        let question: Value = serde_json::from_str(&line).expect("questions are JSON");
        let seq = question["seq"].clone();
        let at = question["handle"].as_u64().unwrap_or(0) as usize;
        match question["call"].as_str().unwrap_or("") {
            "hello" => answer(&seq, "ok", greeting()),
            "open" => match Handle::open(&question) {
                Ok((handle, mut opened)) => {
                    opened["handle"] = handles.len().into();
                    handles.push(Some(Rc::new(handle)));
                    answer(&seq, "ok", opened);
                }
                Err(error) => answer(&seq, "failed", error.to_string().into()),
            },
            "close" => {
                if let Some(handle) = handles[at].take() {
                    handle.closed.notify_waiters();
                }
                answer(&seq, "ok", Value::Null);
            }
            "listen" => answer(&seq, "unsupported", "the crates have no process events".into()),
            _ => {
                let handle = handles[at].clone().expect("it is open");
                spawn_local(async move {
                    let outcome = Mutex::new(done());
                    let deadline = Duration::from_millis(question["deadline_ms"].as_u64().unwrap_or(0));
                    // What a caller of an asynchronous library does who gives up.
                    let ended = tokio::select! {
                        ended = handle.call(&question, &outcome) => ended.err(),
                        () = handle.closed.notified() => Some(library(&"cancelled: the handle was closed")),
                        () = tokio::time::sleep(deadline) => Some(json!({ "end": "timeout" })),
                    };
                    let mut outcome = outcome.into_inner();
                    let ended = ended.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
                    outcome.as_object_mut().expect("it is one").extend(ended);
                    answer(&seq, "ok", outcome);
                });
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    LocalSet::new().run_until(serve()).await;
}
