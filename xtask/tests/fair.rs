//! The scenarios are fair: sockets without a library pass each of them, on all kernels, and fail it with the
//! switches that conformance/clients/raw/variants.toml names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::thread;

use nlconform::cases::{self, Case};
use nlconform::event::{Report, Role, Verdict};
use nlconform::program::Program;
use serde::Deserialize;
use xtask::commands::args::KernelArgs;
use xtask::making::clients::Client;
use xtask::making::user::{UserProgram, VARIANT};
use xtask::running::schedule;
use xtask::running::session::{self, Losses, News};
use xtask::vm::{Arch, Place, Settings};

/// What variants.toml has for a scenario: switches with which it must fail, or several such.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Variants {
    One(String),
    Several(Vec<String>),
}

/// Scenarios, and the switches with which they must fail: the row's own, or those of its function.
fn variants() -> Vec<(&'static str, Vec<String>)> {
    let file = xtask::project_root().join("conformance/clients/raw/variants.toml");
    let topics: BTreeMap<String, BTreeMap<String, Variants>> =
        toml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let of = |case: &'static Case| {
        let (topic, name) = case.name.strip_prefix("client::").unwrap().split_once("::").unwrap();
        let entries = topics.get(topic).unwrap_or_else(|| panic!("no variants for {topic}"));
        let found = entries.get(name).or_else(|| entries.get(case.function));
        let words = match found.unwrap_or_else(|| panic!("no variant for {}", case.name)).clone() {
            Variants::One(words) => vec![words],
            Variants::Several(several) => several,
        };
        words.into_iter().map(|words| (case.name.as_str(), words.split(' ').map(str::to_owned).collect()))
    };
    cases::of(Role::Client).iter().flat_map(of).collect()
}

#[test]
fn each_scenario_has_a_variant() {
    let scenarios: BTreeSet<_> = variants().into_iter().map(|(scenario, _)| scenario).collect();
    assert_eq!(scenarios.len(), cases::of(Role::Client).len());
}

#[test]
#[ignore = "boots the kernel of client runs, and a guest for each switch; CI runs it"]
fn each_scenario_passes_without_a_switch_and_fails_with_its_own() {
    let args = KernelArgs::default().with_variant(VARIANT);
    let lab = args.open_lab().unwrap();
    let raw = Client::named("raw").unwrap().obtain(&lab.cache, &lab.progress, false).unwrap();
    let user = UserProgram::find(&raw.argv, Arch::of_host()).unwrap();
    let (arch, spec) = args.one_target("scenarios are played").unwrap();
    let built = lab.build(arch, &spec).unwrap();
    let machine = lab.machine(&built, &Settings::default(), |image| user.pack(image)).unwrap();
    let (place, profile) = (Place::Machine(machine), schedule::profile(&built.kernel.release));
    let all: Vec<_> = cases::of(Role::Client).iter().map(|case| case.name.clone()).collect();
    let passed = run(&place, &profile, all.clone(), user.program.clone());
    let unfair: Vec<_> = passed.iter().filter(|report| !matches!(report.verdict, Verdict::Pass)).collect();
    assert!(unfair.is_empty() && passed.len() == all.len(), "{unfair:#?}");
    let mut by_switches: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for (scenario, switches) in variants() {
        by_switches.entry(switches).or_default().push(scenario.to_owned());
    }
    let (todo, blind) = (Mutex::new(by_switches.into_iter()), Mutex::new(BTreeSet::new()));
    let next = || todo.lock().unwrap().next();
    let work = || {
        while let Some((switches, scenarios)) = next() {
            let argv = user.program.argv.iter().chain(&switches).cloned().collect();
            let reports = run(&place, &profile, scenarios, Program::here(argv));
            let unseen = reports.into_iter().filter(|report| !is_failure(&report.verdict));
            let words = unseen.map(|report| format!("{} {switches:?}: {:?}", report.case, report.verdict));
            blind.lock().unwrap().extend(words);
        }
    };
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let blind = blind.into_inner().unwrap();
    assert!(blind.is_empty(), "{}", blind.into_iter().collect::<Vec<_>>().join("\n"));
}

fn run(place: &Place, profile: &str, scenarios: Vec<String>, client: Program) -> Vec<Report> {
    let plan = schedule::client_plan(profile, scenarios, 1, client);
    let mut reports = Vec::new();
    let done = session::run(place, &plan, &Losses::at_most(20), &mut |news| {
        if let News::Finished(report) = news {
            reports.push(report);
        }
    });
    done.unwrap();
    reports
}

fn is_failure(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Fail(_) | Verdict::Crash { .. } | Verdict::Timeout { .. })
}
