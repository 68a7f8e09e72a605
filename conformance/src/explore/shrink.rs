//! Makes a sequence shorter as long as it still shows a difference.

use super::call::{Call, Part, Piece};
use crate::port::provider::{Family, Policy};

/// Finds, among sequences, the first that still differs.
pub type Test<'t> = dyn FnMut(&[Vec<Call>]) -> Option<usize> + 't;

/// The shortest sequence that can be reached by leaving out calls, and then parts of calls. `test` is asked
/// about many sequences at a time, so that one round can share a guest.
pub fn shrink(mut calls: Vec<Call>, test: &mut Test<'_>) -> Vec<Call> {
    let mut size = calls.len().div_ceil(2);
    while size > 0 {
        match test(&without_chunks(&calls, size)) {
            Some(found) => {
                calls = without_chunks(&calls, size).swap_remove(found);
                size = size.min(calls.len());
            }
            None if size == 1 => break,
            None => size = size.div_ceil(2),
        }
    }
    loop {
        let mut candidates = simpler(&calls);
        match test(&candidates) {
            Some(found) => calls = candidates.swap_remove(found),
            None => return calls,
        }
    }
}

/// The sequence without each of its parts of this size: the last ones first, on which nothing depends.
fn without_chunks(calls: &[Call], size: usize) -> Vec<Vec<Call>> {
    let starts = (0..calls.len()).step_by(size).rev();
    starts.map(|start| [&calls[..start], &calls[(start + size).min(calls.len())..]].concat()).collect()
}

/// The sequence with one call made simpler, in each way that there is.
fn simpler(calls: &[Call]) -> Vec<Vec<Call>> {
    // What was made simpler may make another call needless.
    let mut all = without_chunks(calls, 1);
    for (at, call) in calls.iter().enumerate() {
        all.extend(simpler_calls(call).into_iter().map(|call| {
            let mut calls = calls.to_vec();
            calls[at] = call;
            calls
        }));
    }
    // Without a pair, such as the opening of a socket and its only use.
    if calls.len() <= 20 {
        for second in 1..calls.len() {
            for first in 0..second {
                let mut calls = calls.to_vec();
                calls.remove(second);
                calls.remove(first);
                all.push(calls);
            }
        }
    }
    all
}

fn simpler_calls(call: &Call) -> Vec<Call> {
    match call {
        Call::As { inner, .. } => vec![*inner.clone()],
        Call::Send { socket, to, flags, messages } => {
            let send = |to, flags, messages| Call::Send { socket: *socket, to, flags, messages };
            let mut all: Vec<_> =
                without_one(messages).into_iter().map(|messages| send(*to, *flags, messages)).collect();
            all.extend(to.is_some().then(|| send(None, *flags, messages.clone())));
            all.extend((*flags != 0).then(|| send(*to, 0, messages.clone())));
            for (at, part) in messages.iter().enumerate() {
                for part in simpler_parts(part) {
                    let mut messages = messages.clone();
                    messages[at] = part;
                    all.push(send(*to, *flags, messages));
                }
            }
            all
        }
        Call::Receive { socket, room, flags } if (*room, *flags) != (65_536, 0) => {
            let receive = |room, flags| Call::Receive { socket: *socket, room, flags };
            let both = [receive(65_536, *flags), receive(*room, 0)];
            both.into_iter().filter(|simpler| simpler != call).collect()
        }
        Call::Register { family, spec } => {
            let register = |spec| Call::Register { family: *family, spec };
            simpler_families(spec).into_iter().map(register).collect()
        }
        Call::Create { protocol, spec } => {
            let scripts = without_one(&spec.script);
            let create = |script| Call::Create {
                protocol: *protocol,
                spec: crate::port::provider::Protocol { script, ..spec.clone() },
            };
            scripts.into_iter().map(create).collect()
        }
        _ => Vec::new(),
    }
}

fn simpler_parts(part: &Part) -> Vec<Part> {
    let Part::Message { kind, flags, seq, portid, payload, claims } = part else { return Vec::new() };
    let with = |flags, payload: Vec<Piece>, claims| Part::Message {
        kind: *kind,
        flags,
        seq: *seq,
        portid: *portid,
        payload,
        claims,
    };
    let bits = (0..16).filter(|bit| flags >> bit & 1 != 0);
    let mut all: Vec<_> = bits.map(|bit| with(flags & !(1 << bit), payload.clone(), *claims)).collect();
    all.extend(without_one(payload).into_iter().map(|payload| with(*flags, payload, *claims)));
    all.extend(claims.is_some().then(|| with(*flags, payload.clone(), None)));
    for (at, piece) in payload.iter().enumerate() {
        let Piece::Bytes(bytes) = piece else { continue };
        for len in [0, (bytes.len() / 2) & !3, bytes.len().saturating_sub(4)] {
            if len < bytes.len() {
                let mut payload = payload.clone();
                payload[at] = Piece::Bytes(bytes[..len].to_vec());
                all.push(with(*flags, payload, *claims));
            }
        }
    }
    all
}

fn simpler_families(spec: &Family) -> Vec<Family> {
    let mut all = Vec::new();
    all.extend(without_one(&spec.script).into_iter().map(|script| Family { script, ..spec.clone() }));
    all.extend(without_one(&spec.ops).into_iter().map(|ops| Family { ops, ..spec.clone() }));
    all.extend(without_one(&spec.groups).into_iter().map(|groups| Family { groups, ..spec.clone() }));
    for (at, policy) in spec.policies.iter().enumerate() {
        for entries in without_one(&policy.entries) {
            let mut policies = spec.policies.clone();
            policies[at] = Policy { entries, ..policy.clone() };
            all.push(Family { policies, ..spec.clone() });
        }
    }
    let mut plain = spec.clone();
    (plain.hdrsize, plain.parallel_ops, plain.pre_post, plain.bind) = (0, false, false, false);
    (plain.id, plain.resv_start_op, plain.version) = (0, 0, 1);
    if plain != *spec {
        all.push(plain);
    }
    all
}

/// The list without each of its members.
fn without_one<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
    (0..list.len()).map(|at| [&list[..at], &list[at + 1..]].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_stays_and_the_rest_goes() {
        let calls: Vec<_> = (0..100).map(|socket| Call::Close { socket }).collect();
        let mut asked = 0;
        let matters =
            |calls: &Vec<Call>| [7, 60].iter().all(|socket| calls.contains(&Call::Close { socket: *socket }));
        let shrunk = shrink(calls, &mut |candidates| {
            asked += 1;
            candidates.iter().position(matters)
        });
        assert_eq!(shrunk, [Call::Close { socket: 7 }, Call::Close { socket: 60 }]);
        assert!(asked < 40, "{asked} rounds");
    }
}
