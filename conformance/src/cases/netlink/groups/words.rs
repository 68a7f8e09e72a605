//! Groups as bits: the mask of an address, and the words of the list.

use nix::errno::Errno;
use nix::libc;

use super::with_groups;
use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect_eq, expect_errno, expect_ok};
use crate::port::capability::Capability;
use crate::scene::FREE_PROTOCOL;
use crate::scene::bus::Bus;
use crate::wire::address::Address;

cases! {
    bit_of_a_mask_joins_its_group => "NL-GRP-031";
    bit_of_a_destination_is_its_group => "NL-GRP-031";
    part_of_the_list_is_its_beginning(SIZES) => "NL-GRP-032";
}

/// Masks with one bit, and the group of each.
fn bits() -> impl Iterator<Item = (u32, u32)> {
    (0..32).map(|bit| (1 << bit, bit + 1))
}

fn bit_of_a_mask_joins_its_group(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let socket = bus.bound(libc::NETLINK_USERSOCK)?;
    let port = socket.name()?;
    for (mask, group) in bits() {
        expect_ok("bind()", socket.bind(Address { groups: mask, ..port }))?;
        expect_eq("memberships", socket.memberships()?, [group])?;
        expect_eq("groups in getsockname()", socket.name()?.groups, mask)?;
    }
    Ok(())
}

fn bit_of_a_destination_is_its_group(bus: &Bus<'_>) -> Outcome {
    bus.need(Capability::NetAdmin)?;
    let (member, other) = (bus.bound(libc::NETLINK_USERSOCK)?, bus.bound(libc::NETLINK_USERSOCK)?);
    let sender = bus.bound(libc::NETLINK_USERSOCK)?;
    for (mask, group) in bits() {
        member.join(group)?;
        other.bind(Address { groups: !mask, ..other.name()? })?;
        match sender.send_to(Address::groups(mask), b"to one group") {
            // The message also goes to port 0, where no socket is.
            Ok(_) | Err(Errno::ECONNREFUSED) => {}
            Err(errno) => return Err(Failure::from(errno)),
        }
        expect_eq("groups in the sender's address", member.receive()?.from.groups, mask)?;
        expect_errno("receive of a member of all others", other.receive_now(100, 0), Errno::EAGAIN)?;
        member.leave(group)?;
    }
    Ok(())
}

/// Groups of a protocol: as many as end in each half of a 64-bit word, and one more.
const SIZES: &[(&str, u32)] =
    &[("32", 32), ("33", 33), ("64", 64), ("65", 65), ("96", 96), ("97", 97), ("128", 128)];

/// The first and the last group of each word are joined, and more of them in each further word.
fn part_of_the_list_is_its_beginning(bus: &Bus<'_>, groups: &u32) -> Outcome {
    with_groups(bus, *groups)?;
    let socket = bus.bound(FREE_PROTOCOL)?;
    let words = groups.div_ceil(32);
    let mut list = Vec::new();
    for word in 0..words {
        let within = (1..=32).map(|n| 32 * word + n).filter(|group| group <= groups);
        let joined: Vec<u32> =
            within.filter(|group| matches!(group % 32, 0 | 1) || group % 32 < word + 2).collect();
        joined.iter().try_for_each(|group| socket.join(*group))?;
        list.extend(joined.iter().map(|group| 1u32 << ((group - 1) % 32)).sum::<u32>().to_ne_bytes());
    }
    for room in (0..=words as usize + 1).map(|words| 4 * words) {
        let (bytes, reported) = socket.get_bytes(libc::NETLINK_LIST_MEMBERSHIPS, room)?;
        expect_eq("length reported", reported, list.len())?;
        expect_eq(&format!("list in {room} bytes"), &bytes, &list[..room.min(list.len())])?;
    }
    Ok(())
}
