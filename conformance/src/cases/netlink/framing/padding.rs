//! Bytes that the kernel adds for alignment.

use nix::libc;

use crate::cases::cases;
use crate::outcome::{Outcome, expect, expect_bytes, expect_eq};
use crate::port::provider::{Action, Family, On, Op};
use crate::scene::bus::Bus;
use crate::scene::dumps::controller;
use crate::wire::address::Address;
use crate::wire::attr::Attrs;
use crate::wire::message::{Message, NLMSG_HDRLEN, UNKNOWN};
use crate::wire::{align, genl};

cases! {
    padding_of_a_header_is_zero(HEADERS) => "NL-FRM-022";
    padding_of_an_attribute_is_zero => "NL-FRM-022";
    reserved_field_of_a_reply_is_zero => "GENL-DSP-026";
    padding_of_a_copied_request_is_zero(HEADERS) => "NL-FRM-022";
}

/// How often to look: what is not cleared is zero now and then.
const TIMES: u32 = 20;

/// Leaves memory behind in which each byte is 0xff: of messages as large as those that the cases look at.
fn leave_bytes(bus: &Bus<'_>) -> Outcome {
    let (sender, receiver) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    for len in [50, 400, 1000, 3000].repeat(4) {
        sender.send_to(Address::port(receiver.portid()?), &vec![0xff; len])?;
    }
    Ok(())
}

/// Bytes of a family's own header.
const HEADERS: &[(&str, u32)] = &[("1_byte", 1), ("2_bytes", 2), ("3_bytes", 3), ("5_bytes", 5)];

fn padding_of_a_header_is_zero(bus: &Bus<'_>, hdrsize: &u32) -> Outcome {
    let family = Family { hdrsize: *hdrsize, ..Family::named("nlc_padded") };
    let reply = Action::Reply(1, 0, vec![0xa5; 4]);
    let family = bus.register(family.op(Op::doing(1)).on(On::Doit, reply))?;
    let socket = bus.generic()?;
    let begin = NLMSG_HDRLEN + genl::GENL_HDRLEN + *hdrsize as usize;
    for _ in 0..TIMES {
        leave_bytes(bus)?;
        socket.send(&family.request(1, Attrs::new()).bytes(&vec![0; align(*hdrsize as usize)]))?;
        let reply = socket.receive()?.incoming.bytes;
        let padding = reply.get(begin..align(begin)).unwrap_or_default();
        expect_bytes("padding after the header", padding, vec![0; align(begin) - begin])?;
        expect_eq("what follows it", reply.get(align(begin)), Some(&0xa5))?;
    }
    Ok(())
}

/// The name of the controller needs one byte of padding.
fn padding_of_an_attribute_is_zero(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let name = [&11u16.to_ne_bytes()[..], &genl::CTRL_ATTR_FAMILY_NAME.to_ne_bytes(), b"nlctrl\0\0"].concat();
    for _ in 0..TIMES {
        leave_bytes(bus)?;
        socket.send(&controller())?;
        let reply = socket.receive_one()?;
        expect_bytes("first attribute", reply.payload.get(4..16).unwrap_or_default(), name.clone())?;
    }
    Ok(())
}

fn reserved_field_of_a_reply_is_zero(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    for _ in 0..TIMES {
        leave_bytes(bus)?;
        socket.send(&controller())?;
        let reply = socket.receive_one()?;
        let header = [genl::CTRL_CMD_NEWFAMILY, 2, 0, 0];
        expect_bytes("genlmsghdr", reply.payload.get(..4).unwrap_or_default(), header)?;
    }
    Ok(())
}

fn padding_of_a_copied_request_is_zero(bus: &Bus<'_>, len: &u32) -> Outcome {
    let socket = bus.bound(libc::NETLINK_ROUTE)?;
    let request = Message::request(UNKNOWN).bytes(&vec![0xa5; *len as usize]);
    for _ in 0..TIMES {
        leave_bytes(bus)?;
        socket.send(&request)?;
        let refusal = socket.receive()?.incoming.bytes;
        let begin = NLMSG_HDRLEN + 4 + request.len() as usize;
        let padding = refusal.get(begin..).unwrap_or_default();
        expect("padding after the copy", padding.len() == align(begin) - begin, "up to 4 bytes", padding)?;
        expect_bytes("padding after the copy", padding, vec![0; padding.len()])?;
    }
    Ok(())
}
