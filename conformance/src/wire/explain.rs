//! Messages in text, for reports.

use nix::errno::Errno;

use super::ack::{self, Ack};
use super::attr::{self, Attr};
use super::connector::CnMsg;
use super::message::{self, Message};
use super::process::{CN_IDX_PROC, ProcEvent};
use super::{genl, u16_at};

/// `NETLINK_CONNECTOR`.
const CONNECTOR: i32 = 11;
/// `NETLINK_GENERIC`.
const GENERIC: i32 = 16;

/// The messages of a datagram of this protocol, one line per message, with lines for their contents
/// indented below.
pub fn datagram(protocol: i32, bytes: &[u8]) -> Vec<String> {
    let (messages, rest) = Message::decode_all(bytes);
    let mut lines: Vec<String> = messages.iter().flat_map(|message| lines_of(protocol, message)).collect();
    if !rest.is_empty() {
        lines.push(format!("{} bytes that are not a message", rest.len()));
    }
    lines
}

fn lines_of(protocol: i32, message: &Message) -> Vec<String> {
    let mut lines = vec![format!(
        "{} flags={} seq={} pid={} len={}",
        kind(protocol, message),
        flags(message),
        message.seq,
        message.portid,
        message.len(),
    )];
    match (message.kind, protocol) {
        (_, CONNECTOR) => lines.extend(connector(message)),
        (message::NLMSG_ERROR | message::NLMSG_DONE, _) => lines.extend(status(message)),
        (message::NLMSG_NOOP | message::NLMSG_OVERRUN, _) => {}
        (_, GENERIC) => lines.extend(generic(message)),
        _ if message.is_empty() => {}
        _ => lines.push(format!("    {} bytes of payload", message.payload.len())),
    }
    lines
}

fn kind(protocol: i32, message: &Message) -> String {
    match message.kind {
        message::NLMSG_NOOP => "NLMSG_NOOP".into(),
        message::NLMSG_ERROR => "NLMSG_ERROR".into(),
        message::NLMSG_DONE => "NLMSG_DONE".into(),
        message::NLMSG_OVERRUN => "NLMSG_OVERRUN".into(),
        genl::GENL_ID_CTRL if protocol == GENERIC => "nlctrl".into(),
        other if protocol == GENERIC => format!("family {other}"),
        other => format!("type {other}"),
    }
}

fn flags(message: &Message) -> String {
    let reply = matches!(message.kind, message::NLMSG_ERROR | message::NLMSG_DONE);
    let names = [
        (message::NLM_F_REQUEST, "REQUEST"),
        (message::NLM_F_MULTI, "MULTI"),
        (message::NLM_F_ACK, "ACK"),
        (message::NLM_F_ECHO, "ECHO"),
        (message::NLM_F_DUMP_INTR, "DUMP_INTR"),
        (message::NLM_F_DUMP_FILTERED, "DUMP_FILTERED"),
        (message::NLM_F_ROOT, if reply { "CAPPED" } else { "ROOT" }),
        (message::NLM_F_MATCH, if reply { "ACK_TLVS" } else { "MATCH" }),
    ]
    .map(|(bit, name)| (i32::from(bit), name));
    bits(message.flags.into(), &names, "|").unwrap_or_else(|| "0".into())
}

/// The names of the bits that are set, and the rest as a number; `None` if no bit is set.
pub fn bits(value: i32, names: &[(i32, &str)], between: &str) -> Option<String> {
    let known = names.iter().fold(0, |known, (bit, _)| known | bit);
    let set = names.iter().filter(|(bit, _)| value & bit != 0).map(|(_, name)| (*name).to_owned());
    let rest = (value & !known != 0).then(|| format!("{:#x}", value & !known));
    let all: Vec<_> = set.chain(rest).collect();
    (!all.is_empty()).then(|| all.join(between))
}

fn status(message: &Message) -> Vec<String> {
    let Some(ack) = Ack::read(message) else { return vec!["    no status".into()] };
    let mut lines = vec![format!("    status {}", errno(ack.status.into()))];
    lines.extend(ack.message.map(|text| format!("    message {text:?}")));
    lines.extend(ack.offset.map(|offset| format!("    offset {offset}")));
    lines.extend(ack.cookie.map(|cookie| format!("    cookie {}", hex(&cookie))));
    lines.extend(ack.policy.map(|policy| format!("    policy {}", hex(&policy))));
    lines.extend(ack.miss_type.map(|kind| format!("    missing attribute {kind}")));
    lines.extend(ack.miss_nest.map(|nest| format!("    missing within the nest at {nest}")));
    let known = [
        ack::NLMSGERR_ATTR_MSG,
        ack::NLMSGERR_ATTR_OFFS,
        ack::NLMSGERR_ATTR_COOKIE,
        ack::NLMSGERR_ATTR_POLICY,
        ack::NLMSGERR_ATTR_MISS_TYPE,
        ack::NLMSGERR_ATTR_MISS_NEST,
    ];
    lines.extend(
        ack.order
            .iter()
            .map(|raw| raw & attr::NLA_TYPE_MASK)
            .filter(|kind| !known.contains(kind))
            .map(|kind| format!("    unknown extended-ack attribute {kind}")),
    );
    lines
}

fn connector(message: &Message) -> Vec<String> {
    let Some(msg) = CnMsg::decode(&message.payload) else { return vec!["    no cn_msg".into()] };
    let mut lines = vec![format!(
        "    cn_msg id={:#x}.{:#x} seq={} ack={} flags={:#x} len={}",
        msg.idx,
        msg.val,
        msg.seq,
        msg.ack,
        msg.flags,
        msg.data.len()
    )];
    if (msg.idx, msg.val) == (CN_IDX_PROC, CN_IDX_PROC) {
        lines.push(match ProcEvent::decode(&msg.data) {
            Some(event) => format!("    proc_event cpu={} {:?}", event.cpu, event.happening()),
            None => format!("    request {}", hex(&msg.data)),
        });
    }
    lines
}

fn generic(message: &Message) -> Vec<String> {
    let Some(reserved) = u16_at(&message.payload, 2) else { return vec!["    no genlmsghdr".into()] };
    let (cmd, version) = (message.payload[0], message.payload[1]);
    let mut head = format!("    cmd={cmd} version={version}");
    if reserved != 0 {
        head += &format!(" reserved={reserved:#x}");
    }
    let mut lines = vec![head];
    lines.extend(genl::attrs(message).iter().map(attribute));
    lines
}

fn attribute(attr: &Attr<'_>) -> String {
    let flags = if attr.raw_kind & attr::NLA_F_NESTED != 0 { " (nested)" } else { "" };
    format!("    attribute {}{flags}: {}", attr.kind(), shortened(attr.data))
}

fn shortened(bytes: &[u8]) -> String {
    let text = bytes.strip_suffix(&[0]).unwrap_or_default();
    if !text.is_empty() && text.iter().all(|byte| byte.is_ascii_graphic()) {
        return format!("{:?}", String::from_utf8_lossy(text));
    }
    match bytes.len() {
        0..=32 => hex(bytes),
        len => format!("{}... ({len} bytes)", hex(&bytes[..32])),
    }
}

/// Stands for a failure whose errno has no name, and whose number is lost.
pub const NAMELESS: i64 = i64::MIN;

/// A return value or status as text: `ok`, the name of a negative errno, or the number.
pub fn errno(value: i64) -> String {
    match value {
        0 => "ok".into(),
        NAMELESS => "an errno without a name".into(),
        value if value < 0 => match Errno::from_raw(value.unsigned_abs() as i32) {
            Errno::UnknownErrno => value.to_string(),
            known => format!("{known:?}"),
        },
        value => value.to_string(),
    }
}

/// Bytes in hexadecimal, in groups of four.
pub fn hex(bytes: &[u8]) -> String {
    bytes.chunks(4).map(hex::encode).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::attr::Attrs;
    use super::*;

    #[test]
    fn a_request_and_its_refusal_read_as_sentences() {
        let request =
            genl::request(genl::GENL_ID_CTRL, 3, Attrs::new().string(2, "nlctrl").u16(1, 16)).seq(5);
        assert_eq!(
            datagram(GENERIC, &request.encode()),
            [
                "nlctrl flags=REQUEST seq=5 pid=0 len=40",
                "    cmd=3 version=1",
                "    attribute 2: \"nlctrl\"",
                "    attribute 1: 1000",
            ]
        );
        let refusal = Message::new(message::NLMSG_ERROR)
            .with(message::NLM_F_CAPPED)
            .bytes(&(-2i32).to_ne_bytes())
            .bytes(&request.header());
        assert_eq!(
            datagram(GENERIC, &refusal.encode()),
            ["NLMSG_ERROR flags=CAPPED seq=0 pid=0 len=36", "    status ENOENT"]
        );
    }

    #[test]
    fn any_bytes_can_be_explained() {
        for len in 0..200u8 {
            let bytes: Vec<u8> = (0..len).map(|n| n.wrapping_mul(37) ^ len).collect();
            for protocol in [0, CONNECTOR, GENERIC] {
                datagram(protocol, &bytes);
                datagram(protocol, &Message::new(2).with(message::NLM_F_ACK_TLVS).bytes(&bytes).encode());
            }
        }
    }
}
