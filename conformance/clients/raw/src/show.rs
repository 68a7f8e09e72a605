//! A message as JSON.

use serde_json::{Value, json};

use crate::broken::broken;
use crate::handle::{NETLINK_CONNECTOR, NETLINK_GENERIC};
use crate::message::{Message, NLM_F_DUMP_INTR, decode, u32_at};

/// What the caller of a library would be given.
pub fn message(message: &Message, protocol: i32) -> Value {
    let Message { kind, flags, seq, sender, payload, .. } = message;
    let sender = if broken("any-sender") { 0 } else { *sender };
    let flags = if broken("ignore-dump-intr") { flags & !NLM_F_DUMP_INTR } else { *flags };
    let mut shown = json!({ "type": kind, "flags": flags, "seq": seq, "sender": sender });
    let field = |at| u32_at(payload, at).unwrap_or(0);
    let headless = protocol == NETLINK_GENERIC && payload.len() < 4;
    assert!(!(headless && broken("trust-generic-headers")), "a message of {} bytes", payload.len());
    if protocol == NETLINK_GENERIC && *kind >= 16 && payload.len() >= 4 {
        assert!(!(broken("known-commands") && payload[0] > 20), "command {}", payload[0]);
        shown["command"] = payload[0].into();
        shown["attributes"] = decode(&payload[4..]);
    } else if protocol == NETLINK_CONNECTOR && (field(0), field(4)) == (1, 1) && payload.len() >= 44 {
        // struct proc_event follows struct cn_msg: what, processor, time, and process and thread IDs.
        let what = match field(20) {
            1 => "fork",
            2 => "exec",
            4 => "uid",
            0x40 => "gid",
            0x80 => "sid",
            0x100 => "ptrace",
            0x200 => "comm",
            0x4000_0000 => "coredump",
            0x8000_0000 => "exit",
            _ => "unknown",
        };
        let known = ["fork", "exec", "exit"].contains(&what);
        assert!(known || !broken("known-process-events"), "an event of the kind {what}");
        let pid = if broken("short-times") { field(32) } else { field(40) };
        shown["process"] = json!({ "what": what, "pid": pid });
        if what == "fork" {
            shown["process"]["child"] = field(48).into();
        }
    } else {
        shown["payload"] = json!(payload);
    }
    shown
}
