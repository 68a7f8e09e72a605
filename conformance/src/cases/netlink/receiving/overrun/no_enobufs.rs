//! NETLINK_NO_ENOBUFS: losses that are counted, but not reported.

use nix::errno::Errno;
use nix::libc::{self, MSG_DONTWAIT};

use super::{MANY, Overrun, messages};
use crate::cases::cases;
use crate::outcome::{Outcome, expect_eq, expect_errno, expect_ok};
use crate::port::Outgoing;
use crate::scene::bus::{Bus, WAIT};
use crate::scene::threads::ended_by;
use crate::wire::address::Address;

cases! {
    no_enobufs_suppresses_the_error => "NL-OVR-004";
    loss_without_an_error_is_counted => "NL-OVR-004";
    freed_room_is_used_again_at_once => "NL-OVR-004";
    late_no_enobufs_ends_the_congestion => "NL-OVR-005";
    late_no_enobufs_leaves_the_error => "NL-OVR-005";
    late_no_enobufs_wakes_waiting_senders [parallel] => "NL-OVR-005";
}

fn no_enobufs_suppresses_the_error(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let kept = scene.overrun()?;
    scene.drain();
    scene.member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    for number in 0..MANY {
        scene.say(number)?;
    }
    expect_eq("receive calls", scene.drain(), messages(0..kept))
}

fn loss_without_an_error_is_counted(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    scene.member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    for number in 0..MANY {
        scene.say(number)?;
    }
    let lost = bus.inspect(&scene.member)?.drops;
    expect_eq("messages received and lost", scene.drain().len() as u32 + lost, MANY)
}

fn freed_room_is_used_again_at_once(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    scene.member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    for number in 0..MANY {
        scene.say(number)?;
    }
    expect_ok("first receive", scene.member.receive_now(4096, 0))?;
    scene.say(100)?;
    expect_eq("message that came last", scene.drain().pop(), Some(Ok(100)))
}

fn late_no_enobufs_ends_the_congestion(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    let kept = scene.overrun()?;
    expect_errno("first receive", scene.member.receive_now(4096, 0), Errno::ENOBUFS)?;
    scene.member.receive_now(4096, 0)?;
    scene.member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    scene.say(100)?;
    expect_eq("receive calls", scene.drain(), messages((1..kept).chain([100])))
}

fn late_no_enobufs_leaves_the_error(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    scene.overrun()?;
    scene.member.set(libc::NETLINK_NO_ENOBUFS, 1)?;
    expect_errno("first receive", scene.member.receive_now(4096, 0), bus.expected("errno")?)?;
    expect_ok("second receive", scene.member.receive_now(4096, 0))
}

fn late_no_enobufs_wakes_waiting_senders(bus: &Bus<'_>) -> Outcome {
    let scene = Overrun::set_up(bus)?;
    scene.overrun()?;
    expect_errno("first receive", scene.member.receive_now(4096, 0), Errno::ENOBUFS)?;
    scene.member.receive_now(4096, 0)?;
    let to = Some(Address::port(scene.member.portid()?).encode());
    let short = Outgoing { bytes: vec![1; 16], to, ..Outgoing::default() };
    let now = Outgoing { flags: MSG_DONTWAIT, ..short.clone() };
    expect_errno("unicast to the congested socket", scene.sender.transmit(now), Errno::EAGAIN)?;
    scene.sender.set_send_timeout(2 * WAIT)?;
    let set = || expect_ok("setting NETLINK_NO_ENOBUFS", scene.member.set(libc::NETLINK_NO_ENOBUFS, 1));
    ended_by(|| scene.sender.transmit(short), set).map(drop)
}
