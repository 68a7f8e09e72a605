//! setsockopt(2) and getsockopt(2).

use std::sync::PoisonError;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nlconform::port::UNWRITTEN;
use nlconform::port::provider::On;
use nlconform::wire::{u32_at, u64_at};

use super::connector;
use super::credentials::{Capability, capable};
use super::defect::Defect;
use super::kernel::{Kernel, State};
use super::run::Run;
use super::script;
use super::setup::Setup;
use super::socket::{DEFAULT_BUFFER, LEAST_RECEIVE, LEAST_SEND, STRICT_CHECK};

/// The options that are on or off.
const SWITCHES: [i32; 7] = [
    libc::NETLINK_PKTINFO,
    libc::NETLINK_BROADCAST_ERROR,
    libc::NETLINK_NO_ENOBUFS,
    libc::NETLINK_LISTEN_ALL_NSID,
    libc::NETLINK_CAP_ACK,
    libc::NETLINK_EXT_ACK,
    STRICT_CHECK,
];

/// Whether the calling thread may join groups of, or send to others on, a protocol that lets any user
/// do so or not.
pub fn allowed(kernel: &Kernel, anybody: bool) -> bool {
    let anybody = anybody && !kernel.has(Defect::EverythingNeedsPrivilege);
    anybody || capable(kernel.acting(), Capability::NetAdmin) || kernel.has(Defect::PrivilegesUnchecked)
}

/// `setsockopt()`.
pub fn set(kernel: &Kernel, id: u64, level: i32, option: i32, value: &[u8]) -> Result<(), Errno> {
    // A value shorter than a number is 0.
    let from = if kernel.has(Defect::ValueFromTheEnd) { value.len().saturating_sub(4) } else { 0 };
    let number = u32_at(value, from).unwrap_or(0);
    match level {
        libc::SOL_SOCKET => set_general(kernel, id, option, value),
        libc::SOL_NETLINK => match option {
            libc::NETLINK_ADD_MEMBERSHIP | libc::NETLINK_DROP_MEMBERSHIP => {
                membership(kernel, id, number, option == libc::NETLINK_ADD_MEMBERSHIP)
            }
            option if SWITCHES.contains(&option) => switch(kernel, id, option, number != 0),
            _ => Err(Errno::ENOPROTOOPT),
        },
        _ => Err(Errno::ENOPROTOOPT),
    }
}

fn switch(kernel: &Kernel, id: u64, option: i32, on: bool) -> Result<(), Errno> {
    if option == libc::NETLINK_LISTEN_ALL_NSID
        && !capable(kernel.acting(), Capability::NetBroadcast)
        && !kernel.has(Defect::PrivilegesUnchecked)
    {
        return Err(Errno::EPERM);
    }
    let mut state = kernel.state();
    let sock = state.sock(id)?;
    if on {
        sock.options.insert(option);
    } else if !kernel.has(Defect::OptionsStick) {
        sock.options.remove(&option);
    }
    if on && option == libc::NETLINK_NO_ENOBUFS && !kernel.has(Defect::CongestionStays) {
        sock.congested = false;
        kernel.wake();
    }
    Ok(())
}

/// Makes room for the groups that the protocol now has (`netlink_realloc_groups()`).
pub fn make_room_for_groups(state: &mut State, id: u64) -> Result<usize, Errno> {
    let protocol = state.sock(id)?.protocol;
    let groups = state.protocols.get(&protocol).ok_or(Errno::ENOENT)?.groups as usize;
    let sock = state.sock(id)?;
    if sock.groups.len() < groups {
        sock.groups.resize(groups, false);
    }
    Ok(sock.groups.len())
}

fn membership(kernel: &Kernel, id: u64, group: u32, join: bool) -> Result<(), Errno> {
    kernel.wait_for_undoing();
    let (listener, protocol) = {
        let mut state = kernel.state();
        let protocol = state.sock(id)?.protocol;
        let anybody = state.protocols.get(&protocol).is_some_and(|known| known.nonroot_recv);
        if !allowed(kernel, anybody) {
            return Err(Errno::EPERM);
        }
        let groups = make_room_for_groups(&mut state, id)?;
        let there = (1..=groups).contains(&(group as usize));
        if !there {
            return if kernel.has(Defect::AnyGroup) { Ok(()) } else { Err(Errno::EINVAL) };
        }
        let member = state.sock(id)?.is_member(group);
        if !join && !member && kernel.has(Defect::LeaveNeedsMembership) {
            return Err(Errno::EINVAL);
        }
        let unheard = kernel.has(Defect::JoinUntold) || (member && kernel.has(Defect::MemberNotBoundAgain));
        let reported = !(join && unheard);
        (state.listener(id).filter(|_| reported), protocol)
    };
    if join {
        may_join(kernel, protocol, group)?;
        let refusal = listener.as_ref().map_or(0, |listener| script::bind(listener, kernel, protocol, group));
        if refusal != 0 {
            return Err(Errno::from_raw(-refusal as i32));
        }
        group_bound(kernel, protocol, group, true);
    }
    if !kernel.has(if join { Defect::JoinIgnored } else { Defect::LeaveIgnored }) {
        let group = group as usize - usize::from(!kernel.has(Defect::GroupsOffByOne));
        kernel.state().regroup(id, |groups| {
            if let Some(place) = groups.get_mut(group) {
                *place = join;
            }
        })?;
    }
    if !join {
        if let Some(listener) = listener {
            script::unbind(&listener, kernel, protocol, group);
        }
        group_bound(kernel, protocol, group, false);
    }
    Ok(())
}

/// Whether the caller may join a group: the connector says so, or its family (`cn_bind()`, `genl_bind()`).
pub fn may_join(kernel: &Kernel, protocol: i32, group: u32) -> Result<(), Errno> {
    if protocol == libc::NETLINK_CONNECTOR {
        return connector::may_join(kernel, group);
    }
    let state = kernel.state();
    let Some((family, index)) = state.families.of_group(group) else { return Ok(()) };
    let asked = &family.spec.groups[index];
    let lacks = |wanted, capability| wanted && !capable(kernel.acting(), capability);
    let refused = lacks(kernel.has(Defect::EverythingNeedsPrivilege), Capability::NetAdmin)
        || lacks(asked.net_admin, Capability::NetAdmin)
        || lacks(asked.sys_admin, Capability::SysAdmin);
    let refused = refused && protocol == libc::NETLINK_GENERIC && !kernel.has(Defect::PrivilegesUnchecked);
    if refused { Err(Errno::EPERM) } else { Ok(()) }
}

/// Calls a family's bind or unbind for one of its groups, if it has not been unregistered; meanwhile it is not.
pub fn group_bound(kernel: &Kernel, protocol: i32, group: u32, joined: bool) {
    let _registered = kernel.registry.read().unwrap_or_else(PoisonError::into_inner);
    tell_family(kernel, protocol, group, joined);
}

/// The same by whoever holds the registry.
pub fn tell_family(kernel: &Kernel, protocol: i32, group: u32, joined: bool) {
    if protocol != libc::NETLINK_GENERIC || kernel.has(Defect::FamilyCallbacksForgotten) {
        return;
    }
    let found = kernel.state().families.of_group(group).map(|(family, index)| (family.clone(), index));
    let Some((family, index)) = found.filter(|(family, _)| family.spec.bind) else { return };
    if let Some(object) = &family.object {
        let on = if joined { On::Bind } else { On::Unbind };
        script::run(object, Run { subject: index as u32, family: Some(&family), ..Run::new(kernel, on) });
    }
}

/// `SOL_SOCKET`.
fn set_general(kernel: &Kernel, id: u64, option: i32, value: &[u8]) -> Result<(), Errno> {
    let number = u32_at(value, 0).unwrap_or(0) as usize;
    let mut state = kernel.state();
    let sock = state.sock(id)?;
    if value.len() < 4 {
        return Err(Errno::EINVAL);
    }
    let forced = matches!(option, libc::SO_RCVBUFFORCE | libc::SO_SNDBUFFORCE);
    if forced && !capable(kernel.acting(), Capability::NetAdmin) {
        return Err(Errno::EPERM);
    }
    let number = if forced { number } else { number.min(DEFAULT_BUFFER) };
    match option {
        libc::SO_RCVBUF | libc::SO_RCVBUFFORCE => sock.receive_buffer = (2 * number).max(LEAST_RECEIVE),
        libc::SO_SNDBUF | libc::SO_SNDBUFFORCE => sock.send_buffer = (2 * number).max(LEAST_SEND),
        libc::SO_SNDTIMEO | libc::SO_RCVTIMEO => {
            let (seconds, micros) = (u64_at(value, 0).unwrap_or(0), u64_at(value, 8).unwrap_or(0));
            let time = Duration::from_secs(seconds) + Duration::from_micros(micros);
            let time = (!time.is_zero()).then_some(time);
            match option {
                libc::SO_SNDTIMEO => sock.send_timeout = time,
                _ => sock.receive_timeout = time,
            }
        }
        libc::SO_DETACH_FILTER => sock.keep = u32::MAX,
        _ => return Err(Errno::ENOPROTOOPT),
    }
    Ok(())
}

/// Whether an option of `SOL_NETLINK` that is on or off can be read.
pub fn readable(setup: Setup, option: i32) -> bool {
    match option {
        libc::NETLINK_LISTEN_ALL_NSID => setup.value::<Result<(), Errno>>("NL-GRP-017", "result").is_ok(),
        option => SWITCHES.contains(&option),
    }
}

/// `getsockopt()`: what is written, and the length reported.
pub fn get(
    kernel: &Kernel,
    id: u64,
    level: i32,
    option: i32,
    room: usize,
) -> Result<(Vec<u8>, usize), Errno> {
    let mut state = kernel.state();
    let sock = state.sock(id)?;
    let number = match (level, option) {
        (libc::SOL_NETLINK, libc::NETLINK_LIST_MEMBERSHIPS) => {
            let (bytes, len) = memberships(&sock.groups, room, kernel.has(Defect::WordsSwapped));
            let len = if kernel.has(Defect::LengthUnreported) { bytes.len() } else { len };
            return Ok((unwritten_from(bytes, len.min(room)), len));
        }
        (libc::SOL_NETLINK, libc::NETLINK_LISTEN_ALL_NSID) if kernel.has(Defect::NsidUnreadable) => {
            return Err(Errno::ENOPROTOOPT);
        }
        (libc::SOL_NETLINK, option) if readable(kernel.setup, option) => {
            if room < 4 && !kernel.has(Defect::AnyRoom) {
                return Err(Errno::EINVAL);
            }
            u32::from(sock.has(option))
        }
        (libc::SOL_SOCKET, libc::SO_DOMAIN) => libc::AF_NETLINK as u32,
        (libc::SOL_SOCKET, libc::SO_PROTOCOL) => sock.protocol as u32,
        (libc::SOL_SOCKET, libc::SO_TYPE) if kernel.has(Defect::TypeWrong) => 5 - sock.kind as u32,
        (libc::SOL_SOCKET, libc::SO_TYPE) => sock.kind as u32,
        (libc::SOL_SOCKET, libc::SO_ERROR) => sock.error.take().map_or(0, |errno| errno as u32),
        (libc::SOL_SOCKET, libc::SO_RCVBUF) if kernel.has(Defect::BufferMisreported) => i32::MAX as u32,
        (libc::SOL_SOCKET, libc::SO_RCVBUF) => sock.receive_buffer as u32,
        (libc::SOL_SOCKET, libc::SO_SNDBUF) => sock.send_buffer as u32,
        _ => return Err(Errno::ENOPROTOOPT),
    };
    let mut bytes = number.to_ne_bytes().to_vec();
    bytes.truncate(room);
    let len = if level == libc::SOL_SOCKET { bytes.len() } else { 4 };
    Ok((bytes, if kernel.has(Defect::LengthUnreported) { room } else { len }))
}

/// What is in a buffer of which only these bytes were written.
fn unwritten_from(mut bytes: Vec<u8>, len: usize) -> Vec<u8> {
    bytes.resize(len, UNWRITTEN);
    bytes
}

/// As many whole words of the membership bitmap as fit, and the size of the whole bitmap.
fn memberships(groups: &[bool], room: usize, swapped: bool) -> (Vec<u8>, usize) {
    let word = |word: &[bool]| word.iter().enumerate().map(|(bit, set)| u32::from(*set) << bit).sum::<u32>();
    let mut words: Vec<u32> = groups.chunks(32).map(word).collect();
    if swapped {
        words.chunks_mut(2).for_each(<[u32]>::reverse);
    }
    let bytes = words.iter().take(room / 4).flat_map(|word| word.to_ne_bytes()).collect();
    (bytes, 4 * words.len())
}
