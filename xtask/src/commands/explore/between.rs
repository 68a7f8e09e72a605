//! `cargo xtask explore --between`: the same sequences on two kernels.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};
use nlconform::explore::call::Call;
use nlconform::explore::campaign::kind;
use nlconform::explore::command::{ExploreArgs, asks_for_families, lists_at_once, profile};
use nlconform::explore::seen::Observed;
use nlconform::explore::{Difference, Features, Finding, difference, sequence, shrink};

use super::campaign::Guests;
use super::explorer::Explorer;

/// Sequences that a guest makes before the next one is started.
const BATCH: u64 = 200;

/// Makes sequences on both kernels; returns whether they never differ.
pub fn between(args: &ExploreArgs, sides: [Explorer<'_>; 2]) -> Result<bool> {
    let identities = [sides[0].identity()?, sides[1].identity()?];
    let mut features = Features::of(&identities[0], &identities[1]);
    let lists = observe(&sides, &[asks_for_families()])?;
    if !lists.iter().flatten().all(lists_at_once) {
        features = features.without_lists();
    }
    let features = if args.users_only { features.of_users_only() } else { features };
    let names = sides.each_ref().map(|side| side.label());
    let (seed, mut kinds, mut found) = (args.seed(), BTreeSet::new(), 0);
    let (mut first, end, mut differing) = (args.first, args.first.saturating_add(args.sequences), 0);
    let start = Instant::now();
    let over = |found| found >= args.differences || args.time.is_some_and(|time| start.elapsed() > time);
    while first < end && !over(found) {
        let numbers: Vec<u64> = (first..end.min(first + BATCH)).collect();
        let batch: Vec<_> = numbers.iter().map(|number| sequence(seed, *number, &features)).collect();
        let observed = observe(&sides, &batch)?;
        for ((number, calls), [one, other]) in numbers.iter().zip(batch).zip(observed) {
            let Some(differs) = difference(&calls, &one, &other) else { continue };
            differing += 1;
            // What was seen already is not shrunk again: each round of it starts two guests.
            if over(found) || !kinds.insert(kind(&calls, &differs)) {
                continue;
            }
            let from = calls.len();
            let (calls, differs, observed) = shortest(&sides, calls, differs, [one, other])?;
            if from != calls.len() && !kinds.insert(kind(&calls, &differs)) {
                continue;
            }
            found += 1;
            let observed = Box::new(observed);
            let finding = Finding { seed, number: *number, from, sides: names.clone(), calls, observed };
            args.show(&finding, profile(&identities[1])).map_err(|error| anyhow!(error))?;
        }
        first += numbers.len() as u64;
    }
    println!("seed {seed}: {} sequences, {differing} with a difference, {found} kinds", first - args.first);
    Ok(found == 0)
}

/// What both kernels show of each sequence: two guests make them at once.
fn observe([one, other]: &[Explorer<'_>; 2], batch: &[Vec<Call>]) -> Result<Vec<[Observed; 2]>> {
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(|| one.observe(batch));
        let other = other.observe(batch);
        (one.join().unwrap_or_else(|panic| resume_unwind(panic)), other)
    });
    let (one, other) = (one?, other?);
    Ok(one.into_iter().zip(other).map(|(one, other)| [one, other]).collect())
}

/// The shortest sequence on which they differ, and what they show of it.
fn shortest(
    sides: &[Explorer<'_>; 2],
    calls: Vec<Call>,
    differs: Difference,
    observed: [Observed; 2],
) -> Result<(Vec<Call>, Difference, [Observed; 2])> {
    let mut last = (differs, observed);
    let mut failure = None;
    let shortest = shrink(calls, &mut |candidates| {
        let seen =
            observe(sides, candidates).map_err(|error| failure.get_or_insert(error).to_string()).ok()?;
        let mut all = seen.into_iter().enumerate();
        all.find_map(|(at, [one, other])| {
            let differs = difference(&candidates[at], &one, &other)?;
            last = (differs, [one, other]);
            Some(at)
        })
    });
    match failure {
        Some(error) => Err(error),
        None => Ok((shortest, last.0, last.1)),
    }
}
