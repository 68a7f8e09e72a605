//! Calls and what they have shown, in words, as the exchange of a failing case is.

use nix::errno::Errno;
use nix::libc;
use serde::Serialize;
use serde_json::Value;

use super::call::{self, Addr, Call, Object, Port};
use super::seen::Seen;
use crate::wire::address::{AF_NETLINK, Address, LEN};
use crate::wire::explain::{self, hex};
use crate::wire::{option, u32_at};

/// A call in words.
pub fn call(call: &Call) -> String {
    match call {
        Call::Open { socket, kind, protocol } => {
            format!("socket {socket}: open kind {kind:#x} protocol {protocol}")
        }
        Call::Bind { socket, address } => format!("socket {socket}: bind {}", addr(address)),
        Call::Connect { socket, address } => format!("socket {socket}: connect {}", addr(address)),
        Call::Name { socket, room } => format!("socket {socket}: getsockname into {room} bytes"),
        Call::Peer { socket, room } => format!("socket {socket}: getpeername into {room} bytes"),
        Call::Set { socket, level, option, value } => {
            let value = match value {
                call::Value::Bytes(bytes) if bytes.len() == 4 => u32_at(bytes, 0).unwrap_or(0).to_string(),
                call::Value::Bytes(bytes) => format!("{} bytes {}", bytes.len(), hex(bytes)),
                call::Value::Group(family, index) => format!("group {index} of family {family}"),
            };
            format!("socket {socket}: setsockopt {} = {value}", option::name(*level, *option))
        }
        Call::Get { socket, level, option, room } => {
            format!("socket {socket}: getsockopt {} into {room} bytes", option::name(*level, *option))
        }
        Call::Filter { socket, keep } => format!("socket {socket}: attach a filter that returns {keep}"),
        Call::Send { socket, to, flags, .. } => {
            let to = to.as_ref().map(|to| format!(" to {}", addr(to))).unwrap_or_default();
            format!("socket {socket}: send{to}{}", message_flags(*flags))
        }
        Call::Receive { socket, room, flags } => {
            format!("socket {socket}: receive into {room} bytes{}", message_flags(*flags))
        }
        Call::Poll { socket, events } => format!("socket {socket}: poll for {}", events_of(*events)),
        Call::Refused { socket, what } => format!("socket {socket}: {what:?}"),
        Call::Duplicate { socket, copy } => format!("socket {socket}: dup as socket {copy}"),
        Call::Close { socket } => format!("socket {socket}: close"),
        Call::As { who, inner } => format!("as {who:?}: {}", self::call(inner)),
        Call::Register { family, spec } => {
            format!("probe: register family {family}: {}", set(spec))
        }
        Call::RegisterAgain { family } => format!("probe: register family {family} again"),
        Call::Unregister { family } => format!("probe: unregister family {family}"),
        Call::Create { protocol, spec } => {
            format!("probe: create protocol {protocol}: {}", set(spec))
        }
        Call::Release { protocol } => format!("probe: release protocol {protocol}"),
        Call::FromKernel { from, port, send } => {
            let from = match from {
                Object::Family(name) => format!("family {name}"),
                Object::Protocol(name) => format!("protocol {name}"),
            };
            let len = send.payload.len();
            format!(
                "probe: {from}: {:?} group {} {} with {len} bytes",
                send.verb,
                send.group,
                port_words(*port)
            )
        }
        Call::AddCallback { callback, spec } => {
            format!("probe: add callback {callback}: {}", set(spec))
        }
        Call::DelCallback { id } => format!("probe: delete the callback of {}.{}", id.idx, id.val),
        Call::FromConnector { port, send } => {
            format!("probe: connector: {} {}", port_words(*port), set(send))
        }
        Call::WatchRelease => "probe: watch for released sockets".into(),
        Call::References => "probe: references to the module".into(),
        Call::Log => "probe: log".into(),
    }
}

/// What a specification sets, as JSON: fields that are 0, false, none or empty are left out.
fn set(spec: &impl Serialize) -> String {
    fn unset(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Bool(set) => !set,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty() || text == "none",
            Value::Array(list) => list.is_empty(),
            Value::Object(fields) => fields.is_empty(),
        }
    }
    fn prune(value: &mut Value) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(prune),
            Value::Object(fields) => {
                fields.values_mut().for_each(prune);
                fields.retain(|_, value| !unset(value));
            }
            _ => {}
        }
    }
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    prune(&mut value);
    value.to_string()
}

fn addr(address: &Addr) -> String {
    let mut words = port_words(address.port);
    if address.groups != 0 {
        words += &format!(" groups {:#x}", address.groups);
    }
    if address.family != AF_NETLINK {
        words += &format!(" of address family {}", address.family);
    }
    if address.len != LEN {
        words += &format!(" in {} bytes", address.len);
    }
    words
}

fn port_words(port: Port) -> String {
    match port {
        Port::Number(number) => format!("port {number}"),
        Port::Of(socket) => format!("port of socket {socket}"),
    }
}

fn message_flags(flags: i32) -> String {
    let names = [
        (libc::MSG_OOB, "MSG_OOB"),
        (libc::MSG_PEEK, "MSG_PEEK"),
        (libc::MSG_TRUNC, "MSG_TRUNC"),
        (libc::MSG_WAITALL, "MSG_WAITALL"),
        (libc::MSG_EOR, "MSG_EOR"),
        (libc::MSG_ERRQUEUE, "MSG_ERRQUEUE"),
        (libc::MSG_NOSIGNAL, "MSG_NOSIGNAL"),
        (libc::MSG_CMSG_CLOEXEC, "MSG_CMSG_CLOEXEC"),
    ];
    explain::bits(flags, &names, ", ").map(|names| format!(", {names}")).unwrap_or_default()
}

fn events_of(events: i16) -> String {
    let names = [(libc::POLLIN, "POLLIN"), (libc::POLLOUT, "POLLOUT"), (libc::POLLERR, "POLLERR")];
    let names = names.map(|(bit, name)| (i32::from(bit), name));
    explain::bits(events.into(), &names, "|").unwrap_or_else(|| "nothing".into())
}

/// What a call has shown, in words.
pub fn seen(seen: &Seen) -> String {
    match seen {
        Seen::NotMade => "not made: it names what is not there".into(),
        Seen::Inexpressible(fact) => format!("not compared: {fact}"),
        Seen::Ok => "ok".into(),
        Seen::Errno(errno) => format!("{:?}", Errno::from_raw(*errno)),
        Seen::Sent(len) => format!("{len} bytes sent"),
        Seen::Filled(bytes, len)
            if bytes.len() == LEN && *len == LEN && bytes[..2] == AF_NETLINK.to_ne_bytes() =>
        {
            let address = Address::decode(bytes).unwrap_or(Address::KERNEL);
            format!("port {:#x} groups {:#x}", address.portid, address.groups)
        }
        Seen::Filled(bytes, len) => {
            format!("{} and length {len}", if bytes.is_empty() { "nothing".into() } else { hex(bytes) })
        }
        Seen::Received(incoming) => {
            let from = Address::decode(&incoming.from);
            let from = from.map_or_else(
                || format!("an address of {} bytes", incoming.from.len()),
                |from| format!("port {:#x} groups {:#x}", from.portid, from.groups),
            );
            let flags = message_flags(incoming.flags);
            let control: Vec<_> = incoming
                .control
                .iter()
                .map(|control| {
                    format!(", control message {} {}: {}", control.level, control.kind, hex(&control.data))
                })
                .collect();
            format!("{} bytes from {from}{flags}{}", incoming.returned, control.concat())
        }
        Seen::Events(events) => events_of(*events),
        Seen::Returned(value) => explain::errno(*value),
        Seen::Log(entries) => {
            let entry = |entry: &crate::port::provider::LogEntry| {
                let bytes =
                    if entry.bytes.is_empty() { String::new() } else { format!(" [{}]", hex(&entry.bytes)) };
                format!(
                    "{:?} of {:#x} subject {} port {:#x} seq {} call {} by {}: {}{bytes}",
                    entry.on,
                    entry.handle,
                    entry.subject,
                    entry.portid,
                    entry.seq,
                    entry.call,
                    entry.uid,
                    explain::errno(entry.returned)
                )
            };
            match &entries[..] {
                [] => "nothing".into(),
                entries => entries.iter().map(entry).collect::<Vec<_>>().join("; "),
            }
        }
    }
}
