//! Exploration finds the defects of the reference implementation, and nothing where there is none.

mod each;

use std::collections::BTreeSet;
use std::process::Command;

use nlconform::explore::call::Call;
use nlconform::explore::campaign::{Campaign, News};
use nlconform::explore::seen::Seen;
use nlconform::explore::{Compared, Features, Fresh, Side, compare, sequence, shrink_between};
use nlconform::port::Target;

use each::each;
use nlconform_reference::{Defect, Netlink};

const SEED: u64 = 3;
/// Each seed misses some of what is rare.
const SEEDS: [u64; 2] = [2, SEED];

/// Defects that no sequence shows, and why.
const UNSEEN: &[(Defect, &str)] = &[
    (
        Defect::EndedDumpUnreported,
        "a dump ends between the look at it and the receive only with a second thread",
    ),
    (Defect::IdsEndEarly, "no sequence registers a thousand families"),
    (Defect::CallbacksSerial, "no call of a sequence waits for another"),
    (Defect::OpenNeedsPrivilege, "no call of another user opens a socket"),
    (Defect::ParallelIsSerial, "no call of a sequence waits for another"),
    (Defect::SerialIsParallel, "no call of a sequence waits for another"),
    (Defect::RegistrationDoesNotWait, "no call of a sequence waits for another"),
    (Defect::SendNeverWaits, "no call of a sequence waits for another"),
    (Defect::WaitsWrongly, "no sequence sets SO_RCVTIMEO"),
    (
        Defect::StrictCheckLate,
        "the option must change between two portions of a dump whose callback looks at it",
    ),
];

fn reference(defect: Option<Defect>) -> Fresh<impl FnMut() -> Box<dyn Target>> {
    Fresh { name: format!("{defect:?}"), make: move || Box::new(Netlink::new(defect)) as Box<dyn Target> }
}

fn features() -> Features {
    let bus = Netlink::new(None);
    Features::of(bus.identity(), bus.identity())
}

/// The seed and the number of the first of so many sequences of each seed that shows a defect.
fn found(defect: Defect, sequences: u64) -> Option<(u64, u64)> {
    let (mut intact, mut broken, features) = (reference(None), reference(Some(defect)), features());
    let mut shows = |seed, number| {
        let calls = sequence(seed, number, &features);
        matches!(compare(&calls, &mut intact, &mut broken), Compared::Differ(..))
    };
    SEEDS.iter().find_map(|seed| {
        let number = (0..sequences).find(|number| shows(*seed, *number))?;
        Some((*seed, number))
    })
}

#[test]
fn defects_are_found() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let findings = each(Defect::ALL, |defect| found(*defect, 2000));
    std::panic::set_hook(hook);
    let missed: Vec<_> = Defect::ALL
        .iter()
        .zip(&findings)
        .filter(|(_, found)| found.is_none())
        .map(|(defect, _)| *defect)
        .collect();
    let most = findings.iter().flatten().max();
    println!(
        "{} of {} found, within {most:?} sequences",
        Defect::ALL.len() - missed.len(),
        Defect::ALL.len()
    );
    let unexplained: Vec<_> =
        missed.iter().filter(|defect| !UNSEEN.iter().any(|(unseen, _)| unseen == *defect)).collect();
    assert!(unexplained.is_empty(), "{} not found: {unexplained:?}", unexplained.len());
    assert!(missed.len() * 20 <= Defect::ALL.len(), "{} not found", missed.len());
}

#[test]
fn intact_references_do_not_differ() {
    let features = features();
    let (mut one, mut other) = (reference(None), reference(None));
    for number in 0..300 {
        let calls = sequence(SEED, number, &features);
        let compared = compare(&calls, &mut one, &mut other);
        assert!(matches!(compared, Compared::Same), "sequence {number}: {compared:#?}");
    }
}

#[test]
fn differences_are_shrunk_to_a_few_calls() {
    for (defect, most) in [(Defect::AckWithoutPort, 3), (Defect::LeaveIgnored, 8), (Defect::DoneMissing, 3)] {
        let (seed, number) = found(defect, 300).unwrap_or_else(|| panic!("{defect:?} is not found"));
        let (mut intact, mut broken) = (reference(None), reference(Some(defect)));
        let calls =
            shrink_between(sequence(seed, number, &features()), &mut intact, &mut broken, &mut || true);
        assert!(calls.len() <= most, "{defect:?}: {calls:#?}");
        let again = compare(&calls, &mut intact, &mut broken);
        assert!(matches!(again, Compared::Differ(..)), "{defect:?}: {again:?}");
    }
}

/// A difference that every other sequence shows must neither hide what comes after it nor be shrunk each time.
#[test]
fn exploration_goes_on_without_calls_that_show_a_known_difference() {
    let (seed, sequences, features) = (SEED, 100, features());
    let campaign = Campaign { seed, first: 0, sequences, time: None, differences: 10, features };
    let (mut intact, mut broken) = (reference(None), reference(Some(Defect::AlwaysReadable)));
    let (mut found, mut shrunk_since) = (0, 0);
    let summary = campaign.run(&mut intact, &mut broken, &mut |news| match news {
        News::Found(_) => (found, shrunk_since) = (found + 1, 0),
        News::Shrinking { .. } => shrunk_since += 1,
        _ => {}
    });
    assert_eq!((found, shrunk_since, summary.sequences), (1, 0, sequences));
    assert!(summary.differing > 10, "{summary:?}");
}

#[test]
fn a_seed_gives_the_same_sequences_everywhere() {
    let features = features();
    let one = |number: &u64| serde_json::to_string(&sequence(SEED, *number, &features)).unwrap();
    let numbers: Vec<u64> = (0..200).collect();
    let together = each(&numbers, one);
    let alone: Vec<_> = numbers.iter().rev().map(one).collect();
    assert!(together.iter().eq(alone.iter().rev()), "it depends on what runs beside it");
    assert_eq!(together.iter().collect::<BTreeSet<_>>().len(), 200, "two numbers give the same sequence");
    // A kept seed must mean the same after an update of what the random numbers come from.
    assert_eq!(fastrand::Rng::with_seed(2).u64(..), FIRST_RANDOM);
}

/// The first random number of seed 2.
const FIRST_RANDOM: u64 = 3_736_708_066_431_228_558;

#[test]
fn each_kind_of_call_is_made_and_lengths_are_kept() {
    let (mut side, features) = (reference(None), features());
    let mut made = BTreeSet::new();
    for number in 0..300 {
        let calls = sequence(SEED, number, &features);
        assert!((10..=200).contains(&calls.len()), "{} calls", calls.len());
        let observed = side.observe(&calls, None);
        let seen = calls.iter().zip(&observed.seen).filter(|(_, seen)| **seen != Seen::NotMade);
        made.extend(seen.map(|(call, _)| kind(call)));
    }
    let missing: Vec<_> = KINDS.iter().filter(|kind| !made.contains(**kind)).collect();
    assert!(missing.is_empty(), "{missing:?} are not made");
    assert_eq!(made.len(), KINDS.len(), "KINDS lacks some of {made:?}");
}

#[test]
fn names_are_not_given_twice() {
    for number in 0..100 {
        let mut names = BTreeSet::new();
        for call in sequence(SEED, number, &features()) {
            if let Call::Open { socket: name, .. }
            | Call::Duplicate { copy: name, .. }
            | Call::Register { family: name, .. }
            | Call::Create { protocol: name, .. }
            | Call::AddCallback { callback: name, .. } = call
            {
                assert!(names.insert(name), "sequence {number} has two objects named {name}");
            }
        }
    }
}

/// The kinds of calls, as files name them.
const KINDS: [&str; 27] = [
    "open",
    "bind",
    "connect",
    "name",
    "peer",
    "set",
    "get",
    "filter",
    "send",
    "receive",
    "poll",
    "refused",
    "duplicate",
    "close",
    "as",
    "register",
    "register-again",
    "unregister",
    "create",
    "release",
    "from-kernel",
    "add-callback",
    "del-callback",
    "from-connector",
    "watch-release",
    "references",
    "log",
];

fn kind(call: &Call) -> String {
    let json = serde_json::to_value(call).unwrap();
    json["call"].as_str().unwrap().to_owned()
}

#[test]
fn a_difference_is_kept_and_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let explore = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_explore")).args(args).output().unwrap();
    let dir = folder.path().to_str().unwrap();
    let one = ["--itself", "--seed", "2", "--differences", "1", "--keep", dir, "--defect"];
    let found = explore(&[&one[..], &["AckMissing"]].concat());
    let text = String::from_utf8_lossy(&found.stdout);
    assert_eq!(found.status.code(), Some(1), "{text}");
    assert!(text.contains("exchange, in order:") && text.contains("NL-ACK-"), "{text}");
    let file = std::fs::read_dir(folder.path()).unwrap().next().expect("it is kept").unwrap().path();
    let file = file.to_str().unwrap();
    let again = explore(&["--itself", "--defect", "AckMissing", "--replay", file]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stdout).contains("by an intact reference"));
    let intact = explore(&["--itself", "--replay", file]);
    assert_eq!(intact.status.code(), Some(0), "{}", String::from_utf8_lossy(&intact.stdout));
    for wrong in
        [&["--replay", "/nonexistent"][..], &["--replay", "/proc/self/status"], &["--defect", "None"]]
    {
        let refused = explore(&[&["--itself"], wrong].concat());
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
    }
}
