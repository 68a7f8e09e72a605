//! proc-connector, the crate: process events.
//!
//! `listen` is `ProcConnector::new`, which opens, binds and subscribes, and has no deadline. `next-event` is
//! `recv_timeout`, with the buffer of its example.

use std::sync::OnceLock;

use adapter::{Call, End, Greeting, Handle, Message, Options, Process, serve};
use proc_connector::{Error, ProcConnector, ProcEvent};

/// Nothing before the subscription.
struct Connector(OnceLock<ProcConnector>);

fn failed(error: &Error) -> End {
    match error {
        Error::Overrun => End::Overrun,
        Error::Truncated | Error::BufferTooSmall { .. } => End::Truncated,
        Error::Os(error) if error.raw_os_error().is_some() => End::system(error),
        other => End::Library { words: other.to_string() },
    }
}

fn shown(event: &ProcEvent) -> Process {
    let (what, pid, child) = match *event {
        ProcEvent::Fork { parent_tgid, child_tgid, .. } => ("fork", parent_tgid, Some(child_tgid)),
        ProcEvent::Exec { tgid, .. } => ("exec", tgid, None),
        ProcEvent::Exit { tgid, .. } => ("exit", tgid, None),
        ProcEvent::Uid { tgid, .. } => ("uid", tgid, None),
        ProcEvent::Gid { tgid, .. } => ("gid", tgid, None),
        ProcEvent::Sid { tgid, .. } => ("sid", tgid, None),
        ProcEvent::Ptrace { tgid, .. } => ("ptrace", tgid, None),
        ProcEvent::Comm { tgid, .. } => ("comm", tgid, None),
        ProcEvent::Coredump { tgid, .. } => ("coredump", tgid, None),
        _ => ("unknown", 0, None),
    };
    Process { what, pid, child }
}

impl Handle for Connector {
    fn open(_: i32, options: &Options) -> Result<(Connector, Vec<&'static str>), String> {
        Ok((Connector(OnceLock::new()), options.among(&["ext_ack", "cap_ack", "buffer"])))
    }

    fn listen(&self) -> Result<(), End> {
        let connector = ProcConnector::new().map_err(|error| failed(&error))?;
        self.0.set(connector).map_err(|_| End::library(&"it listens already"))
    }

    fn next_event(&self, call: &Call) -> Result<(), End> {
        let connector = self.0.get().ok_or_else(|| End::library(&"it does not listen"))?;
        match connector.recv_timeout(&mut vec![0; 4096], call.left()) {
            Ok(Some(event)) => call.message(Message { process: Some(shown(&event)), ..Message::default() }),
            Ok(None) => return Err(End::Timeout),
            Err(error) => return Err(failed(&error)),
        }
        Ok(())
    }
}

fn main() {
    serve::<Connector>(&Greeting {
        name: "proc-connector",
        version: "0.3.0",
        hidden: &["type", "flags", "seq", "sender", "command"],
        own_code: &["a thread, for the deadline of the subscription"],
        lacks: &[
            ("proc-events", None),
            ("receive-buffer", Some("it is set after the subscription")),
            ("deadlines", Some("a subscription has none")),
            ("*", Some("the crate is for process events only")),
        ],
    });
}
