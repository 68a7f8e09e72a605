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
use nlconform::explore::{Difference, Features, Finding, difference, execute, sequence, shrink};
use nlconform_reference::{Netlink, Setup};

use super::campaign::Guests;
use super::explorer::Explorer;
use crate::host::progress::Progress;

/// Sequences that a guest makes before the next one is started.
const BATCH: u64 = 200;

/// Makes sequences on both kernels; returns whether they never differ, but for what the
/// specification says of their releases.
pub fn between(args: &ExploreArgs, sides: [Explorer<'_>; 2], progress: &Progress) -> Result<bool> {
    let identities = [sides[0].identity()?, sides[1].identity()?];
    let mut features = Features::of(&identities[0], &identities[1]);
    let lists = observe(&sides, &[asks_for_families()])?;
    if !lists.iter().flatten().all(lists_at_once) {
        features = features.without_lists();
    }
    let features = if args.users_only { features.of_users_only() } else { features };
    let names = sides.each_ref().map(|side| side.label());
    let models = identities.each_ref().map(Setup::of);
    let step = progress.step(format!("exploring {} and {}", names[0], names[1]));
    let (seed, mut kinds, mut found) = (args.seed(), BTreeSet::new(), 0);
    let (mut first, end) = (args.first, args.first.saturating_add(args.sequences));
    let (mut differing, mut specified) = (0, 0);
    let start = Instant::now();
    let over = |found| found >= args.differences || args.time.is_some_and(|time| start.elapsed() > time);
    while first < end && !over(found) {
        let numbers: Vec<u64> = (first..end.min(first + BATCH)).collect();
        let batch: Vec<_> = numbers.iter().map(|number| sequence(seed, *number, &features)).collect();
        let observed = observe(&sides, &batch)?;
        for ((number, calls), [one, other]) in numbers.iter().zip(batch).zip(observed) {
            let Some(differs) = difference(&calls, &one, &other) else { continue };
            differing += 1;
            if is_specified(models, &calls, &differs) {
                specified += 1;
                continue;
            }
            // What was seen already is not shrunk again: each round of it starts two guests.
            if over(found) || !kinds.insert(kind(&calls, &differs)) {
                continue;
            }
            let from = calls.len();
            let (calls, differs, observed) = shortest(&sides, models, calls, differs, [one, other])?;
            if from != calls.len() && !kinds.insert(kind(&calls, &differs)) {
                continue;
            }
            found += 1;
            let observed = Box::new(observed);
            let finding = Finding { seed, number: *number, from, sides: names.clone(), calls, observed };
            args.show(&finding, profile(&identities[1])).map_err(|error| anyhow!(error))?;
        }
        first += numbers.len() as u64;
        step.tail(&format!("{} sequences, {found} differences", first - args.first));
    }
    step.done();
    println!(
        "seed {seed}: {} sequences, {differing} with a difference, {specified} of them as specified, {found} kinds of others",
        first - args.first
    );
    Ok(found == 0)
}

/// Whether they differ as the specification says: their models differ in the same.
fn is_specified(models: [Setup; 2], calls: &[Call], differs: &Difference) -> bool {
    let [one, other] = models.map(|setup| execute(&Netlink::with(setup), calls, None));
    difference(calls, &one, &other).is_some_and(|of_models| {
        of_models.at == differs.at && kind(calls, &of_models) == kind(calls, differs)
    })
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

/// The shortest sequence on which they differ as the specification does not say, and what they show of it.
fn shortest(
    sides: &[Explorer<'_>; 2],
    models: [Setup; 2],
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
            let differs = difference(&candidates[at], &one, &other)
                .filter(|differs| !is_specified(models, &candidates[at], differs))?;
            last = (differs, [one, other]);
            Some(at)
        })
    });
    match failure {
        Some(error) => Err(error),
        None => Ok((shortest, last.0, last.1)),
    }
}

#[cfg(test)]
mod tests {
    use nlconform::adapters::linux::LINUX;
    use nlconform::event::{Identity, Role};
    use nlconform::explore::seen::Seen;
    use nlconform::port::Target;

    use super::*;

    fn model(version: &str) -> Setup {
        let (name, version) = (LINUX.to_owned(), version.to_owned());
        Setup::of(&Identity { role: Role::Target, name, version, capabilities: Default::default() })
    }

    #[test]
    fn what_the_models_of_both_show_is_specified_and_nothing_else() {
        let (models, identity) = ([model("6.12"), model("7.3")], Netlink::new(None).identity().clone());
        let features = Features::of(&identity, &identity);
        let (calls, differs) = (0..1000)
            .find_map(|number| {
                let calls = sequence(1, number, &features);
                let [one, other] = models.map(|setup| execute(&Netlink::with(setup), &calls, None));
                difference(&calls, &one, &other).map(|differs| (calls, differs))
            })
            .expect("the models of 6.12 and 7.3 differ");
        assert!(is_specified(models, &calls, &differs));
        assert!(!is_specified([models[1]; 2], &calls, &differs), "models that do not differ");
        let elsewhere = Difference { at: differs.at - 1, ..differs.clone() };
        assert!(!is_specified(models, &calls, &elsewhere), "another call");
        let otherwise = Difference { shown: [Some(Seen::Ok), Some(Seen::Errno(1))], ..differs };
        assert!(!is_specified(models, &calls, &otherwise), "the same call, shown otherwise");
    }
}
