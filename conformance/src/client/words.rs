//! Outcomes and calls in words, for reports.

use std::fmt;

use super::protocol::{Body, Call, End, Expects, Message, Notice, Outcome};
use crate::wire::explain;

/// Messages that are shown; the others are counted.
const SHOWN: usize = 4;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.end)?;
        for notice in &self.notices {
            match notice {
                Notice::Interrupted => f.write_str(", notice: interrupted"),
                Notice::Overrun => f.write_str(", notice: overrun"),
                Notice::Warning(text) => write!(f, ", notice: warning {text:?}"),
            }?;
        }
        if let Some(family) = &self.family {
            let id = family.id.map_or("hidden".into(), |id| id.to_string());
            return write!(f, ", family with ID {id} and groups {:?}", family.groups);
        }
        write!(f, ", {} messages", self.messages.len())?;
        for (nth, message) in self.messages.iter().take(SHOWN).enumerate() {
            write!(f, "{}{message}", if nth == 0 { ": " } else { "; " })?;
        }
        if self.messages.len() > SHOWN { f.write_str("; ...") } else { Ok(()) }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Done => f.write_str("done"),
            End::Error { errno, message, offset, cookie, missing } => {
                write!(f, "error {} ({errno})", explain::errno(-i64::from(*errno)))?;
                message.iter().try_for_each(|text| write!(f, " {:?}", shortened(text)))?;
                offset.iter().try_for_each(|offset| write!(f, " at offset {offset}"))?;
                cookie.iter().try_for_each(|cookie| write!(f, " with cookie {}", explain::hex(cookie)))?;
                missing.iter().try_for_each(|missing| write!(f, " for want of attribute {missing}"))
            }
            End::Interrupted => f.write_str("interrupted"),
            End::Overrun => f.write_str("overrun"),
            End::Truncated => f.write_str("truncated"),
            End::Foreign => f.write_str("foreign message"),
            End::Timeout => f.write_str("timeout"),
            End::Library { words } => write!(f, "failed, in the library's words {:?}", shortened(words)),
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(120).collect()
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.command.map(|command| format!("command {command}")));
        parts.extend(self.kind.filter(|_| self.command.is_none()).map(|kind| format!("type {kind}")));
        parts.extend(self.process.as_ref().map(|event| format!("{event:?}")));
        parts.extend(self.attributes.as_ref().map(|attributes| {
            let text = format!("{attributes:?}");
            if text.len() > 120 { format!("{} attributes, long", attributes.len()) } else { text }
        }));
        parts.extend(self.payload.as_ref().map(|payload| format!("{} bytes", payload.len())));
        f.write_str(&parts.join(" "))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Hello { version } => write!(f, "hello, version {version}"),
            Call::Open { protocol, options } => write!(f, "open protocol {protocol}, {options:?}"),
            Call::Resolve { family, .. } => write!(f, "resolve {family}"),
            Call::Request { body, expects, .. } => write!(f, "request {body}, expecting {}", expects.word()),
            Call::Dump { body, .. } => write!(f, "dump {body}"),
            Call::Join { group, .. } => write!(f, "join group {}", group.number),
            Call::Leave { group, .. } => write!(f, "leave group {}", group.number),
            Call::Listen { .. } => f.write_str("listen to process events"),
            Call::NextEvent { .. } => f.write_str("next event"),
            Call::Close { .. } => f.write_str("close"),
        }?;
        match self.deadline_ms() {
            0 => Ok(()),
            time => write!(f, ", within {time} ms"),
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Family { family, command, attributes } => {
                write!(f, "{family} command {command} with {} attributes", attributes.len())
            }
            Body::Raw { kind, payload } => write!(f, "type {kind} with {} bytes", payload.len()),
        }
    }
}

impl Expects {
    fn word(self) -> &'static str {
        match self {
            Expects::Reply => "a reply",
            Expects::Ack => "an acknowledgement",
            Expects::Both => "a reply and an acknowledgement",
        }
    }
}
