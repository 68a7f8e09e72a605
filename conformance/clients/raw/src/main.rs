//! `raw`: sockets without a library, right in all that the scenarios ask. A switch makes it wrong.
//!
//! Needs nothing but Rust; built by `cargo build --release -p raw`, with
//! `RUSTFLAGS="-C target-feature=+crt-static"` for a static program. See docs/client-adapter.md.

mod broken;
mod calls;
mod delivery;
mod handle;
mod message;
mod show;
mod socket;

use std::collections::BTreeMap;
use std::io::{Error, Read, Write};
use std::time::Instant;

use broken::broken;
use handle::{Finished, Handle};
use serde_json::{Map, Value, json};
use socket::Socket;

type Handles = BTreeMap<u64, Handle>;

fn main() {
    broken::check_switches();
    if broken("eintr-is-an-error") {
        socket::catch_signals();
    }
    let (mut handles, mut line) = (Handles::new(), Vec::new());
    loop {
        let deadline = handles.values().filter_map(Handle::earliest_deadline).min();
        let ready = poll(
            std::iter::once(0)
                .chain(handles.values().filter(|handle| handle.receives()).map(|handle| handle.socket.fd())),
            deadline,
        );
        let mut chunk = [0; 65536];
        if ready.contains(&0) {
            match std::io::stdin().read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(n) => line.extend(&chunk[..n]),
            }
        }
        while let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            let question: Value = serde_json::from_slice(&line[..end]).expect("questions are JSON");
            line.drain(..=end);
            if let Some((member, value)) = ask(&mut handles, &question) {
                answer(&json!({ "seq": question["seq"], member: value }));
            }
        }
        for handle in handles.values_mut() {
            handle.receive();
            handle.expire(Instant::now());
            let protocol = handle.protocol;
            for Finished { question, mut outcome, messages } in handle.finished.drain(..) {
                outcome["messages"] =
                    messages.iter().map(|message| show::message(message, protocol)).collect();
                answer(&json!({ "seq": question, "ok": outcome }));
            }
        }
    }
}

/// Writes a line, at once: the pieces of a long one would each be searched for its end.
fn answer(line: &Value) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).expect("the suite listens");
}

/// Those of the descriptors that can be read, when there is one or the time is over.
pub fn poll(fds: impl Iterator<Item = i32>, deadline: Option<Instant>) -> Vec<i32> {
    let mut set: Vec<_> = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let timeout = left.map_or(-1, |left| left.as_millis() as i32 + 1);
    // SAFETY: the set has as many elements as is said.
    unsafe {
        libc::poll(set.as_mut_ptr(), set.len() as u64, if broken("no-deadline") { -1 } else { timeout })
    };
    set.iter().filter(|fd| fd.revents != 0).map(|fd| fd.fd).collect()
}

/// Carries out a question: the answer, unless it comes later.
fn ask(handles: &mut Handles, question: &Value) -> Option<(&'static str, Value)> {
    let id = question["handle"].as_u64().unwrap_or(0);
    match question["call"].as_str()? {
        "hello" => return Some(("ok", greeting())),
        "open" => {
            return Some(match open(question) {
                Ok((handle, opened)) => {
                    handles.insert(opened["handle"].as_u64()?, handle);
                    ("ok", opened)
                }
                Err(error) => ("failed", error.to_string().into()),
            });
        }
        "close" if broken("close-waits") => return None,
        "close" => {
            let mut handle = handles.remove(&id)?;
            if !broken("close-forgets") {
                handle.close();
            }
            for Finished { question, outcome, .. } in handle.finished {
                answer(&json!({ "seq": question, "ok": outcome }));
            }
            if broken("close-deafens-all") {
                handles.values_mut().for_each(|other| other.deaf = true);
            }
            if broken("leaks-sockets") {
                std::mem::forget(handle.socket);
            }
            return Some(("ok", Value::Null));
        }
        _ => {}
    }
    let Some(handle) = handles.get_mut(&id) else { return Some(("failed", "no such handle".into())) };
    calls::call(handle, question).map(|outcome| ("ok", outcome))
}

/// Not that of the crate which the other adapters share: serde's macros are not built for a static program.
fn greeting() -> Value {
    let able = [
        "generic",
        "raw",
        "connector",
        "proc-events",
        "dump",
        "events",
        "big-groups",
        "shared-socket",
        "ext-ack",
        "ext-ack-offset",
        "warnings",
        "options",
        "receive-buffer",
        "deadlines",
        "parallel-calls",
    ];
    let capabilities: Map<_, _> = able.iter().map(|able| (able.to_string(), Value::Null)).collect();
    json!({ "version": 1, "language": "Rust", "hidden": [], "own_code": ["everything"],
        "identity": { "role": "client", "name": "raw", "version": env!("CARGO_PKG_VERSION"),
            "capabilities": capabilities } })
}

fn open(question: &Value) -> Result<(Handle, Value), Error> {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let (protocol, options) = (question["protocol"].as_i64().unwrap_or(0) as i32, &question["options"]);
    let socket = Socket::open(protocol)?;
    for (name, option) in [("ext_ack", libc::NETLINK_EXT_ACK), ("cap_ack", libc::NETLINK_CAP_ACK)] {
        if options[name] == true {
            socket.set(libc::SOL_NETLINK, option, 1)?;
        }
    }
    if let Some(size) = options["buffer"].as_u64() {
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, size as u32)?;
    }
    let handle = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let opened = json!({ "handle": handle, "ignored": [] });
    Ok((Handle::new(socket, protocol), opened))
}
