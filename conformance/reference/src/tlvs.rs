//! The attributes of an extended acknowledgement (`netlink_ack_tlv_fill()`).

use nlconform::wire::ack;
use nlconform::wire::attr::{Attrs, NLA_HDRLEN};
use nlconform::wire::message::{Message, NLM_F_ACK_TLVS};

use super::advertise::{describe, most_described};
use super::defect::Defect;
use super::kernel::Kernel;
use super::message::ExtAck;
use super::setup::Setup;

/// Adds the extended acknowledgement, if there is any.
pub fn with_tlvs(kernel: &Kernel, mut message: Message, status: i32, extack: &ExtAck) -> Message {
    let tlvs = spoilt(kernel, extack, status);
    if !tlvs.as_bytes().is_empty() {
        let unsaid = kernel.has(Defect::TlvFlagMissing);
        message.flags |= if unsaid { 0 } else { NLM_F_ACK_TLVS };
    } else if kernel.has(Defect::TlvFlagAlways) {
        message.flags |= NLM_F_ACK_TLVS;
    }
    message.attrs(tlvs)
}

/// How much more is allocated for the attributes than they take: the description of a policy is estimated
/// (`netlink_policy_dump_attr_size_estimate()`).
pub fn spare(status: i32, extack: &ExtAck, setup: Setup) -> usize {
    match &extack.policy {
        Some(policy) if status != 0 => {
            let described = describe(policy, None, setup);
            let taken = described.map_or(0, |attrs| NLA_HDRLEN + attrs.as_bytes().len());
            most_described(policy.kind).saturating_sub(taken)
        }
        _ => 0,
    }
}

/// The attributes of an extended acknowledgement, less what the defect drops.
fn spoilt(kernel: &Kernel, extack: &ExtAck, status: i32) -> Attrs {
    let keep = |defect| !kernel.has(defect);
    let shift = if keep(Defect::OffsetShifted) { 0 } else { 16 };
    let reported = ExtAck {
        text: extack.text.clone().filter(|_| keep(Defect::MessageLost)),
        bad_attr: extack.bad_attr.filter(|_| keep(Defect::OffsetLost)).map(|at| at - shift),
        policy: extack.policy.clone().filter(|_| keep(Defect::PolicyLost)),
        cookie: extack.cookie.filter(|_| keep(Defect::CookieLost)).map(|mut cookie| {
            if !keep(Defect::CookieSwapped) {
                cookie.reverse();
            }
            cookie
        }),
        miss_type: extack.miss_type.filter(|_| keep(Defect::MissingLost)),
        miss_nest: extack.miss_nest.filter(|_| keep(Defect::MissingLost)).map(|at| at - shift),
    };
    tlvs(&reported, kernel.setup, if keep(Defect::OffsetOfSuccess) { status } else { status.min(-1) })
}

/// The attributes that go with this status, in the order of the kernel's.
fn tlvs(extack: &ExtAck, setup: Setup, status: i32) -> Attrs {
    let mut attrs = Attrs::new();
    if let Some(text) = &extack.text {
        attrs = attrs.string(ack::NLMSGERR_ATTR_MSG, text);
    }
    let with_cookie = |attrs: Attrs| match &extack.cookie {
        Some(cookie) => attrs.put(ack::NLMSGERR_ATTR_COOKIE, cookie),
        None => attrs,
    };
    let cookie_first = setup.value::<String>("NL-ACK-010", "order").starts_with("MSG, COOKIE");
    if cookie_first {
        attrs = with_cookie(attrs);
    }
    if let Some(offset) = extack.bad_attr.filter(|_| status != 0) {
        attrs = attrs.u32(ack::NLMSGERR_ATTR_OFFS, offset as u32);
    }
    if !cookie_first {
        attrs = with_cookie(attrs);
    }
    if status == 0 {
        return attrs;
    }
    if let Some(policy) = extack.policy.as_ref().and_then(|policy| describe(policy, None, setup)) {
        attrs = attrs.nest(ack::NLMSGERR_ATTR_POLICY, policy);
    }
    if let Some(missing) = extack.miss_type {
        attrs = attrs.u32(ack::NLMSGERR_ATTR_MISS_TYPE, missing);
    }
    if let Some(nest) = extack.miss_nest {
        attrs = attrs.u32(ack::NLMSGERR_ATTR_MISS_NEST, nest as u32);
    }
    attrs
}
