use std::collections::BTreeSet;
use std::slice;

use super::*;

/// Numbers and arguments of this many ioctls, without pointers, which differ each time.
fn issued(seed: u64, count: u32, mut see: impl FnMut(libc::Ioctl, *mut u8)) {
    let mut random = Random::new(seed);
    for _ in 0..count {
        Fuzz { random: &mut random, arena: Arena::default(), issue: &mut see }.any();
    }
}

/// The argument of an ioctl with this number, if it is one.
fn argument<T: Plain>(ioctl: &Ioctl<T>, code: libc::Ioctl, argument: *mut u8) -> Option<T> {
    if code != ioctl.code || NOWHERE.contains(&(argument as u64)) {
        return None;
    }
    // SAFETY: a valid argument is as long as the number says.
    T::read(unsafe { slice::from_raw_parts(argument, size_of::<T>()) })
}

#[test]
fn the_same_seed_gives_the_same_ioctls() {
    let run = |seed| {
        let mut seen = Vec::new();
        issued(seed, 2000, |code, at| {
            seen.push((code, argument(&abi::NLPROBE_SEND, code, at).map(|send| (send.verb, send.portid))));
        });
        seen
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn each_ioctl_is_made_but_the_one_that_breaks_the_kernel() {
    let mut seen = BTreeSet::new();
    issued(3, 20_000, |code, _| {
        seen.insert(code);
    });
    let missing: Vec<_> = abi::IOCTLS.iter().filter(|(_, code)| !seen.contains(code)).collect();
    assert_eq!(missing, [&("NLPROBE_FAULT", abi::NLPROBE_FAULT.code)]);
}

#[test]
fn nothing_waits_for_long() {
    let short = |wait_ms| !(3..=abi::NLPROBE_MAX_WAIT).contains(&wait_ms);
    issued(4, 200_000, |code, at| {
        if let Some(log) = argument(&abi::NLPROBE_LOG, code, at) {
            assert!(short(log.wait_ms), "{log:?}");
        }
        if let Some(state) = argument(&abi::NLPROBE_STATE, code, at) {
            assert!(short(state.wait_ms), "{state:?}");
        }
    });
    let mut random = Random::new(5);
    for _ in 0..200_000 {
        let step = Fuzz { random: &mut random, arena: Arena::default(), issue: &mut |_, _| {} }.step();
        let action = u32::from(step.action);
        assert!(action != abi::NLPROBE_BLOCK && (action != abi::NLPROBE_SLEEP || step.a <= 1));
    }
}
