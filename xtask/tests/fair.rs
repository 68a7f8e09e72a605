//! The scenarios are fair: sockets without a library pass each of them, on the oldest kernel, the default
//! and the newest, and fail it with the switches that conformance/clients/raw/variants.toml names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::thread;

use nlconform::cases::{self, Case};
use nlconform::event::{Report, Role, Verdict};
use nlconform::program::Program;
use xtask::commands::args::KernelArgs;
use xtask::making::clients::Client;
use xtask::making::user::{UserProgram, VARIANT};
use xtask::running::schedule;
use xtask::running::session::{self, Losses, News};
use xtask::vm::{Arch, Place, Settings};

const KERNELS: [&str; 3] = ["5.10", "6.12", "7.3"];

/// Switches by scenario: the row's own, or those of its function.
fn switches() -> BTreeMap<&'static str, Vec<String>> {
    let file = xtask::project_root().join("conformance/clients/raw/variants.toml");
    let topics: BTreeMap<String, BTreeMap<String, String>> =
        toml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let of = |case: &'static Case| {
        let (topic, name) = case.name.strip_prefix("client::").unwrap().split_once("::").unwrap();
        let entries = topics.get(topic).unwrap_or_else(|| panic!("no variants for {topic}"));
        let words = entries.get(name).or_else(|| entries.get(case.function));
        let words = words.unwrap_or_else(|| panic!("no variant for {}", case.name));
        (case.name.as_str(), words.split_whitespace().map(str::to_owned).collect())
    };
    cases::of(Role::Client).iter().map(of).collect()
}

fn run(place: &Place, profile: &str, cases: Vec<String>, client: Program) -> Vec<Report> {
    let plan = schedule::client_plan(profile, cases, client);
    let mut reports = Vec::new();
    let done = session::run(place, &plan, &Losses::at_most(20), &mut |news| {
        if let News::Finished(report) = news {
            reports.push(report);
        }
    });
    done.unwrap();
    reports
}

#[test]
fn each_scenario_has_a_variant() {
    assert_eq!(switches().len(), cases::of(Role::Client).len());
}

#[test]
#[ignore = "boots some 60 guests a kernel; cargo xtask check runs it"]
fn each_scenario_passes_on_sockets_and_fails_on_a_broken_variant() {
    let args = KernelArgs { kernel: KERNELS.map(str::to_owned).to_vec(), ..KernelArgs::default() };
    let args = args.with_variant(VARIANT);
    let lab = args.open_lab().unwrap();
    let raw = Client::named("raw").unwrap().obtain(&lab.cache, &lab.progress, false).unwrap();
    let user = UserProgram::find(&raw.argv, Arch::of_host()).unwrap();
    for (arch, spec) in args.targets().unwrap() {
        let built = lab.build(arch, &spec).unwrap();
        let machine = lab.machine(&built, &Settings::default(), |image| user.pack(image)).unwrap();
        let place = Place::Machine(machine);
        unfair(&place, &schedule::profile(&built.kernel.release), &user.program);
    }
}

/// Panics with the scenarios that are not as they should be.
fn unfair(place: &Place, profile: &str, program: &Program) {
    let switches = switches();
    let mut variants: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    variants.insert(Vec::new(), switches.keys().map(|case| (*case).to_owned()).collect());
    for (case, words) in switches {
        variants.entry(words).or_default().push(case.to_owned());
    }
    let (todo, wrong) = (Mutex::new(variants.into_iter()), Mutex::new(BTreeSet::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((words, cases)) = todo.lock().unwrap().next() else { return };
                    let argv = program.argv.iter().chain(&words).cloned().collect();
                    for report in run(place, profile, cases, Program::here(argv)) {
                        let passed = report.verdict == Verdict::Pass;
                        let failed = matches!(
                            report.verdict,
                            Verdict::Fail(_) | Verdict::Crash { .. } | Verdict::Timeout { .. }
                        );
                        if words.is_empty() && !passed || !words.is_empty() && !failed {
                            wrong
                                .lock()
                                .unwrap()
                                .insert(format!("{} {words:?}: {:?}", report.case, report.verdict));
                        }
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{profile}:\n{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}
